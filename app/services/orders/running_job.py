"""A job on this machine, from its start to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from openstall.app.services.orders.job_logbook import Logbook
from openstall.app.services.orders.job_wire import JobCheckpoint
from openstall.compute_agent.serving import Answer
from openstall.market.metering import Tick


@dataclass(slots=True)
class RunningJob:
    """A job on this machine: what its followers are told, and whether it must end."""

    changed: trio.Event = field(default_factory=trio.Event)
    started_at: int = 0
    done: int = 0
    total: int = 0
    tick: Tick | None = None
    tick_raw: bytes = b""
    checkpoint: JobCheckpoint | None = None
    paid_micro: int = 0
    stop: str = ""
    held_at: int = 0
    """Since when it stands still because its owner needs the machine; 0 while it works."""
    paused_s: int = 0
    """For how long it has stood still before."""
    energy_mj: int = 0
    measured_ms: int = 0
    machine: str = "this"
    """Where it runs: this machine, or the peer id of a rig."""
    log: Logbook | None = None
    asked: int = 0
    on_answer: Callable[[Answer], None] | None = None
    """Who hears the answers of a job that serves a model."""

    async def note(self, words: str) -> None:
        """A line of the provider's own in the job's log, on disk when this returns."""
        if self.log is not None:
            await self.log.add(words)
            await self.log.flush()

    def tell(self) -> None:
        """Wake the followers."""
        self.changed.set()
        self.changed = trio.Event()
