"""The node's side of one connected rig: commands, the state it tells, and jobs as an agent runs them.

Nothing that a rig sends is believed beyond its job: results are fetched by address, and their names, sizes
and SHA-256 are compared with what the job may leave before anybody else sees them. When the connection
ends, every job of it ends as `agent_lost`, as where the agent of this machine dies.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openstall.app.logging import get_logger
from openstall.app.services.rigs.events import Energy, OnMachineEvent, Standing
from openstall.app.services.rigs.files import RigFiles
from openstall.app.services.rigs.wire import (
    BEAT_S,
    LOST_S,
    Begun,
    Command,
    Drawn,
    Ended,
    Event,
    FileRef,
    FromNode,
    FromRig,
    Log,
    Run,
    Saved,
    State,
    Steps,
    Stood,
    Used,
    check_names,
    read_from_rig,
    usage_of,
    write,
)
from openstall.compute_agent import specs
from openstall.compute_agent.jobs import allowed_outputs
from openstall.compute_agent.wire import lost as wire_lost
from openstall.market.errors import Conflict, OpenstallError, PeerError, SandboxError
from openstall.market.text import clean
from openstall.p2p.framing import Cut, Framed
from openstall.p2p.nurseries import single_errors

BACKLOG = 256
ANSWER_S = 15.0
MOST_W = 10_000
"""More than any machine draws; what a rig says of its energy beyond that is not kept."""

log = get_logger("openstall.rigs")


@dataclass(slots=True, eq=False)
class _Job:
    spec: specs.JobSpec
    send: trio.MemorySendChannel[Event]
    usage: specs.Usage = field(default_factory=specs.Usage)
    since: float = field(default_factory=trio.current_time)
    measured_ms: int = 0
    newest: Saved | None = None
    heard: trio.Event = field(default_factory=trio.Event)


class RigLink:
    """One rig while it is connected. All methods are for the trio thread."""

    def __init__(self, *, peer_id: str, name: str, stream: Framed, files: RigFiles) -> None:
        self.peer_id = peer_id
        self.name = name
        self.state: State | None = None
        self.left = False
        """Whether the rig's user has ended the pairing."""
        self._stream = stream
        self._files = files
        self._jobs: dict[str, _Job] = {}
        self._answers: dict[int, trio.MemorySendChannel[FromRig]] = {}
        self._next_id = 1
        self._open = True
        self._scope = trio.CancelScope()

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs that this rig runs for us."""
        return frozenset(self._jobs)

    async def serve(self, owner: str, told: Callable[[], None]) -> None:
        """Greet the rig and listen until it is gone; `told` is called when its state has changed.

        Raises:
            PeerError: the connection broke, or the rig sent what makes no sense.
        """
        try:
            with single_errors(), self._scope:
                async with trio.open_nursery() as nursery:
                    await self._send(FromNode(welcome=owner))
                    nursery.start_soon(self._beat)
                    await self._listen(told)
                    nursery.cancel_scope.cancel()
        finally:
            self._open = False
            for job in self._jobs.values():
                job.send.close()
            for waiting in self._answers.values():
                waiting.close()

    async def unpair(self) -> None:
        """Tell the rig that its owner wants it no more, and end the connection."""
        with suppress(PeerError), trio.move_on_after(BEAT_S):
            await self._stream.send(write(FromNode(unpaired=True)))
        self.close()

    def close(self) -> None:
        """End the connection; jobs of it are lost."""
        self._scope.cancel()

    async def pause(self) -> None:
        """Have the rig's jobs stand still, and none start."""
        await self._ask("pause")

    async def resume(self) -> None:
        """Take that back; the rig's own rules hold as before."""
        await self._ask("resume")

    async def cancel(self, job_id: str) -> None:
        """Stop a job; no effect when it has ended. Its `run` returns.

        Nobody waits for an answer: the events of this very job may stand before it.
        """
        if job_id in self._jobs and self._open:
            with suppress(PeerError):
                await self._tell("cancel", job=job_id)

    async def run(
        self,
        spec: specs.JobSpec,
        inputs: Path,
        outputs: Path,
        on_event: OnMachineEvent,
        *,
        checkpoints: Path | None,
    ) -> specs.JobResult:
        """Run one job on the rig; as `AgentClient.run`."""
        if spec.job_id in self._jobs:
            raise Conflict("job_running", f"Job {spec.job_id} is already running there.")
        if not self._open:
            return lost(specs.Usage())
        send, receive = trio.open_memory_channel[Event](BACKLOG)
        job = self._jobs[spec.job_id] = _Job(spec, send)
        offered: list[FileRef] = []
        ended = False
        try:
            for path in await trio.to_thread.run_sync(lambda: sorted(inputs.iterdir())):
                one = await self._files.offer(path, self.peer_id)
                offered.append(one)  # one by one: what was offered is taken back, also after a failure
            await self._ask("run", run=Run(spec=spec, inputs=tuple(offered)))
            end = await self._follow(job, receive, on_event, checkpoints)
            ended = True
            return lost(job.usage) if end is None else await self._take_results(job, end, outputs)
        except SandboxError as error:
            ended = True
            return specs.JobResult(
                state="refused", reason=error.code, words=error.message, what_next=error.what_next
            )
        except PeerError:
            return lost(job.usage)
        finally:
            receive.close()  # or events that nobody takes would hold up the whole link
            with trio.CancelScope(shield=True):
                if not ended:
                    await self.cancel(spec.job_id)
                if self._open:
                    with suppress(PeerError), trio.move_on_after(BEAT_S):
                        await self._tell("forget", job=spec.job_id)
                await self._files.drop(offered, self.peer_id)
            del self._jobs[spec.job_id]

    async def _follow(
        self,
        job: _Job,
        receive: trio.MemoryReceiveChannel[Event],
        on_event: OnMachineEvent,
        checkpoints: Path | None,
    ) -> Ended | None:
        """The job's last event, or None where the rig is gone before it."""
        with single_errors():
            async with trio.open_nursery() as nursery:
                if checkpoints is not None:
                    nursery.start_soon(self._bring_checkpoints, job, checkpoints, on_event)
                async for event in receive:
                    if isinstance(event, Ended):
                        nursery.cancel_scope.cancel()
                        return event
                    await self._pass_on(job, event, on_event)
                nursery.cancel_scope.cancel()
        return None

    async def _pass_on(self, job: _Job, event: Event, on_event: OnMachineEvent) -> None:
        match event:
            case Log():
                await on_event(specs.LogLine(seq=event.seq, text=event.text))
            case Begun():
                await on_event(specs.FirstOutput(start_ms=event.start_ms))
            case Steps():
                await on_event(specs.Progress(done=event.done, total=event.total))
            case Used():
                job.usage = usage_of(event)
                await on_event(specs.UsageTick(usage=job.usage))
            case Stood():
                await on_event(Standing(still=event.still, words=clean(event.words)))
            case Drawn():
                await on_event(_believed(job, event))
            case Saved():
                job.newest = event
                job.heard.set()
                job.heard = trio.Event()

    async def _bring_checkpoints(self, job: _Job, folder: Path, on_event: OnMachineEvent) -> None:
        """The newest each time; the job does not wait for it."""
        done: Saved | None = None
        while True:
            heard, newest = job.heard, job.newest
            if newest is None or newest is done:
                await heard.wait()
                continue
            done = newest
            try:
                check_names((newest.file,))
                _check_size((newest.file,), job.spec.limits.disk_bytes)
                await self._files.bring(newest.file, self.peer_id, folder)
            except OpenstallError as error:
                # the job itself does not need it, and the next one is tried again
                log.info("checkpoint of a rig not fetched", rig=self.peer_id, code=error.code)
                continue
            file = specs.OutputFile(name=newest.file.name, size=newest.file.size, sha256=newest.file.sha256)
            await on_event(specs.Checkpoint(file=file, done=newest.done))

    async def _take_results(self, job: _Job, end: Ended, outputs: Path) -> specs.JobResult:
        """The result of the job with its files here, each compared with what the job may leave."""
        job.usage = usage_of(end.used)
        await trio.to_thread.run_sync(lambda: outputs.mkdir(parents=True, exist_ok=True))
        if end.outputs:
            allowed = allowed_outputs(job.spec)
            if end.state != "done" or {one.name for one in end.outputs} != set(allowed):
                raise PeerError("wrong_results", "The rig sent other files than the job leaves.")
            check_names(end.outputs)
            for one in end.outputs:
                _check_size((one,), allowed[one.name])
        elif end.state == "done":
            raise PeerError("wrong_results", "The rig says that the job is done, and sent no results.")
        for one in end.outputs:
            await self._files.bring(one, self.peer_id, outputs)
        return specs.JobResult(
            state=end.state,
            reason=end.reason,
            words=clean(end.words),
            what_next=clean(end.what_next),
            outputs=tuple(
                specs.OutputFile(name=one.name, size=one.size, sha256=one.sha256) for one in end.outputs
            ),
            usage=job.usage,
        )

    async def _listen(self, told: Callable[[], None]) -> None:
        while (raw := await self._stream.receive(timeout_s=LOST_S)) is not None:
            message = read_from_rig(raw)
            if message.leave:
                self.left = True
                return
            if message.state is not None:
                before, self.state = self.state, message.state
                if before is None or _standing(before) != _standing(message.state):
                    told()
            if message.answer is not None and message.answer in self._answers:
                self._answers[message.answer].send_nowait(message)
            job = self._jobs.get(message.job or "")
            if job is not None and message.event is not None:
                with suppress(trio.BrokenResourceError):  # the job has ended here meanwhile
                    await job.send.send(message.event)

    async def _beat(self) -> None:
        with suppress(PeerError):  # whoever listens notices
            while True:
                await trio.sleep(BEAT_S)
                await self._send(FromNode())

    async def _send(self, message: FromNode) -> None:
        """Whole, or the connection ends: a job that is let go leaves no half frame before those of others."""
        try:
            await self._stream.send_whole(write(message), within_s=LOST_S)
        except Cut:
            self.close()
            raise

    async def _tell(self, do: Any, **parts: Any) -> int:
        number = self._next_id
        self._next_id += 1
        await self._send(FromNode(command=Command(id=number, do=do, **parts)))
        return number

    async def _ask(self, do: Any, **parts: Any) -> None:
        """Have a command carried out.

        Raises:
            SandboxError: the rig refused, in its own words.
            PeerError: the rig is gone, or does not answer.
        """
        if not self._open:
            raise _gone()
        send, receive = trio.open_memory_channel[FromRig](1)
        number = self._next_id
        self._answers[number] = send
        try:
            await self._tell(do, **parts)
            with trio.fail_after(ANSWER_S):
                answer = await receive.receive()
        except (trio.TooSlowError, trio.EndOfChannel) as error:
            raise _gone() from error
        finally:
            self._answers.pop(number, None)
        if answer.refusal is not None:
            refusal = answer.refusal
            raise SandboxError(refusal.code, clean(refusal.message), clean(refusal.what_next))


