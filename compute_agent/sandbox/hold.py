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

    A process is looked at for children only once it stands still, so none that it makes can slip
    through. One that makes another and dies hands it to the first process of the sandbox, perhaps behind
    our back: it shows when we look a second time.
    """
    seen = _stop_seen(running)
    return seen is not None and seen == _stop_seen(running)


def _stop_seen(running: Running) -> set[int] | None:
    """The processes of the sandbox; None while one of them moves, or there are too many."""
    pending: list[int] = [running.init_pid]
    seen: set[int] = set()
    _signal(running.init_pidfd, signal.SIGSTOP)
    moves = False
    while pending and len(seen) < _MOST_PROCESSES:
        pid = pending.pop()
        seen.add(pid)
        moves = moves or not _is_still(pid)
        pending += _signal_children(pid, signal.SIGSTOP)
    return None if moves or pending else seen


def let_go(running: Running) -> None:
    """Let every process of the sandbox go on, the innermost first. Call when `stop_all` was true.

    All are looked up while they stand still: who goes on may die at once and leave its children to the
    first process of the sandbox, behind our back.
    """
    inside = [running.init_pid]
    for pid in inside:  # which grows meanwhile
        inside += children_of(pid)
    parents = frozenset(inside)
    for pid in reversed(inside[1:]):
        _signal_child(pid, parents, signal.SIGCONT)
    _signal(running.init_pidfd, signal.SIGCONT)


def _signal_children(parent: int, number: signal.Signals) -> list[int]:
    return [pid for pid in children_of(parent) if _signal_child(pid, frozenset({parent}), number)]


def _signal_child(pid: int, parents: frozenset[int], number: signal.Signals) -> bool:
    """Signal a child of one of them, and no stranger that got the number of one which has died."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if _parent_of(pid) not in parents:
            return False
        _signal(descriptor, number)
        return True
    finally:
        os.close(descriptor)


def _signal(pidfd: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return  # dead: it stands as still as can be


def _is_still(pid: int) -> bool:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return True
    return all(fields is None or fields[0] in _STILL for fields in map(_stat, tasks))


def _parent_of(pid: int) -> int | None:
    fields = _stat(Path(f"/proc/{pid}"))
    return None if fields is None else int(fields[1])


def _stat(process: Path) -> list[bytes] | None:
    """What /proc tells of a process or a thread from its state on; None when it is gone."""
    try:
        return (process / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
