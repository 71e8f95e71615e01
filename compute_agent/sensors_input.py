"""How long ago somebody touched this computer, in milliseconds, by whatever the system offers.

Linux: the X server's screen saver extension; under Wayland the idle monitor of GNOME, or the screen saver
of KDE; logind's idle hint; the terminals of those who are logged in (which the kernel stamps only every
eight seconds). macOS and Windows by their documented calls; those two have not been run by us yet.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil

_SYSTEM: str = sys.platform
_ASK_S: Final = 1.0
_RETRY_S: Final = 30.0
_GNOME: Final = ("org.gnome.Mutter.IdleMonitor", "/org/gnome/Mutter/IdleMonitor/Core",
                 "org.gnome.Mutter.IdleMonitor.GetIdletime")  # fmt: skip
_KDE: Final = (
    "org.freedesktop.ScreenSaver",
    "/ScreenSaver",
    "org.freedesktop.ScreenSaver.GetSessionIdleTime",
)

_HANDLERS: Final[list[Any]] = []
"""Xlib holds bare pointers to these for as long as the process lives."""

Reading = int | None
Reader = Callable[[], Reading]


class InputSensor:
    """Asks the best source that answers. For one thread at a time."""

    def __init__(self) -> None:
        self._x: _XServer | None = None
        self._silent_until: dict[str, float] = {}

    def read(self) -> tuple[Reading, str]:
        """Milliseconds since the last touch and the name of the source; (None, "") where nothing can tell."""
        for name, reader in self._sources():
            if self._silent_until.get(name, 0.0) > time.monotonic():
                continue
            idle_ms = reader()
            if idle_ms is None:
                self._silent_until[name] = time.monotonic() + _RETRY_S
                continue
            terminals = _terminals()
            return (idle_ms if terminals is None else min(idle_ms, terminals)), name
        terminals = _terminals()
        return terminals, "" if terminals is None else "terminals"

    def _sources(self) -> list[tuple[str, Reader]]:
        if _SYSTEM == "win32":
            return [("Windows", _windows)]
        if _SYSTEM == "darwin":
            return [("macOS", _macos)]
        found: list[tuple[str, Reader]] = []
        if os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            found.append(("X server", self._x_server))
        if os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
            found += [("GNOME", lambda: _by_bus(_GNOME)), ("KDE", lambda: _by_bus(_KDE))]
        return [*found, ("logind", _logind)]

    def _x_server(self) -> Reading:
        if self._x is None:
            self._x = _XServer.open()
        idle_ms = None if self._x is None else self._x.idle_ms()
        if idle_ms is None:
            self._x = None  # it went away; a new one is looked for later
        return idle_ms


class _Info(ctypes.Structure):
    """XScreenSaverInfo of X11/extensions/scrnsaver.h."""

    _fields_ = (
        ("window", ctypes.c_ulong),
        ("state", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("til_or_since", ctypes.c_ulong),
        ("idle", ctypes.c_ulong),
        ("event_mask", ctypes.c_ulong),
    )


class _XServer:
    """One connection, kept. A server that dies makes readings None; Xlib would end the whole process."""

    def __init__(self, x: Any, saver: Any, display: Any) -> None:
        self._x, self._saver, self._display = x, saver, display
        self._root = x.XDefaultRootWindow(display)
        self._info = _Info()
        self._lost = False
        # Older versions end the process in the first, newer ones in the second.
        on_error = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(self._note_error)
        on_loss = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(self._note_loss)
        _HANDLERS.extend((on_error, on_loss))
        x.XSetIOErrorHandler(on_error)
        x.XSetIOErrorExitHandler(display, on_loss, None)

    @classmethod
    def open(cls) -> _XServer | None:
        """Connect to the server of `DISPLAY`; None without server, library or extension."""
        try:
            x, saver = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXss.so.1")
            x.XSetIOErrorExitHandler.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        except (OSError, AttributeError):
            return None
        x.XOpenDisplay.restype = ctypes.c_void_p
        x.XDefaultRootWindow.restype = ctypes.c_ulong
        x.XDefaultRootWindow.argtypes = (ctypes.c_void_p,)
        saver.XScreenSaverQueryExtension.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        saver.XScreenSaverQueryInfo.argtypes = (ctypes.c_void_p, ctypes.c_ulong, ctypes.POINTER(_Info))
        display = x.XOpenDisplay(None)
        if not display:
            return None
        first = ctypes.c_int()
        if not saver.XScreenSaverQueryExtension(display, ctypes.byref(first), ctypes.byref(ctypes.c_int())):
            return None
        return cls(x, saver, display)

    def idle_ms(self) -> Reading:
        """Milliseconds since the last key press or pointer movement."""
        answered = not self._lost and self._saver.XScreenSaverQueryInfo(
            self._display, self._root, ctypes.byref(self._info)
        )
        return int(self._info.idle) if answered and not self._lost else None

    def _note_error(self, _display: object) -> int:
        self._lost = True
        return 0

    def _note_loss(self, _display: object, _data: object) -> None:
        self._lost = True


def _by_bus(call: tuple[str, str, str]) -> Reading:
    destination, path, method = call
    answer = _ask(
        "gdbus", "call", "--session", "--dest", destination, "--object-path", path, "--method", method
    )
    found = re.search(r"(\d+),?\)\s*\Z", answer)
    return int(found[1]) if found else None


def _logind() -> Reading:
    answer = _ask("loginctl", "show", "--property=IdleHint", "--property=IdleSinceHint")
    found = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    if found.get("IdleHint") == "no":
        return 0
    since = found.get("IdleSinceHint", "")
    if found.get("IdleHint") != "yes" or not since.isdigit():
        return None
    return max(0, time.time_ns() // 1_000_000 - int(since) // 1000)


def _terminals() -> Reading:
    now, found = time.time(), []
    if _SYSTEM in ("win32", "darwin"):
        return None  # there the window system sees the terminals too
    for user in psutil.users():
        try:
            found.append(now - (Path("/dev") / (user.terminal or "")).stat().st_atime)
        except OSError:
            continue
    return max(0, round(min(found) * 1000)) if found else None


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_ASK_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:4096].decode("utf-8", "replace") if done.returncode == 0 else ""


def _macos() -> Reading:
    path = "/System/Library/Frameworks/ApplicationServices.framework/ApplicationServices"
    try:
        call = ctypes.CDLL(path).CGEventSourceSecondsSinceLastEventType
    except (OSError, AttributeError):
        return None
    call.restype, call.argtypes = ctypes.c_double, (ctypes.c_int32, ctypes.c_uint32)
    seconds: float = call(1, 0xFFFFFFFF)  # the hardware's state, any kind of input
    return round(seconds * 1000)


def _windows() -> Reading:
    class LastInput(ctypes.Structure):
        _fields_ = (("size", ctypes.c_uint), ("time", ctypes.c_uint))

    windll: Any = getattr(ctypes, "windll", None)
    if windll is None:
        return None
    last = LastInput(size=ctypes.sizeof(LastInput))
    if not windll.user32.GetLastInputInfo(ctypes.byref(last)):
        return None
    return int((windll.kernel32.GetTickCount() - last.time) & 0xFFFFFFFF)
