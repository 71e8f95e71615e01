"""Runs inside a sandbox at self-test: tries the doors that must be shut and reports those that open.

Standard library only; mounted alone. Writes `probe.json`: {"open": [names], "tried": n}.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_NR_X86_64 = {"unshare": 272, "peek": 310, "keyctl": 250, "memfd": 319, "bpf": 321, "io_uring": 425}
_NR_GENERIC = {"unshare": 97, "peek": 270, "keyctl": 219, "memfd": 279, "bpf": 280, "io_uring": 425}
_NR = _NR_X86_64 if os.uname().machine == "x86_64" else _NR_GENERIC
_CLONE_NEWUSER = 0x10000000
_OWN_VARIABLES = frozenset(
    {
        *("HOME", "TMPDIR", "USER", "LOGNAME", "LANG", "TZ", "PWD", "LD_LIBRARY_PATH", "LC_CTYPE"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY"),
        *("ORT_DISABLE_TELEMETRY", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "OPENSTALL_THREADS"),
        *("OPENSTALL_INPUTS", "OPENSTALL_OUTPUTS"),
    }
)
_INPUTS = os.environ.get("OPENSTALL_INPUTS", "/job/in")
_OUTPUTS = os.environ.get("OPENSTALL_OUTPUTS", "/job/out")
_RUNTIME = sys.path[1]


def _reads(path: str) -> Callable[[], object]:
    return lambda: Path(path).read_bytes()


def _lists(path: str) -> Callable[[], object]:
    return lambda: list(Path(path).iterdir())


def _writes(path: str) -> Callable[[], object]:
    return lambda: Path(path).write_bytes(b"x")


def _connects(family: int) -> Callable[[], object]:
    return lambda: socket.socket(family, socket.SOCK_STREAM)


def _calls(name: str, *arguments: object) -> Callable[[], object]:
    def call() -> None:
        if _LIBC.syscall(_NR[name], *arguments) < 0:
            raise OSError(ctypes.get_errno(), name)

    return call


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _inherited_secrets() -> None:
    if set(os.environ) <= _OWN_VARIABLES:
        raise OSError("only our own variables")


def _link() -> None:
    Path(_OUTPUTS, "link").symlink_to("/etc/passwd")


def _strange_descriptor() -> None:
    for fd in range(4, 256):
        try:
            os.fstat(fd)
        except OSError:
            continue
        return
    raise OSError("none")


def _signal_the_agent() -> None:
    if os.getppid() <= 1:
        raise OSError("its parent is of its own sandbox")
    os.kill(os.getppid(), 0)


DOORS: dict[str, Callable[[], object]] = {
    "read /etc/passwd": _reads("/etc/passwd"),
    "read /etc/machine-id": _reads("/etc/machine-id"),
    "list /home": _lists("/home"),
    "list /root": _lists("/root"),
    "read /proc": _lists("/proc/self"),
    "write the runtime": _writes(f"{_RUNTIME}/openstall_probe"),
    "write the libraries": _writes("/usr/lib/openstall_probe"),
    "write its input": _writes(f"{_INPUTS}/openstall_probe"),
    "change the mode of its input": lambda: Path(_INPUTS).chmod(0o700),
    "signal the agent": _signal_the_agent,
    "write the root": _writes("/openstall_probe"),
    "internet socket": _connects(socket.AF_INET),
    "IPv6 socket": _connects(socket.AF_INET6),
    "unix socket": _connects(socket.AF_UNIX),
    "start a process": _fork,
    "become root": lambda: os.setuid(0),
    "new user namespace": _calls("unshare", _CLONE_NEWUSER),
    "memory of a process": _calls("peek", os.getpid(), None, 0, None, 0, 0),
    "kernel keyring": _calls("keyctl", 0, -3, 0),
    "memory-only file": _calls("memfd", b"probe", 0),
    "bpf": _calls("bpf", 0, 0, 0),
    "io_uring": _calls("io_uring", 1, 0),
    "kernel log": _reads("/dev/kmsg"),
    "environment of the agent": _inherited_secrets,
    "symbolic link in the output": _link,
    "descriptor of the agent": _strange_descriptor,
}


def main() -> None:
    """Try every door; one that raises is shut."""
    opened = []
    for name, attempt in DOORS.items():
        try:
            attempt()
        except (OSError, ValueError):
            continue
        opened.append(name)
    Path(_OUTPUTS, "probe.json").write_text(json.dumps({"open": opened, "tried": len(DOORS)}))


if __name__ == "__main__":
    main()
