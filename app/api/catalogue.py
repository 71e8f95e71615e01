"""Routes of the catalogue: search and single records."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from openstall.app.node import Node
from openstall.store.search import MAX_LIMIT

Type = Literal["listing", "offer", "capacity", "service", "request", "developer", "peer"]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/catalogue")

    @routes.get("")
    async def find(
        q: Annotated[str, Query(max_length=400)] = "",
        type: Type | None = None,  # noqa: A002 - the name in the API
        author: Annotated[str, Query(max_length=64)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> dict[str, Any]:
        """Best matches first; newest first without words. `exact` is false where `total` is a lower bound."""
        types = (type,) if type else ()
        return await node.catalogue.find(query=q, types=types, author=author, limit=limit, offset=offset)

    @routes.get("/{cid}")
    async def show(cid: str) -> dict[str, Any]:
        """One record."""
        return await node.catalogue.item(cid[:80])

    return routes
