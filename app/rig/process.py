"""The rig as a process: its home, agent, house, and line to the node. No wallet, no market, no listener."""

from __future__ import annotations

import faulthandler
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass

import msgspec
import trio

from openstall.app import logging
from openstall.app.clock import SystemClock
from openstall.app.events import EventBus
from openstall.app.lock import HomeLock, holder_of
from openstall.app.paths import Home
from openstall.app.rig.book import Owner, RigBook
from openstall.app.rig.caller import Caller, Dismissed, line_to
from openstall.app.rig.jobs import Allowed, RigJobs
from openstall.app.rig.traffic import DayTraffic
from openstall.app.services.compute import ComputeService
from openstall.app.services.house import House
from openstall.app.services.rigs.code import read_code
from openstall.app.services.rigs.files import RigFiles
from openstall.app.services.rigs.wire import FromRig, RigGpu, State, write
from openstall.app.supervisor import Part, steadily
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import GIB, Inventory
from openstall.ledger.keys import load_peer_seed
from openstall.market import schema
from openstall.market.errors import Conflict, OpenstallError, PeerError
from openstall.market.text import clean
from openstall.p2p import addresses
from openstall.p2p.host import PeerHost
from openstall.p2p.nurseries import single_errors
from openstall.store.database import Store
from openstall.store.settings import Settings

HEED_S = 1.0
"""How soon a rule or a pause that the command line has written holds."""
_ANY = 2**50

Tell = Callable[[str], None]
log = logging.get_logger("openstall.rig")


@dataclass(frozen=True, slots=True, kw_only=True)
class RigConfig:
    """What a person may choose when a rig starts."""

    home: Home
    node: str = ""
    """Another address of the node than the one of the pairing."""
    ray: str = ""
    """Address of a Ray cluster whose machines run the jobs, in the place of this one."""
    log_level: str = "info"


@contextmanager
def open_rig(home: Home) -> Iterator[Store]:
    """The rig's home for one process.

    Raises:
        Conflict: a rig runs on it.
    """
    home.create()
    try:
        with HomeLock(home.lock):
            store = Store(home.store)
            try:
                yield store
            finally:
                store.close()
    except Conflict as error:
        if error.code != "node_running":
            raise
        raise Conflict(
            "rig_running",
            f"The rig of {home.root} runs (process {holder_of(home.lock)}).",
            "Stop it first: Ctrl-C in its terminal.",
        ) from error


def run_rig(config: RigConfig, tell: Tell) -> None:
    """Work for the paired node until told to stop (SIGTERM, SIGINT), or until the pairing ends.

    Raises:
        OpenstallError: it is not paired, or the node does not know it.
    """
    faulthandler.enable()
    schema.prepare_for_threads()
    with open_rig(config.home) as store:
        book = RigBook(Settings(store))
        owner = book.need_owner()
        logging.configure(config.home.log, level=config.log_level, secrets=logging.Secrets())
        trio.run(_main, config, store, book, owner, tell)


def pair_rig(home: Home, text: str, name: str | None) -> Owner:
    """Pair this machine with the node that a code names, which must be reached now.

    Raises:
        Refused: the code is no good, or the node refuses it.
        PeerError: the node cannot be reached.
        Conflict: the rig runs, or works for another node.
    """
    clock = SystemClock()
    code = read_code(text, now=clock.now())
    with open_rig(home) as store:
        book = RigBook(Settings(store))
        before = book.owner
        if before is not None and before.peer_id != code.node:
            raise Conflict(
                "paired",
                f"This machine works for {before.name} already.",
                "Run `openstall rig unpair` first.",
            )
        if name is not None:
            book.call_it(name)
        owner = Owner(peer_id=code.node, addrs=tuple(code.addrs), name="", paired_at=clock.now())

        async def prove() -> str:
            async with _host(home, book.name) as host:
                proof = code.proof(host.peer_id)
                async with line_to(host, owner, name=book.name, proof=proof) as (_, node):
                    return node

        paired = msgspec.structs.replace(owner, name=clean(trio.run(prove)) or "your node")
        book.pair(paired)
        return paired


def unpair_rig(home: Home) -> tuple[Owner, bool]:
    """Work for nobody any more: whom for before, and whether that node has heard of it.

    A running rig sees it within a second, and tells its node itself.
    """
    try:
        with open_rig(home) as store:
            book = RigBook(Settings(store))
            owner = book.need_owner()
            book.unpair()
            return owner, trio.run(_say_good_bye, home, book.name, owner)
    except Conflict as error:
        if error.code != "rig_running":
            raise
    store = Store(home.store)
    try:
        book = RigBook(Settings(store))
        owner = book.need_owner()
        book.unpair()
    finally:
        store.close()
    return owner, True


