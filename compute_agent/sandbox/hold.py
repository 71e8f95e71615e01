"""Makes every process of a sandbox stand still, and lets it go on: the owner wants the machine now.

What stands still keeps its memory and uses no processor. Nothing inside can undo it: a process that is
stopped can neither signal another nor make one, and the supervisor looks again for as long as it lasts.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import trio

from openstall.compute_agent.sandbox.launcher import Running, children_of

_STILL = frozenset({b"T", b"t", b"Z", b"X"})
_MOST_PROCESSES = 8192


@dataclass(slots=True)
class Hold:
    """What the node wants of one job, and whether it is so. For one trio thread."""

    wanted: bool = False
    since: float = 0.0
    """When it was asked for last, on trio's clock."""
    changed: trio.Event = field(default_factory=trio.Event)
    _so: bool = False
    _ended: bool = False
    _answered: trio.Event = field(default_factory=trio.Event)

    async def ask(self, *, still: bool) -> None:
        """Ask, and wait until every process has stopped (or goes on), or the job is over."""
        if self.wanted != still:
            self.wanted, self.since = still, trio.current_time()
            self.changed.set()
            self.changed = trio.Event()
        while self._so != self.wanted and not self._ended:
            await self._answered.wait()

    def confirm(self, *, still: bool) -> None:
        """The supervisor: it is so."""
        self._so = still
        self._tell()

    def end(self) -> None:
        """The job is over: nobody needs to wait any longer."""
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        self._answered.set()
        self._answered = trio.Event()


def stop_all(running: Running) -> bool:
    """Stop every process of the sandbox. False while one still moves: call again at once.

    A process is looked at for children only once it stands still, so none can slip through.
    """
    pending, looked = [running.init_pid], 0
    _signal(running.init_pidfd, signal.SIGSTOP)
    still = True
    while pending and looked < _MOST_PROCESSES:
        pid = pending.pop()
        looked += 1
        if not _is_still(pid):
            still = False
        pending += _signal_children(pid, signal.SIGSTOP)
    return still and not pending


def let_go(running: Running) -> None:
    """Let every process of the sandbox go on, the innermost last."""
    pending = [running.init_pid]
    _signal(running.init_pidfd, signal.SIGCONT)
    while pending:
        pending += _signal_children(pending.pop(), signal.SIGCONT)


def _signal_children(parent: int, number: signal.Signals) -> list[int]:
    """Signal the children of `parent`, and no stranger that got the number of one which has died."""
    held: dict[int, int] = {}
    try:
        for pid in children_of(parent):
            try:
                held[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        alive = set(children_of(parent))
        for pid, descriptor in held.items():
            if pid in alive:
                _signal(descriptor, number)
        return [pid for pid in held if pid in alive]
    finally:
        for descriptor in held.values():
            os.close(descriptor)


def _signal(pidfd: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return  # dead: it stands as still as can be


def _is_still(pid: int) -> bool:
    try:
        states = [_state(task) for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return all(state in _STILL for state in states)


def _state(task: Path) -> bytes:
    try:
        return (task / "stat").read_bytes().rpartition(b")")[2].split(maxsplit=1)[0]
    except (FileNotFoundError, ProcessLookupError):
        return b"X"
