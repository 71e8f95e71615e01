"""Peers with claims, bonds and oracles in one process: real chain, wallets, network and books.

What stands in is what other programs would do by themselves: the jobs of an agent are small scripts with
the same files, and the catalogue is a shelf of records that everybody knows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger_lab import CREDIT, Clock, Lab
from trade_lab import NETWORK, Side, TradeLab
from trade_parts import Shelf

from openstall.app.services.capacity.service import CapacityService
from openstall.app.services.capacity.wiring import CapacityGround, make_capacity
from openstall.app.services.checking import LocalJobs
from openstall.app.services.door import PEER_KEY, as_record_binding
from openstall.app.services.orders.placing import Party
from openstall.app.services.renting import OFFER_KEY
from openstall.app.services.service_levels.service import LevelService
from openstall.app.services.service_levels.wiring import make_levels
from openstall.compute_agent.specs import JobResult, OutputFile, Usage
from openstall.ledger.binding import make_binding
from openstall.ledger.credit import CreditClient
from openstall.ledger.memory_host import MemoryHost
from openstall.market.capacity import claim_seed, work_seed
from openstall.market.fields import BlobRef, body_as_dict
from openstall.market.records import Capacity, Peer, Record, SignedRecord, Work, parse_record, sign_record
from openstall.store.orders import Orders

SIZE, SEGMENTS = 64, 8
BOND_MICRO = 7 * CREDIT


def state_at(seed: str, at: int) -> bytes:
    """The state before a segment, as an honest machine of this lab finds it."""
    return hashlib.shake_256(f"{seed}:{at}".encode()).digest(SIZE * SIZE)


def digests_of(seed: str) -> list[str]:
    """The digests of an honest machine."""
    return [hashlib.sha256(state_at(seed, at)).hexdigest() for at in range(SEGMENTS + 1)]


@dataclass
class Machine:
    """Runs the measuring jobs; `trick` is what a dishonest one does instead."""

    trick: str = ""
    proved: int = 0
    checked: int = 0

    async def run(
        self, spec: Any, inputs: Path, outputs: Path, _on_event: Any, *, gpus: tuple[str, ...]
    ) -> JobResult:
        assert not gpus
        params = spec.params
        files: dict[str, bytes] = {}
        if spec.kind == "challenge":
            self.proved += 1
            seed = params["seed"] if self.trick != "wrong" else "00" * 32
            proof = {"digests": digests_of(seed), "elapsed_ms": 2_000, "runtime": "lab"}
            states = b"".join(state_at(seed, at) for at in range(SEGMENTS))
            files = {"proof.json": json.dumps(proof).encode(), "states.bin": states}
        elif spec.kind == "verify_challenge":
            self.checked += 1
            files = {"verdict.json": json.dumps(self._verdict(params, inputs / "states.bin")).encode()}
        _leave(outputs, files)
        done = tuple(OutputFile(name=name, size=len(raw), sha256="00" * 32) for name, raw in files.items())
        return JobResult(state="done", reason="ok", words="Done.", outputs=done, usage=Usage())

    def _verdict(self, params: dict[str, Any], path: Path) -> dict[str, Any]:
        raw, honest = path.read_bytes(), digests_of(params["seed"])
        for place, at in enumerate(params["opened"]):
            state = raw[place * SIZE * SIZE : (place + 1) * SIZE * SIZE]
            good = hashlib.sha256(state).hexdigest() == params["digests"][at] == honest[at]
            if not good or params["digests"][at + 1] != honest[at + 1]:
                return {"right": False, "wrong": f"segment {at}"}
        return {"right": True, "wrong": ""}


def _leave(outputs: Path, files: dict[str, bytes]) -> None:
    outputs.mkdir(parents=True)
    for name, content in files.items():
        (outputs / name).write_bytes(content)


@dataclass(slots=True)
class OpenShelf(Shelf):
    """A shelf that also answers what the capacity services ask."""

    clock: Clock = field(default_factory=Clock)
    frozen: set[str] | None = None
    """What was known at all past moments; None for everything."""

    async def live_record(self, cid: str) -> SignedRecord:
        """The record with that cid."""
        return next(one for one in self.records.values() if one.cid == cid)

    async def live_of(self, author: str, type_: str, key: str) -> SignedRecord | None:
        found = [
            one
            for one in self.records.values()
            if (one.record.author, one.record.type, one.record.key) == (author, type_, key)
        ]
        return max(found, key=lambda one: one.record.seq, default=None)

    async def held_at(self, author: str, type_: str, key: str, *, at: int) -> SignedRecord | None:
        """All records came in before everything else, but for those that were put after `frozen`."""
        found = [
            one
            for cid, one in self.records.items()
            if (one.record.author, one.record.type, one.record.key) == (author, type_, key)
            and one.record.issued <= at
            and (self.frozen is None or cid in self.frozen)
        ]
        return max(found, key=lambda one: one.record.seq, default=None)

    async def held(self, cid: str, *, at: int | None = None) -> SignedRecord | None:
        if cid not in self.records:
            return None
        known = self.records[cid]
        return parse_record(known.raw, network=NETWORK, now=known.record.issued if at is None else at)

    async def find(
        self, *, query: str = "", types: tuple[str, ...] = ("peer",), **_query: Any
    ) -> dict[str, Any]:
        if types == ("capacity",):
            claims = [one for one in self.records.values() if isinstance(one.body, Capacity)]
            found = [
                {"author": one.record.author, "body": {"bond": one.body.bond}, "mine": False}  # type: ignore[attr-defined]
                for one in claims
            ]
            return {"items": found, "total": len(found)}
        items = [
            {"author": one.record.author, "body": {"wallet": one.body.wallet}}
            for one in self.records.values()
            if isinstance(one.body, Peer) and one.body.wallet.lower() == query.lower()
        ]
        return {"items": items, "total": len(items)}

    async def peer_of(self, wallet: str) -> str | None:
        """The peer that is bound to a wallet."""
        bound = [
            one.record.author
            for one in self.records.values()
            if isinstance(one.body, Peer) and one.body.wallet.lower() == wallet.lower()
        ]
        return next(iter(bound), None)

    def put(self, side: Side, type_: str, key: str, body: Any) -> SignedRecord:
        """Sign a record of a side and let everybody know it."""
        seq = 1 + sum(one.record.author == side.host.peer_id for one in self.records.values())
        record = Record(
            type=type_,
            network=NETWORK,
            author=side.host.peer_id,
            key=key,
            seq=seq,
            prev="",
            issued=self.clock.now(),
            expires=self.clock.now() + 10_000,
            body=body_as_dict(body),
        )
        signed = sign_record(record, side.seed)
        self.records[signed.cid] = signed
        return signed


@dataclass(slots=True, kw_only=True)
class Stall:
    """A side with its machine and its capacity service."""

    side: Side
    machine: Machine
    capacity: CapacityService
    levels: LevelService

    @property
    def peer_id(self) -> str:
        """Its peer id."""
        return self.side.host.peer_id

    @property
    def wallet(self) -> str:
        """Its wallet's address."""
        return self.side.wallet.address


