"""How far a job is, as this node saw it: what a provider tells its witnesses, and what a buyer signs."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.placing import Party
from openstall.app.services.orders.running_job import RunningJob
from openstall.market import canonical
from openstall.market.capacity import sign_document
from openstall.market.orders.results import JobReport, sign_report
from openstall.market.sightings import Telemetry


def report_of(order: OpenOrder, job: RunningJob | None, me: Party, *, now: int) -> dict[str, Any]:
    """The provider's signed report, if the job has ended.

    A buyer that takes its money back before the job has begun ends it as well; that is reported here only.
    """
    raw = order.data.get("report")
    if raw:
        found: dict[str, Any] = canonical.decode(base64.b64decode(raw))
        return found
    if job is not None or order.state not in ("withdrawing", "settled"):
        return {}
    report = JobReport(
        order=order.order_id,
        state="cancelled",
        reason="withdrawn",
        words="The buyer asked for the money back.",
        seconds=int(order.data.get("seconds", 0)),
        owed_micro=int(order.data.get("owed_micro", 0)),
        outputs=[],
        at=min(order.entered_at, now),
    )
    signed: dict[str, Any] = canonical.decode(sign_report(report, order.contract, me.seed).raw)
    return signed


def of_provider(
    order: OpenOrder,
    job: RunningJob | None,
    me: Party,
    *,
    nonce: str,
    now: int,
    ended_at: int,
) -> dict[str, Any]:
    """The provider's own, signed; `job` while it runs, `ended_at` from its report."""
    data = order.data
    paused_s = int(data.get("paused_s", 0))
    if job is not None:
        paused_s = job.paused_s + (now - job.held_at if job.held_at else 0)
    state = "waiting"
    if ended_at:
        state = "ended"
    elif job is not None:
        state = "paused" if job.held_at else "working"
    elif data.get("fetch_at") and not data.get("inputs_at"):
        state = "fetching"
    return _signed(
        me,
        Telemetry(
            network=me.network,
            order=order.order_id,
            by=me.peer_id,
            nonce=nonce,
            state=state,
            fetch_at=int(data.get("fetch_at", 0)),
            inputs_at=int(data.get("inputs_at", 0)),
            started_at=int(data.get("started_at", 0)),
            first_output_at=int(data.get("first_output_at", 0)),
            worked_s=int(data.get("seconds", 0)),
            paused_s=paused_s,
            steps=job.done if job is not None else int(data.get("steps", 0)),
            heard_at=0,
            ended_at=ended_at,
            at=now,
        ),
    )


def of_buyer(order: OpenOrder, me: Party, *, now: int) -> dict[str, Any]:
    """The buyer's own, signed: what it paid for as work is work, whatever anybody says later."""
    data = order.data
    ended = bool(data.get("report")) or order.final
    started_at = int(data.get("started_at", 0))
    return _signed(
        me,
        Telemetry(
            network=me.network,
            order=order.order_id,
            by=me.peer_id,
            nonce=secrets.token_hex(16),
            state="ended" if ended else "working" if started_at else "waiting",
            fetch_at=0,
            inputs_at=0,
            started_at=started_at,
            first_output_at=0,
            worked_s=int(data.get("seconds", 0)),
            paused_s=0,
            steps=0,
            heard_at=int(data.get("silent_since") or now),
            ended_at=order.entered_at if ended else 0,
            at=now,
        ),
    )


def _signed(me: Party, found: Telemetry) -> dict[str, Any]:
    return sign_document(found, what="telemetry", network=me.network, seed=me.seed)
