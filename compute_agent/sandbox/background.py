"""A job gives way to the owner: first to be killed for memory, last to be served by the disk, few processors.

Set from outside while only our own code runs in the sandbox; whatever the job starts later inherits it,
and the system-call filter refuses the calls that could take it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterable
from pathlib import Path

_OOM_FIRST = b"1000"
_SYS_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_WHO_PROCESS = 1
_CLASS_IDLE = 3 << 13


def give_way(tasks: Iterable[int], *, processors: frozenset[int]) -> None:
    """Apply all three to processes of this user. A process that is gone is passed over."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SYS_IOPRIO_SET[platform.machine()]
    for pid in tasks:
        # preferences only: no limit depends on them
        with contextlib.suppress(PermissionError, FileNotFoundError, ProcessLookupError):
            Path(f"/proc/{pid}/oom_score_adj").write_bytes(_OOM_FIRST)
        libc.syscall(number, _WHO_PROCESS, pid, _CLASS_IDLE)
        for thread in _threads(pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, processors)


def processors_for(*, threads: int, slot: int) -> frozenset[int]:
    """As many of the agent's processors as the job may use threads; neighbouring slots get others."""
    ours = sorted(os.sched_getaffinity(0), reverse=True)
    count = min(threads, len(ours))
    return frozenset(ours[(slot * count + at) % len(ours)] for at in range(count))


def _threads(pid: int) -> list[int]:
    try:
        return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []
