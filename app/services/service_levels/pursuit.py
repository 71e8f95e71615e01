"""The buyer's part in service levels: have the job watched, see for itself, complain, collect.

The amount is what as many oracles as the bond asks for have found at least, each alone: the m-th highest
finding. So fewer than m that lie can neither raise it above what an honest one saw, nor keep it back.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.capacity.bonds import Bonds, place_of
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.placing import Party
from openstall.app.services.service_levels import telemetry, wire
from openstall.app.services.service_levels.court import finding
from openstall.app.services.service_levels.witness import BUYER, Witness, verdict
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.bond import BondClient, BondOnChain
from openstall.ledger.chain import Chain
from openstall.market import canonical
from openstall.market.capacity import sign_document
from openstall.market.errors import Conflict, OpenstallError, PeerError
from openstall.market.orders.documents import Contract
from openstall.market.sightings import JUDGE_S, ServiceCase, case_hash
from openstall.p2p.host import PeerHost
from openstall.store.cases import CaseRow, Cases
from openstall.store.watches import Watches, WatchRow

ROLE = "service"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
HAND_OVER_S = 5.0
LISTEN_AGAIN_S = 1.0
_PAID = ("funded", "running")

log = get_logger("openstall.service")


@dataclass(slots=True, kw_only=True)
class Pursuit:
    """Follows the jobs with a service level in which this node is the buyer."""

    me: Party
    chain: Chain
    peers: PeerHost
    desk: OrderDesk
    bonds: Bonds
    transactions: TransactionService
    watches: Watches
    cases: Cases
    workers: Workers
    clock: Clock
    bus: EventBus
    witness: Witness
    _woken: trio.Event = field(default_factory=trio.Event)
    _driven: set[str] = field(default_factory=set)
    _handed: set[str] = field(default_factory=set)
    _began: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Until cancelled; what was begun before a restart goes on."""
        self._driven.clear()
        self._handed.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pursue)
            while True:
                async with self.bus.subscribe() as events:
                    for order_id in await self.desk.open_order_ids():
                        await self._look_at(order_id, nursery)
                    async for event in events:
                        if event.name == "order":
                            await self._look_at(event.data["order_id"], nursery)
                await trio.sleep(LISTEN_AGAIN_S)  # this listener was dropped: much happened

    async def found(self, row: WatchRow) -> None:
        """After each look of our own: note what it comes to, and complain where it is due."""
        contract = wire.open_lease(msgspec.convert(row.contract, wire.Lease))
        judged = verdict(row, contract, now=self.clock.now())
        if judged is None:
            return
        mine = finding(contract, judged)
        order = await self.desk.load(row.order_id)
        plain = msgspec.to_builtins(mine)
        if order.data.get("service_found") != plain:
            await self.desk.patch(row.order_id, service_found=plain)
        if mine.state == "guilty":
            await self.complain(row.order_id)

    async def complain(self, order_id: str) -> str:
        """Bring the order before the oracles of its bond, once; returns the name of the case.

        Raises:
            Conflict: it has no service level, or it is too early to say anything.
        """
        order = await self.desk.load(order_id)
        row = await self.workers.store(self.watches.find, order_id)
        if order.role != "buyer" or row is None or row.role != BUYER:
            raise Conflict("no_service", "This order has no service level that you could complain about.")
        now = self.clock.now()
        report = row.report or _report(order)
        if verdict(row, order.contract, now=now, report=report) is None:
            raise Conflict(
                "too_early",
                "The job has not ended, and its provider may still come back.",
                "Complain when it has ended, or when its longest time is over.",
            )
        level = wire.level_of(order.contract)
        key = case_hash(level.bond, order_id)
        case = ServiceCase(
            network=self.me.network,
            chain_id=self.me.chain_id,
            bond=level.bond,
            order=order_id,
            provider=order.other,
            by=self.me.peer_id,
            beneficiary=order.contract.order.buyer_wallet,
            at=now,
        )
        file = wire.File(
            case=sign_document(case, what="service-case", network=self.me.network, seed=self.me.seed),
            lease=_lease(order),
            buyer_telemetry=telemetry.of_buyer(order, self.me, now=now),
            provider_telemetry=row.telemetry,
            report=report,
        )
        plain = msgspec.to_builtins(file)
        if await self.workers.store(lambda: self.cases.add(case_hash=key, role=ROLE, file=plain, at=now)):
            log.info("service complaint", order=order_id, case=key)
            await self.desk.patch(order_id, service_case={"case": key, "state": "open"})
            self._woken.set()
            self._woken = trio.Event()
        return key

    async def _look_at(self, order_id: str, nursery: trio.Nursery) -> None:
        """Begin with a job as soon as it is paid, and look once more as soon as it works."""
        if order_id in self._handed and order_id in self._began:
            return
        order = await self.desk.find(order_id)
        if order_id in self._handed and order is not None and order.data.get("seconds"):
            self._began.add(order_id)
            self.witness.nudge(order_id)  # so that there is a signed word of the provider that it began
        if order_id in self._handed:
            return
        if order is None or order.role != "buyer" or order.kind != "compute":
            return
        if order.contract.compute.service is None or order.state not in _PAID:
            return
        self._handed.add(order_id)
        level, lease = wire.level_of(order.contract), _lease(order)
        await self.witness.begin(
            WatchRow(
                order_id=order_id,
                role=BUYER,
                buyer=self.me.peer_id,
                bond=level.bond,
                penalty_micro=level.penalty_micro,
                contract=msgspec.to_builtins(lease),
                sightings=[],
                telemetry={},
                report={},
                paid_at=self.clock.now(),
                ends_at=order.contract.compute.settle_by + JUDGE_S,
            )
        )
        nursery.start_soon(self._hand_over, order_id, lease)

    async def _hand_over(self, order_id: str, lease: wire.Lease) -> None:
        """Have every oracle of the bond watch; one that is away is asked again while the job runs."""
        while True:
            order = await self.desk.load(order_id)
            watched = set(order.data.get("service_watched", []))
            refused: dict[str, str] = {}
            try:
                bond = await self.bonds.read(wire.level_of(order.contract).bond)
                for oracle in set(bond.oracles) - watched:
                    try:
                        await self._watch_by(oracle, lease)
                        watched.add(oracle)
                    except PeerError as error:
                        refused[oracle] = error.message
                if set(bond.oracles) == watched or order.state not in _PAID:
                    refused = {}
            except OpenstallError as error:
                log.info("not watched yet", order=order_id, code=error.code)
                bond = None
            await self.desk.patch(order_id, service_watched=sorted(watched), service_refused=refused)
            if order.state not in _PAID or (bond is not None and set(bond.oracles) == watched):
                return
            await trio.sleep(HAND_OVER_S)

    async def _watch_by(self, oracle: str, lease: wire.Lease) -> None:
        peer_id = await self.bonds.peer_of(oracle)
        if peer_id is None:
            raise PeerError("unknown_oracle", "The catalogue does not know this oracle.")
        await wire.ask(self.peers, peer_id, wire.Ask(do="watch", lease=lease), wire.Watching)

    async def _pursue(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                woken = self._woken
                for row in await self.workers.store(lambda: self.cases.items(role=ROLE, open_only=True)):
                    if row.case_hash not in self._driven:
                        self._driven.add(row.case_hash)
                        nursery.start_soon(self._drive, row.case_hash)
                await woken.wait()

    async def _drive(self, case: str) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if await self._step(await self.workers.store(self.cases.get, case, ROLE)):
                    break
            except OpenstallError as error:
                log.info("complaint waits", case=case, code=error.code)
            await trio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)
        self._driven.discard(case)

    async def _step(self, row: CaseRow) -> bool:
        """Ask every oracle that has not made up its mind; True when the case has ended."""
        file = msgspec.convert(row.file, wire.File)
        _case, contract = wire.open_case(file, self.me)
        bond = await self.bonds.read(wire.level_of(contract).bond)
        client = BondClient(self.chain)
        said = wire.sentence(contract, 1)
        if await self.workers.chain(client.settled, said.bond_id, said.case_hash):
            paid = await self.workers.chain(client.paid_micro, said.bond_id, said.case_hash)
            return await self._end(row, contract, "paid", paid)
        answers: dict[str, Any] = dict(row.data.get("answers", {}))
        for oracle in bond.oracles:
            if answers.get(oracle, {}).get("state", "open") == "open":
                found = await self._finding(oracle, file)
                if found is not None:
                    answers[oracle] = msgspec.to_builtins(found)
        await self.workers.store(
            lambda: self.cases.patch(row.case_hash, ROLE, at=self.clock.now(), answers=answers)
        )
        amounts = sorted(
            (int(one["amount_micro"]) for one in answers.values() if one["state"] == "guilty"), reverse=True
        )
        if len(amounts) >= bond.quorum and bond.left_micro:
            amount = min(amounts[bond.quorum - 1], bond.left_micro)
            return await self._collect(row, contract, bond, amount, answers)
        undecided = sum(answers.get(oracle, {}).get("state", "open") == "open" for oracle in bond.oracles)
        hopeless = len(amounts) + undecided < bond.quorum or bond.state == "closed"
        over = self.clock.now() > contract.compute.settle_by + JUDGE_S
        if hopeless or over:
            return await self._end(row, contract, "dismissed" if hopeless else "expired")
        return False

    async def _finding(self, oracle: str, file: wire.File) -> wire.Finding | None:
        """One oracle's finding; None while it cannot be reached. One that never watched says nothing."""
        peer_id = await self.bonds.peer_of(oracle)
        if peer_id is None:
            return None
        try:
            return await wire.ask(self.peers, peer_id, wire.Ask(do="complain", file=file), wire.Finding)
        except PeerError as error:
            log.info("oracle does not answer", oracle=oracle, code=error.code)
            if error.code in ("not_watched", "not_an_oracle", "not_supported"):
                return wire.Finding(state="cleared", words="It did not watch the job.")
            return None

    async def _collect(
        self, row: CaseRow, contract: Contract, bond: BondOnChain, amount: int, answers: dict[str, Any]
    ) -> bool:
        """Gather the signatures on one and the same amount, and bring them to the bond."""
        client, said = BondClient(self.chain), wire.sentence(contract, amount)
        signatures: list[tuple[int, bytes]] = []
        for oracle, found in answers.items():
            if found["state"] != "guilty" or int(found["amount_micro"]) < amount:
                continue
            peer_id = await self.bonds.peer_of(oracle)
            if peer_id is None:
                continue
            try:
                ask = wire.Ask(do="sign", order=contract.order_id, amount_micro=amount)
                signed = await wire.ask(self.peers, peer_id, ask, wire.Signed)
            except PeerError as error:
                log.info("oracle does not sign", oracle=oracle, code=error.code)
                continue
            raw = bytes.fromhex(signed.signature)
            if client.signer(said, raw) == oracle:
                signatures.append((place_of(bond, oracle), raw))
        if len(signatures) < bond.quorum:
            return False
        await self.transactions.send(
            "slash", row.case_hash, lambda: client.slash(said, signatures[: bond.quorum])
        )
        return await self._end(row, contract, "paid", amount)

    async def _end(self, row: CaseRow, contract: Contract, state: str, amount: int = 0) -> bool:
        await self.workers.store(
            lambda: self.cases.patch(
                row.case_hash, ROLE, at=self.clock.now(), state=state, amount_micro=amount
            )
        )
        end = {"case": row.case_hash, "state": state, "amount_micro": amount}
        await self.desk.patch(contract.order_id, service_case=end)
        log.info("complaint ended", case=row.case_hash, state=state, amount_micro=amount)
        self.bus.publish("wallet", {"case": row.case_hash, "state": state})
        return True


def _lease(order: OpenOrder) -> wire.Lease:
    return wire.Lease(
        order=msgspec.to_builtins(order.contract.order),
        buyer_signature=order.buyer_signature,
        seller_signature=order.seller_signature,
    )


def _report(order: OpenOrder) -> dict[str, Any]:
    raw = order.data.get("report")
    found: dict[str, Any] = canonical.decode(base64.b64decode(raw)) if raw else {}
    return found
