"""Routes of capacity that can be tested: benchmark, claims, challenges, bonds, cases."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.market.fields import DAY_S
from openstall.market.money import MAX_MICRO

Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
Device = Annotated[str, Field(pattern=r"^(cpu|cuda:[0-9]{1,2})$")]


class Measure(Body):
    """The devices that are rented out; `seconds` is about how long the work of each takes."""

    devices: Annotated[list[Device], Field(min_length=1, max_length=4, default_factory=lambda: ["cpu"])]
    seconds: Annotated[int, Field(ge=2, le=60)] = 10


class Order(Body):
    """A running job of this node as buyer."""

    order_id: Annotated[str, Field(max_length=64)]


class Peer(Body):
    """A provider."""

    peer_id: Annotated[str, Field(max_length=64)]


class MakeRounds(Body):
    """Whether this node, as an oracle, challenges providers unasked."""

    on: bool


class BeOracle(Body):
    """Whether this node works as an oracle for the bonds that name its wallet."""

    on: bool


class Bond(Body):
    """What is set aside behind the claim; the amount in micro-credits."""

    amount_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]
    oracles: Annotated[list[Address], Field(min_length=1, max_length=16)]
    quorum: Annotated[int, Field(ge=1, le=16)]
    unlock_delay_s: Annotated[int, Field(ge=60, le=90 * DAY_S)] = 7 * DAY_S


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/capacity")

    @routes.post("/benchmark")
    async def benchmark(body: Measure) -> dict[str, Any]:
        """Measure this machine and publish what it claims."""
        capacity = node.trade.capacity
        return {
            "operation_id": node.operations.start(
                "benchmark",
                "Measure this machine",
                lambda progress: capacity.measure(list(body.devices), body.seconds, progress),
            )
        }

    @routes.post("/challenge/order")
    async def challenge_order(body: Order) -> dict[str, Any]:
        """Challenge the provider of a running job; a failure goes to the oracles of its bond."""
        capacity = node.trade.capacity
        return {
            "operation_id": node.operations.start(
                "challenge",
                "Challenge the provider",
                lambda progress: capacity.challenge_lease(body.order_id, progress),
            )
        }

    @routes.post("/challenge/peer")
    async def challenge_peer(body: Peer) -> dict[str, Any]:
        """As an oracle of its bond: challenge a provider."""
        capacity = node.trade.capacity
        return {
            "operation_id": node.operations.start(
                "challenge",
                "Challenge the provider",
                lambda progress: capacity.challenge_peer(body.peer_id, progress),
            )
        }

    @routes.post("/verify")
    async def verify(body: Peer) -> dict[str, Any]:
        """Compute the proof of a provider's claim again on this node."""
        capacity = node.trade.capacity
        return {
            "operation_id": node.operations.start(
                "verify", "Check the proof", lambda progress: capacity.verify(body.peer_id, progress)
            )
        }

    _add_bond(node, routes)

    @routes.get("/cases")
    async def cases() -> dict[str, Any]:
        """Cases of this node, as complainer and as oracle."""
        return await node.trade.capacity.case_items()

    @routes.get("/{peer_id}")
    async def show(peer_id: str) -> dict[str, Any]:
        """What a provider claims, what stands behind it, and what this node's challenges have shown."""
        return await node.trade.capacity.show(peer_id[:64])

    return routes


def _add_bond(node: Node, routes: APIRouter) -> None:
    @routes.get("/bond")
    async def bond() -> dict[str, Any]:
        """This node's bond."""
        return await node.trade.capacity.own_bond()

    @routes.post("/bond")
    async def post_bond(body: Bond) -> dict[str, Any]:
        """Post a bond."""
        return await node.trade.capacity.post_bond(
            amount_micro=body.amount_micro,
            oracles=list(body.oracles),
            quorum=body.quorum,
            unlock_delay_s=body.unlock_delay_s,
        )

    @routes.post("/bond/announce")
    async def announce() -> dict[str, Any]:
        """Announce that the bond is taken back."""
        return await node.trade.capacity.announce_bond()

    @routes.post("/rounds")
    async def rounds(body: MakeRounds) -> dict[str, Any]:
        """Make rounds as an oracle, or stop it."""
        return await node.trade.capacity.make_rounds(on=body.on)

    @routes.post("/oracle")
    async def oracle(body: BeOracle) -> dict[str, Any]:
        """Agree to be an oracle, or take on nothing new."""
        return await node.trade.capacity.be_oracle(on=body.on)

    @routes.post("/bond/withdraw")
    async def withdraw() -> dict[str, Any]:
        """Take the bond back after its delay."""
        return await node.trade.capacity.withdraw_bond()
