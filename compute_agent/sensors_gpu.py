"""NVIDIA graphics processors by their driver's library: heat, fan, power, use, and programs not of ours."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

from openstall.compute_agent.processes import tree_of
from openstall.market.house import Device

_RETRY_S: Final = 300.0


class GpuSensor:
    """Keeps the library open. For one thread at a time."""

    def __init__(self) -> None:
        self._library: Any = None
        self._silent_until = 0.0

    def read(self) -> tuple[Device, ...]:
        """Every device now; empty without driver or device."""
        if self._library is None and time.monotonic() >= self._silent_until:
            self._library = _open()
            self._silent_until = time.monotonic() + _RETRY_S
        if self._library is None:
            return ()
        nvml, ours = self._library, set(tree_of(os.getpid()))
        try:
            handles = [nvml.nvmlDeviceGetHandleByIndex(at) for at in range(nvml.nvmlDeviceGetCount())]
            return tuple(_device(nvml, handle, ours) for handle in handles)
        except nvml.NVMLError:
            self._library = None  # the driver went, as in an update: it is opened again later
            return ()


def _open() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _device(nvml: Any, handle: Any, ours: set[int]) -> Device:
    def maybe(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except nvml.NVMLError:
            return None  # this model does not tell

    use = maybe(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    programs = [
        maybe(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        maybe(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)),
    ]
    known = [program for listed in programs for program in listed or ()]
    return Device(
        id=str(nvml.nvmlDeviceGetUUID(handle))[:120],
        name=str(nvml.nvmlDeviceGetName(handle))[:120],
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        temperature_c=maybe(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        fan_percent=maybe(lambda: nvml.nvmlDeviceGetFanSpeed(handle)),
        power_mw=maybe(lambda: nvml.nvmlDeviceGetPowerUsage(handle)),
        busy_percent=use,
        foreign=None if programs == [None, None] else len({p.pid for p in known} - ours),
    )
