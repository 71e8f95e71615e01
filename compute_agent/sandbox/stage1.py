"""First code inside the sandbox: closes the last doors, then runs one job.

Standard library only and no import from this package: this file is mounted alone. It is trusted
until the job's first line; after that everything that comes out of the sandbox is hostile.

argv[1] is JSON: {events_fd, drop_to, landlock: {read, write}, rlimits, nice, threads, module|script}.
On the events pipe it says {"t": "ready"}; then it waits for the parameters on standard input.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import runpy
import stat
import struct
import sys
from typing import Any, NoReturn

_EVENTS_FD = 3
_FAILED = 97

_SYS_LANDLOCK = {"create": 444, "add": 445, "restrict": 446}
_READ = 1 << 2 | 1 << 3  # READ_FILE, READ_DIR
# WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG (+ TRUNCATE from ABI 3)
_WRITE = 1 << 1 | _READ | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16}
_FILE_ONLY = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15


def _say(**event: object) -> None:
    os.write(_EVENTS_FD, json.dumps(event).encode() + b"\n")


def _fail(words: str) -> NoReturn:
    _say(t="stage1", words=words)
    os._exit(_FAILED)


def _restrict_files(paths: dict[str, list[str]]) -> int:
    """Landlock: only the listed paths, no execution, no TCP, no signals out. Returns the ABI, 0 if none."""
    libc = ctypes.CDLL(None, use_errno=True)
    abi = int(libc.syscall(_SYS_LANDLOCK["create"], None, 0, 1))
    if abi <= 0:
        return 0
    handled = (1 << _FS_BITS.get(abi, 16)) - 1
    attributes = struct.pack("=QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = libc.syscall(_SYS_LANDLOCK["create"], attributes, size, 0)
    if ruleset < 0:
        _fail(f"landlock_create_ruleset: {os.strerror(ctypes.get_errno())}")
    write = (_WRITE | (1 << 14 if abi >= 3 else 0)) & handled
    for path, access in [(p, _READ) for p in paths["read"]] + [(p, write) for p in paths["write"]]:
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
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def _start(config: dict[str, Any]) -> bytes:
    """Everything up to the job's own first line; returns the parameters."""
    if config["events_fd"] != _EVENTS_FD:
        os.dup2(config["events_fd"], _EVENTS_FD)
    os.closerange(_EVENTS_FD + 1, 65536)
    os.nice(config["nice"])
    if config["drop_to"] >= 0:
        _drop_root(config["drop_to"])
    _give_up_capabilities()
    abi = _restrict_files(config["landlock"])
    _set_limits(config["rlimits"])
    _say(t="ready", landlock=abi, pid=os.getpid())
    chunks = []
    while data := os.read(0, 65536):
        chunks.append(data)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    return b"".join(chunks)


def main() -> None:
    """Close the doors, wait for the parameters, run the job in this very process."""
    config: dict[str, Any] = json.loads(sys.argv[1])
    try:
        params = _start(config)
    except (OSError, ValueError) as error:
        _fail(f"{type(error).__name__}: {error}")
    sys.path[:0] = config["path"]
    os.environ["OPENSTALL_THREADS"] = str(config["threads"])
    if config["script"]:
        sys.argv = [config["script"], params.decode()]
        runpy.run_path(config["script"], run_name="__main__")
    else:
        sys.argv = [config["module"], params.decode()]
        runpy.run_module(config["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
