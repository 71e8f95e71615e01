"""Load, heat, fans, power, battery, network and programs of this machine; None what it cannot tell."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import psutil

from openstall.compute_agent.processes import processor_s, tree_of
from openstall.market.house import app_name

_LEAST_GAP_S: Final = 0.4
_HOTTEST_C: Final = 130
_CHIPS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal")
_POWERCAP: Final = Path("/sys/class/powercap")
_HWMON: Final = Path("/sys/class/hwmon")
_COMM_CHARS: Final = 15
_ASK_S: Final = 1.0
_UNMETERED: Final = {"1": True, "3": True, "2": False, "4": False}
"""NM_METERED_YES, _GUESS_YES, _NO, _GUESS_NO."""


class LoadSensor:
    """Processor time that neither this process, nor its parent, nor our jobs have used."""

    def __init__(self) -> None:
        self._last: tuple[float, float, float, float] | None = None
        self._percent: int | None = None

    def read(self) -> int | None:
        """Per cent of the whole machine since the last reading; None at the first."""
        now = time.monotonic()
        if self._last is not None and now - self._last[0] < _LEAST_GAP_S:
            return self._percent
        times: Any = psutil.cpu_times()
        whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        rest = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
        ours = processor_s([os.getppid(), *tree_of(os.getpid())])
        if self._last is not None:
            passed = whole - self._last[1]
            busy = passed - (rest - self._last[2]) - max(0.0, ours - self._last[3])
            self._percent = max(0, min(100, round(100 * busy / passed))) if passed > 0 else self._percent
        self._last = (now, whole, rest, ours)
        return self._percent


class PackagePower:
    """The processor packages' draw by their energy counters; most systems let only root read them."""

    def __init__(self) -> None:
        self._last: dict[Path, tuple[float, int]] = {}
        self._milliwatts: int | None = None

    def read(self) -> int | None:
        """Milliwatts since the last reading; None at the first, or where there is no counter."""
        now, total, known = time.monotonic(), 0.0, False
        if self._last and now - next(iter(self._last.values()))[0] < _LEAST_GAP_S:
            return self._milliwatts
        for counter in _POWERCAP.glob("intel-rapl:*/energy_uj"):
            if counter.parent.name.count(":") != 1:
                continue  # a part of a package that is counted already
            value = _number(counter)
            if value is None:
                continue
            before = self._last.get(counter)
            self._last[counter] = (now, value)
            if before is not None:
                used = value - before[1]
                if used < 0:
                    used += _number(counter.with_name("max_energy_range_uj")) or 0
                total += max(0, used) / 1000 / (now - before[0])
                known = True
        self._milliwatts = round(total) if known else None
        return self._milliwatts


def on_battery() -> bool | None:
    """Whether the machine runs on its battery; None where it has none."""
    read = getattr(psutil, "sensors_battery", None)
    state = read() if read is not None else None
    return None if state is None or state.power_plugged is None else not state.power_plugged


def hottest_c() -> int | None:
    """The hottest sensor of the processor, or of the machine where no chip is known."""
    read = getattr(psutil, "sensors_temperatures", None)
    chips = read() if read is not None else {}
    known = [name for name in chips if name in _CHIPS] or list(chips)
    found = [entry.current for name in known for entry in chips[name] if 0 < entry.current < _HOTTEST_C]
    return round(max(found)) if found else None


def fans() -> tuple[int | None, int | None]:
    """The fastest fan in turns a minute, and the highest drive of a fan in per cent."""
    read = getattr(psutil, "sensors_fans", None)
    chips = read() if read is not None else {}
    turns = [entry.current for entries in chips.values() for entry in entries]
    drives = [value for path in _HWMON.glob("hwmon*/pwm[0-9]") if (value := _number(path)) is not None]
    return (max(turns) if turns else None), (round(max(drives) * 100 / 255) if drives else None)


def metered() -> bool | None:
    """Whether the network is paid by volume, by NetworkManager; None where it does not run."""
    if sys.platform != "linux":
        return None
    manager = "org.freedesktop.NetworkManager"
    command = ["busctl", "get-property", manager, "/org/freedesktop/NetworkManager", manager, "Metered"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_ASK_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout[:100].decode("ascii", "replace").split()
    return _UNMETERED.get(words[1]) if len(words) == 2 else None


def running_apps(wanted: Iterable[str]) -> tuple[str, ...]:
    """Of the wanted programs those that run. Nothing else of what runs here leaves this function."""
    names = {app_name(name): name for name in wanted}
    if not names:
        return ()
    short = {name[:_COMM_CHARS] for name in names if len(name) >= _COMM_CHARS}
    running: set[str] = set()
    if sys.platform != "linux":
        running = {app_name(process.info["name"] or "") for process in psutil.process_iter(["name"])}
    else:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                running.add(_name_of(entry.path, short))
    return tuple(sorted(names[name] for name in names.keys() & running))


def _name_of(folder: str, short: set[str]) -> str:
    """A process's name; the kernel cuts it at 15 characters, so a cut one is looked up in its command."""
    try:
        name = app_name(Path(folder, "comm").read_text("utf-8", "replace"))
        if name in short:
            command = Path(folder, "cmdline").read_bytes().split(b"\0")[0].decode("utf-8", "replace")
            return app_name(command.replace("\\", "/").rpartition("/")[2])
    except OSError:
        return ""  # it has ended
    return name


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
