"""The jobs on a rig: let in within its owner's limits, run by its agent, held by its house rules.

Nothing of a job outlives the connection to the node: then it is cancelled, and its files are removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from openstall.app.logging import get_logger
from openstall.app.rig.traffic import DayTraffic
from openstall.app.services.orders.job_wire import clip
from openstall.app.services.rigs import wire
from openstall.app.services.rigs.files import RigFiles
from openstall.app.services.rigs.wire import FileRef, FromRig
from openstall.app.threads import Workers
from openstall.compute_agent import specs
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.jobs import input_names
from openstall.market.errors import Conflict, OpenstallError, PeerError, Refused, SandboxError, StoreError
from openstall.market.job_kinds import KINDS

HOLD_S = 5.0
"""A job that does not stand still by then is ended."""

log = get_logger("openstall.rig")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The most that this rig's owner gives to all jobs together."""

    places: int
    threads: int
    memory_bytes: int
    disk_bytes: int


@dataclass(slots=True, eq=False)
class Guest:
    """One job of the node."""

    run: wire.Run
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    started: bool = False
    ended: bool = False
    held: bool = False
    held_at: float = 0.0
    stop: str = ""
    energy_mj: int = 0
    measured_ms: int = 0
    offered: list[FileRef] = field(default_factory=list)

    @property
    def limits(self) -> specs.Limits:
        """What it may use."""
        return self.run.spec.limits


