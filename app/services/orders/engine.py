"""Drives every open order until it is final: one task per order, restarted after any crash.

A handler's `step` looks at what both parties signed and at the chain, does the next thing that is
due, and returns; it never relies on having seen an earlier event. So a step may be repeated at any
time, and a node that was killed goes on where the signed objects and the chain say it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from openstall.app.logging import get_logger
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market.errors import OpenstallError

if TYPE_CHECKING:
    from trio_typing import TaskStatus

POLL_S = 5.0
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 20.0
LEAST_GAP_S = 0.2
"""Between two looks at an order in which nothing changed, however often it is woken."""


_FAULT = OpenstallError(
    "internal_error",
    "This order is held up by a fault in the program. Your money stays where it is.",
    "It is tried again by itself; the node's log has the details.",
)

log = get_logger("openstall.orders")


class Handler(Protocol):
    """What one party does in one kind of order."""

    async def step(self, order: OpenOrder) -> None:
        """Do what is due now; raise OpenstallError to be called again after a pause."""


class OrderEngine:
    """Keeps the drivers of all open orders; `run` ends only by cancellation."""

    def __init__(self, *, desk: OrderDesk) -> None:
        """`handlers` by kind and role are set before `run`: they need the engine to wake orders."""
        self._desk = desk
        self.handlers: dict[tuple[str, str], Handler] = {}
        self._nursery: trio.Nursery | None = None
        self._driven: set[str] = set()
        self._wakes: dict[str, trio.Event] = {}

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Resume every open order, then drive new ones as they come."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for order_id in await self._desk.undone_ids():
                self.watch(order_id)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    @property
    def driven(self) -> frozenset[str]:
        """The orders that have a driver now."""
        return frozenset(self._driven)

    def watch(self, order_id: str) -> None:
        """Begin to drive an order, or wake its driver."""
        if order_id in self._driven:
            self.wake(order_id)
        elif self._nursery is not None:
            self._driven.add(order_id)
            self._nursery.start_soon(self._drive, order_id)

    def wake(self, order_id: str) -> None:
        """Something happened to the order: look at it now."""
        event = self._wakes.get(order_id)
        if event is not None:
            event.set()

    def wake_all(self) -> None:
        """Look at every open order now."""
        for event in self._wakes.values():
            event.set()

    async def _drive(self, order_id: str) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while True:
                looked_at = trio.current_time()
                wake = self._wakes[order_id] = trio.Event()
                trouble: OpenstallError | None = None
                pause_s = POLL_S
                try:
                    before = await self._desk.load(order_id)
                    if before.done:
                        return
                    await self.handlers[before.kind, before.role].step(before)
                    after = await self._desk.load(order_id)
                    if after.state != before.state:
                        continue
                    pause_s = self._until_deadline(after)
                except OpenstallError as error:
                    trouble = error
                except Exception:
                    # A fault of the program in one order must not stop the others, nor its own retries.
                    log.exception("order step crashed", order=order_id)
                    trouble = _FAULT
                self._desk.set_trouble(order_id, trouble)
                if trouble is None:
                    retry_s = FIRST_RETRY_S
                else:
                    pause_s, retry_s = retry_s, min(retry_s * 2, LONGEST_RETRY_S)
                with trio.move_on_after(pause_s):
                    await wake.wait()
                await trio.sleep_until(looked_at + LEAST_GAP_S)
        finally:
            self._driven.discard(order_id)
            self._wakes.pop(order_id, None)

    def _until_deadline(self, order: OpenOrder) -> float:
        """Until the next look without being woken: the deadline where it is near, else the usual pause."""
        if order.deadline_at is None or order.deadline_at < self._desk.now():
            return POLL_S
        return min(POLL_S, order.deadline_at - self._desk.now() + 1.0)
