"""Watches one sandbox from start to death: its log, its events, its limits, its clock.

Everything that arrives from inside is hostile: capped, decoded strictly, and stripped of control
characters before anybody sees it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import trio

from openstall.compute_agent.collector import take
from openstall.compute_agent.sandbox.events import (
    EVENT_CAP_BYTES,
    EVENTS,
    Begin,
    Fault,
    Ready,
    Saved,
    Stage1,
    Step,
)
from openstall.compute_agent.sandbox.gpu_memory import watch
from openstall.compute_agent.sandbox.hold import Hold, let_go, stop_all
from openstall.compute_agent.sandbox.launcher import Running
from openstall.compute_agent.sandbox.log_lines import LogLines, plain_text
from openstall.compute_agent.sandbox.plan import INODE_CAP, Plan
from openstall.compute_agent.sandbox.settling import take_hold
from openstall.compute_agent.sandbox.talk import Talk
from openstall.compute_agent.sandbox.usage import Sample, sample
from openstall.compute_agent.specs import (
    Checkpoint,
    FirstOutput,
    JobEvent,
    LogLine,
    Progress,
    Usage,
    UsageTick,
)
from openstall.market.errors import SandboxError
from openstall.market.mechanisms.blame import blame

POLL_S: Final = 0.1
_STOPPING_S: Final = 0.002
_READY_TIMEOUT_S: Final = 20.0
_TICK_S: Final = 1.0
_PROGRESS_S: Final = 0.1
_CHECKPOINT_GAP_S: Final = 2.0
_LOG_OVERRUN: Final = 4
_SLACK_TASKS: Final = 4  # pid 1 of the sandbox, and one look between fork and death

Emit = Callable[[JobEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a sandbox ended. `limit` names the limit it broke; `fault` is what the job said of itself."""

    exit_code: int
    limit: str = ""
    cancelled: bool = False
    fault: tuple[str, str, str] | None = None
    usage: Usage
    landlock: int = 0


