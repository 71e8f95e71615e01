"""What the house rules ask of this machine, read with as little work as possible.

Quick readings are made each time, slow ones only every few seconds. `read` may block (a display server,
a bus), so the agent calls it in a thread; never in two at once.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import psutil

from openstall.compute_agent import sensors_machine
from openstall.compute_agent.sensors_gpu import GpuSensor
from openstall.compute_agent.sensors_input import InputSensor
from openstall.compute_agent.wire import Watch
from openstall.market.house import Device, Facts

_SLOW_S: Final = {"apps": 1.0, "heat": 2.0, "fans": 2.0, "devices": 2.0, "room": 5.0, "network": 30.0}

_NO_DEVICES: Final[tuple[Device, ...]] = ()
_NO_FANS: Final[tuple[int | None, int | None]] = (None, None)
_NO_INPUT: Final[tuple[int | None, str]] = (None, "")
_NO_APPS: Final[tuple[str, ...]] = ()

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class Sensors:
    """Reads what a node asks for."""

    def __init__(self) -> None:
        self._input = InputSensor()
        self._load = sensors_machine.LoadSensor()
        self._power = sensors_machine.PackagePower()
        self._gpu = GpuSensor()
        self._kept: dict[str, tuple[float, object, Any]] = {}
        self._failed: set[str] = set()

    def read(self, watch: Watch) -> Facts:
        """The facts now; what was not asked for stays None."""
        idle_ms, by = self._try("input", self._input.read, _NO_INPUT) if watch.input else (None, "")
        temperature_c = self._every("heat", sensors_machine.hottest_c, None) if watch.heat else None
        fan_rpm, fan_percent = (
            self._every("fans", sensors_machine.fans, _NO_FANS) if watch.heat else (None, None)
        )
        devices = self._every("devices", self._gpu.read, _NO_DEVICES) if watch.devices else ()
        apps = self._every(
            "apps", lambda: sensors_machine.running_apps(watch.apps), _NO_APPS, about=watch.apps
        )
        memory, disk = self._every("room", _room, (0, 0))
        power = self._try("power", self._power.read, None) if watch.power else None
        drawn = [device.power_mw for device in devices if watch.power and device.power_mw is not None]
        return Facts(
            input_idle_ms=idle_ms,
            input_by=by,
            on_battery=self._try("battery", sensors_machine.on_battery, None) if watch.battery else None,
            metered=self._every("network", sensors_machine.metered, None) if watch.network else None,
            others_percent=self._try("load", self._load.read, None) if watch.load else None,
            temperature_c=temperature_c,
            fan_rpm=fan_rpm,
            fan_percent=fan_percent,
            power_mw=None if power is None and not drawn else (power or 0) + sum(drawn),
            apps=apps,
            memory_free_bytes=memory,
            disk_free_bytes=disk,
            devices=devices,
        )

    def _every(self, name: str, read: Callable[[], _T], otherwise: _T, *, about: object = None) -> _T:
        """The last reading while it is young enough, and about the same."""
        now = time.monotonic()
        kept = self._kept.get(name)
        if kept is None or kept[1] != about or now - kept[0] >= _SLOW_S[name]:
            kept = self._kept[name] = (now, about, self._try(name, read, otherwise))
        found: _T = kept[2]
        return found

    def _try(self, name: str, read: Callable[[], _T], otherwise: _T) -> _T:
        """A sensor that fails cannot tell; it must not take the running jobs with it."""
        try:
            return read()
        except Exception:  # noqa: BLE001 - logged with its trace, once
            if name not in self._failed:
                self._failed.add(name)
                _log.exception("the sensor for %s fails; this is said once", name)
            return otherwise


def _room() -> tuple[int, int]:
    return psutil.virtual_memory().available, psutil.disk_usage(tempfile.gettempdir()).free
