"""Routes of orders: buy a model, rent a machine, look, act."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from openstall.app.api.requests import Body, PathText
from openstall.app.api.service_levels import Level
from openstall.app.node import Node
from openstall.app.operations import Progress
from openstall.app.services.orders.job_check import MOST_OFFERS
from openstall.app.services.orders.placing import PAY_WITHIN_S, JobRequest
from openstall.app.services.orders.recovery import MOST_NAMED
from openstall.market.job_kinds import KindOfJob
from openstall.market.money import MAX_MICRO


class Buy(Body):
    """A copy of a model; the order lapses unless it is paid within `pay_within_s`.

    By default that is a quarter of an hour, or days where the seller is off.
    """

    listing_cid: Annotated[str, Field(max_length=80)]
    pay_within_s: int | None = None


class Rent(Body):
    """A job; `inputs` maps the name inside the job to a path on this machine; the cap is in micro-credits.

    Up to `tries` providers are tried, one after another, where one fails or is silent for `patience_s`.
    With `challenge` the machine is put to the test once, at a random moment while the job runs. With
    `service` the provider is bound to a service level: its own where the object is empty.
    `priority_per_s_micro` is paid on top of the price, for an earlier place in the line of paid jobs.
    """

    offer_cid: Annotated[str, Field(max_length=80)]
    kind: KindOfJob
    inputs: Annotated[dict[str, PathText], Field(max_length=16)]
    params: Annotated[dict[str, Any], Field(default_factory=dict)]
    max_s: Annotated[int, Field(ge=1, le=30 * 86_400)]
    cap_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]
    pay_within_s: int = PAY_WITHIN_S
    tries: int = 1
    patience_s: int = 60
    gpus: Annotated[int, Field(ge=0, le=16)] = 0
    challenge: bool = False
    service: Level | None = None
    priority_per_s_micro: Annotated[int, Field(ge=0, le=MAX_MICRO)] = 0


class Dispute(Body):
    """Why, in the buyer's words; the arbiter reads them."""

    reason: Annotated[str, Field(min_length=3, max_length=2000)]


class Rule(Body):
    """The buyer's part of the escrow in hundredths of a per cent."""

    buyer_bps: Annotated[int, Field(ge=0, le=10_000)]


class Save(Body):
    """Where the job's results are copied to."""

    folder: PathText


class Recover(Body):
    """Whom to ask for papers beside those whom the order names; or a file of papers, and nobody is asked."""

    peers: Annotated[
        list[Annotated[str, Field(max_length=64)]], Field(max_length=MOST_NAMED, default_factory=list)
    ]
    path: PathText | None = None


class Papers(Body):
    """The new file that gets this node's papers."""

    path: PathText


class Check(Body):
    """Who does a job again: these offers, for pay, or this machine; `cap_micro` 0: as much as the order.

    Without `whole` this machine does a part again where a part says enough.
    """

    offers: Annotated[
        list[Annotated[str, Field(max_length=80)]], Field(max_length=MOST_OFFERS, default_factory=list)
    ]
    cap_micro: Annotated[int, Field(ge=0, le=MAX_MICRO)] = 0
    whole: bool = False


