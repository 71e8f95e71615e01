"""Routes that every client needs: status, events, operations, stopping the node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import trio
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from openstall.app.events import Event
from openstall.app.node import Node

HEARTBEAT_S = 15.0


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/status")
    async def status() -> dict[str, Any]:
        """Everything the top of a window shows: identity, group, network, agent, warnings."""
        return await node.status()

    @routes.get("/events")
    async def events() -> StreamingResponse:
        """Server-sent events.

        `operation`, `order`, `batch`, `job_log`, `catalogue`, `wallet`, `peers`, `status`, `mail`.
        """
        return StreamingResponse(
            _stream(node), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    @routes.get("/operations")
    async def operations() -> dict[str, Any]:
        """Long actions, newest first."""
        items = [operation.as_dict() for operation in node.operations.items()]
        return {"items": items, "total": len(items)}

    @routes.get("/operations/{operation_id}")
    async def operation(operation_id: str) -> dict[str, Any]:
        """One long action."""
        return node.operations.get(operation_id).as_dict()

    @routes.post("/operations/{operation_id}/cancel")
    async def cancel(operation_id: str) -> dict[str, Any]:
        """Ask a long action to stop."""
        return node.operations.cancel(operation_id).as_dict()

    @routes.post("/node/stop")
    async def stop() -> dict[str, Any]:
        """Shut the node down; what is under way is resumed at the next start."""
        node.stop("asked through the local API")
        return {"stopping": True}

    return routes


async def _stream(node: Node) -> AsyncIterator[bytes]:
    async with node.bus.subscribe() as events:
        yield b": connected\n\n"
        while True:
            event: Event | None = None
            with trio.move_on_after(HEARTBEAT_S):
                try:
                    event = await events.receive()
                except trio.EndOfChannel:
                    return
            if event is None:
                yield b": still here\n\n"
                continue
            data = json.dumps(event.data, separators=(",", ":"))
            yield f"event: {event.name}\ndata: {data}\n\n".encode()
