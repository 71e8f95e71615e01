"""A Ray cluster in the place of one machine: each job is a Ray task that starts our sandbox where it lands.

`RayAgent` is an agent whose jobs run elsewhere. Its own process stays on this machine for the sensors of
the house rules. Ray is an optional extra and is imported when an address is given.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from openstall.compute_agent import ray_worker
from openstall.compute_agent.client import AgentClient, OnEvent
from openstall.compute_agent.ray_files import Incoming, checked
from openstall.compute_agent.ray_worker import FILE_END, PIECE, Examined, InputFile, WorkerJob
from openstall.compute_agent.specs import (
    Check,
    Checkpoint,
    End,
    Inventory,
    JobResult,
    JobSpec,
    OutputFile,
    Tier,
    Usage,
    UsageTick,
)
from openstall.compute_agent.wire import WarmStock, decode_reply, lost
from openstall.market.errors import Conflict, SandboxError

_EXAMINE_S = 120.0
_TELL_S = 10.0
_THREADS = 64
_TIERS: tuple[Tier, ...] = ("none", "reduced", "full")

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Job:
    spec: JobSpec
    actor: Any = None
    usage: Usage = field(default_factory=Usage)
    files: dict[str, OutputFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Landing:
    """Where what a job leaves is put, and who hears of it."""

    outputs: Path
    checkpoints: Path | None
    on_event: OnEvent


class RayAgent(AgentClient):
    """Runs jobs on the machines of a Ray cluster; looks at this machine's sensors itself."""

    def __init__(
        self,
        address: str,
        *,
        environment: Mapping[str, str] | None = None,
        log_path: Path | None = None,
    ) -> None:
        """`address` is that of the cluster's head, as `ray start` prints it."""
        super().__init__(environment=environment, log_path=log_path)
        self._address = address
        self._ray: Any = None
        self._machines: dict[str, Examined] = {}
        self._running: dict[str, _Job] = {}
        self._limiter = trio.CapacityLimiter(_THREADS)

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the agent for the sensors, and join the cluster.

        Raises:
            SandboxError: Ray is not installed, or the cluster cannot be reached.
        """
        if self._ray is None:
            self._ray = await trio.to_thread.run_sync(_connect, self._address)
        await super().start(nursery)

    async def aclose(self) -> None:
        """End every job, leave the cluster, end the agent."""
        for job in list(self._running.values()):
            self._kill(job)
        if self._ray is not None:
            await self._blocking(self._ray.shutdown)
        await super().aclose()

    @property
    def largest_job(self) -> tuple[int, int] | None:
        """Threads and bytes of memory of the largest machine: a job runs on one."""
        fit = [one.inventory for one in self._machines.values() if one.tier != "none"]
        return (
            max((one.cores_logical for one in fit), default=0),
            max((one.memory_bytes for one in fit), default=0),
        )

    async def doctor(self, *, fresh: bool = False) -> list[Check]:
        """The self-test on every machine of the cluster; its tier is that of the weakest."""
        self._machines = await self._blocking(partial(self._examine_all, fresh))
        checks: list[Check] = []
        mine = ray_worker.own_version()
        for name, one in sorted(self._machines.items()):
            checks += [msgspec.structs.replace(check, name=f"{check.name} on {name}") for check in one.checks]
            checks.append(
                Check(
                    name=f"version on {name}",
                    severity="error",
                    ok=one.version == mine,
                    cause=f"Openstall {one.version} there, {mine} here",
                    fix="Install the same version on every machine of the cluster.",
                )
            )
        tiers = [one.tier if one.version == mine else "none" for one in self._machines.values()]
        self._tier = min(tiers, key=_TIERS.index, default="none")
        return checks

    async def probe(self) -> Inventory:
        """All machines of the cluster together."""
        own = await super().probe()
        machines = [one.inventory for one in self._machines.values()]
        if not machines:
            return own
        free, whole = await self._blocking(self._cpus)
        return Inventory(
            system=own.system,
            machine=own.machine,
            cpu_name=f"Ray cluster of {len(machines)}: {machines[0].cpu_name or machines[0].machine}",
            cores_physical=sum(one.cores_physical for one in machines),
            cores_logical=sum(one.cores_logical for one in machines),
            memory_bytes=sum(one.memory_bytes for one in machines),
            memory_free_bytes=sum(one.memory_free_bytes for one in machines),
            disk_free_bytes=own.disk_free_bytes,
            load_percent=round(100 * (whole - free) / whole) if whole else 0,
            gpus=tuple(gpu for one in machines for gpu in one.gpus),
        )

    async def keep_warm(self, stock: WarmStock | None) -> tuple[str, ...]:  # noqa: ARG002 - see AgentClient
        """Nothing is kept warm on a cluster."""
        return ()

    async def cancel(self, job_id: str) -> None:
        """Stop a job. No effect when it has ended."""
        await self._tell(job_id, "cancel")

    async def suspend(self, job_id: str) -> None:
        """Make a job stand still."""
        await self._tell(job_id, "suspend")

    async def resume(self, job_id: str) -> None:
        """Let a job go on that stands still."""
        await self._tell(job_id, "resume")

    async def run(
        self,
        spec: JobSpec,
        inputs: Path,
        outputs: Path,
        on_event: OnEvent,
        *,
        checkpoints: Path | None = None,
        gpus: tuple[str, ...] = (),  # noqa: ARG002 - a cluster lends no graphics cards
    ) -> JobResult:
        """Run one job on the machine that Ray finds for it; as `AgentClient.run`."""
        if spec.job_id in self._running:
            raise Conflict("job_running", f"Job {spec.job_id} is already running here.")
        job = self._running[spec.job_id] = _Job(spec)
        try:
            return await self._run(job, inputs, _Landing(outputs, checkpoints, on_event))
        except self._ray.exceptions.RayError:
            return lost(job.usage)
        except SandboxError as error:
            return JobResult(
                state="failed",
                reason=error.code,
                words=error.message,
                what_next=error.what_next,
                usage=job.usage,
            )
        finally:
            self._kill(job)
            del self._running[spec.job_id]

    async def _run(self, job: _Job, inputs: Path, landing: _Landing) -> JobResult:
        send, receive = trio.open_memory_channel[bytes](math.inf)
        incoming = await trio.to_thread.run_sync(Incoming, landing.outputs, job.spec)
        failure: Exception | None = None
        result = None
        try:
            said = await self._blocking(self._submit, job, inputs)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, said, send)
                try:
                    result = await self._follow(job, receive, incoming, landing)
                except Exception as error:  # noqa: BLE001 - raised below, out of the nursery's group
                    failure = error
                self._kill(job)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(incoming.close)
        if failure is not None:
            raise failure
        return lost(job.usage) if result is None else result

    async def _follow(
        self, job: _Job, receive: trio.MemoryReceiveChannel[bytes], incoming: Incoming, landing: _Landing
    ) -> JobResult | None:
        """The job's result, or None where its worker is gone before it."""
        async for said in receive:
            kind, rest = said[:1], said[1:]
            if kind == PIECE:
                await trio.to_thread.run_sync(incoming.add, rest)
                continue
            if kind == FILE_END:
                job.files[rest.decode()] = await trio.to_thread.run_sync(incoming.end, rest.decode())
                continue
            event = decode_reply(rest).event
            if isinstance(event, UsageTick):
                job.usage = event.usage
            if isinstance(event, End):
                result = checked(job.spec, job.files, event.result)
                names = [one.name for one in result.outputs]
                await trio.to_thread.run_sync(incoming.move, names, landing.outputs)
                await landing.on_event(End(result=result))
                return result
            if isinstance(event, Checkpoint):
                if landing.checkpoints is None or job.files.pop(event.file.name, None) != event.file:
                    continue
                await trio.to_thread.run_sync(incoming.move, [event.file.name], landing.checkpoints)
            if event is not None:
                await landing.on_event(event)
        return None

    async def _pump(self, said: Iterable[Any], send: trio.MemorySendChannel[bytes]) -> None:
        def pump() -> None:
            with suppress(self._ray.exceptions.RayError):  # worker or cluster are gone: the job is lost
                for ref in said:
                    trio.from_thread.run_sync(send.send_nowait, self._ray.get(ref))

        with send:
            # the published types of trio are of an earlier version
            await trio.to_thread.run_sync(pump, abandon_on_cancel=True, limiter=self._limiter)  # type: ignore[call-arg]

    def _submit(self, job: _Job, inputs: Path) -> Iterable[Any]:
        """Put the inputs into the object store and start the task. Blocking."""
        files, refs = [], []
        for path in sorted(inputs.iterdir()):
            digest, count = hashlib.sha256(), 0
            with path.open("rb") as file:
                while piece := file.read(ray_worker.CHUNK_BYTES):
                    digest.update(piece)
                    refs.append(self._ray.put(piece))
                    count += 1
            files.append(InputFile(name=path.name, pieces=count, sha256=digest.hexdigest()))
        limits = job.spec.limits
        remote = self._ray.remote(WorkerJob).options(
            num_cpus=limits.threads, memory=limits.memory_bytes, max_restarts=0, max_concurrency=4
        )
        job.actor = remote.remote()
        said: Iterable[Any] = job.actor.run.options(num_returns="streaming").remote(
            msgspec.json.encode(job.spec), msgspec.json.encode(files), *refs
        )
        return said

    async def _tell(self, job_id: str, what: str) -> None:
        job = self._running.get(job_id)
        if job is None or job.actor is None:
            return
        with suppress(self._ray.exceptions.RayError):  # it has ended
            await self._blocking(lambda: self._ray.get(job.actor.tell.remote(what), timeout=_TELL_S))

    def _kill(self, job: _Job) -> None:
        """End the worker of a job; its agent and sandbox end with it."""
        actor, job.actor = job.actor, None
        if actor is not None:
            self._ray.kill(actor)

    def _examine_all(self, fresh: bool) -> dict[str, Examined]:  # noqa: FBT001 - private, one word
        strategies = self._ray.util.scheduling_strategies
        look = self._ray.remote(ray_worker.examine)
        asked = {
            node["NodeManagerHostname"] + " " + node["NodeID"][:6]: look.options(
                num_cpus=0,
                scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(*([True] if fresh else []))
            for node in self._ray.nodes()
            if node["Alive"]
        }
        found = {}
        for name, ref in asked.items():
            try:
                raw = self._ray.get(ref, timeout=_EXAMINE_S)
            except self._ray.exceptions.RayError as error:
                raise SandboxError(
                    "ray_machine_unfit",
                    f"The machine {name} of the Ray cluster could not be examined: {type(error).__name__}.",
                    "Install Openstall on every machine of the cluster, in the environment that Ray runs in.",
                ) from error
            found[name] = msgspec.json.decode(raw, type=Examined)
        return found

    def _cpus(self) -> tuple[float, float]:
        return (
            float(self._ray.available_resources().get("CPU", 0)),
            float(self._ray.cluster_resources().get("CPU", 0)),
        )

    async def _blocking(self, call: Callable[..., T], *args: Any) -> T:
        return await trio.to_thread.run_sync(lambda: call(*args), limiter=self._limiter)


def _connect(address: str) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing here tells a third party anything
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise SandboxError(
            "no_ray", "Ray is not installed here.", "Install it: pip install 'openstall[ray]'."
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, ignore_reinit_error=True)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise SandboxError(
            "ray_unreachable",
            f"There is no Ray cluster to join at {address}: {error}",
            "Start it with `ray start --head`, and give the address that it prints.",
        ) from error
    return ray
