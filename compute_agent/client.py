"""The node's side of the compute agent: starts the child process, keeps it alive, runs jobs in it.

All methods are for one trio thread. The agent is started again when it dies; whatever it was doing
then ends as `agent_lost`, and nothing of a job outlives its agent.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, aclosing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import trio

from openstall.compute_agent.lines import lines_of
from openstall.compute_agent.serving import Question
from openstall.compute_agent.specs import (
    Check,
    End,
    Inventory,
    JobEvent,
    JobResult,
    JobSpec,
    RuntimeState,
    Tier,
    Usage,
    UsageTick,
)
from openstall.compute_agent.wire import (
    HELLO,
    Op,
    Reply,
    Request,
    WarmStock,
    Watch,
    decode_reply,
    encode_line,
    lost,
)
from openstall.market.errors import Conflict, SandboxError
from openstall.market.house import Facts

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)

_HELLO_TIMEOUT_S = 30.0
_RESTART_FIRST_S = 0.2
_RESTART_LONGEST_S = 10.0
_CLOSE_GRACE_S = 3.0

OnEvent = Callable[[JobEvent], Awaitable[None]]


def agent_command() -> tuple[str, ...]:
    """The agent with this process's own interpreter."""
    return (sys.executable, "-P", "-m", "openstall.compute_agent.agent")


class AgentClient:
    """Owns one agent process. Use: `await client.start(nursery)`, calls, `await client.aclose()`."""

    def __init__(
        self,
        *,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        log_path: Path | None = None,
    ) -> None:
        """`environment` replaces the inherited one; `log_path` receives the agent's own stderr."""
        self._command = tuple(command) if command is not None else agent_command()
        self._environment = dict(environment) if environment is not None else None
        self._log_path = log_path
        self._process: trio.Process | None = None
        self._tier: Tier | None = None
        self._warm: WarmStock | None = None
        self._send_lock = trio.Lock()
        self._ready = trio.Event()
        self._closing = False
        self._finished = trio.Event()
        self._next_id = 0
        self._replies: dict[int, trio.MemorySendChannel[Reply]] = {}
        self._jobs: dict[str, trio.MemorySendChannel[JobEvent]] = {}

    @property
    def running(self) -> bool:
        """Whether an agent process is up and has said hello."""
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        """Process id of the present agent."""
        return self._process.pid if self._process is not None else None

    @property
    def tier(self) -> Tier:
        """The tier of the sandbox as the last `doctor` found it; `none` before."""
        return self._tier or "none"

    @property
    def examined(self) -> bool:
        """Whether `doctor` has run, so that `tier` is what it found."""
        return self._tier is not None

    @property
    def largest_job(self) -> tuple[int, int] | None:
        """Threads and bytes of memory that one job may have, where that is less than all jobs together."""
        return None

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the agent and wait for its hello; it is then kept alive inside `nursery`.

        Raises SandboxError `agent_not_starting` when the process ends or stays silent for 30 s.
        """
        await nursery.start(self._keep_alive)

    async def aclose(self) -> None:
        """End the agent and every job in it. Returns when the process is gone."""
        self._closing = True
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            await process.stdin.aclose()
        with trio.move_on_after(_CLOSE_GRACE_S):
            await self._finished.wait()
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await self._finished.wait()

    async def probe(self) -> Inventory:
        """What the machine has, read now."""
        reply = await self._ask("probe")
        if reply.inventory is None:
            raise _broken("probe")
        return reply.inventory

    async def doctor(self, *, fresh: bool = False) -> list[Check]:
        """Run the self-test with real sandboxes; takes a second or two, and some more where it is `fresh`.

        Otherwise the workload runtime's libraries are not loaded again where that went well before.
        """
        reply = await self._ask("doctor", fresh=fresh)
        if reply.checks is None or reply.tier is None:
            raise _broken("doctor")
        self._tier = reply.tier
        return list(reply.checks)

    async def runtime(self) -> RuntimeState:
        """Where the workload runtime is and what it contains."""
        reply = await self._ask("runtime")
        if reply.runtime is None:
            raise _broken("runtime")
        return reply.runtime

    async def sense(self, watch: Watch) -> Facts:
        """What the sensors say now, of those that are asked for."""
        reply = await self._ask("sense", watch=watch)
        if reply.facts is None:
            raise _broken("sense")
        return reply.facts

    async def keep_warm(self, stock: WarmStock | None) -> tuple[str, ...]:
        """Have sandboxes held ready from now on, also by an agent that is started again; None: none.

        Returns the kinds for which one waits; takes seconds. Raises SandboxError when there is no sandbox.
        """
        self._warm = stock
        reply = await self._ask("warm", warm=stock)
        if reply.held is None:
            raise _broken("warm")
        return reply.held

    async def cancel(self, job_id: str) -> None:
        """Stop a job. No effect when it has ended; its `run` returns state `cancelled`."""
        if job_id in self._jobs:
            await self._ask("cancel", job_id=job_id)

    async def suspend(self, job_id: str) -> None:
        """Make a job stand still; returns when it uses the processor no more. No effect when it has ended."""
        if job_id in self._jobs:
            await self._ask("suspend", job_id=job_id)

    async def ask(self, job_id: str, question: Question) -> None:
        """Ask a serve job; it answers by events. Raises SandboxError `not_serving`, `too_many_open`."""
        await self._ask("ask", job_id=job_id, question=question)

    async def resume(self, job_id: str) -> None:
        """Let a job go on that stands still."""
        if job_id in self._jobs:
            await self._ask("resume", job_id=job_id)

    async def run(
        self,
        spec: JobSpec,
        inputs: Path,
        outputs: Path,
        on_event: OnEvent,
        *,
        checkpoints: Path | None = None,
        gpus: tuple[str, ...] = (),
    ) -> JobResult:
        """Run one job to its end and return how it ended; never raises for what the job did.

        Absolute paths. `inputs` is a folder of this job alone with plain files; as root the agent
        makes them readable to everybody: keep it inside a private folder. `outputs` is created and
        holds only the collected artefacts afterwards. `checkpoints` is an existing folder for the states
        of the job that `Checkpoint` events name. `gpus` are the devices that may be used, by the driver's
        ids; the job gets as many of them as it rents. Cancelling this call cancels the job.
        Raises Conflict `job_running` when a job of this id runs already.
        """
        if spec.job_id in self._jobs:
            raise Conflict("job_running", f"Job {spec.job_id} is already running here.")
        send, receive = trio.open_memory_channel[JobEvent](math.inf)
        self._jobs[spec.job_id] = send
        ended = False
        usage = Usage()
        try:
            await self._ask(
                "run",
                spec=spec,
                inputs=str(inputs),
                outputs=str(outputs),
                checkpoints=str(checkpoints) if checkpoints is not None else None,
                gpus=gpus,
            )
            async for event in receive:
                if isinstance(event, UsageTick):
                    usage = event.usage
                if isinstance(event, End):
                    ended = True
                    await on_event(event)
                    return event.result
                await on_event(event)
            ended = True
            return lost(usage)
        except SandboxError as error:
            ended = True
            if error.code == "agent_lost":
                return lost(usage)
            return JobResult(
                state="refused",
                reason=error.code,
                words=error.message,
                what_next=error.what_next,
            )
        finally:
            if not ended and self.running:
                with (
                    trio.CancelScope(shield=True),
                    trio.move_on_after(_CLOSE_GRACE_S),
                    suppress(SandboxError),
                ):
                    await self.cancel(spec.job_id)
            self._jobs.pop(spec.job_id, None)

    async def _ask(self, op: Op, **parts: Any) -> Reply:
        """Send a request with these fields, and wait for its reply."""
        process = self._process
        if self._closing or process is None or process.stdin is None:
            raise _gone()
        request_id = self._next_id
        self._next_id += 1
        request = Request(id=request_id, op=op, **parts)
        line = encode_line(request)
        send, receive = trio.open_memory_channel[Reply](1)
        self._replies[request_id] = send
        try:
            try:
                async with self._send_lock:
                    with trio.CancelScope(shield=True):  # half a line would end the agent, and every job
                        await process.stdin.send_all(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise _gone() from error
            try:
                reply = await receive.receive()
            except trio.EndOfChannel as error:
                raise _gone() from error
        finally:
            self._replies.pop(request_id, None)
        if reply.error is not None:
            raise SandboxError(reply.error.code, reply.error.message, reply.error.what_next)
        return reply

    async def _keep_alive(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        delay_s = _RESTART_FIRST_S
        started = False
        try:
            while not self._closing:  # it may have been closed in the pause before a new start
                began = trio.current_time()
                try:
                    await self._one_process(task_status if not started else None)
                except SandboxError as error:
                    if not started:
                        raise
                    _log.warning("compute agent: %s", error.message)
                started = True
                if self._closing:
                    return
                if trio.current_time() - began > _RESTART_LONGEST_S:
                    delay_s = _RESTART_FIRST_S
                await trio.sleep(delay_s)
                delay_s = min(delay_s * 2, _RESTART_LONGEST_S)
        finally:
            self._finished.set()

    async def _one_process(self, task_status: TaskStatus[None] | None) -> None:
        with ExitStack() as stack:
            stderr: IO[bytes] | int = subprocess.DEVNULL
            if self._log_path is not None:
                stderr = stack.enter_context(self._log_path.open("ab"))
            process = await trio.lowlevel.open_process(
                list(self._command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self._environment,
                cwd="/" if os.name == "posix" else None,
            )
        self._process = process
        try:
            await self._converse(process, task_status)
        finally:
            self._ready = trio.Event()
            self._drop_all()
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.kill()
                await process.wait()
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        await stream.aclose()
            self._process = None

    async def _converse(self, process: trio.Process, task_status: TaskStatus[None] | None) -> None:
        if process.stdout is None:
            raise _broken("start")
        async with aclosing(lines_of(process.stdout)) as lines:
            with trio.move_on_after(_HELLO_TIMEOUT_S):
                async for line in lines:
                    if decode_reply(line).hello == HELLO:
                        self._ready.set()
                    break
            if not self._ready.is_set():
                raise SandboxError(
                    "agent_not_starting",
                    "The compute agent ended or stayed silent at start.",
                    "Look at the agent's log; run `openstall doctor`.",
                )
            if task_status is not None:
                task_status.started()
            if self._warm is not None and process.stdin is not None:
                # nobody waits for this answer: an agent that cannot keep sandboxes warm starts them cold
                self._next_id += 1
                line = encode_line(Request(id=self._next_id - 1, op="warm", warm=self._warm))
                async with self._send_lock:
                    await process.stdin.send_all(line)
            async for line in lines:
                self._deliver(decode_reply(line))

    def _deliver(self, reply: Reply) -> None:
        if reply.job_id is not None and reply.event is not None:
            channel = self._jobs.get(reply.job_id)
            if channel is not None:
                channel.send_nowait(reply.event)
        elif reply.id is not None:
            waiting = self._replies.get(reply.id)
            if waiting is not None:
                waiting.send_nowait(reply)

    def _drop_all(self) -> None:
        for job in self._jobs.values():
            job.close()
        for waiting in self._replies.values():
            waiting.close()


def _gone() -> SandboxError:
    return SandboxError(
        "agent_lost",
        "The compute agent is not running.",
        "It is started again by itself; try once more in a few seconds.",
    )


def _broken(op: str) -> SandboxError:
    return SandboxError(
        "bad_agent_message",
        f"The compute agent answered {op!r} without the answer.",
        "Restart the node; if it persists, node and agent are of different versions.",
    )
