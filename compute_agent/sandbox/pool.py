"""Sandboxes that are finished before their job is known: libraries imported, nothing of a stranger's seen.

Each is used once and thrown away. They cost memory while they wait, so the pool is empty until it is told
what to hold, and never holds more than it was granted. Importing happens at idle priority.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import trio

from openstall.compute_agent.sandbox.host import Facilities
from openstall.compute_agent.sandbox.launcher import Running, launch
from openstall.compute_agent.sandbox.plan import Plan
from openstall.compute_agent.sandbox.settling import settle
from openstall.compute_agent.sandbox.usage import sample
from openstall.compute_agent.specs import MIB, JobKind, Limits
from openstall.market.errors import SandboxError

_log = logging.getLogger(__name__)

_FIRST_NUMBER: Final = 1000
_NUMBERS: Final = 1000
_GUESSED_BYTES: Final = 384 * MIB
_LOOK_AGAIN_S: Final = 60.0

MakePlan = Callable[[JobKind, int, Path], Plan]
"""A plan without parameters for a kind of job, a slot's number and its input folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What to hold: one slot for each kind, all together within `memory_bytes`, under `folder`."""

    kinds: tuple[JobKind, ...]
    memory_bytes: int
    folder: Path
    facilities: Facilities
    make_plan: MakePlan


@dataclass(slots=True, kw_only=True)
class Slot:
    """One finished sandbox that has run nothing."""

    kind: JobKind
    plan: Plan
    running: Running
    memory_bytes: int

    def fits(self, limits: Limits, *, exact: bool) -> bool:
        """Whether a job with these limits may run in it: none may be wider than what is in force.

        `exact`: a cgroup scope holds memory and processes, and cannot be narrowed from here.
        """
        ours = self.plan.limits
        pairs = ((limits.memory_bytes, ours.memory_bytes), (limits.processes, ours.processes))
        narrow = all(theirs == own if exact else theirs <= own for theirs, own in pairs)
        return narrow and limits.disk_bytes <= ours.disk_bytes and limits.threads == ours.threads

    def alive(self) -> bool:
        """Whether it still waits."""
        return not select.select([self.running.outer_pidfd], [], [], 0)[0]

    def bring(self, inputs: Path) -> None:
        """Put the job's inputs where the sandbox sees them, by a second name or else by a copy."""
        for source in inputs.iterdir():
            target = self.plan.inputs / source.name
            try:
                target.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, target)
                target.chmod(source.stat().st_mode)


@dataclass(slots=True)
class WarmPool:
    """All methods belong to the process's main thread."""

    _stock: Stock | None = None
    _slots: dict[JobKind, Slot] = field(default_factory=dict)
    _changed: trio.Event = field(default_factory=trio.Event)
    _full: trio.Event = field(default_factory=trio.Event)
    _making: trio.CancelScope = field(default_factory=trio.CancelScope)
    _busy: trio.Lock = field(default_factory=trio.Lock)
    _numbers: count[int] = field(default_factory=count)
    _costs: dict[JobKind, int] = field(default_factory=dict)
    _ours: set[Path] = field(default_factory=set)
    """Folders that hold nothing but what this agent put there; jobs may still use it."""

    async def keep(self) -> None:
        """Fill and refill for ever. Cancelling throws all slots away."""
        try:
            while True:
                changed = self._changed
                async with self._busy:
                    await self._fill()
                if changed is self._changed:
                    self._full.set()
                with trio.move_on_after(_LOOK_AGAIN_S):
                    await changed.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._clear()

    async def hold(self, stock: Stock | None) -> None:
        """Hold this from now on, or nothing. What was held for another stock is thrown away."""
        self._stock = None
        self._making.cancel()
        async with self._busy:
            await self._clear()
            if stock is not None and stock.folder not in self._ours:
                await trio.to_thread.run_sync(_empty, stock.folder)
                self._ours.add(stock.folder)
            self._stock = stock
        self._wake()

    async def filled(self) -> tuple[JobKind, ...]:
        """The kinds for which a slot waits, once as many do as may and can."""
        while not self._full.is_set():
            await self._full.wait()
        return self.held()

    def made_for(self, facilities: Facilities) -> bool:
        """Whether what is held was made with these."""
        return self._stock is not None and self._stock.facilities == facilities

    def held(self) -> tuple[JobKind, ...]:
        """The kinds for which a slot waits now."""
        return tuple(kind for kind, slot in self._slots.items() if slot.alive())

    def take(self, kind: JobKind, limits: Limits, facilities: Facilities) -> Slot | None:
        """A slot for this job alone, or None. The caller ends it and then calls `discard`."""
        slot = self._slots.get(kind)
        if slot is None or not self.made_for(facilities):
            return None
        if not slot.alive():
            self._wake()
            return None
        if not slot.fits(limits, exact=bool(facilities.scope.manager)):
            return None
        del self._slots[kind]
        self._wake()
        return slot

    async def _fill(self) -> None:
        stock = self._stock
        for kind in stock.kinds if stock is not None else ():
            slot = self._slots.get(kind)
            if stock is None or self._stock is not stock:
                return
            if slot is not None and slot.alive():
                continue
            if slot is not None:
                del self._slots[kind]
                await discard(slot)
            used = sum(held.memory_bytes for held in self._slots.values())
            if used + self._costs.get(kind, _GUESSED_BYTES) > stock.memory_bytes:
                continue
            self._making = trio.CancelScope()
            try:
                with self._making:
                    made = await self._make(stock, kind)
            except (SandboxError, OSError) as error:
                _log.warning("no warm sandbox for %s: %s", kind, error)
                return
            if self._making.cancelled_caught:
                return
            self._costs[kind] = made.memory_bytes
            if self._stock is not stock or used + made.memory_bytes > stock.memory_bytes:
                await discard(made)
                continue
            self._slots[kind] = made

    async def _make(self, stock: Stock, kind: JobKind) -> Slot:
        number = _FIRST_NUMBER + next(self._numbers) % _NUMBERS
        inputs = stock.folder / f"slot-{number}"
        inputs.mkdir(mode=0o700)
        if stock.facilities.mode == "dropped_root":
            inputs.chmod(0o755)
        plan = stock.make_plan(kind, number, inputs)
        running = launch(
            plan,
            bwrap=stock.facilities.bwrap,
            seccomp=stock.facilities.filter_for(plan),
            prefix=stock.facilities.scope.prefix(plan.limits),
        )
        slot = Slot(kind=kind, plan=plan, running=running, memory_bytes=0)
        try:
            await settle(running, plan)
        except BaseException:
            with trio.CancelScope(shield=True):
                await discard(slot)
            raise
        slot.memory_bytes = sample(running).memory_bytes
        return slot

    async def _clear(self) -> None:
        slots, self._slots = list(self._slots.values()), {}
        for slot in slots:
            await discard(slot)

    def _wake(self) -> None:
        self._full = trio.Event()
        self._changed.set()
        self._changed = trio.Event()


async def discard(slot: Slot) -> None:
    """End a slot that no job has taken, and give everything back."""
    running = slot.running
    running.kill()
    for pidfd in (running.outer_pidfd, running.init_pidfd):
        await trio.lowlevel.wait_readable(pidfd)
    running.process.wait()
    for fd in (running.log_fd, running.events_fd):
        os.close(fd)
    await trio.to_thread.run_sync(running.close)
    await trio.to_thread.run_sync(shutil.rmtree, slot.plan.inputs)


def _empty(folder: Path) -> None:
    """A folder of this agent's own: what an agent left that was killed goes away."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o755, parents=True)
