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

from openstall.compute_agent.sandbox.plan import Plan, bwrap_arguments, go_line
from openstall.compute_agent.sandbox.unboxed import Place, unboxed_command, unboxed_environment
from openstall.market.errors import SandboxError

_INFO_TIMEOUT_MS = 10_000


@dataclass(slots=True, kw_only=True)
class Running:
    """A started sandbox. All descriptors are owned here; `close()` gives them back.

    `landlock` is known (0 for none) once `settling.settle` has seen that the sandbox is finished;
    `cpu_before_s` is what its imports took until then, which nobody pays.
    """

    process: subprocess.Popen[bytes]
    init_pid: int
    init_pidfd: int
    outer_pidfd: int
    log_fd: int
    events_fd: int
    params_fd: int
    questions_fd: int = -1
    answers_fd: int = -1
    place: Place | None = None
    landlock: int | None = None
    cpu_before_s: float = 0.0
    folders: dict[str, int] = field(default_factory=dict)

    def open_folders(self) -> None:
        """Take hold of the sandbox's folders. Call when stage1 is ready, before the job's first line.

        A descriptor keeps a tmpfs alive after every process in the sandbox is dead: that is how
        outputs are collected without a race, and why nothing is left on disk when the agent dies.
        """
        root = f"/proc/{self.init_pid}/root"
        paths = {name: f"{root}/{name}" for name in ("job/out", "tmp", "dev/shm")}
        if self.place is not None:
            paths = {"job/out": str(self.place.root / "out"), "tmp": str(self.place.root / "tmp")}
        for name, path in paths.items():
            self.folders[name] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def tasks(self) -> list[int]:
        """The first processes of the sandbox, whose properties all later ones inherit."""
        return [self.init_pid, *children_of(self.init_pid)]

    def send_params(self, plan: Plan) -> None:
        """Let the job begin. What is sent must fit into a pipe buffer (64 KiB)."""
        try:
            os.write(self.params_fd, go_line(plan))
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
        talk = (self.questions_fd, self.answers_fd)
        for fd in (self.params_fd, *talk, self.init_pidfd, self.outer_pidfd, *self.folders.values()):
            if fd >= 0:
                os.close(fd)
        self.questions_fd = self.answers_fd = self.params_fd = self.init_pidfd = self.outer_pidfd = -1
        self.folders.clear()
        if self.place is not None:
            self.place.remove()
            self.place = None


def launch(plan: Plan, *, bwrap: Path, seccomp: bytes, prefix: tuple[str, ...] = ()) -> Running:
    """Start the sandbox of `plan`; `prefix` is a wrapper command such as a cgroup scope.

    Returns as soon as the namespaces exist (10-40 ms). Raises SandboxError `sandbox_start_failed`
    with bubblewrap's words when they cannot be made.
    """
    pipes = _Pipes()
    talk = _Talk() if plan.asked else None
    place = None if plan.boxed else Place.make()
    process: subprocess.Popen[bytes] | None = None
    try:
        process = _spawn(pipes, talk, plan, place, bwrap=bwrap, seccomp=seccomp, prefix=prefix)
        init_pid = _init_pid(pipes.info[0]) if place is None else process.pid
        return Running(
            process=process,
            init_pid=init_pid,
            init_pidfd=os.pidfd_open(init_pid),
            outer_pidfd=os.pidfd_open(process.pid),
            log_fd=pipes.log[0],
            events_fd=pipes.events[0],
            params_fd=pipes.params[1],
            questions_fd=talk.questions[1] if talk else -1,
            answers_fd=talk.answers[0] if talk else -1,
            place=place,
        )
    except (OSError, ValueError, SandboxError, msgspec.DecodeError) as error:
        if process is not None:
            process.kill()
            process.wait()
        failure = _start_failed(pipes.log[0], error)
        ours = (talk.questions[1], talk.answers[0]) if talk else ()
        for fd in (pipes.params[1], pipes.log[0], pipes.events[0], *ours):
            os.close(fd)
        if place is not None:
            place.remove()
        raise (error if isinstance(error, SandboxError) else failure) from error
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


@dataclass(frozen=True, slots=True)
class _Talk:
    """As above, for a job that is asked while it runs."""

    questions: tuple[int, int] = field(default_factory=_pipe)
    answers: tuple[int, int] = field(default_factory=_pipe)


def _spawn(
    pipes: _Pipes,
    talk: _Talk | None,
    plan: Plan,
    place: Place | None,
    *,
    bwrap: Path,
    seccomp: bytes,
    prefix: tuple[str, ...],
) -> subprocess.Popen[bytes]:
    """Start the outermost process; whatever happens, the sandbox's ends of the pipes are closed here."""
    seccomp_fd = os.memfd_create("openstall-seccomp", os.MFD_CLOEXEC)
    asked = (talk.questions[0], talk.answers[1]) if talk else ()
    theirs = (seccomp_fd, pipes.info[1], pipes.events[1], *asked)
    try:
        os.write(seccomp_fd, seccomp)
        os.lseek(seccomp_fd, 0, os.SEEK_SET)
        if place is None:
            command = bwrap_arguments(
                plan, bwrap=bwrap, seccomp_fd=seccomp_fd, info_fd=theirs[1], events_fd=theirs[2], talk=asked
            )
        else:
            pairs = [f"{name}={value}" for name, value in unboxed_environment(plan, place).items()]
            command = ["/usr/bin/env", "-i", *pairs]  # a scope's command needs the bus, the job must not
            command += unboxed_command(plan, place, seccomp_fd=seccomp_fd, events_fd=theirs[2], talk=asked)
        return subprocess.Popen(
            [*prefix, *command],
            stdin=pipes.params[0],
            stdout=pipes.log[1],
            stderr=pipes.log[1],
            pass_fds=theirs,
            env={"PATH": "/usr/bin:/bin", **_bus()},
            cwd=None if place is None else place.root / "out",
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
