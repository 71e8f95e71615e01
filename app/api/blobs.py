"""Routes of the files that this node keeps: what is here and why, what may go, how fast they come and go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body, PathText
from openstall.app.node import Node
from openstall.app.operations import Progress

Cid = Annotated[str, Field(min_length=1, max_length=80)]
PerSecond = Annotated[int, Field(ge=0, le=2**40)]


class Limits(Body):
    """Bytes a second and on the disk, 0 for no limit; what is null stays as it is."""

    up_per_s: PerSecond | None = None
    down_per_s: PerSecond | None = None
    quota_bytes: Annotated[int, Field(ge=0, le=2**50)] | None = None
    share: bool | None = None


class Named(Body):
    """One file, by its address."""

    cid: Cid


class Export(Named):
    """And a folder that is there."""

    folder: PathText


class Ipfs(Body):
    """Addresses that the owner types; an empty text takes one away, null leaves it as it is."""

    gateway: Annotated[str, Field(max_length=300)] | None = None
    node: Annotated[str, Field(max_length=300)] | None = None


class Collect(Body):
    """Everything that nobody needs, or only what is above the quota."""

    everything: bool = False


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/blobs")

    @routes.get("")
    async def show() -> dict[str, Any]:
        """Every file and why it stays, the limits, and sources that did wrong since the start."""
        return await node.blobs.view()

    @routes.post("/limits")
    async def limits(body: Limits) -> dict[str, Any]:
        """Change limits; they hold at once."""
        return await node.blobs.change(**body.model_dump())

    @routes.post("/collect")
    async def collect(body: Collect) -> dict[str, Any]:
        """Remove what nobody needs."""
        return await node.blobs.collect(everything=body.everything)

    @routes.post("/export")
    async def export(body: Export) -> dict[str, Any]:
        """Copy a file and its manifest out, as a web mirror serves them."""

        async def action(progress: Progress) -> dict[str, Any]:
            progress("Copying")
            return await node.blobs.export(body.cid, Path(body.folder))

        return {"operation_id": node.operations.start("export", "Copy a file out", action)}

    @routes.post("/pin")
    async def pin(body: Named) -> dict[str, Any]:
        """Never remove a file by itself."""
        await node.blobs.pin(body.cid)
        return {"cid": body.cid, "pinned": True}

    @routes.post("/unpin")
    async def unpin(body: Named) -> dict[str, Any]:
        """Let it go when nobody needs it."""
        await node.blobs.unpin(body.cid)
        return {"cid": body.cid, "pinned": False}

    _add_ipfs(node, routes)
    return routes


def _add_ipfs(node: Node, routes: APIRouter) -> None:
    @routes.post("/ipfs")
    async def ipfs(body: Ipfs) -> dict[str, Any]:
        """Name the IPFS gateway that packages may also come from, and the IPFS node that may keep them."""
        return await node.blobs.ipfs.change(gateway=body.gateway, node=body.node)

    @routes.post("/ipfs/pin")
    async def pin(body: Named) -> dict[str, Any]:
        """Have the owner's IPFS node keep an encrypted package, and give it to everybody."""

        async def action(progress: Progress) -> dict[str, Any]:
            return await node.blobs.pin_in_ipfs(body.cid, progress)

        return {"operation_id": node.operations.start("ipfs", "Pin a package in IPFS", action)}

    @routes.post("/ipfs/unpin")
    async def unpin(body: Named) -> dict[str, Any]:
        """Have it keep the package no longer."""
        return await node.blobs.ipfs.unpin(body.cid)
