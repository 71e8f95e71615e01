"""What the owner's book-keeping hears of a job on a rig, beside what every agent tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from openstall.compute_agent.serving import Question
from openstall.compute_agent.specs import JobEvent, JobResult, JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The house rules of the machine make the job stand still, or let it go on."""

    still: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What the job has drawn on its machine, in a time in which it was measured."""

    millijoules: int
    milliseconds: int


MachineEvent = JobEvent | Standing | Energy
OnMachineEvent = Callable[[MachineEvent], Awaitable[None]]


class JobRunner(Protocol):
    """Runs jobs: an agent on this machine, or all machines of the owner."""

    async def run(
        self,
        spec: JobSpec,
        inputs: Path,
        outputs: Path,
        on_event: OnMachineEvent,
        *,
        checkpoints: Path | None = None,
    ) -> JobResult:
        """Run one job to its end; see `AgentClient.run`."""

    async def cancel(self, job_id: str) -> None:
        """Stop a job; no effect when it has ended."""

    async def ask(self, job_id: str, question: Question) -> None:
        """Ask a serve job; see `AgentClient.ask`."""
