"""What the local API offers about capacity: measure, claim, challenge, verify, bonds and cases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from openstall.app.services.capacity.answering import Answering
from openstall.app.services.capacity.bonds import Bonds, as_dict
from openstall.app.services.capacity.challenging import Challenging
from openstall.app.services.capacity.claims import Claims, claim_of
from openstall.app.services.capacity.complaints import Complaints, case_as_dict
from openstall.app.services.capacity.oracle import Oracle
from openstall.app.services.capacity.rounds import Rounds
from openstall.app.services.capacity.spot import SpotChecks
from openstall.app.services.checking import Tell
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, NotFound, Refused
from openstall.market.records import SignedRecord
from openstall.store.cases import Cases
from openstall.store.verdicts import Verdicts

_LEASED = ("funded", "running")


@dataclass(slots=True, kw_only=True)
class CapacityService:
    """Joins the parts, and serves other peers."""

    desk: OrderDesk
    claims: Claims
    bonds: Bonds
    answering: Answering
    challenging: Challenging
    oracle: Oracle
    complaints: Complaints
    cases: Cases
    verdicts: Verdicts
    workers: Workers
    threads: Callable[[], Awaitable[int]]
    """How many threads the owner rents out."""
    rounds: Rounds = field(init=False)

    def __post_init__(self) -> None:
        self.rounds = Rounds(
            claims=self.claims,
            bonds=self.bonds,
            settings=self.claims.settings,
            workers=self.workers,
            clock=self.claims.clock,
            challenge=self.challenge_peer,
        )

    async def run(self) -> None:
        """Answer, judge and complain, until cancelled."""
        await self.workers.store(self.claims.restore_access)
        self.answering.serve()
        self.oracle.serve()
        spot = SpotChecks(desk=self.desk, bus=self.complaints.bus, challenge=self.challenge_lease)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.oracle.run)
            nursery.start_soon(self.complaints.run)
            nursery.start_soon(spot.run)
            nursery.start_soon(self.rounds.run)

    async def measure(self, devices: list[str], seconds: int, progress: Tell) -> dict[str, Any]:
        """Measure this machine and publish what it claims to be able to."""
        record = await self.claims.measure(
            devices=devices,
            threads=await self.threads(),
            seconds=seconds,
            bond=await self.bonds.own_id(),
            progress=progress,
        )
        return {"cid": record.cid, "claim": _shown(record)}

    async def show(self, peer_id: str) -> dict[str, Any]:
        """What a peer claims, what stands behind it, and what this node's own challenges have shown."""
        record = await self.claims.live(peer_id)
        if record is None:
            return {"cid": None, "claim": None, "bond": None, "verdicts": []}
        bond = await self.bonds.behind(claim_of(record), peer_id)
        verdicts = await self.workers.store(self.verdicts.of, claim=record.cid)
        return {
            "cid": record.cid,
            "claim": _shown(record),
            "bond": as_dict(bond) if bond else None,
            "verdicts": [_verdict(one) for one in verdicts],
        }

    async def verify(self, peer_id: str, progress: Tell) -> dict[str, Any]:
        """Compute the proof of a claim again on this node; it says nothing of the speed."""
        record = await self.claims.live(peer_id)
        if record is None:
            raise NotFound("no_claim", "This peer claims nothing about its machine.")
        return await self.claims.check_proof(record, progress)

    async def challenge_lease(self, order_id: str, progress: Tell) -> dict[str, Any]:
        """Challenge the provider of a running job, and complain to the oracles if it fails.

        Raises:
            Conflict: the job does not run. NotFound: the provider had claimed nothing.
        """
        order = await self._lease(order_id)
        record = await self.claims.at(order.other, order.created_at)
        if record is None:
            raise NotFound("no_claim", "When you ordered, the provider claimed nothing about its machine.")
        return await self._challenge(record, order, progress)

    async def challenge_peer(self, peer_id: str, progress: Tell) -> dict[str, Any]:
        """As an oracle: challenge a provider whose bond names this wallet, without any complaint.

        Raises:
            Refused: no bond of that provider names this wallet.
        """
        record = await self.claims.live(peer_id)
        if record is None:
            raise NotFound("no_claim", "This peer claims nothing about its machine.")
        bond = await self.bonds.behind(claim_of(record), peer_id)
        if bond is None or self.bonds.wallet.address.lower() not in bond.oracles:
            raise Refused("not_an_oracle", "No bond of that provider names your wallet as an oracle.")
        return await self._challenge(record, None, progress)

    async def post_bond(
        self, *, amount_micro: int, oracles: list[str], quorum: int, unlock_delay_s: int
    ) -> dict[str, Any]:
        """Post a bond, and name it in the claim that is published."""
        bond = await self.bonds.post(
            amount_micro=amount_micro, oracles=oracles, quorum=quorum, unlock_delay_s=unlock_delay_s
        )
        await self.claims.name_bond(bond.bond_id.hex())
        return as_dict(bond)

    async def announce_bond(self) -> dict[str, Any]:
        """Announce that the bond is taken back."""
        return as_dict(await self.bonds.announce())

    async def withdraw_bond(self) -> dict[str, Any]:
        """Take the bond back, and name none in the claim any more."""
        bond = await self.bonds.withdraw()
        await self.claims.name_bond("")
        return as_dict(bond)

    async def make_rounds(self, *, on: bool) -> dict[str, Any]:
        """As an oracle: now and then challenge, unasked, a provider whose bond names this wallet."""
        await self.rounds.switch(on=on)
        return {"rounds": on, "next_at": await self.rounds.next_at()}

    async def be_oracle(self, *, on: bool) -> dict[str, Any]:
        """Work as an oracle where a bond names this wallet; what was taken on before is finished."""
        await self.bonds.be_oracle(on=on)
        return {"oracle": on}

    async def own_bond(self) -> dict[str, Any]:
        """This node's bond."""
        bond = await self.bonds.own()
        return {"bond": as_dict(bond) if bond is not None else None}

    async def case_items(self) -> dict[str, Any]:
        """All cases of this node, as complainer and as oracle."""
        rows = await self.workers.store(self.cases.items)
        return {"items": [case_as_dict(row) for row in rows], "total": len(rows)}

    async def _lease(self, order_id: str) -> OpenOrder:
        order = await self.desk.load(order_id)
        if (order.role, order.kind) != ("buyer", "compute") or order.state not in _LEASED:
            raise Conflict(
                "no_lease", "Only the provider of a paid job that has not ended can be challenged."
            )
        return order

    async def _challenge(
        self, record: SignedRecord, order: OpenOrder | None, progress: Tell
    ) -> dict[str, Any]:
        order_id = order.order_id if order is not None else ""
        heard = await self.challenging.challenge(record, order_id=order_id, progress=progress)
        case = await self.complaints.open(record, heard, order)
        return {**msgspec.to_builtins(heard.verdict), "line": heard.line, "case": case}


def _shown(record: SignedRecord) -> dict[str, Any]:
    claim = claim_of(record)
    works = [
        {
            "device": work.device,
            "threads": work.threads,
            "ms": work.ms,
            "million_operations_per_s": claimed_rate(work.size, work.segments * work.rounds, work.ms),
        }
        for work in claim.works
    ]
    return {
        "measured_at": claim.measured_at,
        "runtime": claim.runtime,
        "figures": msgspec.to_builtins(claim.figures),
        "works": works,
        "bond": claim.bond or None,
    }


def claimed_rate(size: int, rounds: int, ms: int) -> int:
    """Millions of multiplications and additions per second: `rounds` products of two matrices in `ms`."""
    return 2 * size**3 * rounds // (1000 * max(ms, 1))


def _verdict(signed: dict[str, Any]) -> dict[str, Any]:
    found = signed["doc"]
    told = {name: found[name] for name in ("outcome", "code", "elapsed_ms", "allowed_ms", "order", "at")}
    return {**told, "line": signed.get("line", {})}
