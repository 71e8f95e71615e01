"""Routes of all machines of the owner: one view, pause one or all, pair and unpair rigs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node


class Machine(Body):
    """A rig by its name or peer id; `this`, or `all`, where the action is for those too."""

    machine: Annotated[str, Field(min_length=1, max_length=64)]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/compute")

    @routes.get("/machines")
    async def show() -> dict[str, Any]:
        """This machine and every rig, with their jobs."""
        return await node.machines.as_dict()

    @routes.post("/machines/pause")
    async def pause(body: Machine) -> dict[str, Any]:
        """Have one machine back now, or all."""
        return await node.machines.act("pause", body.machine)

    @routes.post("/machines/resume")
    async def resume(body: Machine) -> dict[str, Any]:
        """Take that back."""
        return await node.machines.act("resume", body.machine)

    @routes.post("/rigs/pair")
    async def pair() -> dict[str, Any]:
        """A code that pairs one rig, once, within ten minutes."""
        return node.rigs.pair()

    @routes.post("/rigs/unpair")
    async def unpair(body: Machine) -> dict[str, Any]:
        """Listen to a rig no more."""
        return await node.machines.unpair(body.machine)

    return routes
