"""What a running sandbox uses, read from /proc and from its tmpfs (no cgroup needed)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from openstall.compute_agent.sandbox.launcher import Running, children_of
from openstall.compute_agent.sandbox.plan import INODE_CAP

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_THREADS_FIELD = 17  # of /proc/PID/stat after the command name, as in proc(5) minus 3
_TIMES_FIELDS = slice(11, 15)
_PROCESSES_READ = 1024
"""Twice what any job may have: who makes processes faster than we look is not followed for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at a sandbox. `memory_bytes` includes its tmpfs; `tasks` counts threads."""

    memory_bytes: int
    disk_bytes: int
    inodes: int
    cpu_s: float
    tasks: int


def processes_of(running: Running) -> list[int]:
    """The ids, on the host, of the sandbox's processes."""
    pending = [running.init_pid]
    found: list[int] = []
    while pending and len(found) < _PROCESSES_READ:
        found.append(pid := pending.pop())
        pending += children_of(pid)
    return found


def sample(running: Running) -> Sample:
    """Look now. Processes that vanish meanwhile count as nothing."""
    memory = tasks = 0
    cpu_s = 0.0
    for pid in processes_of(running):
        fields = _stat(pid)
        if fields is None:
            continue
        tasks += int(fields[_THREADS_FIELD])
        cpu_s += sum(int(word) for word in fields[_TIMES_FIELDS]) / _TICKS_PER_S
        memory += _own_memory(pid)
    disk = inodes = 0
    for name, fd in running.folders.items():
        if running.place is not None:
            used, files = _on_disk(running.place.root / name.removeprefix("job/"), INODE_CAP + 1 - inodes)
            disk += used
            inodes += files
            continue
        state = os.fstatvfs(fd)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        memory += used
        inodes += state.f_files - state.f_ffree
        if name == "job/out":
            disk = used
    return Sample(memory_bytes=memory, disk_bytes=disk, inodes=inodes, cpu_s=cpu_s, tasks=tasks)


def host_oom_kills(counters: Path = Path("/proc/vmstat")) -> int | None:
    """How many processes this machine has killed for want of memory since it started; None if not told."""
    try:
        lines = counters.read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def _on_disk(folder: Path, most: int) -> tuple[int, int]:
    """Bytes and files under a job's folder, which it cannot remove or link; `most` files are looked at."""
    used = files = 0
    pending = [folder]
    while pending and files < most:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    files += 1
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    if files >= most:
                        break
        except FileNotFoundError:
            continue  # renamed meanwhile
        except OSError:
            return used, most  # nested deeper than a path can say
    return used, files


def _stat(pid: int) -> list[bytes] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _own_memory(pid: int) -> int:
    """Anonymous plus shared memory of a process. File pages are the host's cache, not the job's."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith((b"RssAnon:", b"RssShmem:")):
                total += int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        return total
    return total