def lost(usage: specs.Usage) -> specs.JobResult:
    """The result of a job whose machine is gone."""
    return wire_lost(usage, "The provider's machine that ran the job was lost while the job ran.")


def _standing(state: State) -> tuple[Any, ...]:
    """What matters to the jobs that wait; the load of a machine moves all the time."""
    room = (
        state.places,
        state.threads,
        state.memory_bytes,
        state.disk_bytes,
        state.job_threads,
        state.closes_at,
    )
    return (state.house, state.words, state.tier, *room)


def _believed(job: _Job, drawn: Drawn) -> Energy:
    """Of what a rig says that a job drew: no more time than has passed here, nor power than there can be."""
    passed_ms = round((trio.current_time() - job.since) * 1000)
    milliseconds = min(drawn.milliseconds, max(0, passed_ms - job.measured_ms))
    job.measured_ms += milliseconds
    return Energy(millijoules=min(drawn.millijoules, milliseconds * MOST_W), milliseconds=milliseconds)


def _check_size(files: tuple[FileRef, ...], cap: int) -> None:
    if any(one.size > cap for one in files):
        raise PeerError("wrong_results", "The rig sent a file that is larger than the job may leave.")


def _gone() -> PeerError:
    return PeerError(
        "rig_gone",
        "That machine is not connected.",
        "See that it is switched on and `openstall rig run` runs.",
    )
