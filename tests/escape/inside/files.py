"""Files of the owner: read, changed, watched, even only looked at."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from pathlib import Path

from attempts import FACTS, LIBC, Blocked, NotTried, attempt, call, sees_secret, work_folder

SECRETS = "files"


@attempt("read ~/.ssh/id_ed25519", SECRETS)
def ssh_key() -> str:
    return sees_secret(Path(FACTS["home"], ".ssh/id_ed25519").read_bytes())


@attempt("read the wallet file", SECRETS)
def wallet() -> str:
    return sees_secret(Path(FACTS["home"], "wallet.json").read_bytes())


@attempt("read the token of the local API", SECRETS)
def api_token() -> str:
    return sees_secret(Path(FACTS["home"], "api.json").read_bytes())


@attempt("list the home folder", SECRETS)
def home() -> str:
    return f"{sum(1 for _ in Path(FACTS['home']).iterdir())} names"


@attempt("read another job's input", SECRETS)
def other_job() -> str:
    return sees_secret(Path(FACTS["other_job"], "data.csv").read_bytes())


@attempt("secret in the inherited environment", SECRETS)
def environment() -> str:
    return sees_secret(repr(dict(os.environ)))


@attempt("use a descriptor that the agent had open", SECRETS)
def descriptor() -> str:
    for fd in range(3, 1024):
        try:
            data = os.pread(fd, 4096, 0)
        except OSError:
            continue
        if FACTS["secret"].encode() in data:
            return f"descriptor {fd}"
    raise Blocked("none")


@attempt("write an autostart file in the home folder", SECRETS)
def autostart() -> None:
    Path(FACTS["home"], "autostart.desktop").write_text("x")


@attempt("delete a file of the owner", SECRETS)
def delete() -> None:
    Path(FACTS["home"], "to-delete").unlink()


@attempt("rename a file of the owner", SECRETS)
def rename() -> None:
    place = Path(FACTS["home"], "to-rename")
    place.rename(place.with_name("renamed"))
    place.with_name("renamed").rename(place)


@attempt("truncate a file of the owner by name", SECRETS)
def truncate() -> None:
    os.truncate(Path(FACTS["home"], "to-change"), 1)


@attempt("change the mode of a file of the owner", SECRETS)
def change_mode() -> None:
    place = Path(FACTS["home"], "to-change")
    place.chmod(0o604)
    place.chmod(0o600)


@attempt("change the times of a file of the owner", SECRETS)
def change_times() -> None:
    os.utime(Path(FACTS["home"], "to-change"), (1, 1))


@attempt("set an attribute on a file of the owner", SECRETS, unless="file systems without user attributes")
def attribute() -> None:
    path = os.fsencode(Path(FACTS["home"], "to-change"))
    call("setxattr", path, b"user.openstall", b"x", ctypes.c_size_t(1), 0)


@attempt("hard link to a file of the owner", SECRETS)
def hard_link() -> None:
    target = Path(FACTS["home"], "hard-link")
    os.link(Path(FACTS["home"], "wallet.json"), target)
    target.unlink()


@attempt("write a shared folder of the host", SECRETS)
def shared() -> None:
    Path(FACTS["shared"], "from-the-job").write_text("x")


@attempt("write the workload runtime", SECRETS)
def runtime() -> str:
    for folder in FACTS["runtime"]:
        try:
            Path(folder, "sitecustomize.py").write_text("x")
        except OSError:
            continue
        return folder
    raise Blocked("refused everywhere")


@attempt("change its own input", SECRETS)
def own_input() -> None:
    with Path(FACTS["inputs"], "data.csv").open("ab") as file:
        file.write(b"x")


@attempt("change the mode of its own input", SECRETS)
def own_input_mode() -> None:
    place = Path(FACTS["inputs"], "data.csv")
    place.chmod(stat.S_IMODE(place.stat().st_mode) | 0o100)


@attempt("watch the home folder", SECRETS)
def watch() -> None:
    fd = call("inotify_init1", os.O_CLOEXEC)
    try:
        call("inotify_add_watch", fd, os.fsencode(FACTS["home"]), 0xFFF)
    finally:
        os.close(fd)


@attempt("see that a file of the owner exists, and its size", SECRETS)
def look() -> str:
    return f"{Path(FACTS['home'], 'wallet.json').stat().st_size} bytes"


@attempt("see where a link of the owner leads", SECRETS)
def follow() -> str:
    return str(Path(FACTS["home"], "link").readlink())


@attempt("hide what it wrote from the count (rename)", SECRETS)
def hide() -> None:
    if not FACTS["column_on_disk"]:
        raise NotTried("its folders are sized file systems")
    place = Path(work_folder(), "seen")
    place.mkdir()
    place.rename(place.with_name("unseen"))


@attempt("free space of the owner's disk", SECRETS)
def free_space() -> str:
    return f"{os.statvfs(FACTS['home']).f_bfree} blocks"


@attempt("enter the home folder", SECRETS)
def enter() -> None:
    here = Path.cwd()
    os.chdir(FACTS["home"])
    os.chdir(here)


@attempt("open a file by its handle", SECRETS, root_only=True)
def by_handle() -> str:
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    for path in (FACTS["home"], work_folder(), "/"):
        fd = os.open(path, os.O_PATH)
        try:
            call("name_to_handle_at", fd, b"", handle, ctypes.byref(mount), 0x1000)
        except OSError:
            os.close(fd)
            continue
        anchor = os.open(path, os.O_RDONLY)
        try:
            os.close(call("open_by_handle_at", anchor, handle, os.O_RDONLY))
        finally:
            os.close(fd)
            os.close(anchor)
        return path
    raise Blocked("no handle")


IDENTITY = "who and where"


@attempt("machine id and accounts in /etc", IDENTITY)
def machine_id() -> str:
    for path in ("/etc/machine-id", "/etc/passwd", "/etc/hostname"):
        try:
            return f"{len(Path(path).read_bytes())} bytes of {path}"
        except OSError:
            continue
    raise Blocked("none can be read")


@attempt("name of the host", IDENTITY)
def host_name() -> str:
    if os.uname().nodename != FACTS["host_name"]:
        raise Blocked("another name")
    return os.uname().nodename


@attempt("user id of the owner", IDENTITY)
def user_id() -> str:
    if os.getuid() != FACTS["uid"]:
        raise Blocked("another id")
    return str(os.getuid())


@attempt("paths of the host in /proc/self/mountinfo", IDENTITY)
def mountinfo() -> str:
    return f"{len(Path('/proc/self/mountinfo').read_text())} characters"


@attempt("serial numbers and network addresses in /sys", IDENTITY)
def hardware() -> str:
    for path in Path("/sys/class/net").glob("*/address"):
        return path.read_text().strip()
    raise Blocked("none")


@attempt("command line of the kernel", IDENTITY)
def kernel_command_line() -> str:
    return Path("/proc/cmdline").read_text()[:20]


@attempt("load and memory of the host in /proc", IDENTITY)
def load_in_proc() -> str:
    return Path("/proc/loadavg").read_text() + Path("/proc/meminfo").read_text()[:20]


@attempt("load and memory of the host by sysinfo(2)", IDENTITY)
def load_by_call() -> None:
    call("sysinfo", ctypes.create_string_buffer(256))


@attempt("log of the kernel", IDENTITY, root_only=True)
def kernel_log() -> str:
    try:
        return f"{call('syslog', 10, None, 0)} bytes"
    except OSError:
        os.close(os.open("/dev/kmsg", os.O_RDONLY))
        return "/dev/kmsg"


DEVICES = "devices and special files"


@attempt("open raw devices", DEVICES, root_only=True)
def devices() -> str:
    for path in (
        "/dev/mem",
        "/dev/vda",
        "/dev/sda",
        "/dev/nvme0n1",
        "/dev/loop-control",
        "/dev/kvm",
        "/dev/fuse",
    ):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            continue
        return path
    raise Blocked("none opens")


@attempt("open /dev/net/tun or /dev/vsock", DEVICES, root_only=True, unless="kernels without either")
def network_devices() -> str:
    for path in ("/dev/net/tun", "/dev/vsock", "/dev/vhost-net"):
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError:
            continue
        return path
    raise Blocked("none opens")


@attempt("make a device file and open it", DEVICES, root_only=True)
def device_file() -> None:
    path = Path(work_folder(), "device")
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    try:
        path.read_bytes()
    finally:
        path.unlink()


@attempt("write beside its folders, in memory that nobody counts", DEVICES)
def beside() -> str:
    for folder in ("/", "/dev", "/job", "/run", "/usr", "/py"):
        path = Path(folder, f"openstall-attempt-{os.getpid()}")
        try:
            path.write_text("x")
        except OSError:
            continue
        path.unlink()
        return folder
    raise Blocked("refused everywhere")


@attempt("symbolic link in the output", DEVICES)
def symbolic_link() -> None:
    path = Path(work_folder(), "report-link.json")
    path.symlink_to("/etc/passwd")
    path.unlink()


@attempt("FIFO in the output", DEVICES)
def fifo() -> None:
    path = Path(work_folder(), "fifo")
    os.mkfifo(path)
    path.unlink()


@attempt("hard link from the input into the output", DEVICES)
def link_input() -> None:
    path = Path(work_folder(), "linked.csv")
    os.link(Path(FACTS["inputs"], "data.csv"), path)
    path.unlink()


@attempt("write /proc/sys/kernel/core_pattern", DEVICES, root_only=True)
def core_pattern() -> None:
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))


@attempt("write /proc/sysrq-trigger", DEVICES, root_only=True, unless="kernels without it")
def sysrq() -> None:
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))


@attempt("terminal of the agent, by /dev/tty", DEVICES)
def controlling_terminal() -> None:
    os.close(os.open("/dev/tty", os.O_RDWR))


@attempt("type into a terminal (TIOCSTI)", DEVICES, unless="kernels from 6.2 on, for all but root")
def keystrokes() -> None:
    import fcntl

    for fd in (0, 1, 2):
        if os.isatty(fd):
            fcntl.ioctl(fd, 0x5412, b"#")
            return
    import pty

    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, 0x5412, b"#")
    finally:
        os.close(leader)
        os.close(follower)


@attempt("a terminal of its own (/dev/ptmx)", DEVICES)
def terminal() -> None:
    os.close(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))


@attempt("/dev/shm of the owner", DEVICES)
def shared_memory() -> str:
    return sees_secret(Path("/dev/shm", FACTS["shm_name"]).read_bytes())


@attempt("System V shared memory of the owner", DEVICES)
def system_v() -> str:
    LIBC.shmat.restype = ctypes.c_void_p
    address = LIBC.shmat(FACTS["shm_id"], None, 0o10000)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "shmat")
    data = ctypes.string_at(address, 64)
    LIBC.shmdt(ctypes.c_void_p(address))
    return sees_secret(data)


@attempt("new System V memory, queue or semaphore", DEVICES)
def new_system_v() -> str:
    one = ctypes.c_size_t(1)
    for make, sizes, drop, which in (
        ("shmget", (one,), "shmctl", ()),
        ("msgget", (), "msgctl", ()),
        ("semget", (1,), "semctl", (0,)),
    ):
        try:
            made = call(make, 0, *sizes, 0o600)
        except OSError:
            continue
        call(drop, made, *which, 0, None)
        return make
    raise Blocked("refused")


@attempt("POSIX message queue", DEVICES, unless="kernels without them")
def message_queue() -> None:
    name = f"openstall-{os.getpid()}".encode()
    fd = call("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, None)
    os.close(fd)
    call("mq_unlink", name)


@attempt(
    "temporary file without a name, outside every count", DEVICES, unless="file systems without O_TMPFILE"
)
def nameless_file() -> None:
    if FACTS["column_on_disk"]:
        os.close(os.open(work_folder(), os.O_TMPFILE | os.O_RDWR, 0o600))
        return
    raise NotTried("its folders are sized file systems")
