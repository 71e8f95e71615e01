"""An oracle's part in service levels: watch what a buyer hands over, and say what follows from it.

It believes its own looks at the provider and what both parties have signed, and nothing else. A finding is
on disk before it is given out, so it never says two things of one order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.capacity.bonds import Bonds, place_of
from openstall.app.services.orders.channel_terms import is_locked
from openstall.app.services.orders.placing import Party
from openstall.app.services.service_levels import wire
from openstall.app.services.service_levels.witness import ORACLE, Witness, verdict
from openstall.app.threads import Workers
from openstall.ledger.bond import BondClient
from openstall.ledger.chain import Chain
from openstall.ledger.wallet import Wallet
from openstall.market.errors import InvalidOrder, Refused
from openstall.market.orders.agree import LONGEST_FUND_S, LONGEST_START_S, SETTLE_AFTER_S, START_WITHIN_S
from openstall.market.orders.documents import Contract
from openstall.market.records import MAX_CLOCK_SKEW_S
from openstall.market.service_levels import broken, check_place, penalty
from openstall.market.sightings import JUDGE_S, Judgement, case_hash
from openstall.store.cases import OPEN, CaseRow, Cases
from openstall.store.watches import Watches, WatchRow

ROLE = "service-oracle"
MOST_WATCHES, MOST_PER_BUYER = 200, 20
LONGEST_BESIDE_S = LONGEST_FUND_S + START_WITHIN_S + LONGEST_START_S + SETTLE_AFTER_S + 600
"""What an honest order takes at most beside the job itself, from its date to its settlement."""

log = get_logger("openstall.service")


@dataclass(slots=True, kw_only=True)
class Court:
    """Answers the buyers of this oracle's bonds."""

    me: Party
    wallet: Wallet
    chain: Chain
    bonds: Bonds
    witness: Witness
    watches: Watches
    cases: Cases
    workers: Workers
    clock: Clock
    bus: EventBus
    _taking: trio.Lock = field(default_factory=trio.Lock)

    async def watch(self, peer_id: str, lease: wire.Lease) -> wire.Watching:
        """Watch a paid job for its buyer.

        Raises:
            OpenstallError: it is not for this oracle, not paid, or too much.
        """
        contract = wire.open_lease(lease)
        order, terms = contract.order, contract.compute
        until = terms.settle_by + JUDGE_S
        if order.buyer != peer_id:
            raise Refused("not_the_buyer", "Only the buyer of a job has it watched.")
        if await self.workers.store(self.watches.find, contract.order_id) is not None:
            return wire.Watching(until=until)
        now = self.clock.now()
        if order.network != self.me.network or order.chain_id != self.me.chain_id:
            raise InvalidOrder("other_network", "The order belongs to another group.")
        if not order.created - MAX_CLOCK_SKEW_S <= now <= terms.settle_by:
            raise Refused("bad_times", "This order is not one to watch now.")
        if terms.settle_by > order.created + terms.max_s + LONGEST_BESIDE_S:
            raise Refused("bad_times", "The deadlines of this order are too far away to be watched.")
        await self.bonds.check_oracle()
        async with self._taking:  # two at once must not both get the last place, or the last of a bond
            return await self._take(peer_id, lease, contract, until=until, now=now)

    async def _take(
        self, peer_id: str, lease: wire.Lease, contract: Contract, *, until: int, now: int
    ) -> wire.Watching:
        await self._check_quota(peer_id)
        await self._check_bond(contract, until=until, now=now)
        await self._check_paid(contract)
        level = wire.level_of(contract)
        row = WatchRow(
            order_id=contract.order_id,
            role=ORACLE,
            buyer=peer_id,
            bond=level.bond,
            penalty_micro=level.penalty_micro,
            contract=msgspec.to_builtins(lease),
            sightings=[],
            telemetry={},
            report={},
            paid_at=now,
            ends_at=until,
        )
        if await self.witness.begin(row):
            log.info("job watched", order=contract.order_id, provider=contract.order.seller)
        return wire.Watching(until=until)

    async def complain(self, peer_id: str, file: wire.File) -> wire.Finding:
        """What this oracle finds about a job that it has watched.

        Raises:
            OpenstallError: the complaint does not hold together, or the job was never watched here.
        """
        case, contract = wire.open_case(file, self.me)
        if case.by != peer_id:
            raise Refused("not_the_complainer", "Only the complainer brings its own case.")
        row = await self._watched(contract)
        signed_s = 0
        if file.buyer_telemetry:
            signed_s = wire.read_telemetry(file.buyer_telemetry, contract, by=case.by).worked_s
        told = None
        if file.provider_telemetry:
            told = wire.read_telemetry(file.provider_telemetry, contract, by=case.provider)
        found = verdict(row, contract, now=self.clock.now(), report=file.report, told=told, signed_s=signed_s)
        key = case_hash(case.bond, case.order)
        plain = msgspec.to_builtins(file)
        await self.workers.store(lambda: self.cases.add(case_hash=key, role=ROLE, file=plain, at=case.at))
        kept = await self.workers.store(self.cases.get, key, ROLE)
        if kept.state == OPEN and found is not None:
            kept = await self._close(kept, finding(contract, found))
        return wire.Finding(state=OPEN) if kept.state == OPEN else _finding(kept)

    async def sign(self, peer_id: str, order_id: str, amount_micro: int) -> wire.Signed:
        """Sign that the bond pays so much, if this oracle has found at least that.

        Raises:
            OpenstallError: it has not.
        """
        row = await self.workers.store(self.watches.get, order_id)
        contract = wire.open_lease(msgspec.convert(row.contract, wire.Lease))
        if contract.order.buyer != peer_id or row.role != ORACLE:
            raise Refused("not_the_complainer", "Only the buyer of the job is given the signature.")
        kept = await self.workers.store(self.cases.get, case_hash(row.bond, order_id), ROLE)
        if kept.state != "guilty" or not 0 < amount_micro <= int(kept.data["amount_micro"]):
            raise Refused("not_found", "This oracle has not found that much broken.")
        said = wire.sentence(contract, amount_micro)
        signature = await self.workers.work(BondClient(self.chain).sign, self.wallet, said)
        return wire.Signed(signature=signature.hex())

    async def _watched(self, contract: Contract) -> WatchRow:
        row = await self.workers.store(self.watches.get, contract.order_id)
        if row.role != ORACLE:
            raise Refused("not_an_oracle", "This peer watches that job as its buyer.")
        return row

    async def _check_quota(self, buyer: str) -> None:
        everybody = await self.workers.store(lambda: self.watches.count(ORACLE))
        his = await self.workers.store(lambda: self.watches.count(ORACLE, buyer=buyer))
        if everybody >= MOST_WATCHES or his >= MOST_PER_BUYER:
            raise Refused(
                "too_many_watched", "This oracle watches as many jobs as it can.", "Try again later."
            )

    async def _check_bond(self, contract: Contract, *, until: int, now: int) -> None:
        """Whether the bond is the provider's, names this oracle, stays, and pays beside what is watched."""
        order, level = contract.order, wire.level_of(contract)
        bond = await self.bonds.read(level.bond)
        bound = await self.bonds.wallet_of(order.seller)
        if bond.state not in ("posted", "leaving") or not (
            bond.provider == bound == order.seller_wallet.lower()
            and bond.token == self.chain.params.credit.lower()
        ):
            raise Refused("no_bond", "The bond of the order is not its provider's.")
        place_of(bond, self.wallet.address)
        if order.buyer_wallet.lower() in bond.oracles:
            raise Refused("not_a_buyer", "An oracle of the bond cannot be paid by it.")
        if (bond.unlock_at or now + bond.unlock_delay_s) < until:
            raise Refused("bond_leaves", "The bond of the order may be gone before the last complaint.")
        check_place(
            level.penalty_micro,
            left_micro=bond.left_micro,
            pledged_micro=await self.workers.store(self.watches.pledged, level.bond),
            orders=await self.workers.store(lambda: self.watches.count(ORACLE, provider=order.seller)),
        )

    async def _check_paid(self, contract: Contract) -> None:
        if not await is_locked(self.chain, self.workers, contract):
            raise Refused("not_paid_yet", "The chain does not show the money of this order, or not any more.")

    async def _close(self, row: CaseRow, found: wire.Finding) -> CaseRow:
        data: dict[str, Any] = msgspec.to_builtins(found)
        state = str(data.pop("state"))
        kept = await self.workers.store(
            lambda: self.cases.patch(row.case_hash, ROLE, at=self.clock.now(), state=state, **data)
        )
        log.info("service case closed", case=row.case_hash, state=state, amount_micro=found.amount_micro)
        self.bus.publish("wallet", {"case": row.case_hash, "state": state})
        return kept


def finding(contract: Contract, found: Judgement) -> wire.Finding:
    """What a judgement costs the bond of the order."""
    level = wire.level_of(contract)
    share_bps = broken(level, found.course).total_bps
    amount_micro = penalty(level, share_bps)
    return wire.Finding(
        state="guilty" if amount_micro else "cleared",
        broken_bps=share_bps,
        amount_micro=amount_micro,
        blamed=found.blame.who,
        words=found.blame.words,
    )


def _finding(row: CaseRow) -> wire.Finding:
    return msgspec.convert({"state": row.state, **{name: row.data[name] for name in _KEPT}}, wire.Finding)


_KEPT = ("broken_bps", "amount_micro", "blamed", "words")
