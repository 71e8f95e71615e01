"""The wall clock, as an object that tests can replace."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells Unix time."""

    def now(self) -> int:
        """Unix seconds."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> int:
        """Unix seconds."""
        return int(time.time())
