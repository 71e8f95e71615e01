"""Faults of NVIDIA devices, as their driver reports them (Xid): which of them are the hardware's own.

The driver keeps events for a set from its registration on, so a look after a job tells what happened while
it ran. Most Xids are caused by the program that runs; only those of memory, links and bus are the device's.
On an H100 with driver 580 the same calls of the driver's library, made from a script, brought the fault of
a program (Xid 31); this module itself has not run beside a device. No device has failed while we looked:
events of failing hardware were never seen, and their numbers are those that NVIDIA publishes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

HARDWARE: Final = frozenset({48, 62, 63, 64, 74, 79, 92, 94, 95, 140})
"""Uncorrectable memory, links, the bus, a halted controller: nothing that a program brings about."""
_MOST_EVENTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFault:
    """One report of the driver, at `at` of the monotonic clock at the latest."""

    at: float
    device: str
    xid: int

    @property
    def of_hardware(self) -> bool:
        """Whether the device is at fault, and not the program on it."""
        return self.xid in HARDWARE


class GpuFaults:
    """The driver's events since this was made. Thread-safe; without driver or device nothing is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: deque[GpuFault] = deque(maxlen=_MOST_EVENTS)
        self._library, self._events = _register()

    def since(self, moment: float) -> list[GpuFault]:
        """What happened since a moment of the monotonic clock."""
        with self._lock:
            self._drain()
            return [fault for fault in self._seen if fault.at >= moment]

    def _drain(self) -> None:
        nvml = self._library
        for _ in range(_MOST_EVENTS):
            if self._events is None:
                return
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
                device = str(nvml.nvmlDeviceGetUUID(event.device))
            except nvml.NVMLError as error:
                if error.value != nvml.NVML_ERROR_TIMEOUT:  # the driver went, as in an update
                    self._events = None
                return
            self._seen.append(GpuFault(at=time.monotonic(), device=device, xid=int(event.eventData)))


def _register() -> tuple[Any, Any]:
    """The library and a set of events of every device that tells; None where none does."""
    try:
        import pynvml as nvml
    except ImportError:
        return None, None
    try:
        nvml.nvmlInit()
        events, told = nvml.nvmlEventSetCreate(), 0
        for at in range(nvml.nvmlDeviceGetCount()):
            device = nvml.nvmlDeviceGetHandleByIndex(at)
            if nvml.nvmlDeviceGetSupportedEventTypes(device) & nvml.nvmlEventTypeXidCriticalError:
                nvml.nvmlDeviceRegisterEvents(device, nvml.nvmlEventTypeXidCriticalError, events)
                told += 1
    except nvml.NVMLError:
        return None, None
    return nvml, events if told else None
