"""The complainer's side of a case: bring it to the oracles, gather their signatures, make the bond pay."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.capacity.bonds import Bonds, place_of, wallet_in
from openstall.app.services.capacity.casefile import (
    MAX_ANSWER,
    PROTOCOL,
    Answer,
    Ask,
    CaseFile,
    Opened,
    as_file,
    open_file,
)
from openstall.app.services.capacity.challenging import Heard
from openstall.app.services.capacity.claims import claim_of
from openstall.app.services.capacity.oracle import WINDOW_S
from openstall.app.services.door import PEER_KEY
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.placing import Party
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.bond import SINK, BondClient
from openstall.ledger.chain import Chain
from openstall.ledger.wallet import Wallet
from openstall.market import canonical
from openstall.market.capacity import Case, costs_the_bond, sha256_of, sign_document
from openstall.market.errors import InvalidRecord, OpenstallError, PeerError
from openstall.market.records import SignedRecord
from openstall.p2p.host import PeerHost
from openstall.store.cases import CaseRow, Cases

ROLE = "complainer"
TIMEOUT_S = 20.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
GIVE_UP_S = 2 * WINDOW_S
_FINAL = frozenset({"guilty", "cleared", "undecided"})

log = get_logger("openstall.capacity")


@dataclass(slots=True, kw_only=True)
class Complaints:
    """Opens cases, and drives them to their end."""

    me: Party
    wallet: Wallet
    chain: Chain
    peers: PeerHost
    bonds: Bonds
    transactions: TransactionService
    cases: Cases
    workers: Workers
    clock: Clock
    bus: EventBus
    _woken: trio.Event = field(default_factory=trio.Event)
    _driven: set[str] = field(default_factory=set)

    async def open(self, record: SignedRecord, heard: Heard, order: OpenOrder | None) -> str | None:
        """Complain about a failed challenge; the hash of the case, or None where no bond can pay for it.

        Raises:
            ChainError: the chain is away.
        """
        if not costs_the_bond(heard.verdict) or heard.passing:
            return None
        peer = await self._peer_record(record.record.author, order)
        if peer is None:
            return None
        bond = await self.bonds.behind(claim_of(record), record.record.author, wallet=wallet_in(peer))
        if bond is None or not bond.left_micro:
            return None
        mine = self.wallet.address.lower() in bond.oracles
        if order is None and not mine:
            return None
        case = Case(
            network=self.me.network,
            chain_id=self.me.chain_id,
            bond=bond.bond_id.hex(),
            claim=record.cid,
            provider=record.record.author,
            by=self.me.peer_id,
            order=order.order_id if order is not None else "",
            beneficiary=self.wallet.address if order is not None else SINK,
            amount_micro=bond.left_micro,
            verdict=sha256_of(heard.verdict),
            at=self.clock.now(),
        )
        file = CaseFile(
            case=sign_document(case, what="case", network=self.me.network, seed=self.me.seed),
            verdict=heard.signed,
            claim=base64.b64encode(record.raw).decode(),
            peer=base64.b64encode(peer.raw).decode(),
            order=msgspec.to_builtins(order.contract.order) if order is not None else {},
            buyer_signature=order.buyer_signature if order is not None else "",
            seller_signature=order.seller_signature if order is not None else "",
        )
        case_hash = sha256_of(case)
        plain = msgspec.to_builtins(file)
        await self.workers.store(
            lambda: self.cases.add(case_hash=case_hash, role=ROLE, file=plain, at=case.at)
        )
        self._woken.set()
        self._woken = trio.Event()
        return case_hash

    async def _peer_record(self, provider: str, order: OpenOrder | None) -> SignedRecord | None:
        """Which wallet the provider had: as known when it was hired, whatever it says since."""
        catalogue = self.bonds.catalogue
        if order is None:
            return await catalogue.live_of(provider, "peer", PEER_KEY)
        return await catalogue.held_at(provider, "peer", PEER_KEY, at=order.created_at)

    async def run(self) -> None:
        """Drive what is open, also from before a restart, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                woken = self._woken
                for row in await self.workers.store(self.cases.items, role=ROLE, open_only=True):
                    if row.case_hash not in self._driven:
                        self._driven.add(row.case_hash)
                        nursery.start_soon(self._drive, row.case_hash)
                await woken.wait()

    async def _drive(self, case_hash: str) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if await self._step(await self.workers.store(self.cases.get, case_hash, ROLE)):
                    break
            except OpenstallError as error:
                log.info("complaint waits", case=case_hash, code=error.code)
            await trio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)
        self._driven.discard(case_hash)

    async def _step(self, row: CaseRow) -> bool:
        """Ask every oracle that has not answered; True when the case has ended."""
        opened = open_file(as_file(row.file), network=self.me.network)
        client = BondClient(self.chain)
        if await self.workers.chain(client.settled, opened.sentence.bond_id, opened.sentence.case_hash):
            return await self._end(row, "paid")  # anybody may have brought the signatures
        bond = await self.bonds.read(opened.case.bond)
        answers: dict[str, Any] = dict(row.data.get("answers", {}))
        for oracle in bond.oracles:
            if answers.get(oracle, {}).get("state") not in _FINAL:
                found = await self._ask(oracle, row, opened)
                if found is not None:
                    answers[oracle] = msgspec.to_builtins(found)
        await self.workers.store(
            lambda: self.cases.patch(row.case_hash, ROLE, at=self.clock.now(), answers=answers)
        )
        signatures = [
            (place_of(bond, oracle), bytes.fromhex(found["signature"]))
            for oracle, found in answers.items()
            if found["state"] == "guilty"
        ]
        if len(signatures) >= bond.quorum:
            return await self._collect(row, opened, signatures[: bond.quorum])
        left = sum(answers.get(oracle, {}).get("state") not in _FINAL for oracle in bond.oracles)
        hopeless = len(signatures) + left < bond.quorum or bond.state == "closed"
        if hopeless or self.clock.now() > row.created_at + GIVE_UP_S:
            return await self._end(row, "dismissed" if hopeless else "expired")
        return False

    async def _ask(self, oracle: str, row: CaseRow, opened: Opened) -> Answer | None:
        """One oracle's answer so far; None while it cannot be reached."""
        client = BondClient(self.chain)
        if oracle == self.wallet.address.lower():
            signature = await self.workers.work(client.sign, self.wallet, opened.sentence)
            return Answer(state="guilty", signature=signature.hex())  # by its own challenge
        peer_id = await self.bonds.peer_of(oracle)
        if peer_id is None:
            return None
        told = oracle in row.data.get("answers", {})
        ask = Ask(do="verdict", case=row.case_hash) if told else Ask(do="complain", file=as_file(row.file))
        try:
            raw = await self.peers.request(
                peer_id,
                PROTOCOL,
                canonical.encode(msgspec.to_builtins(ask)),
                timeout_s=TIMEOUT_S,
                max_response=MAX_ANSWER,
            )
            answer = msgspec.convert(canonical.decode(raw, max_bytes=MAX_ANSWER), Answer)
        except PeerError as error:
            log.info("oracle does not answer", case=row.case_hash, oracle=oracle, code=error.code)
            return None
        except (InvalidRecord, msgspec.ValidationError):
            return Answer(state="undecided")  # an oracle that talks nonsense has no voice
        if answer.state == "guilty":
            signer = client.signer(opened.sentence, bytes.fromhex(answer.signature))
            return answer if signer == oracle else Answer(state="undecided")
        return answer

    async def _collect(self, row: CaseRow, opened: Opened, signatures: list[tuple[int, bytes]]) -> bool:
        client = BondClient(self.chain)
        await self.transactions.send(
            "slash", row.case_hash, lambda: client.slash(opened.sentence, signatures)
        )
        return await self._end(row, "paid")

    async def _end(self, row: CaseRow, state: str) -> bool:
        await self.workers.store(
            lambda: self.cases.patch(row.case_hash, ROLE, at=self.clock.now(), state=state)
        )
        log.info("complaint ended", case=row.case_hash, state=state)
        self.bus.publish("wallet", {"case": row.case_hash, "state": state})
        return True


def case_as_dict(row: CaseRow) -> dict[str, Any]:
    """A case as the local API shows it; without a challenge it is about a service level."""
    case = row.file["case"]["doc"]
    verdict = row.file.get("verdict")
    return {
        "case": row.case_hash,
        "role": {"service": ROLE, "service-oracle": "oracle"}.get(row.role, row.role),
        "state": row.state,
        "provider": case["provider"],
        "order_id": case["order"] or None,
        "bond_id": case["bond"],
        "beneficiary": case["beneficiary"],
        "amount_micro": case["amount_micro"] if verdict else int(row.data.get("amount_micro", 0)),
        "outcome": verdict["doc"]["outcome"] if verdict else "service_level",
        "answers": {oracle: found["state"] for oracle, found in sorted(row.data.get("answers", {}).items())},
        "created_at": row.created_at,
    }