def _host(home: Home, name: str) -> PeerHost:
    """A host that listens nowhere."""
    seed = load_peer_seed(home.peer_key)
    return PeerHost(seed=seed.secret, listen=(), peerstore_path=home.peerstore, name=name)


async def _say_good_bye(home: Home, name: str, owner: Owner) -> bool:
    try:
        async with _host(home, name) as host, line_to(host, owner, name=name) as (stream, _):
            await stream.send(write(FromRig(leave=True)))
            await stream.receive(timeout_s=5.0)  # the node hangs up when it has written that down
    except PeerError:
        return False
    except OpenstallError:
        return True  # the node does not know this rig any more
    return True


def _ray_agent(config: RigConfig) -> AgentClient:
    from openstall.compute_agent.ray_backend import RayAgent

    return RayAgent(config.ray, log_path=config.home.log.parent / "agent.log")


async def _main(config: RigConfig, store: Store, book: RigBook, owner: Owner, tell: Tell) -> None:
    signals = {signal.SIGINT, signal.SIGTERM}
    if hasattr(signal, "SIGBREAK"):
        signals.add(signal.SIGBREAK)
    rig = Rig(config, store, book, owner, tell)
    with single_errors(), trio.open_signal_receiver(*signals) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, nursery.cancel_scope, received)
            await rig.run()
            nursery.cancel_scope.cancel()


async def _stop_on_signal(scope: trio.CancelScope, received: AsyncIterator[int]) -> None:
    async for _ in received:
        scope.cancel()


