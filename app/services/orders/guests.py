"""The jobs of others, as the owner's house treats them: held, let go, ended, told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import trio

from openstall.app.logging import get_logger
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.rigs.machines import THIS
from openstall.compute_agent.client import AgentClient
from openstall.market.errors import SandboxError

HOLD_S = 5.0
"""A job that does not stand still by then is ended."""

log = get_logger("openstall.house")


@dataclass(slots=True, kw_only=True)
class JobGuests:
    """Carries the house's word to every running job and to its buyer; see `house.Guests`."""

    provider: JobProvider
    agent: AgentClient
    give_way: Callable[[], None]
    """Ends what else runs for others: a challenge."""

    @property
    def running(self) -> int:
        """How many jobs there are, those that stand still included."""
        return len(self._here)

    @property
    def waiting(self) -> int:
        """How many of them stand still."""
        return sum(job.held_at > 0 for job in self._here.values())

    @property
    def _here(self) -> dict[str, RunningJob]:
        """A rig's jobs are looked after by the house of that rig."""
        return {one: job for one, job in self.provider.jobs.items() if job.machine == THIS}

    async def hold(self, words: str) -> int:
        """All at once; their buyers are told when the machine is free."""
        self.give_way()
        moving = {one: job for one, job in self._here.items() if not job.held_at}
        for job in moving.values():
            job.held_at = self.provider.desk.now()
        async with trio.open_nursery() as nursery:
            for order_id in moving:
                nursery.start_soon(self._suspend, order_id)
        for order_id, job in moving.items():
            await self._say(order_id, job, words, "Paused by the house rules")
        return len(moving)

    async def let_go(self) -> None:
        """All that wait."""
        for order_id, job in self._here.items():
            if job.held_at:
                waited_s, job.held_at = self.provider.desk.now() - job.held_at, 0
                job.paused_s += waited_s
                with suppress(SandboxError):  # the agent is gone, and every job of it
                    await self.agent.resume(order_id)
                await self._say(order_id, job, f"[The job goes on after a pause of {waited_s} s.]", "Running")

    async def end_overdue(self, wait_s: int, why: str) -> None:
        """End those that have waited for longer than the owner lets them; `why`: see `job_ends`."""
        now = self.provider.desk.now()
        for order_id, job in self._here.items():
            if job.held_at and now - job.held_at >= wait_s:
                await self.provider.end(order_id, why)

    async def end_all(self) -> int:
        """End every job on the owner's word, those of rigs too: the offer is taken back."""
        found = list(self.provider.jobs)
        for order_id in found:
            await self.provider.end(order_id, "owner_stopped")
        return len(found)

    async def tell(self, words: str) -> None:
        """A line in the log of every job."""
        for job in self._here.values():
            await job.note(words)

    def note_energy(self, millijoules: int, milliseconds: int) -> None:
        """Share what was measured among the jobs that work."""
        working = [job for job in self._here.values() if not job.held_at]
        for job in working:
            job.energy_mj += millijoules // len(working)
            job.measured_ms += milliseconds

    async def _suspend(self, order_id: str) -> None:
        with suppress(SandboxError), trio.move_on_after(HOLD_S) as late:
            await self.agent.suspend(order_id)
        if late.cancelled_caught:
            log.error("job not held in time, ending it", order=order_id)
            with suppress(SandboxError), trio.move_on_after(HOLD_S):
                await self.provider.end(order_id, "owner_stopped")

    async def _say(self, order_id: str, job: RunningJob, words: str, stage: str) -> None:
        await job.note(words)
        self.provider.desk.progress(order_id, stage, job.done, job.total, "steps")
        job.tell()
