"""First code inside the sandbox: closes the last doors, then runs one job.

Standard library only and no import from this package: this file is mounted alone. It is trusted
until the job's first line; after that everything that comes out of the sandbox is hostile.

argv[1] is JSON: {events_fd, talk, seccomp_fd, drop_to, parent, landlock: {read, write, devices, remove,
needed}, rlimits, nice, threads, gpu_memory_bytes, temporary, preload, path, module|script}. On the events
pipe it says {"t": "ready"}; then it waits on standard input for one line {"cpu_s", "rlimits"} and the
parameters after it. Until that line has come, it runs nothing but imports of the workload runtime.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import resource
import runpy
import signal
import stat
import struct
import sys
import threading
from typing import Any, NoReturn

_EVENTS_FD = 3
_TALK_FD = 4  # questions; the next one is for answers
_ABOVE_ALL = 64
_FAILED = 97
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2

_SYS_LANDLOCK = {"create": 444, "add": 445, "restrict": 446}
_READ = 1 << 2 | 1 << 3  # READ_FILE, READ_DIR
# WRITE_FILE, READ_FILE, READ_DIR, MAKE_DIR, MAKE_REG (+ TRUNCATE from ABI 3)
_WRITE = 1 << 1 | _READ | 1 << 7 | 1 << 8
_REMOVE = 1 << 4 | 1 << 5  # REMOVE_DIR, REMOVE_FILE
_DEVICE = 1 << 1 | 1 << 2 | 1 << 15  # WRITE_FILE, READ_FILE, IOCTL_DEV (from ABI 5)
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16}
_FILE_ONLY = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15


def _say(**event: object) -> None:
    os.write(_EVENTS_FD, json.dumps(event).encode() + b"\n")


def _fail(words: str) -> NoReturn:
    _say(t="stage1", words=words)
    os._exit(_FAILED)


def _restrict_files(paths: dict[str, Any] | None) -> int:
    """Landlock: only the listed paths, no execution, no TCP, no signals out. Returns the ABI, 0 if none."""
    if paths is None:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    abi = int(libc.syscall(_SYS_LANDLOCK["create"], None, 0, 1))
    if abi <= 0:
        if paths["needed"]:
            _fail("this kernel has no Landlock")
        return 0
    handled = (1 << _FS_BITS.get(abi, 16)) - 1
    attributes = struct.pack("=QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = libc.syscall(_SYS_LANDLOCK["create"], attributes, size, 0)
    if ruleset < 0:
        _fail(f"landlock_create_ruleset: {os.strerror(ctypes.get_errno())}")
    write = (_WRITE | (_REMOVE if paths["remove"] else 0) | (1 << 14 if abi >= 3 else 0)) & handled
    rules = [(p, _READ) for p in paths["read"]] + [(p, write) for p in paths["write"]]
    for path, access in rules + [(p, _DEVICE & handled) for p in paths["devices"]]:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = access if stat.S_ISDIR(os.fstat(fd).st_mode) else access & _FILE_ONLY
        rule = struct.pack("=Qi", allowed, fd)
        if libc.syscall(_SYS_LANDLOCK["add"], ruleset, 1, rule, 0) != 0:
            _fail(f"landlock_add_rule {path}: {os.strerror(ctypes.get_errno())}")
        os.close(fd)
    if libc.syscall(_SYS_LANDLOCK["restrict"], ruleset, 0) != 0:
        _fail(f"landlock_restrict_self: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)
    return abi


def _drop_root(uid: int) -> None:
    """Become `uid` for good. Capabilities go with the last root id; checked, never assumed."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    for attempt in (os.setuid, os.setgid):
        try:
            attempt(0)
        except PermissionError:
            continue
        _fail("root could be taken back")


def _give_up_capabilities() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    # after setresuid only the inheritable set can still hold something
    if libc.capset(header, data) != 0 or libc.capget(header, data) != 0:
        _fail(f"capabilities: {os.strerror(ctypes.get_errno())}")
    if any(data.raw):
        _fail("capabilities are left")


def _set_limits(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        # the owner's own limit may be narrower, and cannot be raised
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))


def _die_with(parent: int) -> None:
    """Ask for SIGKILL when the agent's thread ends; for a sandbox that no bubblewrap holds."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        _fail(f"death signal: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        os._exit(_FAILED)


def _filter_calls(program: bytes) -> None:
    """Put the compiled filter in force for this process, and for all threads it will start."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0) != 0:
        _fail(f"system-call filter: {os.strerror(ctypes.get_errno())}")


def _start(config: dict[str, Any]) -> None:
    """Close everything, up to saying that the sandbox is finished."""
    talk = [fcntl.fcntl(fd, fcntl.F_DUPFD, _ABOVE_ALL) for fd in config["talk"]]  # out of the way first
    if config["events_fd"] != _EVENTS_FD:
        os.dup2(config["events_fd"], _EVENTS_FD)
    program = b""
    if config["seccomp_fd"] >= 0:
        with os.fdopen(config["seccomp_fd"], "rb") as file:
            program = file.read()
    for at, fd in enumerate(talk):
        os.dup2(fd, _TALK_FD + at)
    os.closerange(_TALK_FD + len(talk), 65536)
    os.nice(config["nice"])
    if config["drop_to"] >= 0:
        _drop_root(config["drop_to"])
    _give_up_capabilities()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        _fail(f"no new privileges: {os.strerror(ctypes.get_errno())}")
    if config["parent"]:
        _die_with(config["parent"])
    abi = _restrict_files(config["landlock"])
    _set_limits(config["rlimits"])
    if program:
        _filter_calls(program)
    sys.path[:0] = config["path"]
    os.environ["OPENSTALL_THREADS"] = str(config["threads"])
    if config["gpu_memory_bytes"]:
        os.environ["OPENSTALL_GPU_MEMORY"] = str(config["gpu_memory_bytes"])
    if config["temporary"]:
        # what cannot be removed cannot be tried out, as this module does before it believes in a folder
        tempfile: Any = importlib.import_module("tempfile")
        tempfile.tempdir = config["temporary"]
    _preload(config["preload"])
    _say(t="ready", landlock=abi, pid=os.getpid())


def _preload(modules: list[str]) -> None:
    """Import ahead, in a thread that gets processor time only when nobody else wants it."""
    failed: list[Exception] = []

    def work() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            for name in modules:
                importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a library may raise anything; it is said below
            failed.append(error)

    if modules:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    if failed:
        _fail(f"{type(failed[0]).__name__}: {failed[0]}")


def _receive(own: dict[str, Any]) -> bytes:
    """Wait for the go line, set the job's own limits, return the parameters."""
    data = b""
    while part := os.read(0, 65536):
        data += part
    head, _, params = data.partition(b"\n")
    if not head:
        os._exit(_FAILED)  # the agent is gone, or has no use for this sandbox any more
    go = json.loads(head)
    cpu_s = go["cpu_s"]
    _set_limits(go["rlimits"])
    if cpu_s >= 0:
        used = int(sum(os.times()[:2])) + 1 if own["preload"] else 0
        _set_limits({"CPU": used + cpu_s})
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    return params


def main() -> None:
    """Close the doors, wait for the parameters, run the job in this very process."""
    config: dict[str, Any] = json.loads(sys.argv[1])
    try:
        _start(config)
        params = _receive(config)
    except (OSError, ValueError, ImportError) as error:
        _fail(f"{type(error).__name__}: {error}")
    if config["script"]:
        sys.argv = [config["script"], params.decode()]
        runpy.run_path(config["script"], run_name="__main__")
    else:
        sys.argv = [config["module"], params.decode()]
        runpy.run_module(config["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