@dataclass(slots=True, kw_only=True)
class RigJobs:
    """Every job here; also the guests of the rig's house. For the trio thread."""

    agent: AgentClient
    files: RigFiles
    folder: Path
    node: str
    """The only peer that jobs come from, and that their files go to."""
    workers: Workers
    allowed: Callable[[], Awaitable[Allowed]]
    traffic: DayTraffic
    begun: Callable[[], None]
    send: Callable[[FromRig], Awaitable[None]]
    guests: dict[str, Guest] = field(default_factory=dict)

    # From the node

    async def let_in(self, run: wire.Run) -> Guest:
        """Take a job into the books, if the owner of this rig lets it in.

        Raises:
            Refused, Conflict, SandboxError, PeerError: it is not as this kind of job is, or too large.
        """
        spec = run.spec
        if spec.kind not in KINDS:
            raise Refused("bad_kind", f"A rig runs no jobs of kind {spec.kind}.")
        if spec.job_id in self.guests:
            raise Conflict("job_running", "That job runs here already.")
        wire.check_names(run.inputs)
        if {one.name for one in run.inputs} != input_names(spec.parse_params()):
            raise PeerError("bad_job_inputs", "The inputs are not those of this kind of job.")
        coming = sum(one.size for one in run.inputs)
        if coming > spec.limits.disk_bytes:
            raise Refused("too_large", "The inputs are larger than the disk space of the job.")
        await self.traffic.admit(coming)
        self._check_room(spec.limits, await self.allowed())
        guest = self.guests[spec.job_id] = Guest(run)
        return guest

    def _check_room(self, limits: specs.Limits, most: Allowed) -> None:
        all_limits = [limits, *(guest.limits for guest in self.guests.values() if not guest.ended)]
        together = {
            "jobs at once": (len(all_limits), most.places, 1),
            "threads": (sum(one.threads for one in all_limits), most.threads, 1),
            "MiB of memory": (sum(one.memory_bytes for one in all_limits), most.memory_bytes, 2**20),
            "MiB of disk": (sum(one.disk_bytes for one in all_limits), most.disk_bytes, 2**20),
        }
        for name, (wanted, cap, unit) in together.items():
            if wanted > cap:
                raise Refused(
                    "above_cap",
                    f"With this job the machine would give {wanted // unit} {name}; "
                    f"its owner allows {cap // unit}.",
                    "Choose another machine.",
                )

    async def work(self, guest: Guest) -> None:
        """Run a job that was let in, to its end; the node hears how it ended unless it is gone."""
        spec, place = guest.run.spec, self.folder / guest.run.spec.job_id
        try:
            with guest.scope:
                result, outputs = await self._result(guest, place)
                await self._say(spec.job_id, wire.ended_of(result, outputs))
        except PeerError as error:
            log.info("job ends unheard", job=spec.job_id, code=error.code)
        finally:
            guest.started, guest.ended = False, True
            with trio.CancelScope(shield=True):
                await self.workers.work(shutil.rmtree, place, ignore_errors=True)
                if guest.scope.cancelled_caught:
                    await self.forget(spec.job_id)

    async def cancel(self, job_id: str, why: str = "cancelled") -> None:
        """Stop a job; no effect when it has ended."""
        guest = self.guests.get(job_id)
        if guest is not None and not guest.stop:
            guest.stop = why
            with suppress(SandboxError):
                await self.agent.cancel(job_id)

    async def forget(self, job_id: str) -> None:
        """The node has taken what it wants of a job, or wants nothing of it."""
        guest = self.guests.get(job_id)
        if guest is None:
            return
        if not guest.ended:
            guest.scope.cancel()  # what works for it cleans up, and comes here again
            return
        del self.guests[job_id]
        await self.files.drop(guest.offered, self.node)

    async def forget_all(self) -> None:
        """The connection has ended, and with it every job."""
        for job_id in list(self.guests):
            await self.forget(job_id)

    async def _result(self, guest: Guest, place: Path) -> tuple[specs.JobResult, tuple[FileRef, ...]]:
        spec = guest.run.spec
        try:
            await self._bring(guest, place)
            if guest.stop:
                return _stopped(guest, specs.Usage()), ()
            guest.started = True
            self.begun()
            result = await self.agent.run(
                spec,
                place / "in",
                place / "out",
                lambda event: self._on_event(guest, place / "states", event),
                checkpoints=place / "states",
            )
            guest.started = False
            if result.state == "cancelled":
                return _stopped(guest, result.usage), ()
            outputs = [await self._offer(guest, place / "out" / one.name) for one in result.outputs]
            await self.traffic.count(sum(one.size for one in outputs))
        except (SandboxError, StoreError) as error:
            return _refused(error), ()
        return result, tuple(outputs)

    async def _bring(self, guest: Guest, place: Path) -> None:
        inputs = place / "in"
        await self.workers.work(_fresh, place)
        for one in guest.run.inputs:
            await self.files.bring(one, self.node, inputs)
        await self.traffic.count(sum(one.size for one in guest.run.inputs))

    async def _offer(self, guest: Guest, path: Path) -> FileRef:
        one = await self.files.offer(path, self.node)
        guest.offered.append(one)
        return one

    async def _on_event(self, guest: Guest, states: Path, event: specs.JobEvent) -> None:
        job_id = guest.run.spec.job_id
        match event:
            case specs.LogLine():
                await self._say(job_id, wire.Log(seq=event.seq, text=clip(event.text)))
            case specs.FirstOutput():
                await self._say(job_id, wire.Begun(start_ms=event.start_ms))
            case specs.Progress():
                await self._say(job_id, wire.Steps(done=event.done, total=event.total))
            case specs.UsageTick():
                await self._say(job_id, wire.used_of(event.usage))
                await self._tell_energy(guest)
            case specs.Checkpoint():
                await self._offer_state(guest, states / event.file.name, event.done)

    async def _offer_state(self, guest: Guest, path: Path, done: int) -> None:
        """The newest checkpoint; the one before stays, the node may be fetching it at this moment."""
        one = await self._offer(guest, path)
        await self.workers.work(path.unlink)
        old = guest.offered[:-2]
        guest.offered = guest.offered[-2:]
        await self.files.drop(old, self.node)
        await self._say(guest.run.spec.job_id, wire.Saved(file=one, done=done))

    async def _tell_energy(self, guest: Guest) -> None:
        drawn, guest.energy_mj = guest.energy_mj, 0
        measured, guest.measured_ms = guest.measured_ms, 0
        if measured:
            event = wire.Drawn(millijoules=drawn, milliseconds=measured)
            await self._say(guest.run.spec.job_id, event)

    async def _say(self, job_id: str, event: wire.Event) -> None:
        await self.send(FromRig(job=job_id, event=event))

    # To the house

    @property
    def running(self) -> int:
        """How many jobs there are, those that stand still included."""
        return sum(guest.started for guest in self.guests.values())

    @property
    def waiting(self) -> int:
        """How many of them stand still."""
        return sum(guest.held for guest in self._started())

    async def hold(self, words: str) -> int:
        """Make them stand still, all at once; their buyers are told when the machine is free."""
        moving = [guest for guest in self._started() if not guest.held]
        for guest in moving:
            guest.held, guest.held_at = True, trio.current_time()
        async with trio.open_nursery() as nursery:
            for guest in moving:
                nursery.start_soon(self._suspend, guest)
        await self._tell_all(moving, wire.Stood(still=True, words=words))
        return len(moving)

    async def let_go(self) -> None:
        """Let them go on."""
        for guest in [one for one in self._started() if one.held]:
            waited_s, guest.held = round(trio.current_time() - guest.held_at), False
            with suppress(SandboxError):  # the agent is gone, and every job of it
                await self.agent.resume(guest.run.spec.job_id)
            words = f"[The job goes on after a pause of {waited_s} s.]"
            await self._tell_all([guest], wire.Stood(still=False, words=words))

    async def end_overdue(self, wait_s: int, why: str) -> None:
        """End those that have waited for longer; `why`: see `job_ends`."""
        now = trio.current_time()
        for guest in self._started():
            if guest.held and now - guest.held_at >= wait_s:
                await self.cancel(guest.run.spec.job_id, why)

    async def end_all(self) -> int:
        """End them on the owner's word."""
        found = self._started()
        for guest in found:
            await self.cancel(guest.run.spec.job_id, "owner_stopped")
        return len(found)

    async def tell(self, words: str) -> None:
        """A line for their buyers."""
        lines = [(guest, wire.Stood(still=guest.held, words=words)) for guest in self._started()]
        for guest, line in lines:
            await self._tell_all([guest], line)

    def note_energy(self, millijoules: int, milliseconds: int) -> None:
        """Those that work have used so much together."""
        working = [guest for guest in self._started() if not guest.held]
        for guest in working:
            guest.energy_mj += millijoules // len(working)
            guest.measured_ms += milliseconds

    def _started(self) -> list[Guest]:
        return [guest for guest in self.guests.values() if guest.started]

    async def _suspend(self, guest: Guest) -> None:
        job_id = guest.run.spec.job_id
        with suppress(SandboxError), trio.move_on_after(HOLD_S) as late:
            await self.agent.suspend(job_id)
        if late.cancelled_caught:
            log.error("job not held in time, ending it", job=job_id)
            await self.cancel(job_id, "owner_stopped")

    async def _tell_all(self, guests: Iterable[Guest], event: wire.Stood) -> None:
        for guest in guests:
            with suppress(PeerError):  # the node is gone; the connection notices
                await self._say(guest.run.spec.job_id, event)


_WHY_STOPPED = {
    "too_hot": "The machine was too hot for longer than the job was to wait.",
    "house_rules": "The owner of the machine needed it for longer than the job was to wait.",
    "owner_stopped": "The provider stopped the job to have the machine back.",
}


def _stopped(guest: Guest, usage: specs.Usage) -> specs.JobResult:
    reason = guest.stop if guest.stop in _WHY_STOPPED else "cancelled"
    words = _WHY_STOPPED.get(reason, "The job was cancelled.")
    return specs.JobResult(state="cancelled", reason=reason, words=words, usage=usage)


def _refused(error: OpenstallError) -> specs.JobResult:
    return specs.JobResult(state="refused", reason=error.code, words=error.message, what_next=error.what_next)


def _fresh(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    for name in ("in", "states"):
        (place / name).mkdir(parents=True)
