"""What stands in for the other party's computer in `trade_lab`: its agent, its catalogue, its places."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openstall.app.services.rigs.machines import THIS, Needs
from openstall.compute_agent.serving import Question
from openstall.compute_agent.specs import FirstOutput, JobResult, OutputFile, Usage, UsageTick
from openstall.market.errors import NotFound
from openstall.market.records import SignedRecord
from openstall.p2p.blob_transfer import FileServer

JobScript = Callable[[Any, Path, Path, Any], Awaitable[JobResult]]


async def no_mirrors(_listing: str) -> list[FileServer]:
    """The listings of this lab name no web servers."""
    return []


@dataclass
class ScriptedAgent:
    """Runs the test's own function as the job."""

    script: JobScript | None = None
    cancelled: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.heard, self.asked = trio.open_memory_channel[Question](100)

    async def run(
        self,
        spec: Any,
        inputs: Path,
        outputs: Path,
        on_event: Any,
        *,
        checkpoints: Path,  # noqa: ARG002 - the signature of the real client
    ) -> JobResult:
        self.ran.append(spec.job_id)
        assert self.script is not None
        return await self.script(spec, inputs, outputs, on_event)

    async def ask(self, _job_id: str, question: Question) -> None:
        self.questions.append(question)
        await self.heard.send(question)

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)


@dataclass(slots=True)
class Shelf:
    """The records that everybody knows."""

    records: dict[str, SignedRecord] = field(default_factory=dict)

    async def live_record(self, cid: str) -> SignedRecord:
        if cid not in self.records:
            raise NotFound("no_such_record", "That is not in the catalogue (any more).")
        return self.records[cid]

    async def find(self, **_query: Any) -> dict[str, Any]:
        return {"items": [], "total": 0}

    async def held(self, cid: str) -> SignedRecord | None:
        return self.records.get(cid)

    async def peer_of(self, _wallet: str) -> str | None:
        return None

    async def wallet_of(self, _peer_id: str) -> str:
        return ""


@dataclass(slots=True)
class LabPlaces:
    """As many places as the test says, all on one machine that is always there."""

    most: Callable[[], int]
    taken: set[str] = field(default_factory=set)

    async def take(self, order_id: str, _needs: Needs, before: Sequence[str]) -> bool:
        if len(self.taken) + len(before) >= self.most():
            return False
        self.taken.add(order_id)
        return True

    def leave(self, order_id: str) -> None:
        self.taken.discard(order_id)

    def machine_of(self, _order_id: str) -> str:
        return THIS

    def connected(self, _order_id: str) -> bool:
        return True


def leave(outputs: Path, content: bytes) -> None:
    outputs.mkdir()
    (outputs / "model.onnx").write_bytes(content)


def works_for(seconds: int, output: bytes = b"result") -> Any:
    """A job that is useful for so many seconds and leaves one file."""

    async def script(_spec: Any, _inputs: Path, outputs: Path, on_event: Any) -> JobResult:
        leave(outputs, output)
        usage = Usage(seconds_useful=seconds)
        await on_event(FirstOutput(start_ms=1))
        await on_event(UsageTick(usage=usage))
        return JobResult(
            state="done",
            reason="done",
            words="Done.",
            outputs=(OutputFile(name="model.onnx", size=len(output), sha256="00" * 32),),
            usage=usage,
        )

    return script
