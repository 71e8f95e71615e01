"""All machines of the owner as one place for jobs: this one and every connected rig.

A paid job goes to the smallest machine that has room for it now, so that the large ones stay free for what
fits nowhere else. Those who paid before come first, each on the machine that they would take.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from openstall.app.services.house import House
from openstall.app.services.rigs.events import OnMachineEvent
from openstall.app.services.rigs.hub import RigHub
from openstall.app.services.rigs.link import RigLink, lost
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.jobs import require_tier
from openstall.compute_agent.serving import Question
from openstall.compute_agent.specs import Inventory, JobKind, JobResult, JobSpec, Tier, Usage
from openstall.market.errors import Refused, SandboxError
from openstall.market.house import HouseRules
from openstall.market.orders.documents import ComputeTerms

THIS = "this"
"""The key of the machine that the node runs on; rigs go by their peer ids."""
_ANY = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a job takes of its machine."""

    kind: JobKind
    threads: int
    memory_bytes: int
    disk_bytes: int
    gpus: int = 0
    max_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a machine has for jobs: `places` more jobs, within what its owner gives to all together."""

    key: str
    tier: Tier
    places: int
    threads: int
    memory_bytes: int
    disk_bytes: int
    gpus: int = 0
    """Graphics cards for jobs; each is one job's alone."""
    shared: frozenset[str] = frozenset({"threads", "memory_bytes", "disk_bytes"})
    """What all jobs on it have together; the rest each job may have."""
    job_threads: int = _ANY
    job_memory_bytes: int = _ANY
    """What one job may have of that, where it is less."""
    left_s: int = _ANY
    """Until its rules stop jobs."""

    def holds(self, needs: Needs) -> bool:
        """Whether such a job may run there at all, were it free."""
        try:
            require_tier(needs.kind, self.tier)
        except SandboxError:
            return False
        if needs.kind == "serve" and self.key != THIS:
            return False  # questions reach the node's own machine only
        return (
            needs.threads <= min(self.threads, self.job_threads)
            and needs.memory_bytes <= min(self.memory_bytes, self.job_memory_bytes)
            and needs.disk_bytes <= self.disk_bytes
            and needs.gpus <= self.gpus
        )

    def less(self, needs: Needs) -> Room:
        """The room beside such a job."""
        rest = {name: getattr(self, name) - getattr(needs, name) for name in (*self.shared, "gpus")}
        return replace(self, places=self.places - 1, **rest)


def choose(rooms: Iterable[Room], needs: Needs) -> Room | None:
    """The smallest room that holds the job now; of equal ones that of a rig: people sit at this machine."""
    free = [room for room in rooms if room.places > 0 and room.holds(needs)]

    def rank(room: Room) -> tuple[bool, int, int, int, bool, str]:
        closes = room.left_s < needs.max_s
        return closes, room.gpus, room.memory_bytes, room.threads, room.key == THIS, room.key

    return min(free, key=rank, default=None)


def needs_of(terms: ComputeTerms) -> Needs:
    """What an order's job takes."""
    limits = terms.limits
    return Needs(
        kind=terms.job_kind,  # type: ignore[arg-type]  # a signed kind is one of them
        threads=limits.threads,
        memory_bytes=limits.memory_bytes,
        disk_bytes=limits.disk_bytes,
        gpus=limits.gpus,
        max_s=terms.max_s,
    )


