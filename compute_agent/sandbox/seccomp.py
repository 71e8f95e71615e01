"""The seccomp filter of a job: an allow-list of system calls, compiled here and handed in by fd.

Compiled in the agent, because libseccomp is not inside the sandbox. Everything that is not listed
answers EPERM; a call through a foreign ABI (32-bit gate, x32) kills the process.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final

from openstall.compute_agent.sandbox.fixes import install_command
from openstall.market.errors import SandboxError

_CLONE_NAMESPACES: Final = 0x7E020000  # every CLONE_NEW* that clone(2) can take
_CLONE_THREAD: Final = 0x00010000
_LOW_32: Final = 0xFFFFFFFF

_ALLOWED: Final = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range
stat fstat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat
getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2
ftruncate fallocate fsync fdatasync sync_file_range fadvise64 umask flock copy_file_range
sendfile splice tee statfs fstatfs dup dup2 dup3 pipe pipe2
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait
epoll_pwait epoll_pwait2 eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime mmap munmap
mremap mprotect madvise brk mincore msync mlock2 membarrier get_mempolicy set_mempolicy mbind
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack
pause alarm futex futex_waitv set_robust_list get_robust_list rseq
set_tid_address gettid getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups
getpgrp getpgid getsid setsid setpgid setresuid setresgid setgroups capget capset exit exit_group wait4
waitid execve restart_syscall clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
times getitimer setitimer timer_create timer_settime timer_gettime timer_delete timer_getoverrun
getrlimit setrlimit getrusage uname getcpu sched_yield sched_getaffinity
sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
getrandom arch_prctl landlock_create_ruleset landlock_add_rule landlock_restrict_self
""".split()  # noqa: SIM905 - a list of 200 names reads better as words

# What reaches no further than the namespaces, and is allowed only where the job has some: Landlock watches
# over neither modes, times and names of files nor, before its ABI 6, signals.
_BOXED_ONLY: Final = """
open openat openat2 creat truncate chmod fchmod fchmodat fchmodat2 utime utimes utimensat futimesat
inotify_init1 inotify_add_watch inotify_rm_watch rt_sigqueueinfo kill tkill tgkill getpriority setpriority
sched_setscheduler
""".split()  # noqa: SIM905 - as above

# fcntl: DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK, SETLK, SETLKW, the same three for open file descriptions,
# DUPFD_CLOEXEC, GETPIPE_SZ, ADD_SEALS, GET_SEALS. No SETOWN (signals), no SETPIPE_SZ (memory nobody counts).
_FCNTL: Final = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1033, 1034)
_O_TMPFILE: Final = 0o20000000
_PR_SET_PDEATHSIG: Final = 1
# prctl: PDEATHSIG, GET_DUMPABLE, SET/GET_NAME, CAPBSET_READ, SET_NO_NEW_PRIVS, GET_NO_NEW_PRIVS, SET_VMA
_PRCTL: Final = (_PR_SET_PDEATHSIG, 3, 15, 16, 23, 38, 39, 0x53564D41)
# ioctl: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX
_IOCTL: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5451, 0x5450)

# ioctl of NVIDIA's driver as (mask, value): type F of its devices, and for unified memory the plain numbers
# below 256 and the pair that begins and ends it
_NVIDIA_IOCTLS: Final = (
    *((0xFF00, 0x4600), (_LOW_32 & ~0xFF, 0)),
    *((_LOW_32, 0x30000001), (_LOW_32, 0x30000002)),
)
_AF_UNIX, _SEQPACKET = 1, 5


def build_filter(*, allow_fork: bool, boxed: bool = True, gpu: bool = False) -> bytes:
    """The compiled BPF program for this machine's architecture.

    Without `allow_fork` the job may start threads but no processes. `boxed`: the job has namespaces.
    `gpu`: it may talk to NVIDIA's driver, as far as it has a device to do so with.
    Raises SandboxError `no_libseccomp` when the system library is missing: there is no job without
    a filter.
    """
    try:
        import pyseccomp as sc
    except (ImportError, RuntimeError, OSError) as error:
        raise SandboxError(
            "no_libseccomp",
            f"The system-call filter cannot be built: {error}.",
            install_command("libseccomp"),
        ) from error
    program = sc.SyscallFilter(defaction=sc.ERRNO(errno.EPERM))
    program.set_attr(sc.Attr.ACT_BADARCH, sc.KILL_PROCESS)

    def add(action: int, name: str, *conditions: object) -> None:
        number = sc.resolve_syscall(sc.Arch.NATIVE, name)
        if number is not None and number >= 0:  # negative: this architecture has no such call
            program.add_rule(action, name, *conditions)

    for name in (*_ALLOWED, *(_BOXED_ONLY if boxed else ())):
        add(sc.ALLOW, name)
    if not boxed:
        # a file without a name would take room that nobody sees; openat2 hides its flags behind a pointer
        add(sc.ALLOW, "open", sc.Arg(1, sc.MASKED_EQ, _O_TMPFILE, 0))
        add(sc.ALLOW, "openat", sc.Arg(2, sc.MASKED_EQ, _O_TMPFILE, 0))
        add(sc.ERRNO(errno.ENOSYS), "openat2")
        add(sc.ALLOW, "sched_setscheduler", sc.Arg(0, sc.MASKED_EQ, _LOW_32, 0))
    needed = _CLONE_NAMESPACES if allow_fork else _CLONE_NAMESPACES | _CLONE_THREAD
    add(sc.ALLOW, "clone", sc.Arg(0, sc.MASKED_EQ, needed, 0 if allow_fork else _CLONE_THREAD))
    for name in ("fork", "vfork") if allow_fork else ():
        add(sc.ALLOW, name)
    # the kernel looks at 32 bits of these: compare no more, or high bits slip past
    for name, at, values in (
        ("prctl", 0, _PRCTL if boxed else tuple(set(_PRCTL) - {_PR_SET_PDEATHSIG})),
        ("ioctl", 1, _IOCTL),
        ("fcntl", 1, _FCNTL),
        ("prlimit64", 0, (0,)),
    ):
        for value in values:
            add(sc.ALLOW, name, sc.Arg(at, sc.MASKED_EQ, _LOW_32, value))
    if gpu:
        _allow_gpu(sc, add)
    # glibc falls back to clone(2) on ENOSYS only; clone3's flags lie behind a pointer
    add(sc.ERRNO(errno.ENOSYS), "clone3")
    # pretend: torch and onnxruntime treat a failure as fatal, the owner's CPU choice must stand
    add(sc.ERRNO(0), "sched_setaffinity")
    return _export(program)


def _allow_gpu(sc: Any, add: Callable[..., None]) -> None:
    """What NVIDIA's library does beyond the rest: it talks to its devices, and listens for its own kind.

    There is nobody to connect, nor a call to connect with; a socket with a path needs what Landlock denies.
    """
    for mask, value in _NVIDIA_IOCTLS:
        add(sc.ALLOW, "ioctl", sc.Arg(1, sc.MASKED_EQ, mask, value))
    local, packets = sc.Arg(0, sc.MASKED_EQ, _LOW_32, _AF_UNIX), sc.Arg(1, sc.MASKED_EQ, 0xF, _SEQPACKET)
    add(sc.ALLOW, "socket", local, packets)
    add(sc.ALLOW, "bind")
    add(sc.ALLOW, "listen")


def _export(program: object) -> bytes:
    fd = os.memfd_create("openstall-seccomp", os.MFD_CLOEXEC)
    with os.fdopen(fd, "w+b") as file:
        program.export_bpf(file)  # type: ignore[attr-defined]
        file.seek(0)
        return file.read()
