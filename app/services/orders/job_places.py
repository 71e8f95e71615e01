"""The places on which jobs run, as their orders see them, and what a machine tells of its own rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.rigs.events import Energy, Standing
from openstall.app.services.rigs.machines import Needs


class Places(Protocol):
    """The machines of the owner; `Machines` is one."""

    async def take(self, order_id: str, needs: Needs, before: Sequence[str]) -> bool:
        """Give a paid job a place, unless there is none that those `before` it would not take."""

    def leave(self, order_id: str) -> None:
        """The job needs no place any more."""

    def machine_of(self, order_id: str) -> str:
        """The machine on which a job has its place."""

    def connected(self, order_id: str) -> bool:
        """Whether that machine is still there."""


async def note(desk: OrderDesk, order_id: str, job: RunningJob, event: Standing | Energy) -> None:
    """What the house of another machine of the owner does with a job, in its order and its books."""
    if isinstance(event, Energy):
        job.energy_mj += event.millijoules
        job.measured_ms += event.milliseconds
        return
    if event.still:
        job.held_at = job.held_at or desk.now()
    elif job.held_at:
        job.paused_s += desk.now() - job.held_at
        job.held_at = 0
    await job.note(event.words)
    stage = "Paused by the house rules" if event.still else "Running"
    desk.progress(order_id, stage, job.done, job.total, "steps")


UNPAID_PLACE_S = 30
"""How long an order that is signed but not paid holds a place; whoever means it pays within seconds."""


async def open_jobs(desk: OrderDesk) -> int:
    """How many jobs hold a place here, or are about to.

    A signature costs nothing: without the money behind it, it holds a place for a moment only. With a service
    level it holds the place until it lapses, for a bond answers for the start of each that is paid.
    """
    orders = [await desk.load(order_id) for order_id in await desk.open_order_ids()]
    recent = desk.now() - UNPAID_PLACE_S
    return sum(
        order.kind == "compute"
        and order.role == "seller"
        and (
            order.state in ("funded", "running")
            or (
                order.state == "agreed"
                and (order.contract.compute.service is not None or order.entered_at > recent)
            )
        )
        for order in orders
    )