@dataclass(slots=True, kw_only=True)
class Machines:
    """Runs jobs like an agent, each on the machine on which it has a place."""

    agent: AgentClient
    own: bool
    """Whether this machine runs jobs itself: its agent was not switched off."""
    house: House
    hub: RigHub
    own_places: Callable[[], Awaitable[int]]
    """How many jobs may run at once on this machine now."""
    own_cards: Callable[[], Awaitable[tuple[str, ...]]]
    """The graphics cards of this machine that jobs may use, by the driver's ids; rigs lend none."""
    now: Callable[[], int]
    _seats: dict[str, tuple[str, Needs]] = field(default_factory=dict)
    _wanted: dict[str, Needs] = field(default_factory=dict)
    _inventory: Inventory | None = None

    # Places

    async def take(self, order_id: str, needs: Needs, before: Sequence[str]) -> bool:
        """Give a paid job a place, unless there is none that those `before` it would not take."""
        self._wanted[order_id] = needs
        rooms = {room.key: room for room in await self.rooms()}
        # from here on nothing is awaited: two jobs must not get one place
        for key, seated in self._seats.values():
            if key in rooms:
                rooms[key] = rooms[key].less(seated)
        for other in before:
            found = choose(rooms.values(), self._wanted.get(other, needs))
            if found is not None:
                rooms[found.key] = found.less(self._wanted.get(other, needs))
        mine = choose(rooms.values(), needs)
        if mine is None or order_id in self._seats:
            return False
        self._seats[order_id] = (mine.key, needs)
        return True

    def leave(self, order_id: str) -> None:
        """The job needs no place any more."""
        self._seats.pop(order_id, None)
        self._wanted.pop(order_id, None)

    def machine_of(self, order_id: str) -> str:
        """The key of the machine on which a job has its place."""
        key, _ = self._seats.get(order_id, (THIS, None))
        return key

    def connected(self, order_id: str) -> bool:
        """Whether that machine is still there."""
        key = self.machine_of(order_id)
        return key == THIS or self.hub.link(key) is not None

    async def rooms(self) -> list[Room]:
        """What each machine has for jobs now, were it empty."""
        own = await self._own_room()
        return ([own] if own is not None else []) + [_room_of(link, self.now()) for link in self.hub.links]

    @property
    def rig_places(self) -> int:
        """How many jobs may run at once on the rigs, together."""
        return sum(_room_of(link, self.now()).places for link in self.hub.links)

    async def admit(self, needs: Needs) -> None:
        """Let a job in that some machine may run now and to its end, or say why not.

        Raises:
            Refused: none may.
        """
        now = self.now()
        for link in self.hub.links:
            room = _room_of(link, now)
            if room.places and room.holds(needs) and room.left_s >= needs.max_s:
                return
        own = await self._own_size()
        if own is None or not own.holds(needs):
            raise Refused(
                "no_machine",
                "No machine of this provider can take this job now.",
                "Try again later, or choose another offer.",
            )
        await self.house.admit(needs.max_s)

    async def own_holds(self, needs: Needs) -> bool:
        """Whether such a job may run on this machine at all, were it free."""
        own = await self._own_size()
        return own is not None and own.holds(needs)

    def rig_for(self, needs: Needs) -> RigLink | None:
        """A connected rig that holds such a job, were it free: the smallest."""
        rooms = {link.peer_id: _size_of(link) for link in self.hub.links}
        found = choose(rooms.values(), needs)
        return None if found is None else self.hub.link(found.key)

    def rig_facts(self, key: str) -> tuple[str, int | None] | None:
        """Name of a rig, and the watts that its owner states for it; None for this machine."""
        if key == THIS:
            return None
        link = self.hub.link(key)
        stated_w = link.state.stated_w if link is not None and link.state is not None else 0
        return self.hub.name(key), stated_w or None

    # An agent in front of them all

    async def run(
        self,
        spec: JobSpec,
        inputs: Path,
        outputs: Path,
        on_event: OnMachineEvent,
        *,
        checkpoints: Path | None = None,
    ) -> JobResult:
        """Run one job where it has its place; see `AgentClient.run`."""
        key = self.machine_of(spec.job_id)
        if key == THIS:
            cards = await self.own_cards() if spec.limits.gpus else ()
            return await self.agent.run(spec, inputs, outputs, on_event, checkpoints=checkpoints, gpus=cards)
        link = self.hub.link(key)
        if link is None:
            return lost(Usage())
        return await link.run(spec, inputs, outputs, on_event, checkpoints=checkpoints)

    async def cancel(self, job_id: str) -> None:
        """Stop a job, wherever it runs."""
        key = self.machine_of(job_id)
        link = None if key == THIS else self.hub.link(key)
        if key == THIS:
            await self.agent.cancel(job_id)
        elif link is not None:
            await link.cancel(job_id)

    async def ask(self, job_id: str, question: Question) -> None:
        """Ask a serve job; those run on this machine only."""
        await self.agent.ask(job_id, question)

    async def _own_room(self) -> Room | None:
        size = await self._own_size()
        return None if size is None else replace(size, places=await self.own_places())

    async def _own_size(self) -> Room | None:
        """This machine's room by what it is and by its owner's caps; None where it runs no jobs.

        What is not known yet counts as there: the agent is starting, and says no itself if need be.
        """
        if not self.own:
            return None
        if self._inventory is None and self.agent.running:
            with suppress(SandboxError):
                self._inventory = await self.agent.probe()
        tier = self.agent.tier if self.agent.examined else "full"
        cards = len(await self.own_cards()) if self.agent.running else 0
        return replace(own_size(self._inventory, await self.house.rules(), tier), gpus=cards)


def own_size(machine: Inventory | None, rules: HouseRules, tier: Tier) -> Room:
    """The largest job of this machine; its jobs share what its owner has capped."""
    caps = {
        "threads": rules.threads_cap,
        "memory_bytes": rules.memory_bytes_cap,
        "disk_bytes": rules.disk_bytes_cap,
    }
    return Room(
        key=THIS,
        tier=tier,
        places=1,
        threads=_least(machine.cores_logical if machine else _ANY, rules.threads_cap),
        memory_bytes=_least(machine.memory_bytes if machine else _ANY, rules.memory_bytes_cap),
        disk_bytes=_least(_ANY, rules.disk_bytes_cap),
        shared=frozenset(name for name, cap in caps.items() if cap is not None),
    )


def _room_of(link: RigLink, now: int) -> Room:
    state = link.state
    if state is None:
        raise ValueError("a rig that has not told its state has no room")
    is_open = state.house == "open"
    return replace(
        _size_of(link),
        places=state.places if is_open else 0,
        left_s=max(0, state.closes_at - now) if state.closes_at else _ANY,
    )


def _size_of(link: RigLink) -> Room:
    state = link.state
    if state is None:
        raise ValueError("a rig that has not told its state has no room")
    return Room(
        key=link.peer_id,
        tier=state.tier,
        places=state.places,
        threads=state.threads,
        memory_bytes=state.memory_bytes,
        disk_bytes=state.disk_bytes,
        job_threads=state.job_threads,
        job_memory_bytes=state.job_memory_bytes,
    )


def _least(value: int, cap: int | None) -> int:
    return value if cap is None else min(value, cap)
