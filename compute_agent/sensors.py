"""What the house rules ask of this machine, read with as little work as possible.

Quick readings are made each time, slow ones only every few seconds. `read` may block (a display server,
a bus), so the agent calls it in a thread; never in two at once.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any, Final

import psutil

from openstall.compute_agent import sensors_machine
from openstall.compute_agent.sensors_gpu import GpuSensor
from openstall.compute_agent.sensors_input import InputSensor
from openstall.compute_agent.specs import Watch
from openstall.market.house import Facts

_SLOW_S: Final[dict[str, float]] = {"apps": 1.0, "heat": 2.0, "devices": 2.0, "room": 5.0, "network": 30.0}


class Sensors:
    """Reads what a node asks for."""

    def __init__(self) -> None:
        self._input = InputSensor()
        self._load = sensors_machine.LoadSensor()
        self._power = sensors_machine.PackagePower()
        self._gpu = GpuSensor()
        self._kept: dict[str, tuple[float, Any]] = {}

    def read(self, watch: Watch) -> Facts:
        """The facts now; what was not asked for stays None."""
        idle_ms, by = self._input.read() if watch.input else (None, "")
        temperature_c, (fan_rpm, fan_percent) = self._heat() if watch.heat else (None, (None, None))
        devices = self._every("devices", self._gpu.read) if watch.devices else ()
        apps = watch.apps and self._every(
            f"apps {watch.apps}", lambda: sensors_machine.running_apps(watch.apps)
        )
        memory, disk = self._every("room", _room)
        power = self._power.read() if watch.power else None
        drawn = [device.power_mw for device in devices if watch.power and device.power_mw is not None]
        return Facts(
            input_idle_ms=idle_ms,
            input_by=by,
            on_battery=sensors_machine.on_battery() if watch.battery else None,
            metered=self._every("network", sensors_machine.metered) if watch.network else None,
            others_percent=self._load.read() if watch.load else None,
            temperature_c=temperature_c,
            fan_rpm=fan_rpm,
            fan_percent=fan_percent,
            power_mw=None if power is None and not drawn else (power or 0) + sum(drawn),
            apps=apps,
            memory_free_bytes=memory,
            disk_free_bytes=disk,
            devices=devices,
        )

    def _heat(self) -> tuple[int | None, tuple[int | None, int | None]]:
        found: tuple[int | None, tuple[int | None, int | None]] = self._every(
            "heat", lambda: (sensors_machine.hottest_c(), sensors_machine.fans())
        )
        return found

    def _every(self, name: str, read: Callable[[], Any]) -> Any:
        """The last reading while it is young enough."""
        now = time.monotonic()
        kept = self._kept.get(name)
        if kept is None or now - kept[0] >= _SLOW_S[name.partition(" ")[0]]:
            kept = self._kept[name] = (now, read())
        return kept[1]


def _room() -> tuple[int, int]:
    return psutil.virtual_memory().available, psutil.disk_usage(tempfile.gettempdir()).free
