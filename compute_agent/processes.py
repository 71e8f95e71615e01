"""The tree of our own processes, and the processor time it has used (Linux; elsewhere no jobs run)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_TIMES = slice(11, 15)  # of /proc/PID/stat after the command name: own and reaped children's time


def tree_of(pid: int) -> list[int]:
    """`pid` and everything below it."""
    found, pending = [], [pid]
    while pending:
        found.append(pending.pop())
        try:
            tasks = list(Path(f"/proc/{found[-1]}/task").iterdir())
            pending += [int(word) for task in tasks for word in (task / "children").read_bytes().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def processor_s(pids: Iterable[int]) -> float:
    """Seconds of processor time, that of children who have ended included; the dead count nothing."""
    total = 0
    if sys.platform != "linux":
        return 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(word) for word in fields[_TIMES])
    return total / _TICKS_PER_S
