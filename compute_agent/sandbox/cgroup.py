"""Exact limits by cgroup v2 where systemd delegates it to us; elsewhere the supervisor polls.

Properties that a manager does not delegate are accepted and silently ignored, so support is
believed only after reading the limits back from inside a real scope.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from openstall.compute_agent.specs import MIB, Limits

_ROOT = Path("/sys/fs/cgroup")
_PROBE_TIMEOUT_S = 5
_PROBE_BYTES = 64 * MIB
_PROBE_TASKS = 17
_READ_BACK = 'g=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); cat "$g/memory.max" "$g/pids.max"'
_OWN_TASKS = 4  # bubblewrap itself, and pid 1 of the sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupScope:
    """`manager` is the start of the command that opens a scope; empty when there is no delegation."""

    manager: tuple[str, ...]
    words: str

    def prefix(self, limits: Limits) -> tuple[str, ...]:
        """The wrapper command for one sandbox, or nothing."""
        if not self.manager:
            return ()
        return self.manager + _properties(limits.memory_bytes, limits.processes + _OWN_TASKS, limits.threads)


def find_scope() -> CgroupScope:
    """Try once, with a scope that reads its own limits back. Takes up to a second."""
    if not (_ROOT / "cgroup.controllers").exists():
        return CgroupScope(manager=(), words="this machine does not use cgroup v2 alone")
    command = shutil.which("systemd-run")
    if command is None:
        return CgroupScope(manager=(), words="systemd-run is not installed")
    manager = (command, *(() if os.geteuid() == 0 else ("--user",)), "--scope", "--quiet", "--collect")
    try:
        answer = subprocess.run(
            [*manager, *_properties(_PROBE_BYTES, _PROBE_TASKS, 1), "sh", "-c", _READ_BACK],
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return CgroupScope(manager=(), words=f"systemd gives no scope: {error}")
    if answer.stdout.split() == [b"%d" % _PROBE_BYTES, b"%d" % _PROBE_TASKS]:
        return CgroupScope(manager=manager, words="memory and process limits are exact")
    words = answer.stderr.decode("utf-8", "replace").strip().splitlines()
    return CgroupScope(
        manager=(), words=words[-1] if words else "memory and pids are not delegated to this user"
    )


def _properties(memory_bytes: int, tasks: int, threads: int) -> tuple[str, ...]:
    values = (
        f"MemoryMax={memory_bytes}",
        "MemorySwapMax=0",
        f"TasksMax={tasks}",
        "CPUWeight=20",
        f"CPUQuota={threads * 100}%",
        "OOMPolicy=kill",
    )
    return tuple(word for value in values for word in ("-p", value))
