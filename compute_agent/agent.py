"""The compute agent: a child process of the node that holds no keys and runs jobs in sandboxes.

`python -m openstall.compute_agent.agent`: JSON lines on standard input and output (see `specs`).
It ends when its standard input closes, and every sandbox ends with it.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from openstall.compute_agent import jobs
from openstall.compute_agent.cards import Cards
from openstall.compute_agent.inventory import probe_machine
from openstall.compute_agent.lines import lines_of
from openstall.compute_agent.runtime import Runtime, find_runtime, runtime_state
from openstall.compute_agent.sandbox.cgroup import CgroupScope, find_scope
from openstall.compute_agent.sandbox.hold import Hold
from openstall.compute_agent.sandbox.host import Facilities, find_facilities, run_sandbox
from openstall.compute_agent.sandbox.plan import Plan
from openstall.compute_agent.sandbox.pool import Stock, WarmPool, discard
from openstall.compute_agent.sandbox.selftest import doctor
from openstall.compute_agent.sandbox.supervisor import Outcome
from openstall.compute_agent.sandbox.talk import Talk
from openstall.compute_agent.sandbox.usage import host_oom_kills
from openstall.compute_agent.sensors import Sensors
from openstall.compute_agent.specs import (
    End,
    JobEvent,
    JobKind,
    JobResult,
    JobSpec,
    OutputFile,
    Usage,
    UsageTick,
)
from openstall.compute_agent.wire import (
    HELLO,
    Reply,
    Request,
    WarmStock,
    decode_request,
    encode_line,
    error_reply,
)
from openstall.market import schema
from openstall.market.errors import OpenstallError, SandboxError

_log = logging.getLogger("openstall.compute_agent")


@dataclass(slots=True, kw_only=True)
class _Job:
    slot: int
    cancel: trio.Event = field(default_factory=trio.Event)
    hold: Hold = field(default_factory=Hold)
    usage: Usage = field(default_factory=Usage)
    talk: Talk | None = None


class Agent:
    """One conversation with one node. `run` returns when the node has closed its side."""

    def __init__(self, *, source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        self._source = source
        self._sink = sink
        # no bound: a slow node must never keep the supervisor from looking at the clock; what can
        # queue up is bounded by the log caps of the running jobs
        self._outgoing, self._queue = trio.open_memory_channel[Reply](math.inf)
        self._jobs: dict[str, _Job] = {}
        self._scope: CgroupScope | None = None
        self._facilities: Facilities | None = None
        self._facilities_of: Runtime | None = None
        self._cards = Cards()
        self._preparing = trio.Lock()
        self._sensors = Sensors()
        self._sensing = trio.Lock()
        self._warming = trio.Lock()
        self._pool = WarmPool()
        self._wish: WarmStock | None = None

    async def run(self) -> None:
        """Serve until the node closes the pipe or breaks the protocol."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            nursery.start_soon(self._pool.keep)
            self._send(Reply(hello=HELLO))
            try:
                async for line in lines_of(self._source):
                    nursery.start_soon(self._serve, decode_request(line))
                    # so that a job is known before the next request asks for it
                    await trio.lowlevel.checkpoint()
            except SandboxError as error:
                _log.error("%s", error.message)
            nursery.cancel_scope.cancel()

    def _send(self, reply: Reply) -> None:
        self._outgoing.send_nowait(reply)

    async def _write(self, scope: trio.CancelScope) -> None:
        try:
            async for reply in self._queue:
                await self._sink.send_all(encode_line(reply))
        except trio.BrokenResourceError:
            scope.cancel()  # the node is gone

    async def _serve(self, request: Request) -> None:
        handlers: dict[str, Callable[[Request], Awaitable[Reply]]] = {
            "probe": self._probe,
            "doctor": self._doctor,
            "runtime": self._runtime,
            "cancel": self._cancel,
            "suspend": self._suspend,
            "resume": self._suspend,
            "sense": self._sense,
            "ask": self._ask,
            "run": self._run,
            "warm": self._warm,
        }
        try:
            reply = await handlers[request.op](request)
        except OpenstallError as error:
            reply = Reply(id=request.id, error=error_reply(error))
        self._send(reply)
        if request.op == "run" and reply.error is None and request.spec is not None:
            await self._run_job(request, request.spec)

    async def _probe(self, request: Request) -> Reply:
        machine = await trio.to_thread.run_sync(probe_machine)
        return Reply(id=request.id, inventory=self._cards.looked_at(machine))

    async def _doctor(self, request: Request) -> Reply:
        self._facilities = None  # look afresh: the owner has perhaps just followed the advice
        lent = self._cards.lent
        examined = await doctor(lent=lent, fresh=request.fresh)
        self._cards.examined(examined.gpus, lent)
        return Reply(id=request.id, checks=examined.checks, tier=examined.tier)

    async def _runtime(self, request: Request) -> Reply:
        return Reply(id=request.id, runtime=await trio.to_thread.run_sync(runtime_state))

    async def _cancel(self, request: Request) -> Reply:
        job = self._jobs.get(request.job_id or "")
        if job is not None:
            job.cancel.set()
        return Reply(id=request.id)

    async def _sense(self, request: Request) -> Reply:
        if request.watch is None:
            raise SandboxError("bad_agent_message", "A sense request lacks what to watch.")
        async with self._sensing:
            facts = await trio.to_thread.run_sync(self._sensors.read, request.watch)
        return Reply(id=request.id, facts=facts)

    async def _ask(self, request: Request) -> Reply:
        """The answer comes as events of the job."""
        job = self._jobs.get(request.job_id or "")
        if request.question is None or job is None or job.talk is None:
            raise SandboxError("not_serving", "This job answers no questions (any more).")
        job.talk.put(request.question)
        return Reply(id=request.id)

    async def _suspend(self, request: Request) -> Reply:
        """The answer comes when every process of the job stands still, or goes on."""
        job = self._jobs.get(request.job_id or "")
        if job is not None:
            await job.hold.ask(still=request.op == "suspend")
        return Reply(id=request.id)

    async def _warm(self, request: Request) -> Reply:
        """Hold what is asked for from now on, in place of what was; answered when it waits."""
        wish = request.warm
        if wish is None:
            self._wish = None
            await self._pool.hold(None)
            return Reply(id=request.id, held=())
        runtime = await trio.to_thread.run_sync(find_runtime)
        facilities = await self._prepare(runtime)
        async with self._warming:
            if wish != self._wish:
                self._wish = wish
                await self._stock_up(wish, runtime, facilities)
        return Reply(id=request.id, held=await self._pool.filled())

    async def _stock_up(self, wish: WarmStock, runtime: Runtime, facilities: Facilities) -> None:
        def make_plan(kind: JobKind, number: int, inputs: Path) -> Plan:
            return Plan(
                entry=jobs.entry_of(kind),
                runtime=runtime,
                inputs=inputs,
                params=b"",
                limits=wish.limits,
                mode=facilities.mode,
                slot=number,
                preload=jobs.PRELOAD[kind],
                asked=jobs.is_asked(kind),
            )

        await self._pool.hold(
            Stock(
                kinds=wish.kinds,
                memory_bytes=wish.memory_bytes,
                folder=Path(wish.folder) / "warm-sandboxes",
                facilities=facilities,
                make_plan=make_plan,
            )
        )

    async def _run(self, request: Request) -> Reply:
        spec = request.spec
        if spec is None or request.inputs is None or request.outputs is None:
            raise SandboxError("bad_agent_message", "A run request lacks its spec or folders.")
        folders = [request.inputs, request.outputs, request.checkpoints or request.outputs]
        if not all(Path(folder).is_absolute() for folder in folders):
            raise SandboxError("bad_job_inputs", "The job's folders must be absolute paths.")
        if spec.job_id in self._jobs:
            raise SandboxError("job_running", f"Job {spec.job_id} is already running here.")
        taken = {job.slot for job in self._jobs.values()}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        self._jobs[spec.job_id] = _Job(slot=slot, talk=Talk() if jobs.is_asked(spec.kind) else None)
        return Reply(id=request.id)

    async def _run_job(self, request: Request, spec: JobSpec) -> None:
        job = self._jobs[spec.job_id]
        try:
            result = await self._result(request, spec, job)
        except Exception:  # noqa: BLE001 - logged with its trace below
            # a bug of ours in one job must not end the others; it is in the log with its trace
            _log.exception("job %s", spec.job_id)
            result = JobResult(
                state="failed",
                reason="agent_error",
                words="The compute agent failed while it handled this job.",
                what_next="Report it with the agent's log; only the seconds already counted can be owed.",
                usage=job.usage,
            )
        finally:
            job.hold.end()
            self._cards.take_back(spec.job_id)
            del self._jobs[spec.job_id]
        self._send(Reply(job_id=spec.job_id, event=End(result=result)))

    async def _result(self, request: Request, spec: JobSpec, job: _Job) -> JobResult:
        inputs, outputs = Path(request.inputs or ""), Path(request.outputs or "")
        try:
            params = spec.parse_params()
            runtime = await trio.to_thread.run_sync(find_runtime)
            facilities = await self._prepare(runtime)
            jobs.require_tier(spec.kind, facilities.tier)
            jobs.check_folders(
                inputs,
                outputs,
                jobs.input_names(params),
                share=facilities.mode == "dropped_root",
            )
            gpu = await self._cards.lend(spec, params, request.gpus, facilities=facilities, runtime=runtime)
            plan = Plan(
                entry=jobs.entry_of(spec.kind),
                runtime=runtime,
                inputs=inputs,
                params=jobs.encode_params(params),
                limits=spec.limits,
                mode=facilities.mode,
                checkpoints=Path(request.checkpoints)
                if request.checkpoints and not jobs.is_silent(spec.kind)
                else None,
                slot=job.slot,
                gpu=gpu,
                asked=job.talk is not None,
                silent=jobs.is_silent(spec.kind),
            )
        except SandboxError as error:
            return JobResult(
                state="refused", reason=error.code, words=error.message, what_next=error.what_next
            )
        killed_before, began = host_oom_kills(), time.monotonic()
        try:
            outcome, taken = await self._sandboxed(spec, plan, facilities, job, outputs)
        except SandboxError as error:
            return jobs.failed_collection(spec, error, job.usage)
        # The count includes what a job's own cgroup kills, so behind one it proves nothing.
        host_short = not facilities.scope.manager and (host_oom_kills() or 0) > (killed_before or 0)
        gpu_faults = self._cards.faults(plan.gpu, began)
        return jobs.result_of(spec, outcome, taken, host_short=host_short, gpu_faults=gpu_faults)

    async def _sandboxed(
        self, spec: JobSpec, plan: Plan, facilities: Facilities, job: _Job, outputs: Path
    ) -> tuple[Outcome, tuple[OutputFile, ...]]:
        """In a warm sandbox if one waits that fits, else in a new one."""

        async def emit(event: JobEvent) -> None:
            if isinstance(event, UsageTick):
                job.usage = event.usage
            self._send(Reply(job_id=spec.job_id, event=event))

        slot = self._pool.take(spec.kind, spec.limits, facilities) if plan.gpu is None else None
        if slot is not None:
            try:
                await trio.to_thread.run_sync(slot.bring, plan.inputs)
            except OSError as error:
                _log.warning("job %s starts cold: %s", spec.job_id, error)
                await discard(slot)
                slot = None
            else:
                plan = dataclasses.replace(plan, inputs=slot.plan.inputs, slot=slot.plan.slot)
        try:
            return await run_sandbox(
                facilities=facilities,
                plan=plan,
                emit=emit,
                cancel=job.cancel,
                allowed=jobs.allowed_outputs(spec),
                destination=outputs,
                hold=job.hold,
                talk=job.talk,
                warm=slot.running if slot is not None else None,
            )
        finally:
            if slot is not None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(shutil.rmtree, slot.plan.inputs)

    async def _prepare(self, runtime: Runtime) -> Facilities:
        """The proved sandbox, looked for again after a failure or a change of runtime."""
        async with self._preparing:
            if self._facilities is None or self._facilities_of != runtime:
                if self._scope is None:
                    self._scope = await trio.to_thread.run_sync(find_scope)
                try:
                    self._facilities = await find_facilities(runtime=runtime, scope=self._scope)
                except SandboxError as error:
                    raise SandboxError(
                        "sandbox_unavailable",
                        "This machine has no sandbox that is strong enough, so it runs no jobs. "
                        + error.message,
                        error.what_next,
                    ) from error
                self._facilities_of = runtime
                if self._wish is not None and not self._pool.made_for(self._facilities):
                    await self._stock_up(self._wish, runtime, self._facilities)
            return self._facilities


async def serve() -> None:
    """Take over the process's standard streams and talk to the node."""
    source = trio.lowlevel.FdStream(os.dup(0))
    sink = trio.lowlevel.FdStream(os.dup(1))
    os.dup2(2, 1)  # a stray print must not break the protocol
    async with source, sink, trio.open_nursery() as nursery:
        nursery.start_soon(_until_told, nursery.cancel_scope)
        await Agent(source=source, sink=sink).run()
        nursery.cancel_scope.cancel()


async def _until_told(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


def main() -> None:
    """Entry point of the child process."""
    if sys.platform != "win32":
        os.umask(0o077)
    # Ctrl-C in a terminal reaches the whole group: the node decides, then closes the pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    faulthandler.enable()
    schema.prepare_for_threads()
    trio.run(serve)


if __name__ == "__main__":
    main()