async def _request(node: Node, body: Rent) -> JobRequest:
    """What a person asks for, with the service level that the provider promises."""
    service = None
    if body.service is not None:
        service = await node.trade.levels.choose(
            body.offer_cid,
            body.service.wanted(),
            cap_micro=body.cap_micro,
            max_s=body.max_s,
            priority_per_s_micro=body.priority_per_s_micro,
        )
    return JobRequest(
        offer_cid=body.offer_cid,
        kind=body.kind,
        inputs={name: Path(path) for name, path in body.inputs.items()},
        params=body.params,
        max_s=body.max_s,
        cap_micro=body.cap_micro,
        pay_within_s=body.pay_within_s,
        tries=body.tries,
        patience_s=body.patience_s,
        gpus=body.gpus,
        challenge=body.challenge,
        priority_per_s_micro=body.priority_per_s_micro,
        service=service,
    )


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/orders")

    @routes.post("/buy")
    async def buy(body: Buy) -> dict[str, Any]:
        """Sign an order for a model; payment and delivery follow by themselves."""
        placing = node.trade.orders.placing
        return {"order_id": await placing.buy(body.listing_cid, pay_within_s=body.pay_within_s)}

    @routes.post("/job")
    async def job(body: Rent) -> dict[str, Any]:
        """Sign an order for a job; it starts when the provider has signed and the money is set aside."""
        request = await _request(node, body)
        worst = request.service.penalty_micro if request.service is not None else 0
        return {"order_id": await node.trade.orders.placing.rent(request), "worst_case_micro": worst}

    @routes.get("")
    async def listed(
        *,
        role: Literal["", "buyer", "seller", "arbiter", "evaluator"] = "",
        open_only: Annotated[bool, Query()] = False,
    ) -> dict[str, Any]:
        """All orders, newest first."""
        items = await node.trade.orders.items(role=role, open_only=open_only)
        await node.names.dress_others(items)
        return {"items": items, "total": len(items)}

    @routes.get("/{order_id}")
    async def one(order_id: str) -> dict[str, Any]:
        """Everything about one order."""
        page = await node.trade.orders.view(order_id)
        await node.names.dress_others([page])
        return page

    @routes.get("/{order_id}/log")
    async def log(order_id: str, start: Annotated[int, Query(alias="from", ge=0)] = 0) -> dict[str, Any]:
        """Log lines of a job from a line on."""
        return await node.trade.orders.read_log(order_id, start)

    @routes.post("/{order_id}/dispute")
    async def dispute(order_id: str, body: Dispute) -> dict[str, Any]:
        """Ask the arbiter."""
        return await node.trade.orders.act(order_id, "dispute", reason=body.reason)

    @routes.post("/{order_id}/rule")
    async def rule(order_id: str, body: Rule) -> dict[str, Any]:
        """As the arbiter: split the escrow."""
        return await node.trade.orders.act(order_id, "rule", buyer_bps=body.buyer_bps)

    @routes.post("/{order_id}/save")
    async def save(order_id: str, body: Save) -> dict[str, Any]:
        """Copy the job's results into a folder."""
        paths = await node.trade.orders.save(order_id, Path(body.folder))
        return {"items": paths, "total": len(paths)}

    _add_check(node, routes)
    _add_recovery(node, routes)

    @routes.post("/{order_id}/{action}")
    async def act(order_id: str, action: Literal["complete", "cancel", "refund", "claim"]) -> dict[str, Any]:
        """Confirm, cancel, take back or claim, where the order allows it."""
        return await node.trade.orders.act(order_id, action)

    return routes


def _add_check(node: Node, routes: APIRouter) -> None:
    @routes.post("/{order_id}/check")
    async def check(order_id: str, body: Check) -> dict[str, Any]:
        """Do a finished job again, and compare."""
        checks = node.trade.job_check
        return {
            "operation_id": node.operations.start(
                "check",
                "Check a result",
                lambda progress: checks.check(
                    order_id, progress, offers=body.offers, cap_micro=body.cap_micro, whole=body.whole
                ),
            )
        }


def _add_recovery(node: Node, routes: APIRouter) -> None:
    @routes.post("/{order_id}/recover")
    async def recover(order_id: str, body: Recover) -> dict[str, Any]:
        """Make the books of an order again from the papers of others and from the chain."""
        recovery, path = node.trade.recovery, body.path

        async def work(_progress: Progress) -> dict[str, Any]:
            if path is not None:
                return await recovery.read_file(order_id, Path(path))
            return await recovery.recover(order_id, body.peers)

        return {"operation_id": node.operations.start("recover", "Recover an order", work)}

    @routes.post("/{order_id}/papers")
    async def papers(order_id: str, body: Papers) -> dict[str, Any]:
        """Write all that this node holds of an order that somebody signed to a new file."""
        return await node.trade.recovery.write_file(order_id, Path(body.path))
