"""Routes of the exchange of signed objects by file, pasted text and QR picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body, PathText
from openstall.app.node import Node
from openstall.app.operations import Progress
from openstall.market.exchange import MAX_TEXT


class Export(Body):
    """What goes into the new file; `records` are cids, or `mine`."""

    path: PathText
    records: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=80)]], Field(default_factory=list, max_length=500)
    ]
    order_id: Annotated[str, Field(max_length=80)] = ""
    outbox: bool = False


class ExportPackage(Body):
    """The package of an order, into a file of its own."""

    path: PathText
    order_id: Annotated[str, Field(min_length=1, max_length=80)]


class Import(Body):
    """A file on this machine."""

    path: PathText


class ImportText(Body):
    """A pasted text."""

    text: Annotated[str, Field(min_length=1, max_length=2 * MAX_TEXT)]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/exchange")

    @routes.post("/export")
    async def export(body: Export) -> dict[str, Any]:
        """Write signed objects to a new file: records, an order with its messages, all that waits."""
        out, path = node.exchange.out, Path(body.path)
        return await out.save(path, records=body.records, order_id=body.order_id, outbox=body.outbox)

    @routes.post("/export-package")
    async def export_package(body: ExportPackage) -> dict[str, Any]:
        """Copy the encrypted package of a sale to a new file; it may be large, so this is a long action."""
        out, path = node.exchange.out, Path(body.path)

        async def save(progress: Progress) -> dict[str, Any]:
            progress("Copying the package")
            return await out.save_package(body.order_id, path)

        return {"operation_id": node.operations.start("export", f"Write {path.name}", save)}

    @routes.post("/import")
    async def take_in(body: Import) -> dict[str, Any]:
        """Take in a file; the result says what came in, and what was refused and why."""
        into, path = node.exchange.into, Path(body.path)
        operation = node.operations.start(
            "import", f"Take in {path.name}", lambda progress: into.file(path, progress)
        )
        return {"operation_id": operation}

    @routes.post("/import-text")
    async def take_text(body: ImportText) -> dict[str, Any]:
        """Take in one object from a pasted text."""
        return await node.exchange.into.text(body.text)

    @routes.get("/qr")
    async def qr(what: Literal["invitation", "address", "acceptance"], order_id: str = "") -> dict[str, Any]:
        """A small text and its QR picture, row by row: `1` is dark."""
        return await node.exchange.out.shown(what, order_id)

    return routes
