"""What a Ray worker does for one job: it starts our own agent on its machine, and that starts the sandbox.

Ray's code and its access to the cluster stay outside: the job sees what every job sees. Inputs arrive as
bytes from the object store and are compared with the SHA-256 that the rig took of them; what the job leaves
goes back as bytes, with the agent's.
"""

from __future__ import annotations

import hashlib
import queue
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import trio

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import (
    Check,
    Checkpoint,
    End,
    Inventory,
    JobEvent,
    JobResult,
    JobSpec,
    Tier,
)
from openstall.compute_agent.wire import Reply, encode_line
from openstall.market import schema
from openstall.market.errors import SandboxError

CHUNK_BYTES = 8 * 1024 * 1024
EVENT, PIECE, FILE_END = b"E", b"P", b"F"
"""First byte of what a worker sends: an event, a piece of a file, the end of a file with its name."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine of the cluster is, as its own agent says."""

    version: str
    tier: Tier
    checks: tuple[Check, ...]
    inventory: Inventory


class InputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a job: how many pieces it comes in, and its SHA-256."""

    name: str
    pieces: int
    sha256: str


def own_version() -> str:
    """The version of this installation; rig and workers must have the same."""
    try:
        return version("openstall")
    except PackageNotFoundError:
        return "checkout"


def examine(fresh: bool = False) -> bytes:  # noqa: FBT001, FBT002 - called by Ray
    """Run the doctor on this machine of the cluster."""
    schema.prepare_for_threads()
    return msgspec.json.encode(trio.run(_examine, fresh))


async def _examine(fresh: bool) -> Examined:  # noqa: FBT001 - as above
    async with _agent() as agent:
        checks = await agent.doctor(fresh=fresh)
        inventory = await agent.probe()
        return Examined(version=own_version(), tier=agent.tier, checks=tuple(checks), inventory=inventory)


class WorkerJob:
    """One job as a Ray actor: `run` works in one thread of it while `tell` answers in another.

    No method of it is async: of a class with a single one Ray makes an actor of one thread.
    """

    def __init__(self) -> None:
        self._work = _Work()

    def run(self, raw_spec: bytes, raw_inputs: bytes, *pieces: bytes) -> Iterator[bytes]:
        """Run the job, and yield what happens until its end."""
        yield from self._work.run(raw_spec, raw_inputs, pieces)

    def tell(self, what: str) -> bool:
        """Cancel, suspend or resume the job; True when that was done."""
        return self._work.tell(what)


class _Work:
    """The job itself, with a trio loop in a thread of its own."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._token: trio.lowlevel.TrioToken | None = None
        self._agent: AgentClient | None = None
        self._job_id = ""

    def run(self, raw_spec: bytes, raw_inputs: bytes, pieces: Sequence[bytes]) -> Iterator[bytes]:
        """See `WorkerJob.run`."""
        schema.prepare_for_threads()
        spec = msgspec.json.decode(raw_spec, type=JobSpec)
        inputs = msgspec.json.decode(raw_inputs, type=list[InputFile])
        self._job_id = spec.job_id
        worker = threading.Thread(target=self._work, args=(spec, inputs, pieces), daemon=True)
        worker.start()
        while (said := self._told.get()) is not None:
            yield said

    def tell(self, what: str) -> bool:
        """See `WorkerJob.tell`."""
        token, agent = self._token, self._agent
        acts: dict[str, Callable[[str], Awaitable[None]]] = (
            {}
            if agent is None
            else {"cancel": agent.cancel, "suspend": agent.suspend, "resume": agent.resume}
        )
        if token is None or what not in acts:
            return False
        try:
            trio.from_thread.run(acts[what], self._job_id, trio_token=token)
        except (trio.RunFinishedError, trio.Cancelled, SandboxError):
            return False  # the job has ended
        return True

    def _work(self, spec: JobSpec, inputs: list[InputFile], pieces: Sequence[bytes]) -> None:
        try:
            trio.run(self._main, spec, inputs, pieces)
        except SandboxError as error:
            self._end(
                JobResult(state="refused", reason=error.code, words=error.message, what_next=error.what_next)
            )
        finally:
            self._told.put(None)

    async def _main(self, spec: JobSpec, inputs: list[InputFile], pieces: Sequence[bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="openstall-ray-") as name:
            place = Path(name)
            (place / "states").mkdir()
            await trio.to_thread.run_sync(_write_inputs, place / "in", inputs, pieces)
            async with _agent() as agent:
                self._token, self._agent = trio.lowlevel.current_trio_token(), agent
                result = await agent.run(
                    spec,
                    place / "in",
                    place / "out",
                    lambda event: self._on_event(place / "states", event),
                    checkpoints=place / "states",
                )
                self._agent = None
            for one in result.outputs:
                await trio.to_thread.run_sync(self._send_file, place / "out" / one.name)
            self._end(result)

    async def _on_event(self, states: Path, event: JobEvent) -> None:
        if isinstance(event, End):
            return  # the last word follows its files
        if isinstance(event, Checkpoint):
            path = states / event.file.name
            await trio.to_thread.run_sync(self._send_file, path)
            path.unlink()
        self._say(event)

    def _send_file(self, path: Path) -> None:
        with path.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                self._told.put(PIECE + piece)
        self._told.put(FILE_END + path.name.encode())

    def _end(self, result: JobResult) -> None:
        self._say(End(result=result))

    def _say(self, event: JobEvent) -> None:
        self._told.put(EVENT + encode_line(Reply(job_id=self._job_id, event=event)))


@asynccontextmanager
async def _agent() -> AsyncIterator[AgentClient]:
    """An agent of this worker's own; it and its sandboxes end with it."""
    agent = AgentClient()
    async with trio.open_nursery() as nursery:
        await agent.start(nursery)
        try:
            yield agent
        finally:
            with trio.CancelScope(shield=True):
                await agent.aclose()
            nursery.cancel_scope.cancel()


def _write_inputs(folder: Path, inputs: list[InputFile], pieces: Sequence[bytes]) -> None:
    folder.mkdir()
    left = iter(pieces)
    for one in inputs:
        digest = hashlib.sha256()
        with (folder / one.name).open("wb") as file:
            for _ in range(one.pieces):
                piece = next(left)
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != one.sha256:
            raise SandboxError(
                "bad_job_inputs", f"The job's {one.name} came changed to the machine of the cluster."
            )
