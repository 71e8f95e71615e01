"""A real X server without a screen, and a hand that touches its mouse and keyboard (XTest)."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SHIFT_KEY = 50


@dataclass(slots=True)
class Display:
    """`name` is what DISPLAY is set to."""

    name: str
    process: subprocess.Popen[bytes]
    _x: Any
    _test: Any
    _connection: Any

    def touch(self) -> float:
        """Press and release a key; the monotonic time at which the server has it."""
        for down in (1, 0):
            self._test.XTestFakeKeyEvent(self._connection, SHIFT_KEY, down, 0)
        self._x.XSync(self._connection, 0)
        return time.monotonic()


@contextmanager
def touched_display() -> Iterator[Display]:
    """Start a server on a free display; it ends with the block."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-noreset", "-nolisten", "tcp", "-screen", "0", "320x240x8"]
    process = subprocess.Popen(
        command, pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(write)
    try:
        with os.fdopen(read) as source:
            name = f":{source.readline().strip()}"
        x, test = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
        x.XOpenDisplay.restype = ctypes.c_void_p
        x.XSync.argtypes = (ctypes.c_void_p, ctypes.c_int)
        test.XTestFakeKeyEvent.argtypes = (ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_ulong)
        connection = x.XOpenDisplay(name.encode())
        if not connection:
            raise RuntimeError(f"Xvfb {name} does not answer")
        yield Display(name, process, x, test, connection)
    finally:
        process.terminate()
        process.wait()
