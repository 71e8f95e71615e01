"""What one sandbox is made of, and the bubblewrap command line for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox.gpu import Grant
from openstall.compute_agent.specs import GIB, MIB, Limits
from openstall.learning import grid, intervals
from openstall.market import merkle

JOB_ID = 65534
"""User and group id a job sees in its own user namespace (`nobody`)."""

DROPPED_ID_BASE = 1_950_000_000
"""As root a job runs under a host user id from here on: no account, no file, no other process has it."""

SCRATCH_BYTES = 64 * MIB
INODE_CAP = 10_000
_STAGE1 = Path(__file__).with_name("stage1.py")
WORKLOADS = Path(__file__).parents[1] / "workloads"
SHARED = (Path(grid.__file__), Path(intervals.__file__), Path(merkle.__file__))
"""Modules that the workloads share with the node, so that both reckon alike: standard library alone."""
_VIRTUAL_EXTRA_BYTES = 16 * GIB
_GPU_VIRTUAL_EXTRA_BYTES = 1024 * GIB
_PARENTS = (
    *("/usr", "/usr/bin", "/py", "/py/bin", "/job", "/sbx", "/sbx/openstall"),
    *(
        "/sbx/openstall/compute_agent",
        "/sbx/openstall/learning",
        "/sbx/openstall/market",
        "/proc",
        "/sys",
        "/sys/devices",
        "/sys/devices/system",
    ),
)

Mode = Literal["user_namespace", "dropped_root", "no_namespaces"]
"""How the job loses its rights. `user_namespace`: an ordinary user's one-id namespace.
`dropped_root`: namespaces made by root, then setresuid to an id that owns nothing, because the
kernel exempts root's own id from process limits even inside a user namespace.
`no_namespaces`: where an ordinary user may make none; see `unboxed`."""

Layer = Literal["seccomp", "landlock", "limits"]
"""What a plan may go without, in tests only: `host.run_sandbox` refuses such a plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What runs: a module of the fixed workloads, or (tests and self-test only) a script file."""

    module: str = ""
    script: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One sandbox. `inputs` is mounted read-only at /job/in; `params` reaches the job as argv[1].

    `checkpoints` is where checkpoints are copied to while the job runs; None where nobody wants them.
    `preload` names modules that are imported before the job is known. `asked`: it gets two more pipes, for
    questions and answers. `silent`: nothing that it prints or says of itself is passed on. `without` is for
    tests.
    """

    entry: Entry
    runtime: Runtime
    inputs: Path
    params: bytes
    limits: Limits
    mode: Mode
    checkpoints: Path | None = None
    slot: int = 0
    allow_fork: bool = False
    preload: tuple[str, ...] = ()
    gpu: Grant | None = None
    asked: bool = False
    silent: bool = False
    without: frozenset[Layer] = frozenset()

    @property
    def boxed(self) -> bool:
        """Whether the job has namespaces and a root of its own."""
        return self.mode != "no_namespaces"

    @property
    def drop_to(self) -> int:
        """Host user id the job drops to, or -1 where the user namespace does it."""
        return DROPPED_ID_BASE + self.slot if self.mode == "dropped_root" else -1


def bwrap_arguments(
    plan: Plan, *, bwrap: Path, seccomp_fd: int, info_fd: int, events_fd: int, talk: Sequence[int] = ()
) -> list[str]:
    """The whole command. The sandbox sees libraries, runtime, inputs and three small tmpfs; no procfs."""
    arguments = [str(bwrap), *_isolation(plan.mode)]
    arguments += ["--info-fd", str(info_fd)]
    arguments += [] if "seccomp" in plan.without else ["--seccomp", str(seccomp_fd)]
    for path in _PARENTS:
        # bubblewrap gives the parents it makes itself mode 0700: shut to a dropped id
        arguments += ["--perms", "0755", "--dir", path]
    arguments += _system_mounts() + _python_mounts(plan.runtime)
    arguments += ["--ro-bind", str(plan.runtime.site_packages), "/rt"]
    arguments += ["--ro-bind", str(_STAGE1), "/sbx/stage1.py"]
    arguments += ["--ro-bind", str(WORKLOADS), "/sbx/openstall/compute_agent/workloads"]
    for shared in SHARED:
        arguments += ["--ro-bind", str(shared), f"/sbx/openstall/{shared.parent.name}/{shared.name}"]
    if plan.entry.script is not None:
        arguments += ["--ro-bind", str(plan.entry.script), "/sbx/script.py"]
    arguments += ["--dev", "/dev"]
    for path, size in (
        ("/dev/shm", SCRATCH_BYTES),  # noqa: S108 - mount points inside the sandbox
        ("/tmp", SCRATCH_BYTES),  # noqa: S108 - as above
        ("/job/out", plan.limits.disk_bytes),
    ):
        arguments += ["--perms", "0777", "--size", str(size), "--tmpfs", path]
    arguments += ["--ro-bind", str(plan.inputs), "/job/in"]
    arguments += plan.gpu.mounts if plan.gpu is not None else []
    # bubblewrap's own root and /dev are writable tmpfs of half the memory
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/job/out"]
    for name, value in environment(plan.limits).items():
        arguments += ["--setenv", name, value]
    python, prefix = _python_inside(plan.runtime)
    folders = [f"{prefix}/lib"] if prefix != "/usr" else []
    folders += [plan.gpu.libraries] if plan.gpu is not None and plan.gpu.libraries else []
    arguments += ["--setenv", "LD_LIBRARY_PATH", ":".join(folders)] if folders else []
    arguments += ["--", python, "-I", "-S", "-B", "/sbx/stage1.py"]
    return [*arguments, json.dumps(_stage1_config(plan, events_fd, prefix) | {"talk": list(talk)})]


