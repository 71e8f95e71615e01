"""Starts one sandbox and hands over its pipes; the caller must be a thread that lives as long as the job.

bubblewrap's --die-with-parent fires when the launching *thread* ends, so this is called from the
agent's main thread only.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from openstall.compute_agent.sandbox.plan import Plan, bwrap_arguments
from openstall.market.errors import SandboxError

_INFO_TIMEOUT_MS = 10_000
_OOM_FIRST = b"1000"


@dataclass(slots=True, kw_only=True)
class Running:
    """A started sandbox. All descriptors are owned here; `close()` gives them back."""

    process: subprocess.Popen[bytes]
    init_pid: int
    init_pidfd: int
    outer_pidfd: int
    log_fd: int
    events_fd: int
    params_fd: int
    folders: dict[str, int] = field(default_factory=dict)

    def open_folders(self) -> None:
        """Take hold of the sandbox's tmpfs. Call when stage1 is ready, before the job's first line.

        A descriptor keeps the tmpfs alive after every process in the sandbox is dead: that is how
        outputs are collected without a race, and why nothing is left on disk when the agent dies.
        """
        for path in ("job/out", "tmp", "dev/shm"):
            self.folders[path] = os.open(
                f"/proc/{self.init_pid}/root/{path}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
        _prefer_for_oom_kill(self.init_pid)

    def send_params(self, params: bytes) -> None:
        """Let the job begin. `params` must fit into a pipe buffer (64 KiB)."""
        try:
            os.write(self.params_fd, params)
        except BrokenPipeError:
            pass  # it died first: its exit status says why
        finally:
            os.close(self.params_fd)
            self.params_fd = -1

    def kill(self) -> None:
        """SIGKILL to pid 1 of the sandbox, which ends every process in it at once."""
        for pidfd in (self.init_pidfd, self.outer_pidfd):
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def close(self) -> None:
        """Give back the descriptors; the last one frees the sandbox's tmpfs."""
        for fd in (self.params_fd, self.init_pidfd, self.outer_pidfd, *self.folders.values()):
            if fd >= 0:
                os.close(fd)
        self.params_fd = self.init_pidfd = self.outer_pidfd = -1
        self.folders.clear()


def launch(plan: Plan, *, bwrap: Path, seccomp: bytes, prefix: tuple[str, ...] = ()) -> Running:
    """Start the sandbox of `plan`; `prefix` is a wrapper command such as a cgroup scope.

    Returns as soon as the namespaces exist (10-40 ms). Raises SandboxError `sandbox_start_failed`
    with bubblewrap's words when they cannot be made.
    """
    pipes = _Pipes()
    process: subprocess.Popen[bytes] | None = None
    try:
        process = _spawn(pipes, plan, bwrap, seccomp, prefix)
        init_pid = _init_pid(pipes.info[0])
        return Running(
            process=process,
            init_pid=init_pid,
            init_pidfd=os.pidfd_open(init_pid),
            outer_pidfd=os.pidfd_open(process.pid),
            log_fd=pipes.log[0],
            events_fd=pipes.events[0],
            params_fd=pipes.params[1],
        )
    except (OSError, ValueError, msgspec.DecodeError) as error:
        if process is not None:
            process.kill()
            process.wait()
        failure = _start_failed(pipes.log[0], error)
        for fd in (pipes.params[1], pipes.log[0], pipes.events[0]):
            os.close(fd)
        raise failure from error
    finally:
        os.close(pipes.info[0])


def _pipe() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC)


@dataclass(frozen=True, slots=True)
class _Pipes:
    """(read end, write end) each; the sandbox gets one end, the agent the other."""

    params: tuple[int, int] = field(default_factory=_pipe)
    log: tuple[int, int] = field(default_factory=_pipe)
    events: tuple[int, int] = field(default_factory=_pipe)
    info: tuple[int, int] = field(default_factory=_pipe)


def _spawn(
    pipes: _Pipes, plan: Plan, bwrap: Path, seccomp: bytes, prefix: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    """Start bubblewrap; whatever happens, the sandbox's ends of the pipes are closed here."""
    seccomp_fd = os.memfd_create("openstall-seccomp", os.MFD_CLOEXEC)
    theirs = (seccomp_fd, pipes.info[1], pipes.events[1])
    try:
        os.write(seccomp_fd, seccomp)
        os.lseek(seccomp_fd, 0, os.SEEK_SET)
        command = bwrap_arguments(
            plan, bwrap=bwrap, seccomp_fd=seccomp_fd, info_fd=theirs[1], events_fd=theirs[2]
        )
        return subprocess.Popen(
            [*prefix, *command],
            stdin=pipes.params[0],
            stdout=pipes.log[1],
            stderr=pipes.log[1],
            pass_fds=theirs,
            env={"PATH": "/usr/bin:/bin", **_bus()},
            start_new_session=True,
        )
    finally:
        for fd in (*theirs, pipes.params[0], pipes.log[1]):
            os.close(fd)


class _Info(msgspec.Struct):
    child_pid: int = msgspec.field(name="child-pid")


def _init_pid(info_fd: int) -> int:
    data = b""
    poll = select.poll()
    poll.register(info_fd, select.POLLIN)
    while b"}" not in data:
        chunk = os.read(info_fd, 4096) if poll.poll(_INFO_TIMEOUT_MS) else b""
        if not chunk:
            raise ValueError("bubblewrap made no namespaces")
        data += chunk
    return msgspec.json.decode(data, type=_Info).child_pid


def _start_failed(log_fd: int, error: Exception) -> SandboxError:
    os.set_blocking(log_fd, False)
    try:
        words = os.read(log_fd, 2000).decode("utf-8", "replace").strip()
    except BlockingIOError:
        words = ""
    return SandboxError(
        "sandbox_start_failed",
        f"The sandbox could not be started: {words or error}.",
        "Run `openstall doctor`: it names the cause and the fix.",
    )


def _prefer_for_oom_kill(pid: int) -> None:
    for task in (pid, *children_of(pid)):
        try:
            Path(f"/proc/{task}/oom_score_adj").write_bytes(_OOM_FIRST)
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue  # a preference only: the memory limit does not depend on it


def children_of(pid: int) -> list[int]:
    """Direct children of `pid`, of all its threads; empty when it is gone."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_bytes().split()]
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found


def _bus() -> dict[str, str]:
    names = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
    return {name: os.environ[name] for name in names if name in os.environ}
