"""Routes of the catalogue: search, single records, what is kept and what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.services.catalogue_state import MOST_CAP_BYTES
from openstall.store.holdings import LEAST_CAP_BYTES
from openstall.store.search import MAX_LIMIT

Type = Literal["listing", "offer", "capacity", "service", "request", "developer", "peer"]


class Storage(Body):
    """How many bytes of records the catalogue may keep."""

    cap_bytes: Annotated[int, Field(ge=LEAST_CAP_BYTES, le=MOST_CAP_BYTES)]


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

    @routes.get("/state")
    async def state() -> dict[str, Any]:
        """What is held, of whom, how complete it is beside each connected peer, and what was refused."""
        found = await node.catalogue_state.state()
        await node.names.dress_named(found["peers"])
        return await _dressed(node, found)

    @routes.get("/storage")
    async def storage() -> dict[str, Any]:
        """The room that the catalogue takes, and may take."""
        return await _dressed(node, await node.catalogue_state.storage())

    @routes.post("/storage")
    async def set_storage(body: Storage) -> dict[str, Any]:
        """Change the room; what does not fit any more goes, the records of strangers first."""
        return await _dressed(node, await node.catalogue_state.set_cap(body.cap_bytes))

    @routes.get("/contradictions")
    async def contradictions(
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> dict[str, Any]:
        """Authors that have signed two things which cannot both be, with the proof; newest first."""
        found = await node.catalogue_state.contradictions(limit=limit, offset=offset)
        await node.names.dress_named(found["items"], peer="author", name="author_name", marks="author_marks")
        return found

    @routes.get("/{cid}")
    async def show(cid: str) -> dict[str, Any]:
        """One record."""
        return await node.catalogue.item(cid[:80])

    return routes


async def _dressed(node: Node, storage: dict[str, Any]) -> dict[str, Any]:
    await node.names.dress_named(storage["brought_by"])
    return storage
