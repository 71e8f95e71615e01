"""What a job prints is kept many lines at a time: a flood must not cost one transaction per line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from openstall.app.services.orders.desk import OrderDesk
from openstall.app.threads import Workers
from openstall.store.job_log import JobLog

FLUSH_AFTER_S = 0.1
MOST_WAITING = 500


@dataclass(slots=True, kw_only=True)
class Logbook:
    """The log of one order; lines appear in it, and on the bus, in the order in which they were added."""

    order_id: str
    desk: OrderDesk
    log: JobLog
    workers: Workers
    kept: Callable[[], None] | None = None
    """Called after lines were kept: who reads them from the disk may look now."""
    _waiting: list[str] = field(default_factory=list)
    _some: trio.Event = field(default_factory=trio.Event)
    _writing: trio.Lock = field(default_factory=trio.Lock)

    async def add(self, text: str) -> None:
        """Take a line; it is on disk a moment later. A flood waits here for the disk."""
        self._waiting.append(text)
        self._some.set()
        if len(self._waiting) >= MOST_WAITING:
            await self.flush()

    async def flush(self) -> None:
        """Put on disk what waits."""
        async with self._writing:
            texts, self._waiting = self._waiting, []
            if texts:
                await self.keep(texts)

    async def keep_regularly(self) -> None:
        """Flush a moment after each line, until cancelled."""
        while True:
            await self._some.wait()
            await trio.sleep(FLUSH_AFTER_S)  # so that lines which come together are kept together
            self._some = trio.Event()
            await self.flush()

    async def keep(self, texts: Sequence[str]) -> None:
        """Append in one transaction and tell listeners what was kept; a full log keeps no more."""
        first = await self.workers.store(self.log.next_seq, self.order_id)
        end = await self.workers.store(self.log.append, self.order_id, *texts, at=self.desk.now())
        for seq, text in zip(range(first, end), texts, strict=False):
            self.desk.bus.publish("job_log", {"order_id": self.order_id, "seq": seq, "text": text})
        if self.kept is not None:
            self.kept()
