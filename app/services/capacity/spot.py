"""A buyer who asked for it has the machine challenged once, at a moment that its provider cannot foresee."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.capacity.testbench import silent
from openstall.app.services.capacity.wire import PASSING
from openstall.app.services.checking import Tell
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market.errors import OpenstallError

SETTING = "challenge"
"""In the data of an order: the buyer wants a challenge."""
_DONE = "challenged"
_AT = "challenge_at"
LONGEST_WAIT_S = 600
TRY_AGAIN_S = 30
"""After a challenge that came to nothing: the provider was away, or busy with another."""
LISTEN_AGAIN_S = 1.0

log = get_logger("openstall.capacity")


@dataclass(slots=True, kw_only=True)
class SpotChecks:
    """Watches the jobs of this node as buyer."""

    desk: OrderDesk
    bus: EventBus
    challenge: Callable[[str, Tell], Awaitable[dict[str, Any]]]

    async def run(self) -> None:
        """Until cancelled; what was planned before a restart still happens."""
        while True:
            await self._watch()
            await trio.sleep(LISTEN_AGAIN_S)

    async def _watch(self) -> None:
        """Until this listener is dropped, as after a challenge during which much happened."""
        async with self.bus.subscribe() as events:
            while True:
                due_s = await self._look()
                with trio.move_on_after(due_s):
                    async for event in events:
                        if event.name == "order":
                            break
                    else:
                        return

    async def _look(self) -> float:
        """Challenge what is due; seconds until something else is."""
        waits = [float("inf")]
        for order_id in await self.desk.open_order_ids():
            order = await self.desk.load(order_id)
            wanted = (order.role, order.kind, order.state) == ("buyer", "compute", "running")
            if not wanted or not order.data.get(SETTING) or order.data.get(_DONE):
                continue
            at = await self._moment(order)
            if at > self.desk.now():
                waits.append(at - self.desk.now())
            else:
                waits.append(await self._challenge(order))
        return min(waits)

    async def _moment(self, order: OpenOrder) -> int:
        """When: drawn once a job runs, and kept."""
        at = int(order.data.get(_AT, 0))
        if not at:
            longest = min(LONGEST_WAIT_S, order.contract.compute.max_s // 2)
            at = self.desk.now() + 1 + secrets.randbelow(max(1, longest))
            await self.desk.patch(order.order_id, **{_AT: at})
        return at

    async def _challenge(self, order: OpenOrder) -> float:
        """Seconds until it must be tried again."""
        try:
            found = await self.challenge(order.order_id, silent)
        except OpenstallError as error:
            log.info("no challenge", order=order.order_id, code=error.code)
            await self.desk.patch(order.order_id, **{_DONE: error.code})
            return float("inf")
        if found["outcome"] == "silent" or found["code"] in PASSING:
            await self.desk.patch(order.order_id, **{_AT: self.desk.now() + TRY_AGAIN_S})
            return TRY_AGAIN_S
        await self.desk.patch(order.order_id, **{_DONE: found["outcome"]})
        return float("inf")
