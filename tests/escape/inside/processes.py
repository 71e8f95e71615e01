"""Other processes: seen, read, signalled, slowed; and rights that must not come back."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import shutil
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from attempts import (
    FACTS,
    LIBC,
    Blocked,
    NotTried,
    attempt,
    call,
    in_child,
    passes,
    sees_secret,
    work_folder,
)

OTHERS = "other processes"


@attempt("see processes of the host in /proc", OTHERS)
def see() -> str:
    return Path(f"/proc/{FACTS['victim']}/comm").read_text().strip()


@attempt("learn that a process id is in use", OTHERS)
def exists() -> str:
    return f"session {os.getsid(FACTS['victim'])}"


@attempt("program of another process, by /proc/PID/exe", OTHERS)
def program() -> str:
    return str(Path(f"/proc/{FACTS['victim']}/exe").readlink())


@attempt("environment of another process", OTHERS)
def environ() -> str:
    return sees_secret(Path(f"/proc/{FACTS['victim']}/environ").read_bytes())


@attempt("memory of another process by /proc/PID/mem", OTHERS)
def memory_file() -> str:
    with Path(f"/proc/{FACTS['victim']}/mem").open("rb", buffering=0) as file:
        file.seek(FACTS["victim_address"])
        return sees_secret(file.read(64))


@attempt("memory of another process by process_vm_readv", OTHERS)
def memory_call() -> str:
    here = ctypes.create_string_buffer(64)
    local = struct.pack("@PN", ctypes.addressof(here), 64)
    remote = struct.pack("@PN", FACTS["victim_address"], 64)
    call(
        "process_vm_readv",
        FACTS["victim"],
        local,
        ctypes.c_ulong(1),
        remote,
        ctypes.c_ulong(1),
        ctypes.c_ulong(0),
    )
    return sees_secret(here.raw)


@attempt("attach to another process (ptrace)", OTHERS)
def attach() -> None:
    call("ptrace", ctypes.c_long(0x4206), ctypes.c_long(FACTS["victim"]), None, None)
    call("ptrace", ctypes.c_long(0x4207), ctypes.c_long(FACTS["victim"]), None, None)
    os.waitpid(FACTS["victim"], 0x40000000)  # __WALL: it is stopped now
    call("ptrace", ctypes.c_long(17), ctypes.c_long(FACTS["victim"]), None, None)


@attempt("take a descriptor from another process (pidfd_getfd)", OTHERS)
def take_descriptor() -> str:
    pidfd = call("pidfd_open", FACTS["victim"], 0)
    try:
        taken = call("pidfd_getfd", pidfd, FACTS["victim_fd"], 0)
    finally:
        os.close(pidfd)
    data = os.pread(taken, 4096, 0)
    os.close(taken)
    return sees_secret(data)


@attempt("hold another process by a pidfd", OTHERS)
def hold() -> None:
    os.close(call("pidfd_open", FACTS["victim"], 0))


@attempt("lock list of another process (get_robust_list)", OTHERS)
def robust_list() -> None:
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    call("get_robust_list", FACTS["victim"], ctypes.byref(head), ctypes.byref(size))


@attempt("compare with another process (kcmp)", OTHERS, unless="kernels without kcmp")
def compare() -> None:
    call("kcmp", FACTS["victim"], FACTS["victim"], 1, ctypes.c_ulong(0), ctypes.c_ulong(0))


@attempt("pages of another process (move_pages)", OTHERS, unless="kernels without NUMA")
def pages() -> None:
    call("move_pages", FACTS["victim"], ctypes.c_ulong(0), None, None, None, 0)


@attempt("signal another process by kill", OTHERS)
def signal_other() -> None:
    os.kill(FACTS["victim"], 0)


@attempt("signal the process group of the agent", OTHERS)
def signal_group() -> None:
    os.killpg(FACTS["group"], 0)


@attempt("signal another process by F_SETOWN", OTHERS)
def signal_by_owner() -> None:
    end, start = os.pipe()
    try:
        fcntl.fcntl(end, 8, FACTS["victim"])  # F_SETOWN; nothing is written, so nothing is sent
        if fcntl.fcntl(end, 9) != FACTS["victim"]:
            raise Blocked("no owner")
    finally:
        os.close(end)
        os.close(start)


@attempt("signal another process by sigqueue", OTHERS)
def signal_queue() -> None:
    info = ctypes.create_string_buffer(struct.pack("=iii", 0, 0, -1) + bytes(116))
    call("rt_sigqueueinfo", FACTS["victim"], 0, info)


@attempt("signal its own parent", OTHERS)
def signal_parent() -> None:
    os.kill(os.getppid(), 0)


@attempt("slow another process down (setpriority)", OTHERS)
def slow_down() -> None:
    os.setpriority(os.PRIO_PROCESS, FACTS["victim"], 5)


@attempt("change how another process is scheduled", OTHERS)
def reschedule() -> None:
    os.sched_setscheduler(FACTS["victim"], os.SCHED_BATCH, os.sched_param(0))


@attempt("pin another process to a processor", OTHERS)
def pin() -> None:
    before = os.sched_getaffinity(FACTS["victim"])
    os.sched_setaffinity(FACTS["victim"], {min(before)})
    after = os.sched_getaffinity(FACTS["victim"])
    os.sched_setaffinity(FACTS["victim"], before)
    if after == before and len(before) > 1:
        raise Blocked("it was only pretended")
    if len(before) == 1:
        raise NotTried("one processor")


@attempt("limit another process (prlimit)", OTHERS)
def limit_other() -> None:
    resource.prlimit(FACTS["victim"], resource.RLIMIT_CORE)


@attempt("read a process of its own sandbox (ptrace)", OTHERS)
def trace_child() -> None:
    def work() -> None:
        call("ptrace", ctypes.c_long(0), ctypes.c_long(0), None, None)  # PTRACE_TRACEME

    in_child(work)


RIGHTS = "rights"


@attempt("become root", RIGHTS, root_only=True)
def become_root() -> None:
    in_child(lambda: os.setresuid(0, 0, 0))


@attempt("hold a capability", RIGHTS, root_only=True)
def capability() -> str:
    header, data = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    if LIBC.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    if not any(data.raw[:4] + data.raw[12:16]):
        raise Blocked("none effective")
    return data.raw.hex()


@attempt("gain rights from a setuid program", RIGHTS, unless="machines without one")
def setuid_program() -> str:
    for name in ("su", "sudo", "passwd", "mount", "pkexec", "ping"):
        found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin")
        if found and Path(found).stat().st_mode & stat.S_ISUID and os.access(found, os.X_OK):
            if LIBC.prctl(39, 0, 0, 0, 0) == 1:
                raise Blocked("it would not be root: no new privileges")
            return found
    raise Blocked("none can be seen")


@attempt("see su, sudo or pkexec", RIGHTS, unless="machines without one")
def administrators_tools() -> str:
    found = [path for path in ("/usr/bin/su", "/usr/bin/sudo", "/usr/bin/pkexec") if os.access(path, os.X_OK)]
    if not found:
        raise Blocked("none")
    return found[0]


@attempt("raise its priority", RIGHTS, root_only=True)
def raise_priority() -> str:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -5)
    except OSError:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return "SCHED_FIFO"
    return "nice -5"


@attempt("raise its share of the disk (ioprio)", RIGHTS)
def disk_priority() -> None:
    call("ioprio_set", 1, 0, 2 << 13)  # best effort, highest


@attempt("choose its own processors", RIGHTS)
def processors() -> None:
    before = os.sched_getaffinity(0)
    every = set(range(os.cpu_count() or 1))
    if len(every) == 1:
        raise NotTried("one processor")
    other = {min(before)} if before == every else every
    os.sched_setaffinity(0, other)
    after = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before)
    if after == before:
        raise Blocked("it was only pretended")


@attempt("raise its own limits", RIGHTS)
def raise_limits() -> str:
    for name in ("RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_MEMLOCK", "RLIMIT_CPU", "RLIMIT_FSIZE"):
        kind = getattr(resource, name)
        soft, hard = resource.getrlimit(kind)
        try:
            resource.setrlimit(kind, (hard, hard))
        except (OSError, ValueError):
            continue
        if resource.getrlimit(kind)[0] != soft:
            resource.setrlimit(kind, (soft, hard))
            return name
    raise Blocked("all are at their height")


@attempt("take back that the kernel kills it with its parent", RIGHTS)
def outlive() -> None:
    if FACTS["own_pid_namespace"]:
        raise NotTried("the end of its namespace ends it")
    if LIBC.prctl(1, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


@attempt("change its score for when memory runs out", RIGHTS)
def out_of_memory_score() -> None:
    Path("/proc/self/oom_score_adj").write_text("1000")


@attempt("install a filter of its own with a listener", RIGHTS)
def own_filter() -> str:
    return passes("seccomp", 1, 0x80, None)


CODE = "code from nowhere"


@attempt("file in memory only, with code in it", CODE)
def memory_code() -> None:
    fd = call("memfd_create", b"x", 0)
    try:
        os.ftruncate(fd, 4096)
        mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
    finally:
        os.close(fd)


@attempt("start a program from memory (execveat)", CODE)
def memory_program() -> None:
    def work() -> None:
        fd = call("memfd_create", b"x", 0)
        os.write(fd, Path(os.path.realpath(sys.executable)).read_bytes())
        words = (ctypes.c_char_p * 6)(b"python", b"-I", b"-S", b"-c", b"pass", None)
        call("execveat", fd, b"", words, (ctypes.c_char_p * 1)(None), 0x1000)

    run_program(work)


@attempt("start a program that it wrote", CODE)
def dropped_program() -> None:
    path = Path(work_folder(), "dropped")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755)
    os.write(fd, Path(os.path.realpath(sys.executable)).read_bytes()[: 1 << 23])
    os.close(fd)
    run_program(lambda: os.execve(path, ["python", "-I", "-S", "-c", "pass"], dict(os.environ)))


@attempt("start the interpreter anew", CODE)
def interpreter() -> None:
    path = os.path.realpath(sys.executable)
    run_program(lambda: os.execve(path, ["python", "-I", "-S", "-c", "pass"], dict(os.environ)))


def run_program(work: Callable[[], None]) -> None:
    """A started program closes the pipe with success; a failed start says why."""
    end, start = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            os.write(start, str(error).encode())
        os._exit(99)
    os.close(start)
    words = os.read(end, 200)
    os.close(end)
    status = os.waitpid(pid, 0)[1]
    if status != 0:
        raise Blocked(words.decode("utf-8", "replace") or f"status {status}")


@attempt("start a process", CODE, unless="never: a plan may allow it")
def start_process() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@attempt("32-bit gate (int 0x80)", CODE, unless="kernels without 32-bit programs")
def gate() -> str:
    if not hasattr(mmap, "PROT_EXEC") or os.uname().machine != "x86_64":
        raise NotTried("not an x86")

    def work() -> str:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        if function() != os.getpid():
            raise Blocked("no answer")
        return "getpid answered"

    return in_child(work)


@attempt("x32 call numbers", CODE, unless="kernels without x32")
def x32() -> None:
    def work() -> None:
        if int(LIBC.syscall(ctypes.c_long(0x40000000 + 39))) < 0:
            raise OSError(ctypes.get_errno(), "x32")

    in_child(work)


@attempt("turn off address randomisation (personality)", CODE)
def personality() -> None:
    before = call("personality", ctypes.c_ulong(0xFFFFFFFF))
    call("personality", ctypes.c_ulong(before | 0x0040000))
    call("personality", ctypes.c_ulong(before))
