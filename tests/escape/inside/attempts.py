"""What every attempt is made of. Standard library only: this folder is read inside sandboxes, and bare.

An attempt is a function that returns (a few words) when the door was open, raises OSError or Blocked when
it was shut, and NotTried where this machine lacks what the attempt needs.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
FACTS: dict[str, Any] = {}
"""What the host prepared: paths, ports and process ids of things that are nobody else's business."""

_SHUT = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})

# name: (x86_64, every newer architecture); -1 where there is no such call
_NUMBERS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "unshare": (272, 97), "clone": (56, 220), "clone3": (435, 435),
    "setns": (308, 268), "mount": (165, 40), "pivot_root": (155, 41), "fsopen": (430, 430),
    "open_tree": (428, 428), "keyctl": (250, 219), "add_key": (248, 217), "io_uring_setup": (425, 425),
    "io_setup": (206, 0), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104),
    "personality": (135, 92), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "syslog": (103, 116), "adjtimex": (159, 171), "sethostname": (170, 161), "reboot": (169, 142),
    "swapon": (167, 224), "acct": (163, 89), "quotactl": (179, 60), "fanotify_init": (300, 262),
    "inotify_init1": (294, 26), "inotify_add_watch": (254, 27), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "msgget": (68, 186), "msgctl": (71, 187), "semget": (64, 190),
    "semctl": (66, 191), "mq_open": (240, 180), "mq_unlink": (241, 181), "get_robust_list": (274, 100),
    "kcmp": (312, 272), "move_pages": (279, 239), "ioprio_set": (251, 30), "iopl": (172, -1),
    "modify_ldt": (154, -1), "setxattr": (188, 5), "seccomp": (317, 277), "mlockall": (151, 230),
    "vmsplice": (278, 75), "getpid": (39, 172), "process_madvise": (440, 440), "sched_setattr": (314, 274),
    "sysinfo": (99, 179), "execveat": (322, 281), "rt_sigqueueinfo": (129, 138), "capset": (126, 91),
}  # fmt: skip


class Blocked(Exception):
    """The call was answered, but what was asked for did not happen."""


class NotTried(Exception):
    """This machine or column has nothing to try it on."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One hostile behaviour. `unless` says where its being shut in every column proves nothing."""

    name: str
    group: str
    try_it: Callable[[], str | None]
    root_only: bool = False
    alone: bool = False
    forks: bool = False
    elsewhere: bool = False
    unless: str = ""


ATTEMPTS: dict[str, Attempt] = {}


def attempt(
    name: str, group: str, **marks: Any
) -> Callable[[Callable[[], str | None]], Callable[[], str | None]]:
    """Register a function. Marks:

    `root_only`: an ordinary user is refused bare as well.
    `elsewhere`: would reach other machines, so it is tried only where the network is shut off.
    `alone`: uses up its process or its sandbox, so it gets one of its own.
    `forks`: the ones of these that are made of processes.
    `unless`: why it may be shut in every column of some machines.
    """

    def register(function: Callable[[], str | None]) -> Callable[[], str | None]:
        if name in ATTEMPTS:
            raise ValueError(name)
        ATTEMPTS[name] = Attempt(name=name, group=group, try_it=function, **marks)
        return function

    return register


def call(name: str, *arguments: object) -> int:
    """A raw system call. Raises OSError."""
    number = _NUMBERS[name][0 if X86 else 1]
    if number < 0:
        raise NotTried(f"no {name} on this architecture")
    result = int(LIBC.syscall(ctypes.c_long(number), *arguments))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def passes(name: str, *arguments: object) -> str:
    """A call with arguments that do nothing: only a refusal of the right to call it counts as shut."""
    try:
        result = call(name, *arguments)
    except OSError as error:
        if error.errno in _SHUT:
            raise
        return f"{name} answers {errno.errorcode[error.errno or 0]}"
    return f"{name} answers {result}"


def sees_secret(data: bytes | str) -> str:
    """That the secret was read."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    if FACTS["secret"] not in text:
        raise Blocked("no secret there")
    return "the secret was read"


def in_child(work: Callable[[], str | None]) -> str:
    """Do it in a child process; where none may be started, here."""
    end, start = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        return work() or ""
    if pid == 0:
        try:
            words = "O" + (work() or "")
        except (OSError, Blocked) as error:
            words = f"B{type(error).__name__}: {error}"
        except NotTried as error:
            words = f"N{error}"
        os.write(start, words.encode())
        os._exit(0)
    os.close(start)
    data = b""
    while part := os.read(end, 65536):
        data += part
    os.close(end)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        raise Blocked(f"ended by {signal.Signals(os.WTERMSIG(status)).name}")
    verdict, words = data[:1], data[1:].decode()
    if verdict == b"O":
        return words
    raise (NotTried if verdict == b"N" else Blocked)(words)


def work_folder() -> str:
    """A folder that this process may write: the job's output folder."""
    return str(FACTS["out"])


def say(name: str, verdict: str, words: str = "") -> None:
    """One line for the host."""
    sys.stdout.write("ATTEMPT " + json.dumps([name, verdict, words[:200]]) + "\n")
    sys.stdout.flush()
