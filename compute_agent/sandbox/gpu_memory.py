"""How much of its devices' memory a sandbox holds. No control group counts it, so we look."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Final, Self

import trio

from openstall.compute_agent.sandbox.gpu import Grant, no_gpu, open_driver
from openstall.compute_agent.sandbox.launcher import Running
from openstall.compute_agent.sandbox.usage import processes_of
from openstall.market.errors import SandboxError

LOOK_S: Final = 0.2


class GpuMemory:
    """The granted devices, open for reading; a context manager.

    Raises:
        SandboxError: `no_gpu`, the driver went away.
    """

    def __init__(self, grant: Grant) -> None:
        self._grant = grant
        self._nvml: Any = None
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        self._nvml = open_driver()
        try:
            self._handles = [self._nvml.nvmlDeviceGetHandleByUUID(name) for name in self._grant.ids]
        except self._nvml.NVMLError as error:
            self._nvml.nvmlShutdown()
            raise no_gpu(f"the driver does not know the device: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nvml.nvmlShutdown()

    def used(self, pids: Collection[int]) -> int | None:
        """The most that these processes hold on one of the devices; None where the driver does not say."""
        most = 0
        for handle in self._handles:
            try:
                listed = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            except self._nvml.NVMLError:
                return None
            held = [program.usedGpuMemory for program in listed if program.pid in pids]
            if None in held:
                return None
            most = max(most, sum(held))
        return most


async def watch(running: Running, grant: Grant, cap_bytes: int, stop: Callable[[str], None]) -> None:
    """Call `stop` with the broken limit; returns then, and never before.

    A driver that does not answer is a device that has gone: the job cannot go on, and nobody counts.
    """
    try:
        with GpuMemory(grant) as memory:
            while (used := memory.used(processes_of(running))) is not None:
                if cap_bytes and used > cap_bytes:
                    stop("gpu_memory")
                    return
                await trio.sleep(LOOK_S)
    except SandboxError:
        pass  # as where it stops answering later
    stop("gpu_lost")