class Supervisor:
    """One sandbox's life: `outcome = await Supervisor(...).run()`."""

    def __init__(
        self,
        *,
        running: Running,
        plan: Plan,
        emit: Emit,
        cancel: trio.Event,
        hold: Hold | None = None,
        talk: Talk | None = None,
    ) -> None:
        self._talk = talk
        self._hold = hold or Hold()
        self._held_at: float | None = None
        self._held_s = 0.0
        self._held_before_s = 0.0
        self._running = running
        self._plan = plan
        self._limits = plan.limits
        self._emit = emit
        self._cancel = cancel
        self._launched = trio.current_time()
        self._ready = trio.Event()
        self._starting = trio.CancelScope()
        self._begun: float | None = None
        self._ended: float | None = None
        self._limit = ""
        self._fault: tuple[str, str, str] | None = None
        self._landlock = running.landlock or 0
        self._cpu_before_s = running.cpu_before_s
        self._peak_bytes = 0
        self._cpu_s = 0.0
        self._seq = 0
        self._last_progress = -_PROGRESS_S
        self._held_progress: Step | None = None
        self._next_checkpoint = 0.0
        self._checkpoints = 0

    async def run(self) -> Outcome:
        """Supervise until every process of the sandbox is dead. Cancelling kills the sandbox first."""
        status = -1
        if self._running.landlock is not None:
            self._ready.set()
            self._running.send_params(self._plan)
        try:
            async with trio.open_nursery() as watchers:
                watchers.start_soon(self._watch_cancel)
                watchers.start_soon(self._watch_clock)
                watchers.start_soon(self._watch_hold)
                if self._plan.gpu is not None:
                    cap_bytes = self._limits.gpu_memory_bytes
                    watchers.start_soon(watch, self._running, self._plan.gpu, cap_bytes, self._stop)
                if self._talk is not None:
                    watchers.start_soon(self._talk.write, self._running)
                async with trio.open_nursery() as readers:
                    readers.start_soon(self._read_log)
                    readers.start_soon(self._read_events)
                    if self._talk is not None:
                        readers.start_soon(self._talk.read, self._running, self._emit, self._refuse)
                    if self._running.landlock is None:
                        readers.start_soon(self._begin_when_ready)
                    status = await self._wait_dead()
                    self._starting.cancel()
                watchers.cancel_scope.cancel()
        finally:
            self._hold.end()
            if status < 0:
                self._running.kill()
                with trio.CancelScope(shield=True):
                    await self._wait_dead()
        if self._held_progress is not None:
            await self._emit(Progress(done=self._held_progress.done, total=self._held_progress.total))
        if self._begun is not None:
            await self._emit(UsageTick(usage=self._usage()))
        return Outcome(
            exit_code=status,
            limit=self._limit,
            cancelled=self._cancel.is_set() and not self._limit,
            fault=self._fault,
            usage=self._usage(),
            landlock=self._landlock,
        )

    def _stop(self, limit: str) -> None:
        if not self._limit and self._ended is None:
            self._limit = limit
        self._running.kill()

    def _refuse(self, error: SandboxError) -> None:
        """The job broke the rules of its pipes."""
        self._fault = (error.code, plain_text(error.message.encode()), "")
        self._running.kill()

    async def _wait_dead(self) -> int:
        """Exit status of the outermost process, after the last process inside is gone."""
        await trio.lowlevel.wait_readable(self._running.outer_pidfd)
        self._ended = self._ended or trio.current_time()
        _pid, raw, spent = os.wait4(self._running.process.pid, 0)  # noqa: ASYNC222 - dead already
        status = os.waitstatus_to_exitcode(raw)
        self._running.process.returncode = status
        self._cpu_s = max(self._cpu_s, spent.ru_utime + spent.ru_stime - self._cpu_before_s)
        await trio.lowlevel.wait_readable(self._running.init_pidfd)
        return status if status >= 0 else 128 - status

    async def _begin_when_ready(self) -> None:
        self._starting.deadline = trio.current_time() + _READY_TIMEOUT_S
        with self._starting:
            await self._ready.wait()
        if not self._ready.is_set():
            self._stop("start")
            return
        try:
            take_hold(self._running, self._plan)
        except OSError as error:
            self._fault = ("sandbox_start_failed", f"its folders cannot be reached: {error}", "")
            self._running.kill()
            return
        self._running.send_params(self._plan)

    async def _watch_cancel(self) -> None:
        await self._cancel.wait()
        self._running.kill()

    async def _watch_hold(self) -> None:
        """Stop and let go as the owner's house asks; look again, so that it stays so."""
        while True:
            changed, wanted = self._hold.changed, self._hold.wanted
            if wanted and self._held_at is None:
                self._held_at = self._hold.since
                self._starting.deadline = math.inf
            if self._held_at is not None and not stop_all(self._running):
                await trio.sleep(_STOPPING_S)
                continue
            if not wanted and self._held_at is not None:
                let_go(self._running)
                self._held_s, self._held_at = self._held(), None
                self._starting.deadline = trio.current_time() + _READY_TIMEOUT_S
            self._hold.confirm(still=wanted)
            with trio.move_on_after(POLL_S if wanted else math.inf):
                await changed.wait()

    def _held(self) -> float:
        """Seconds that the job has stood still so far; neither paid nor counted against its time."""
        now = self._ended or trio.current_time()
        return self._held_s + (max(0.0, now - self._held_at) if self._held_at is not None else 0.0)

    async def _watch_clock(self) -> None:
        await self._ready.wait()
        begun, before_s = trio.current_time(), self._held()
        next_tick = trio.current_time()
        while True:
            now = trio.current_time()
            deadline = begun + self._limits.wall_s + self._held() - before_s
            if now >= deadline:
                self._stop("wall")
                return
            seen = sample(self._running)
            self._peak_bytes = max(self._peak_bytes, seen.memory_bytes)
            self._cpu_s = max(self._cpu_s, seen.cpu_s - self._cpu_before_s)
            broken = self._broken_limit(seen)
            if broken:
                self._stop(broken)
                return
            if now >= next_tick and self._begun is not None and self._held_at is None:
                next_tick = now + _TICK_S
                await self._emit(UsageTick(usage=self._usage()))
            await trio.sleep(min(POLL_S, max(deadline - now, 0.001)))

    def _broken_limit(self, seen: Sample) -> str:
        if seen.memory_bytes > self._limits.memory_bytes:
            return "memory"
        if self._cpu_s > self._limits.cpu_s:
            return "cpu"
        if seen.inodes > INODE_CAP:
            return "files"
        if seen.disk_bytes > self._limits.disk_bytes:
            return "disk"
        if seen.tasks > self._limits.processes + _SLACK_TASKS:
            return "processes"
        return ""

    def _usage(self) -> Usage:
        seconds = 0
        if self._begun is not None:
            # begun seconds: -(-x // 1) rounds up
            worked_s = (self._ended or trio.current_time()) - self._begun - self._held() + self._held_before_s
            seconds = int(-(-worked_s // 1))
        return Usage(
            seconds_useful=max(seconds, 1 if self._begun is not None else 0),
            cpu_s=round(self._cpu_s),
            peak_memory_bytes=self._peak_bytes,
        )

    async def _read_log(self) -> None:
        log = LogLines(cap_bytes=self._limits.log_bytes)
        async with trio.lowlevel.FdStream(self._running.log_fd) as stream:
            while data := await stream.receive_some(65536):
                for text in log.feed(data):
                    await self._log(text)
                if log.received > self._limits.log_bytes * _LOG_OVERRUN:
                    self._stop("log")
                    return
        for text in log.rest():
            await self._log(text)

    async def _log(self, text: str) -> None:
        if self._plan.silent:
            return
        seq, self._seq = self._seq, self._seq + 1
        await self._emit(LogLine(seq=seq, text=text))

    async def _read_events(self) -> None:
        received = 0
        pending = bytearray()
        async with trio.lowlevel.FdStream(self._running.events_fd) as stream:
            while data := await stream.receive_some(65536):
                received += len(data)
                pending += data
                while (end := pending.find(b"\n")) >= 0:
                    line = bytes(pending[:end])
                    del pending[: end + 1]
                    await self._event(line)
                if len(pending) > EVENT_CAP_BYTES or received > self._limits.log_bytes * _LOG_OVERRUN:
                    self._stop("log")
                    return

    async def _event(self, line: bytes) -> None:
        try:
            event = EVENTS.decode(line[:EVENT_CAP_BYTES])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._fault = ("bad_event", f"the job wrote nonsense on its event pipe: {error}", "")
            self._running.kill()
            return
        if isinstance(event, Ready):
            self._landlock = event.landlock
            self._ready.set()
        elif isinstance(event, Stage1) and not self._ready.is_set():
            words = plain_text(event.words.encode())
            self._fault = ("sandbox_start_failed", words, "Run `openstall doctor`.")
        elif isinstance(event, Begin):
            await self._begin()
        elif isinstance(event, Fault):
            # What runs inside may say what it likes of itself, but blame the provider for nothing.
            # A full disk is that of the job here, and becomes its limit.
            accuses = event.code != "disk_full" and blame("failed", event.code).who == "provider"
            self._fault = (
                "job_error" if accuses else event.code,
                plain_text(event.words.encode()),
                plain_text(event.what_next.encode()),
            )
        elif isinstance(event, Saved):
            await self._keep_checkpoint(event)
        elif isinstance(event, Step):
            await self._begin()
            await self._progress(event)
        else:
            self._fault = ("bad_event", "the job spoke as if its sandbox were not ready yet", "")
            self._running.kill()

    async def _begin(self) -> None:
        if self._begun is None and self._ready.is_set():
            self._begun, self._held_before_s = trio.current_time(), self._held()
            await self._emit(FirstOutput(start_ms=round((self._begun - self._launched) * 1000)))

    async def _keep_checkpoint(self, saved: Saved) -> None:
        """Copy the state of the job out; one that comes too soon, or cannot be taken, is left alone."""
        folder, now = self._plan.checkpoints, trio.current_time()
        if folder is None or self._begun is None or now < self._next_checkpoint:
            return
        self._next_checkpoint = now + _CHECKPOINT_GAP_S
        self._checkpoints += 1
        name, target = f"checkpoint{saved.slot}.safetensors", folder / f"{self._checkpoints}.safetensors"
        cap_bytes = self._limits.disk_bytes
        try:
            taken = await trio.to_thread.run_sync(
                take, self._running.folders["job/out"], name, cap_bytes, target
            )
        except SandboxError as error:
            await self._log(f"[a checkpoint was not kept: {error.message}]")
            return
        await self._emit(Checkpoint(file=taken, done=saved.done))

    async def _progress(self, step: Step) -> None:
        if self._plan.silent:
            return
        now = trio.current_time()
        if now - self._last_progress < _PROGRESS_S and step.done < step.total:
            self._held_progress = step
            return
        self._last_progress, self._held_progress = now, None
        await self._emit(Progress(done=step.done, total=step.total))


async def supervise(
    *,
    running: Running,
    plan: Plan,
    emit: Emit,
    cancel: trio.Event,
    hold: Hold | None = None,
    talk: Talk | None = None,
) -> Outcome:
    """Run `plan`'s sandbox to its end. The caller collects outputs, then calls `running.close()`.

    Raises SandboxError `sandbox_start_failed` when the job never came to its first line.
    """
    outcome = await Supervisor(
        running=running, plan=plan, emit=emit, cancel=cancel, hold=hold, talk=talk
    ).run()
    stopped = outcome.cancelled or outcome.limit
    if not stopped and outcome.fault is not None and outcome.fault[0] == "sandbox_start_failed":
        raise SandboxError(
            outcome.fault[0],
            f"The sandbox could not be started: {outcome.fault[1]}.",
            outcome.fault[2] or "Run `openstall doctor`: it names the cause and the fix.",
        )
    return outcome