@dataclass(slots=True, kw_only=True)
class CapacityLab:
    """A provider, a buyer, three oracles and a stranger; the buyer and the provider can have orders."""

    trade: TradeLab
    shelf: OpenShelf
    provider: Stall
    buyer: Stall
    oracles: list[Stall]
    stranger: Stall

    @property
    def stalls(self) -> list[Stall]:
        """All six."""
        return [self.provider, self.buyer, *self.oracles, self.stranger]

    async def lease(self, **terms: Any) -> str:
        """A paid job of the buyer at the provider."""
        data = await self.buyer.side.file("data.csv", b"1,2\n")
        order_id = await self.trade.both(self.trade.job([data], **terms))
        self.buyer.side.access.grant(data.blob.cid, self.provider.peer_id)
        for stall in (self.buyer, self.provider):
            order = await stall.side.desk.load(order_id)
            if stall is self.buyer:
                await stall.side.channel.open(order)
            await stall.side.channel.catch_up(await stall.side.desk.load(order_id))
        return order_id

    async def post_bond(self, **changes: Any) -> str:
        """The provider's bond, on its claim as well; the id."""
        terms: dict[str, Any] = {
            "amount_micro": BOND_MICRO,
            "oracles": [oracle.wallet for oracle in self.oracles],
            "quorum": 2,
            "unlock_delay_s": 600,
        }
        bond = await self.provider.capacity.bonds.post(**(terms | changes))
        self.claim(self.provider, bond.bond_id.hex())
        return bond.bond_id.hex()

    def claim(self, stall: Stall, bond: str = "") -> SignedRecord:
        """A claim of that stall, with the digests of an honest run."""
        now = self.shelf.clock.now()
        seed = work_seed(claim_seed(NETWORK, stall.peer_id, now), 0)
        work = Work(
            device="cpu",
            threads=1,
            size=SIZE,
            segments=SEGMENTS,
            rounds=10,
            ms=2_000,
            seed=seed,
            digests=digests_of(seed),
            proof=BlobRef(cid="b" + "a" * 58, size=3 * SIZE * SIZE, sha256="00" * 32),
        )
        body = Capacity(
            measured_at=now,
            runtime="lab",
            figures=[],
            works=[work],
            bond=bond,
            chain_id=self.trade.chain.chain.params.chain_id,
        )
        return self.shelf.put(stall.side, "capacity", OFFER_KEY, body)


