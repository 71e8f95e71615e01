"""Routes of the wallet: balance and history, faucet, sending."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.market.money import MAX_MICRO, format_amount


class Send(Body):
    """Credits to an address; the amount in millionths."""

    to: Annotated[str, Field(min_length=42, max_length=42)]
    amount_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/wallet")

    @routes.get("")
    async def show() -> dict[str, Any]:
        """Balance, what is held in escrow, history (newest first)."""
        return await node.wallet.as_dict()

    @routes.post("/faucet")
    async def faucet() -> dict[str, Any]:
        """Take the group's first credits."""
        _ = node.identity.wallet, node.group.membership
        return {"operation_id": node.operations.start("faucet", "Take first credits", node.wallet.faucet)}

    @routes.post("/send")
    async def send(body: Send) -> dict[str, Any]:
        """Send credits; what cannot be meant is refused at once."""
        await node.wallet.check_send(body.to, body.amount_micro)
        title = f"Send {format_amount(body.amount_micro)} credits"
        action = node.wallet.sender(body.to, body.amount_micro)
        return {"operation_id": node.operations.start("send", title, action)}

    return routes
