"""The sandbox for where an ordinary user may make no namespaces: Landlock, system-call filter, limits.

The job is one process of the owner's own account that may open nothing but the runtime, its inputs and a
work folder of its own, and may start, signal and see nothing. It still reads metadata (whether a path
exists, the host's name); so only kinds of job that run our code on foreign data come here.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openstall.compute_agent.sandbox.plan import (
    HARMLESS_DEVICES,
    SHARED,
    WORKLOADS,
    Plan,
    common_config,
    environment,
    host_libraries,
    landlock_rules,
)
from openstall.market.errors import SandboxError

_STAGE1 = Path(__file__).with_name("stage1.py")
_PREFIX = "openstall-job-"
_SPARE_TASKS = 64


@dataclass(slots=True, kw_only=True)
class Place:
    """A job's folders on the owner's disk. `lock_fd` shows a later agent that they are in use."""

    root: Path
    lock_fd: int

    @classmethod
    def make(cls) -> Place:
        """New, private, empty."""
        root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in ("out", "tmp"):
            (root / name).mkdir(mode=0o700)
        package = root / "path" / "openstall" / "compute_agent"
        package.mkdir(parents=True)
        (package / "workloads").symlink_to(WORKLOADS)
        for shared in SHARED:
            room = package.parent / shared.parent.name
            room.mkdir(exist_ok=True)
            (room / shared.name).symlink_to(shared)
        return cls(root=root, lock_fd=lock_fd)

    def remove(self) -> None:
        """Remove everything."""
        os.close(self.lock_fd)
        remove_tree(self.root)


def remove_tree(root: Path) -> None:
    """Remove a folder that a job filled: however deep it is nested, whatever modes were set.

    Goes down and up by descriptors, because neither a path nor Python's own recursion reaches as deep.
    """
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    names: list[str] = []
    pending = [_unlink_files(here)]
    while pending:
        if pending[-1]:
            name = pending[-1].pop()
            os.chmod(name, 0o700, dir_fd=here)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            names.append(name)
            pending.append(_unlink_files(below))
        else:
            pending.pop()
            below = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            if names:
                os.rmdir(names.pop(), dir_fd=below)
        os.close(here)
        here = below
    os.close(here)
    root.rmdir()


def _unlink_files(folder_fd: int) -> list[str]:
    """The folders that are left then."""
    folders = []
    with os.scandir(folder_fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder_fd)
    return folders


def sweep() -> None:
    """Remove what earlier agents left behind by dying. May take seconds."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        facts = path.lstat()
        if facts.st_uid != os.geteuid() or path.is_symlink():
            continue
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)
        remove_tree(path)


def unboxed_command(
    plan: Plan, place: Place, *, seccomp_fd: int, events_fd: int, talk: Sequence[int] = ()
) -> list[str]:
    """The job's own interpreter, to close the doors on itself before it runs anything.

    Raises SandboxError `needs_namespaces` for a plan that only namespaces could hold.
    """
    if plan.allow_fork and not plan.without:
        raise SandboxError(
            "needs_namespaces",
            "A job that starts processes needs a sandbox with namespaces, which this machine refuses.",
            "Run `openstall doctor`: it names the cause and the fix.",
        )
    runtime = plan.runtime
    library = runtime.prefix / "lib"
    read = [
        *(str(runtime.site_packages), str(WORKLOADS), str(plan.inputs), str(place.root / "path")),
        *map(str, SHARED),
        *([str(library)] if library.is_dir() else []),
        *HARMLESS_DEVICES,
        *host_libraries(),
    ]
    if plan.entry.script is not None:
        read.append(str(plan.entry.script))
    config = common_config(plan, events_fd) | {
        "seccomp_fd": -1 if "seccomp" in plan.without else seccomp_fd,
        "talk": list(talk),
        "parent": os.getpid(),
        "temporary": str(place.root / "tmp"),
        "landlock": landlock_rules(
            plan, read, [str(place.root / "out"), str(place.root / "tmp"), "/dev/null"]
        ),
        "path": [str(place.root / "path"), str(runtime.site_packages)],
        "script": str(plan.entry.script or ""),
    }
    limits = config["rlimits"]
    if isinstance(limits, dict) and limits:
        # outside a user namespace the kernel counts every task of the owner
        limits["NPROC"] += tasks_of(os.geteuid()) + _SPARE_TASKS
    return [str(runtime.python), "-I", "-S", "-B", str(_STAGE1), json.dumps(config)]


def unboxed_environment(plan: Plan, place: Place) -> dict[str, str]:
    """As in a boxed sandbox, with the folders where they really lie."""
    temporary = str(place.root / "tmp")
    library = {} if str(plan.runtime.prefix) == "/usr" else {"LD_LIBRARY_PATH": f"{plan.runtime.prefix}/lib"}
    return {
        **environment(plan.limits),
        **library,
        "HOME": temporary,
        "TMPDIR": temporary,
        "OPENSTALL_INPUTS": str(plan.inputs),
        "OPENSTALL_OUTPUTS": str(place.root / "out"),
    }


def tasks_of(uid: int) -> int:
    """How many tasks run under this user id now."""
    count = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if process.stat().st_uid == uid:
                count += sum(1 for _ in (process / "task").iterdir())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return count