def make_stall(side: Side, shelf: OpenShelf, machine: Machine) -> Stall:
    """The side with services of its own; made again from the same disk it is the side after a restart."""
    chain = side.chain_lab.chain
    jobs = LocalJobs(
        agent=machine,  # type: ignore[arg-type]  # a script in the place of a process
        folder=side.folder / "work",
        workers=side.workers,
    )
    (side.folder / "work").mkdir(exist_ok=True)
    ground = CapacityGround(
        me=Party(
            peer_id=side.host.peer_id,
            seed=side.seed,
            wallet=side.wallet.address,
            chain_id=chain.params.chain_id,
            network=NETWORK,
        ),
        wallet=side.wallet,
        chain=chain,
        transactions=side.transactions,
        peers=side.host,
        blobs=side.blobs,
        transfer=side.transfer,
        access=side.access,
        catalogue=shelf,  # type: ignore[arg-type]  # a shelf in the place of the catalogue
        desk=side.desk,
        jobs=jobs,
        store=side.store,
        workers=side.workers,
        clock=side.clock,
        bus=side.bus,
        folder=side.folder / "work",
        threads=_one_thread,
        gpus=_no_cards,
        held_back=lambda: "",
    )
    capacity = make_capacity(ground)
    levels = make_levels(
        ground, capacity.bonds, orders=Orders(side.store), running=lambda: side.provider.jobs
    )
    return Stall(side=side, machine=machine, capacity=capacity, levels=levels)


async def _no_cards() -> tuple[str, ...]:
    return ()


async def _one_thread() -> int:
    return 1


def introduce(shelf: OpenShelf, side: Side) -> None:
    """The side's own peer record, with the two-way binding of its wallet."""
    chain_id, now = side.chain_lab.chain.params.chain_id, side.clock.now()
    made = make_binding(
        side.wallet, side.seed, peer_id=side.host.peer_id, nonce=now, expires=now + 9_000, chain_id=chain_id
    )
    body = Peer(
        name=side.folder.name,
        wallet=side.wallet.address,
        chain_id=chain_id,
        binding=as_record_binding(made),
        addrs=[],
    )
    shelf.put(side, "peer", PEER_KEY, body)


@asynccontextmanager
async def capacity_lab(folder: Path) -> AsyncIterator[CapacityLab]:
    """Six connected peers with credits; nothing is served or judged before a test starts it."""
    clock = Clock()
    chain_host = MemoryHost(clock=clock)
    chain_host.create("Capacity lab")
    lab, shelf = Lab(chain_host, clock), OpenShelf(clock=clock)
    names = ("provider", "buyer", "oracle-0", "oracle-1", "oracle-2", "stranger")
    sides = [Side(folder=folder / name, clock=clock, chain_lab=lab, shelf=shelf) for name in names]
    async with AsyncExitStack() as stack:
        stack.callback(chain_host.stop)
        for side in sides:
            lab.do(side.wallet, CreditClient(lab.chain).claim())
            await stack.enter_async_context(side.host)
            side.open()
            stack.callback(side.store.close)
            introduce(shelf, side)
        for side in sides:
            for other in sides:
                if other is not side:
                    await side.host.connect(other.host.addrs[0])
        stalls = [make_stall(side, shelf, Machine()) for side in sides]
        for stall in stalls:
            await stall.capacity.be_oracle(on=True)
        yield CapacityLab(
            trade=TradeLab(chain=lab, clock=clock, buyer=sides[1], seller=sides[0], shelf=shelf),
            shelf=shelf,
            provider=stalls[0],
            buyer=stalls[1],
            oracles=stalls[2:5],
            stranger=stalls[5],
        )
