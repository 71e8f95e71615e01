"""Attempts to take more than was given, or to stay for longer. Each is bounded, to be safe bare too."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from attempts import FACTS, LIBC, Blocked, NotTried, attempt, call

MIB = 1 << 20
TAKE = "take more than given"
STAY = "stay longer, or talk too much"
TASKS = 60
"""More processes or threads than the limit of 16 and what the supervisor lets pass between two looks."""
MEMORY = 256 * MIB
"""Twice the limit."""

# FACTS["many"]: more than the limit of 10,000 files; fewer bare, where a disk must be swept afterwards.
# FACTS["hold_s"]: how long what was taken is held, so that a supervisor on a busy machine comes to look.


def _fork_many(each: Callable[[], None]) -> None:
    children: list[int] = []
    try:
        for _ in range(TASKS):
            pid = os.fork()
            if pid == 0:
                each()
                os._exit(0)
            children.append(pid)
        time.sleep(FACTS["hold_s"])
    finally:
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@attempt("processes without end", TAKE, alone=True, forks=True)
def forks() -> None:
    _fork_many(lambda: time.sleep(20))


@attempt("processes that start processes", TAKE, alone=True, forks=True)
def forks_of_forks() -> None:
    end, start = os.pipe()
    first = os.getpid()
    for _ in range(7):
        os.fork()
    os.write(start, b"x")
    if os.getpid() != first:
        time.sleep(3)
        os._exit(0)
    seen = 0
    while seen < 2 * TASKS:
        seen += len(os.read(end, 4096))
    time.sleep(FACTS["hold_s"])


@attempt("threads without end", TAKE, alone=True)
def threads() -> None:
    threading.stack_size(64 * 1024)  # so small that memory does not end it first
    for _ in range(TASKS):
        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
    time.sleep(FACTS["hold_s"])


@attempt("private memory", TAKE, alone=True)
def private_memory() -> None:
    held = [bytearray(b"x") * MIB for _ in range(MEMORY // MIB)]
    time.sleep(FACTS["hold_s"])
    del held


@attempt("shared memory", TAKE, alone=True)
def shared_memory() -> None:
    held = []
    for _ in range(MEMORY // MIB):
        block = mmap.mmap(-1, MIB)
        for at in range(0, MIB, 4096):
            block[at] = 1
        held.append(block)
    time.sleep(FACTS["hold_s"])


@attempt("memory in a memory-only file", TAKE, alone=True)
def memory_file() -> None:
    fd = call("memfd_create", b"x", 0)
    for _ in range(MEMORY // MIB):
        os.write(fd, bytes(MIB))
    time.sleep(FACTS["hold_s"])


@attempt("memory in /dev/shm", TAKE, alone=True)
def shared_files() -> None:
    path = Path("/dev/shm", f"openstall-fill-{os.getpid()}")
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(MEMORY // MIB):
                file.write(bytes(MIB))
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


@attempt("memory in pipes", TAKE, alone=True)
def pipes() -> None:
    held = 0
    for _ in range(400):
        _end, start = os.pipe()
        os.set_blocking(start, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                held += os.write(start, bytes(65536))
    if held < 16 * MIB:
        raise Blocked(f"{held} bytes")


@attempt("memory in sockets", TAKE, alone=True)
def sockets() -> None:
    ends = []
    for _ in range(200):
        pair = socket.socketpair()
        pair[0].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                pair[0].send(bytes(65536))
        ends.append(pair)


@attempt("descriptors", TAKE, alone=True)
def descriptors() -> None:
    for _ in range(600):
        os.dup(1)


def _fill(folder: str, size: int) -> None:
    written, number = 0, 0
    try:
        while written < size:
            with Path(folder, f"fill-{number}").open("wb", buffering=0) as file:
                number += 1
                for _ in range(4):
                    written += file.write(bytes(MIB))
            time.sleep(0.02)
        time.sleep(FACTS["hold_s"])
    finally:
        for at in range(number):
            with contextlib.suppress(OSError):
                Path(folder, f"fill-{at}").unlink()


@attempt("disk, by the output folder", TAKE, alone=True)
def disk() -> None:
    _fill(FACTS["out"], 40 * MIB)


@attempt("disk, by the folder for temporary files", TAKE, alone=True)
def temporary() -> None:
    _fill(os.environ.get("TMPDIR", "/var/tmp") if FACTS["boxed"] else FACTS["out"], 160 * MIB)


@attempt("one large file", TAKE, alone=True)
def large_file() -> None:
    path = Path(FACTS["out"], "large")
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(40):
                if not file.write(bytes(MIB)):
                    raise Blocked("nothing written")
    finally:
        path.unlink(missing_ok=True)


@attempt("a file that claims a terabyte", TAKE, alone=True)
def sparse() -> None:
    path = Path(FACTS["out"], "sparse")
    try:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


@attempt("files without end", TAKE, alone=True)
def files() -> None:
    folder = Path(FACTS["out"], "many")
    folder.mkdir()
    for number in range(2 * FACTS["many"]):
        os.close(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY))
    time.sleep(FACTS["hold_s"])


@attempt("folders in folders without end", TAKE, alone=True)
def deep() -> None:
    for _ in range(FACTS["many"]):
        os.mkdir("d")  # noqa: PTH102 - thousands of times
        os.chdir("d")
    time.sleep(FACTS["hold_s"])


@attempt("processor time", STAY, alone=True)
def spin() -> None:
    end = time.process_time() + 2.5
    while time.process_time() < end:
        pass


@attempt("sleep for ever", STAY, alone=True)
def sleep() -> None:
    time.sleep(FACTS["longer_s"])


@attempt("ignore every signal", STAY, alone=True)
def ignore() -> None:
    for number in range(1, 65):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    time.sleep(FACTS["longer_s"])


@attempt("stop itself", STAY, alone=True)
def stop() -> None:
    pid = os.getpid()
    threading.Timer(FACTS["longer_s"], lambda: None).start()
    os.kill(pid, signal.SIGSTOP)


@attempt("leave a process behind", STAY, alone=True, forks=True)
def daemon() -> str:
    LIBC.prctl(15, FACTS["mark"].encode(), 0, 0, 0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.closerange(3, 256)
            time.sleep(60)
        os._exit(0)
    time.sleep(0.2)
    return "host"


@attempt("flood the log", STAY, alone=True)
def flood() -> None:
    for _ in range(2000):
        print("A" * 1000)


@attempt("a line without end", STAY, alone=True)
def endless_line() -> None:
    for _ in range(2000):
        os.write(1, b"A" * 1000)
    os.write(1, b"\n")


@attempt("terminal codes and hidden characters in the log", STAY, alone=True)
def codes() -> str:
    print(FACTS["mark"], "\x1b]0;title\x07\x1b[2J\x1b[1;31m\u202egnp.exe\u200b")
    return "host"


@attempt(
    "flood the channel to the agent", STAY, alone=True, unless="never bare: a sandbox has such a channel"
)
def flood_events() -> None:
    if not FACTS["boxed"]:
        raise NotTried("there is no such channel")
    for _ in range(2000):
        os.write(3, b"x" * 1000)


@attempt(
    "lie on the channel to the agent", STAY, alone=True, unless="never bare: a sandbox has such a channel"
)
def lie() -> None:
    if not FACTS["boxed"]:
        raise NotTried("there is no such channel")
    os.write(3, b'{"t": "usage", "seconds": 999999}\n')
    time.sleep(FACTS["hold_s"])


@attempt(
    "dump its memory to a file when it dies", STAY, alone=True, unless="systems that pipe or drop core files"
)
def core() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0:
        raise Blocked("no room for one")
