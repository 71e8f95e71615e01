"""An oracle of bonds: takes complaints, challenges the provider itself, and signs what it finds.

A case is on disk before it is accepted, and a verdict before it is given out: after a kill the oracle
goes on where it was, and never says two things of one case.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.capacity.bonds import Bonds, place_of
from openstall.app.services.capacity.casefile import (
    MAX_ANSWER,
    MAX_REQUEST,
    PROTOCOL,
    Answer,
    CaseFile,
    Opened,
    as_file,
    decode_ask,
    open_file,
)
from openstall.app.services.capacity.challenging import Challenging, Heard
from openstall.app.services.capacity.testbench import silent
from openstall.app.services.orders.channel_terms import is_paid
from openstall.app.services.orders.placing import Party
from openstall.app.threads import Workers
from openstall.ledger.bond import BondClient
from openstall.ledger.chain import Chain
from openstall.ledger.wallet import Wallet
from openstall.market import canonical
from openstall.market.capacity import costs_the_bond
from openstall.market.errors import InvalidRecord, OpenstallError, Refused
from openstall.market.orders.documents import Contract
from openstall.market.records import MAX_CLOCK_SKEW_S
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate
from openstall.store.cases import CaseRow, Cases

ROLE = "oracle"
WINDOW_S = 900
"""So long a provider that is busy or away is tried again before the oracle closes the case."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
MOST_AN_HOUR = 60
RATE = Rate(per_s=2, burst=30)

log = get_logger("openstall.capacity")


@dataclass(slots=True, kw_only=True)
class Oracle:
    """Serves `/openstall/case/1` and judges."""

    me: Party
    wallet: Wallet
    chain: Chain
    peers: PeerHost
    bonds: Bonds
    challenging: Challenging
    cases: Cases
    workers: Workers
    clock: Clock
    bus: EventBus
    _woken: trio.Event = field(default_factory=trio.Event)
    _judging: set[str] = field(default_factory=set)

    def serve(self) -> None:
        """Take complaints from now on."""
        self.peers.serve(
            PROTOCOL, self._answer, max_request=MAX_REQUEST, max_response=MAX_ANSWER, per_peer_rate=RATE
        )

    async def run(self) -> None:
        """Judge what is open, also from before a restart, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                woken = self._woken
                for row in await self.workers.store(self.cases.items, role=ROLE, open_only=True):
                    if row.case_hash not in self._judging:
                        self._judging.add(row.case_hash)
                        nursery.start_soon(self._judge, row)
                await woken.wait()

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        ask = decode_ask(raw)
        if ask.do == "complain" and ask.file is not None:
            case_hash = await self._accept(peer_id, ask.file)
        elif ask.do == "verdict":
            case_hash = ask.case
        else:
            raise InvalidRecord("bad_message", "The message asks for something unknown.")
        row = await self.workers.store(self.cases.get, case_hash, ROLE)
        signature = str(row.data.get("signature", ""))
        return canonical.encode(msgspec.to_builtins(Answer(state=row.state, signature=signature)))

    async def _accept(self, peer_id: str, file: CaseFile) -> str:
        opened = open_file(file, network=self.me.network)
        if opened.case.by != peer_id:
            raise Refused("not_the_complainer", "Only the complainer brings its own case.")
        await self.bonds.check_oracle()
        await self._check_newest(opened)
        await self._check_on_chain(opened)
        now = self.clock.now()
        if abs(opened.case.at - now) > WINDOW_S + MAX_CLOCK_SKEW_S:
            raise Refused("old_case", "The complaint is not of now.", "Challenge the provider again.")
        if await self.workers.store(self.cases.count_since, ROLE, now - 3600) >= MOST_AN_HOUR:
            raise Refused("too_many_challenges", "This oracle has too many cases.", "Try again later.")
        plain = msgspec.to_builtins(file)
        if await self.workers.store(
            lambda: self.cases.add(case_hash=opened.case_hash, role=ROLE, file=plain, at=now)
        ):
            log.info("case accepted", case=opened.case_hash, provider=opened.case.provider)
            self._woken.set()
            self._woken = trio.Event()
        return opened.case_hash

    async def _check_newest(self, opened: Opened) -> None:
        """A claim that its author had replaced before the lease binds nobody any more.

        By when the newer one came in here: dates that the author writes could be written afterwards.
        """
        signed, contract = opened.record.record, opened.contract
        at = contract.order.created if contract is not None else opened.verdict.at
        held = await self.bonds.catalogue.held_at(signed.author, signed.type, signed.key, at=at)
        if held is not None and held.record.seq > signed.seq:
            raise Refused("old_claim", "The provider had replaced that claim before the lease.")

    async def _check_on_chain(self, opened: Opened) -> None:
        """Whether the bond stands behind that claim, names this oracle, and the lease has money behind it.

        Raises:
            InvalidRecord, InvalidOrder, Refused: with what does not hold.
        """
        case = opened.case
        bond = await self.bonds.behind(opened.claim, case.provider, wallet=opened.wallet)
        if bond is None:
            raise Refused(
                "no_bond", "No bond of that provider stands behind the claim.", "Check the catalogue."
            )
        place_of(bond, self.wallet.address)
        if case.amount_micro > bond.left_micro:
            raise InvalidRecord("above_bond", "The complaint asks for more than is left of the bond.")
        if opened.contract is not None:
            await self._check_lease(opened.contract)
        elif await self.bonds.wallet_of(case.by) not in bond.oracles:
            raise Refused("no_lease", "Without a lease only an oracle of the bond may complain.")

    async def _check_lease(self, contract: Contract) -> None:
        if not await is_paid(self.chain, self.workers, contract):
            raise Refused("no_lease", "The order of the complaint was never paid.")

    async def _judge(self, row: CaseRow) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                last = self.clock.now() > row.created_at + WINDOW_S
                try:
                    if await self._try(row, last=last):
                        return
                except OpenstallError as error:
                    log.info("case waits", case=row.case_hash, code=error.code)
                    if last:
                        await self._close(row, "undecided", None)
                        return
                await trio.sleep(pause_s)
                pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)
        finally:
            self._judging.discard(row.case_hash)

    async def _try(self, row: CaseRow, *, last: bool) -> bool:
        """One challenge of this oracle's own; True when the case is closed."""
        opened = open_file(as_file(row.file), network=self.me.network)
        heard = await self.challenging.challenge(opened.record, order_id=opened.case.order, progress=silent)
        if heard.passing and not last:
            return False
        if costs_the_bond(heard.verdict):
            await self._close(row, "guilty", heard, opened)
        elif heard.verdict.outcome == "passed":
            await self._close(row, "cleared", heard)
        else:
            await self._close(row, "undecided", heard)
        return True

    async def _close(
        self, row: CaseRow, state: str, heard: Heard | None, opened: Opened | None = None
    ) -> None:
        signature = ""
        if opened is not None:
            client = BondClient(self.chain)
            signature = (await self.workers.work(client.sign, self.wallet, opened.sentence)).hex()
        await self.workers.store(
            lambda: self.cases.patch(
                row.case_hash,
                ROLE,
                at=self.clock.now(),
                state=state,
                signature=signature,
                verdict=heard.signed if heard else None,
            )
        )
        log.info("case closed", case=row.case_hash, state=state)
        self.bus.publish("wallet", {"case": row.case_hash, "state": state})
