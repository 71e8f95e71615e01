"""The graphics cards of the agent's machine: proved once, lent to one job at a time, watched for faults."""

from __future__ import annotations

import msgspec
import trio

from openstall.compute_agent.capacity_specs import BenchmarkParams, ChallengeParams
from openstall.compute_agent.gpu_faults import GpuFault, GpuFaults
from openstall.compute_agent.inventory import probe_gpus
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox.gpu import Grant, find_grant, no_gpu
from openstall.compute_agent.sandbox.gpu_check import Proved, prove_gpus
from openstall.compute_agent.sandbox.host import Facilities
from openstall.compute_agent.specs import Inventory, JobSpec, Params


class Cards:
    """What the agent knows of them. All methods belong to the process's main thread."""

    def __init__(self) -> None:
        self.proved: Proved | None = None
        """Those that passed the doctor's check; None before one was made."""
        self._lent: dict[str, tuple[str, ...]] = {}
        self._proving = trio.Lock()
        self._faults: GpuFaults | None = None

    @property
    def lent(self) -> frozenset[str]:
        """Those that a job has now."""
        return frozenset(name for names in self._lent.values() for name in names)

    def examined(self, found: Proved | None, lent: frozenset[str]) -> None:
        """What the doctor found, who kept away from those that were `lent` when it began.

        They stand as before, and so do those that are lent now.
        """
        before = self.proved.ids if self.proved is not None else ()
        kept = tuple(name for name in before if name in lent | self.lent)
        if kept:
            found = Proved(ids=(*kept, *(found.ids if found else ())), words=found.words if found else "")
        self.proved = found

    def looked_at(self, machine: Inventory) -> Inventory:
        """The same machine, with what is known of each card."""
        proved = self.proved
        if proved is None:
            return machine
        gpus = tuple(msgspec.structs.replace(gpu, passed=gpu.id in proved.ids) for gpu in machine.gpus)
        return msgspec.structs.replace(machine, gpus=gpus)

    async def lend(
        self,
        spec: JobSpec,
        params: Params,
        offered: tuple[str, ...],
        *,
        facilities: Facilities,
        runtime: Runtime,
    ) -> Grant | None:
        """The cards of a job: those that it rents are its own; one that measures sees all of them.

        None for a job without. Raises SandboxError `no_gpu` where they are taken, or did not pass the check.
        """
        measures = isinstance(params, BenchmarkParams | ChallengeParams) and params.device != "cpu"
        wanted = spec.limits.gpus
        if not wanted and not measures:
            return None
        async with self._proving:
            if self.proved is None:
                gpus, _note = await trio.to_thread.run_sync(probe_gpus)
                self.proved = await prove_gpus(facilities, runtime, gpus)
        free = [name for name in offered if name in self.proved.ids]
        if wanted:
            free = [name for name in free if name not in self.lent][:wanted]
        if len(free) < max(1, wanted):
            raise no_gpu(f"{len(free)} can be used now, the job needs {max(1, wanted)}")
        if wanted:
            self._lent[spec.job_id] = tuple(free)
        if self._faults is None:
            self._faults = await trio.to_thread.run_sync(GpuFaults)
        return await trio.to_thread.run_sync(find_grant, free)

    def take_back(self, job_id: str) -> None:
        """The job has ended."""
        self._lent.pop(job_id, None)

    def faults(self, grant: Grant | None, since: float) -> list[GpuFault]:
        """What the driver told of a job's own cards since a moment of the monotonic clock."""
        if grant is None or self._faults is None:
            return []
        return [fault for fault in self._faults.since(since) if fault.device in grant.ids]