class Rig:
    """Composition root of the rig."""

    def __init__(self, config: RigConfig, store: Store, book: RigBook, owner: Owner, tell: Tell) -> None:
        self._config, self._book, self._tell = config, book, tell
        if config.node:
            owner = msgspec.structs.replace(owner, addrs=(addresses.split(config.node)[0],))
        self._owner = owner
        self._workers, self._bus, clock = Workers(), EventBus(), SystemClock()
        settings = Settings(store)
        self._clock = clock
        agent = _ray_agent(config) if config.ray else None
        self._compute = ComputeService(home=config.home, enabled=True, bus=self._bus, agent=agent)
        self._agent = self._compute.agent
        self._house = House(
            settings=settings, workers=self._workers, agent=self._agent, bus=self._bus, clock=clock
        )
        self._part = Part("agent", self._run_agent, bus=self._bus)
        self._agent_up = trio.Event()
        self._traffic = DayTraffic(
            settings=settings, rules=self._house.rules, workers=self._workers, clock=clock
        )
        self._caller: Caller | None = None
        self._written: dict[str, object] = {}

    async def run(self) -> None:
        """Work until cancelled, or until the pairing has ended.

        Raises:
            OpenstallError: the node does not know this rig, or its owner has unpaired it.
        """
        home = self._config.home
        await self._workers.store(shutil.rmtree, home.jobs, ignore_errors=True)
        await self._workers.store(home.create)
        files = await self._workers.store(RigFiles.fresh, home.root / "rig-files")
        async with AsyncExitStack() as stack:
            host = _host(home, self._book.name)
            files.serve(host)
            await stack.enter_async_context(host)
            jobs = self._make_jobs(files)
            caller = self._caller = Caller(
                host=host,
                owner=self._owner,
                name=self._name,
                jobs=jobs,
                house=self._house,
                bus=self._bus,
                state=self._state,
                told=self._tell,
            )
            self._house.guests = jobs
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._part.supervise)
                nursery.start_soon(steadily, "house rules", self._keep_house)
                nursery.start_soon(steadily, "settings", self._heed)
                try:
                    await caller.keep()
                except Dismissed:
                    await self._workers.store(self._book.unpair)
                    raise
                finally:
                    nursery.cancel_scope.cancel()
                    with trio.CancelScope(shield=True):
                        await self._workers.store(self._book.note, {})

    def _make_jobs(self, files: RigFiles) -> RigJobs:
        return RigJobs(
            agent=self._agent,
            files=files,
            folder=self._config.home.jobs,
            node=self._owner.peer_id,
            workers=self._workers,
            allowed=self._allowed,
            traffic=self._traffic,
            begun=self._house.wake,
            send=self._send,
        )

    async def _send(self, message: FromRig) -> None:
        if self._caller is None:
            raise PeerError("node_gone", "The node is not connected.")
        await self._caller.send(message)

    async def _name(self) -> str:
        return await self._workers.store(lambda: self._book.name)

    async def _run_agent(self, ready: Callable[[], None]) -> None:
        def up() -> None:
            ready()
            self._agent_up.set()

        await self._compute.run(up)

    async def _keep_house(self) -> None:
        await self._agent_up.wait()  # what a house cannot see would hold jobs
        await self._house.suggest_rules()
        await self._house.keep()

    async def _heed(self) -> None:
        """See what the command line has written: rules, a pause, the end of the pairing."""
        while True:
            await trio.sleep(HEED_S)
            await self._house.heed()
            if await self._workers.store(lambda: self._book.owner) is None and self._caller is not None:
                await self._caller.leave()
            await self._write_down()

    async def _write_down(self) -> None:
        """How it is, for `openstall rig show`; written when it has changed."""
        if self._caller is None:
            return
        words, next_words = await self._house.words()
        found: dict[str, object] = {
            "connected": self._caller.connected,
            "house": self._house.state,
            "words": words,
            "next_words": next_words,
            "agent": self._compute.brief(),
            "tier": self._agent.tier,
            "jobs_running": self._house.guests.running - self._house.guests.waiting,
            "jobs_waiting": self._house.guests.waiting,
        }
        if found != self._written:
            self._written = found
            await self._workers.store(self._book.note, {**found, "at": self._clock.now()})

    async def _allowed(self) -> Allowed:
        return self._most(await self._inventory(), await self._jobs_at_once(), await self._caps())

    async def _jobs_at_once(self) -> int:
        return await self._workers.store(lambda: self._book.jobs_at_once)

    async def _caps(self) -> tuple[int, int, int]:
        rules = await self._house.rules()
        caps = (rules.threads_cap, rules.memory_bytes_cap, rules.disk_bytes_cap)
        threads, memory, disk = (_ANY if cap is None else cap for cap in caps)
        return threads, memory, disk

    def _most(self, machine: Inventory | None, places: int, caps: tuple[int, int, int]) -> Allowed:
        if machine is None or self._agent.tier == "none":
            return Allowed(places=0, threads=0, memory_bytes=0, disk_bytes=0)
        disk = machine.disk_free_bytes // GIB * GIB  # whole ones: it moves all the time
        return Allowed(
            places=places,
            threads=min(machine.cores_logical, caps[0]),
            memory_bytes=min(machine.memory_bytes, caps[1]),
            disk_bytes=min(disk, caps[2]),
        )

    async def _inventory(self) -> Inventory | None:
        with suppress(OpenstallError):
            return await self._agent.probe()
        return None

    async def _state(self) -> State:
        machine = await self._inventory()
        most = self._most(machine, await self._jobs_at_once(), await self._caps())
        words, next_words = await self._house.words()
        brief = self._compute.brief()
        if self._agent.tier == "none":
            words = brief["reason"] or "The compute agent is starting."
            next_words = brief["fix"] or ""
        rules = await self._house.rules()
        job_threads, job_memory = self._agent.largest_job or (most.threads, most.memory_bytes)
        return State(
            house=self._house.state,  # type: ignore[arg-type]  # one of the literal states
            words=words[:2000],
            next_words=next_words[:2000],
            tier=self._agent.tier,
            places=most.places,
            threads=most.threads,
            memory_bytes=most.memory_bytes,
            disk_bytes=most.disk_bytes,
            job_threads=min(job_threads, most.threads),
            job_memory_bytes=min(job_memory, most.memory_bytes),
            closes_at=self._house.closes_at or 0,
            stated_w=rules.stated_w or 0,
            cpu=(machine.cpu_name or machine.machine)[:120] if machine else "",
            cores=machine.cores_logical if machine else 0,
            load_percent=max(0, min(100, machine.load_percent)) if machine else 0,
            memory_total_bytes=machine.memory_bytes if machine else 0,
            memory_free_bytes=machine.memory_free_bytes if machine else 0,
            disk_free_bytes=machine.disk_free_bytes if machine else 0,
            gpus=tuple(
                RigGpu(name=gpu.name[:120], memory_bytes=gpu.memory_bytes)
                for gpu in (machine.gpus if machine else ())
            )[:16],
        )
