"""Routes of the group: create, join, or use a public chain."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node

Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
MaybeAddress = Annotated[str, Field(pattern=r"^(0x[0-9a-fA-F]{40})?$")]


class Create(Body):
    """A new group with its own chain, hosted here."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


class Join(Body):
    """`openstall:group:…` as the host gave it."""

    invitation: Annotated[str, Field(min_length=1, max_length=16_384)]


class Public(Body):
    """Any EVM chain with our contracts on it; the credit is any ERC-20."""

    rpc_url: Annotated[str, Field(min_length=8, max_length=2_000)]
    credit: Address
    escrow: Address
    channel: Address
    bond: MaybeAddress = ""
    auction: MaybeAddress = ""
    model_escrow: MaybeAddress = ""
    contest: MaybeAddress = ""
    confirmations: Annotated[int, Field(ge=1, le=1_000)] = 3
    first_block: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/group")

    @routes.get("")
    async def show() -> dict[str, Any]:
        """The joined group, and the invitation to pass on."""
        return await node.group.as_dict()

    @routes.post("/create")
    async def create(body: Create) -> dict[str, Any]:
        """Host a new group."""
        operation = node.operations.start(
            "group",
            f"Create the group “{body.name}”",
            lambda progress: node.group.create(body.name, progress),
        )
        return {"operation_id": operation}

    @routes.post("/join")
    async def join(body: Join) -> dict[str, Any]:
        """Join by an invitation."""
        operation = node.operations.start(
            "group", "Join a group", lambda progress: node.group.join(body.invitation, progress)
        )
        return {"operation_id": operation}

    @routes.post("/public")
    async def public(body: Public) -> dict[str, Any]:
        """Use a public chain."""
        node.secrets.add(body.rpc_url)
        return await node.group.use_public(**body.model_dump())

    return routes
