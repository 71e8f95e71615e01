"""Drives every open order until it is final: one task per order, restarted after any crash.

A handler's `step` looks at what both parties signed and at the chain, does the next thing that is
due, and returns; it never relies on having seen an earlier event. So a step may be repeated at any
time, and a node that was killed goes on where the signed objects and the chain say it stands.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market.errors import OpenstallError
from openstall.market.orders.machine import MACHINES

if TYPE_CHECKING:
    from trio_typing import TaskStatus

POLL_S = 5.0
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 20.0


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
            for order_id in await self._desk.open_order_ids():
                self.watch(order_id)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

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
        """The chain has a new block: look at every open order now."""
        for event in self._wakes.values():
            event.set()

    async def _drive(self, order_id: str) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while True:
                wake = self._wakes[order_id] = trio.Event()
                order = await self._desk.load(order_id)
                if order.state in MACHINES[order.kind].final:
                    return
                try:
                    await self.handlers[order.kind, order.role].step(order)
                except OpenstallError as error:
                    self._desk.set_trouble(order_id, error)
                    pause_s, retry_s = retry_s, min(retry_s * 2, LONGEST_RETRY_S)
                else:
                    self._desk.set_trouble(order_id, None)
                    pause_s, retry_s = POLL_S, FIRST_RETRY_S
                if (await self._desk.load(order_id)).state != order.state:
                    continue
                with trio.move_on_after(min(pause_s, self._until_deadline(order))):
                    await wake.wait()
        finally:
            self._driven.discard(order_id)
            self._wakes.pop(order_id, None)

    def _until_deadline(self, order: OpenOrder) -> float:
        if order.deadline_at is None:
            return math.inf
        rest = order.deadline_at - self._desk.now()
        return float(rest) + 1.0 if rest >= 0 else math.inf
