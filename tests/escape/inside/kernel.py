"""Doors of the kernel itself: namespaces, mounts, keys, and calls that have been holes before."""

from __future__ import annotations

import ctypes
import os
import socket
import struct

from attempts import FACTS, LIBC, NotTried, attempt, call, in_child, passes, sees_secret, work_folder

SPACES = "namespaces and mounts"
_NEWUSER, _NEWNS, _NEWNET = 0x10000000, 0x00020000, 0x40000000


@attempt("new user namespace", SPACES, unless="systems that refuse them to users")
def user_namespace() -> None:
    in_child(lambda: void(call("unshare", _NEWUSER)))


@attempt("new network namespace", SPACES, unless="systems that refuse them to users")
def network_namespace() -> None:
    in_child(lambda: void(call("unshare", _NEWUSER | _NEWNET)))


@attempt("mount in a nested namespace", SPACES, unless="systems that refuse them to users")
def mount() -> None:
    def work() -> None:
        call("unshare", _NEWUSER | _NEWNS)
        call("mount", b"tmpfs", os.fsencode(work_folder()), b"tmpfs", ctypes.c_ulong(0), None)

    in_child(work)


@attempt("clone with a new user namespace", SPACES, unless="systems that refuse them to users")
def clone_namespace() -> None:
    def work() -> None:
        pid = call("clone", ctypes.c_ulong(_NEWUSER | 17), None, None, None, None)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    in_child(work)


@attempt("clone3 with a new user namespace", SPACES, unless="systems that refuse them to users")
def clone3_namespace() -> None:
    def work() -> None:
        arguments = ctypes.create_string_buffer(struct.pack("=8Q", _NEWUSER, 0, 0, 0, 17, 0, 0, 0))
        pid = call("clone3", arguments, ctypes.c_size_t(64))
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    in_child(work)


@attempt("enter the namespaces of another process", SPACES, root_only=True)
def enter() -> None:
    def work() -> None:
        fd = os.open(f"/proc/{FACTS['victim']}/ns/uts", os.O_RDONLY)
        call("setns", fd, 0)

    in_child(work)


@attempt("mount a new file system object (fsopen)", SPACES, root_only=True)
def fsopen() -> None:
    os.close(call("fsopen", b"tmpfs", 1))


@attempt("copy a mount (open_tree)", SPACES, root_only=True)
def open_tree() -> None:
    os.close(call("open_tree", -100, os.fsencode(work_folder()), 0x1 | 0x80000))


@attempt("chroot", SPACES, root_only=True)
def chroot() -> None:
    in_child(lambda: os.chroot(work_folder()))


@attempt("pivot_root", SPACES, root_only=True)
def pivot() -> str:
    return passes("pivot_root", b"/nonexistent", b"/nonexistent")


@attempt("set the name of the host", SPACES, root_only=True)
def host_name() -> None:
    name = os.uname().nodename.encode()
    call("sethostname", name, ctypes.c_size_t(len(name)))


KEYS = "keys"


@attempt("read a key of the owner's keyring", KEYS, unless="kernels without keyrings")
def read_key() -> str:
    if not FACTS["key"]:
        raise NotTried("no keyring on this machine")
    found = call(
        "keyctl", ctypes.c_long(10), ctypes.c_long(-4), b"user", FACTS["key"].encode(), ctypes.c_long(0)
    )
    data = ctypes.create_string_buffer(256)
    call("keyctl", ctypes.c_long(11), ctypes.c_long(found), data, ctypes.c_size_t(256), ctypes.c_long(0))
    return sees_secret(data.raw)


@attempt("use kernel keyrings at all", KEYS, unless="kernels without keyrings")
def any_key() -> None:
    made = call("add_key", b"user", b"openstall-attempt", b"x", ctypes.c_size_t(1), ctypes.c_long(-2))
    call(
        "keyctl", ctypes.c_long(21), ctypes.c_long(made), ctypes.c_long(0), ctypes.c_long(0), ctypes.c_long(0)
    )


CALLS = "calls that were holes before"


@attempt("io_uring", CALLS, unless="systems that switched it off")
def io_uring() -> None:
    os.close(call("io_uring_setup", 1, ctypes.create_string_buffer(120)))


@attempt("asynchronous reads (io_setup)", CALLS)
def old_aio() -> str:
    context = ctypes.c_ulong(0)
    return passes("io_setup", 0, ctypes.byref(context))


@attempt("bpf", CALLS, root_only=True)
def bpf() -> None:
    attributes = ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1) + bytes(112))
    os.close(call("bpf", 0, attributes, 128))


@attempt("perf_event_open", CALLS, root_only=True, unless="kernels without it")
def perf() -> None:
    attributes = ctypes.create_string_buffer(struct.pack("=IIQ", 1, 128, 0) + bytes(112))
    os.close(call("perf_event_open", attributes, 0, -1, -1, ctypes.c_ulong(0)))


