"""Routes of the price that follows the market by itself."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from openstall.app.api.requests import Body
from openstall.app.node import Node


class Switch(Body):
    """On or off; rules that are not given stay. See `market/mechanisms/auto_price.py`."""

    on: bool
    rules: dict[str, Any] | None = None


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/compute/autoprice")

    @routes.get("")
    async def show() -> dict[str, Any]:
        """The rules, what would follow from them now, and every change that was made."""
        return await node.trade.autoprice.as_dict()

    @routes.post("")
    async def switch(body: Switch) -> dict[str, Any]:
        """Switch it on or off."""
        await node.trade.autoprice.switch(on=body.on, rules=body.rules)
        return await node.trade.autoprice.as_dict()

    return routes