def _isolation(mode: Mode) -> list[str]:
    arguments = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    arguments += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    arguments += ["--hostname", "job", "--cap-drop", "ALL"]
    if mode == "user_namespace":
        identity = ["--uid", str(JOB_ID), "--gid", str(JOB_ID)]
        return [*arguments, "--unshare-user", "--disable-userns", *identity]
    return [*arguments, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]


def _system_mounts() -> list[str]:
    arguments: list[str] = []
    for path in ("/usr/lib", "/usr/lib64"):
        if Path(path).is_dir():
            arguments += ["--ro-bind", path, path]
    for path in ("/lib", "/lib64"):
        if Path(path).is_symlink():
            arguments += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            arguments += ["--ro-bind", path, path]
    # oneDNN and the thread pools choose by these; neither names the machine or its owner
    for path in ("/sys/devices/system/cpu", "/proc/cpuinfo"):
        if Path(path).exists():
            arguments += ["--ro-bind", path, path]
    return arguments


def _python_inside(runtime: Runtime) -> tuple[str, str]:
    prefix = "/usr" if runtime.prefix == Path("/usr") else "/py"
    return f"{prefix}/bin/{runtime.python.name}", prefix


def _python_mounts(runtime: Runtime) -> list[str]:
    python, prefix = _python_inside(runtime)
    arguments = ["--ro-bind", str(runtime.python), python]
    if prefix == "/py":
        arguments += ["--ro-bind", str(runtime.prefix / "lib"), "/py/lib"]
    return arguments


def environment(limits: Limits) -> dict[str, str]:
    """Every variable of a job; it inherits none."""
    threads = str(limits.threads)
    return {
        "HOME": "/tmp",  # noqa: S108 - of the sandbox
        "TMPDIR": "/tmp",  # noqa: S108 - of the sandbox
        "USER": "job",
        "LOGNAME": "job",
        "LANG": "C.UTF-8",
        "TZ": "UTC0",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "upb",
    }


def _stage1_config(plan: Plan, events_fd: int, prefix: str) -> dict[str, object]:
    readable = ["/rt", "/sbx", "/job/in", *HARMLESS_DEVICES, *host_libraries()]
    readable += ["/py"] if prefix == "/py" else []
    return {
        **common_config(plan, events_fd),
        "drop_to": plan.drop_to,
        "landlock": landlock_rules(
            plan,
            readable,
            ["/job/out", "/tmp", "/dev/shm", "/dev/null"],  # noqa: S108
        ),
        "path": ["/sbx", "/rt"],
        "script": "/sbx/script.py" if plan.entry.script is not None else "",
    }


HARMLESS_DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom")


def host_libraries() -> list[str]:
    """What a job reads of the host's system: libraries, and the facts by which they choose their code."""
    paths = ("/usr/lib", "/usr/lib64", "/sys/devices/system/cpu", "/proc/cpuinfo")
    return [path for path in paths if Path(path).exists()]


def landlock_rules(plan: Plan, read: list[str], write: list[str]) -> dict[str, object] | None:
    """The whole of what a job may open."""
    if "landlock" in plan.without:
        return None
    # without namespaces the work folder lies on the owner's disk: what cannot be removed can be counted
    return {
        "read": [*read, *(plan.gpu.readable if plan.gpu else ())],
        "write": write,
        "devices": list(plan.gpu.nodes) if plan.gpu else [],
        "remove": plan.boxed,
        "needed": not plan.boxed,
    }


def common_config(plan: Plan, events_fd: int) -> dict[str, object]:
    """The part of stage1's settings that does not depend on where the job's folders lie."""
    limits = plan.limits
    rlimits = {
        "AS": _address_space(plan),
        "DATA": limits.memory_bytes,
        "FSIZE": limits.disk_bytes,
        "NOFILE": 256,
        "NPROC": limits.processes,
        "CORE": 0,
        "MSGQUEUE": 0,
        "MEMLOCK": 0,
    }
    return {
        "events_fd": events_fd,
        "seccomp_fd": -1,
        "talk": [],
        "drop_to": -1,
        "parent": 0,
        "temporary": "",
        "rlimits": {} if "limits" in plan.without else rlimits,
        "nice": 10,
        "threads": limits.threads,
        "gpu_memory_bytes": limits.gpu_memory_bytes if plan.gpu else 0,
        "preload": list(plan.preload),
        "module": plan.entry.module,
    }


def _address_space(plan: Plan) -> int:
    # the driver maps the whole memory of a device, and as much again, without using it
    extra = _VIRTUAL_EXTRA_BYTES if plan.gpu is None else _GPU_VIRTUAL_EXTRA_BYTES
    return plan.limits.memory_bytes + extra


def go_line(plan: Plan) -> bytes:
    """What tells stage1 to begin: the job's own limits, processor seconds from now on, the parameters."""
    limits = plan.limits
    own = {"AS": _address_space(plan), "DATA": limits.memory_bytes}
    own |= {"FSIZE": limits.disk_bytes}
    own |= {"NPROC": limits.processes} if plan.boxed else {}
    go = {"cpu_s": limits.cpu_s + 1, "rlimits": own}
    if "limits" in plan.without:
        go = {"cpu_s": -1, "rlimits": {}}
    return json.dumps(go).encode() + b"\n" + plan.params