@attempt("userfaultfd", CALLS, unless="systems that keep it for root")
def userfaultfd() -> None:
    os.close(call("userfaultfd", 1 | os.O_CLOEXEC))


@attempt("load a kernel module", CALLS, root_only=True, unless="kernels without modules")
def module() -> str:
    return passes("init_module", b"none", ctypes.c_ulong(4), b"")


@attempt("load a kernel module from a file", CALLS, root_only=True, unless="kernels without modules")
def module_file() -> str:
    return passes("finit_module", -1, b"", 0)


@attempt("load another kernel (kexec)", CALLS, root_only=True, unless="kernels without kexec")
def kexec() -> str:
    return passes("kexec_load", ctypes.c_ulong(0), ctypes.c_ulong(0), None, ctypes.c_ulong(0xFFFF))


@attempt("restart the machine", CALLS, root_only=True)
def reboot() -> str:
    return passes("reboot", 0, 0, 0, None)  # the numbers that it asks for are wrong: nothing happens


@attempt("set the clock", CALLS, root_only=True)
def clock() -> None:
    state = ctypes.create_string_buffer(208)
    call("adjtimex", state)
    # the present length of a tick, set again
    struct.pack_into("=I", state, 0, 0x4000)
    call("adjtimex", state)


@attempt("swap on a file", CALLS, root_only=True)
def swap() -> str:
    return passes("swapon", b"/nonexistent", 0)


@attempt("process accounting", CALLS, root_only=True, unless="kernels without it")
def accounting() -> str:
    return passes("acct", b"/nonexistent")


@attempt("fanotify", CALLS, unless="kernels before 5.13, for all but root")
def fanotify() -> None:
    os.close(call("fanotify_init", 0x200, 0))


@attempt("ports of the machine (iopl)", CALLS, root_only=True, unless="kernels without them")
def ports() -> None:
    in_child(lambda: void(call("iopl", 3)))


@attempt("segments of its own (modify_ldt)", CALLS, unless="kernels without them")
def segments() -> str:
    return passes("modify_ldt", 0, ctypes.create_string_buffer(16), ctypes.c_ulong(16))


@attempt("secret memory (memfd_secret)", CALLS, unless="systems that switched it off")
def secret_memory() -> None:
    os.close(call("memfd_secret", 0))


@attempt("give pages to a pipe (vmsplice)", CALLS)
def vmsplice() -> str:
    return passes("vmsplice", -1, None, ctypes.c_ulong(0), 0)


@attempt("lock memory", CALLS, unless="systems that grant none")
def lock_memory() -> None:
    call("mlockall", 4 | 2)  # on fault, future
    LIBC.munlockall()


@attempt("enlarge a pipe (memory that nobody counts)", CALLS)
def pipe_size() -> None:
    import fcntl

    end, start = os.pipe()
    try:
        fcntl.fcntl(start, 1031, 1 << 20)  # F_SETPIPE_SZ
    finally:
        os.close(end)
        os.close(start)


SOCKETS = "sockets"


def family(number: int, kind: int, protocol: int = 0) -> None:
    """Create one and close it."""
    socket.socket(number, kind, protocol).close()


for _name, _family, _kind, _protocol, _marks in (
    ("AF_INET", 2, 1, 0, {}),
    ("AF_INET6", 10, 1, 0, {"unless": "kernels without IPv6"}),
    ("AF_UNIX", 1, 1, 0, {}),
    ("AF_NETLINK", 16, 3, 0, {}),
    ("AF_VSOCK", 40, 1, 0, {"unless": "kernels without it"}),
    ("AF_ALG", 38, 5, 0, {"unless": "kernels without it"}),
    ("AF_PACKET", 17, 3, 0, {"root_only": True}),
    ("AF_BLUETOOTH", 31, 1, 3, {"unless": "kernels without it"}),
    ("AF_XDP", 44, 3, 0, {"root_only": True, "unless": "kernels without it"}),
    ("AF_KEY", 15, 3, 2, {"root_only": True, "unless": "kernels without it"}),
    ("AF_TIPC", 30, 1, 0, {"unless": "kernels without it"}),
    ("AF_CAN", 29, 3, 1, {"root_only": True, "unless": "kernels without it"}),
    ("raw ICMP", 2, 3, 1, {"root_only": True}),
    ("ping", 2, 2, 1, {"unless": "systems that keep it for root"}),
):

    def _make(number: int = _family, kind: int = _kind, protocol: int = _protocol) -> None:
        family(number, kind, protocol)

    attempt(f"create a socket: {_name}", SOCKETS, **_marks)(_make)


@attempt("create a pair of sockets", SOCKETS)
def pair() -> None:
    for end in socket.socketpair():
        end.close()


def void(_answer: object) -> None:
    """Forget an answer."""
