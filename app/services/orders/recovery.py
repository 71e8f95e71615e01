"""“Recover this order”: the books are made again from what both parties signed, and from the chain.

Nothing is believed: each object is checked as a stranger's. Nothing is signed, proposed or paid here, no sum
is lowered, and what is here already stays; so it may be done at any time, and again.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import trio

from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.disputes.evidence import write_new
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.orders.job_papers import JobPapers
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.services.orders.placing import Party
from openstall.app.services.orders.recovery_line import PapersLine
from openstall.app.services.orders.recovery_report import Asked, Found, told
from openstall.app.services.orders.sale import LAPSE_GRACE_S
from openstall.app.services.orders.telling import party_of
from openstall.app.services.orders.transcripts import TranscriptDesk
from openstall.app.threads import Workers
from openstall.market.errors import (
    ChainError,
    Conflict,
    InvalidOrder,
    NotFound,
    OpenstallError,
    PeerError,
    Refused,
)
from openstall.market.orders.agree import watchers
from openstall.market.orders.documents import Contract
from openstall.market.orders.machine import MACHINES, UNPAID
from openstall.market.orders.papers import MAX_PAPERS, Known, Papers, due, ended_too_soon, read_papers
from openstall.market.orders.results import read_report
from openstall.market.orders.transcript import SignedEntry

RECALL_S = 10.0
"""The driver of an order waits no longer for the other side's papers after a start."""
MOST_NAMED = 8
"""Peers that a person names, to be asked for an order that is lost."""
MOST_STEPS = 12
"""From the first state of an order to its last there are fewer."""

log = get_logger("openstall.recovery")


class Taker(Protocol):
    """Keeps one kind of signed objects; returns the names of what was new."""

    async def take(self, order: OpenOrder, papers: Papers) -> list[str]:
        """See the class."""


@dataclass(slots=True, kw_only=True)
class Recovery:
    """Gives this node's papers to those who may have them, and takes others'."""

    me: Party
    desk: OrderDesk
    engine: OrderEngine
    line: PapersLine
    catalogue: Catalogue
    transcripts: TranscriptDesk
    negotiation: Negotiation
    jobs: JobPapers
    takers: Mapping[str, Sequence[Taker]]
    """By kind of order, in the order in which they are asked."""
    catch_up: Mapping[str, Callable[[OpenOrder], Awaitable[OpenOrder]]]
    """By kind: the order after every final step of the chain was entered."""
    is_paid: Callable[[Contract], Awaitable[bool]]
    """Whether the chain holds, or held, the money under the signed terms."""
    write_again: Callable[[str], Awaitable[bool]]
    """Writes an order of this node's own that follows, word by word, from its request and the chain."""
    workers: Workers
    _recalled: set[str] = field(default_factory=set)

    def serve(self) -> None:
        """Answer other peers from now on."""
        self.line.serve()

    # --- objects as bytes: over the network, by a file ---

    async def signed_objects(self, order_id: str) -> bytes:
        """All that this node holds of an order that somebody signed, for the other party.

        Raises:
            NotFound: there is no such order here.
        """
        return await self.line.papers.of(await self.desk.load(order_id), "buyer")

    async def take_objects(self, raw: bytes, source: str) -> dict[str, Any]:
        """Make the books again from papers that came some other way; see `recover` for the answer.

        Raises:
            InvalidOrder: those are no papers, or something in them is not signed by whom it should.
            Refused: this node has no part in the order, or never signed it.
        """
        _papers, contract = await self.workers.work(read_papers, raw)
        before = await self._state(contract.order_id)
        found = await self._take(contract.order_id, raw, source)
        return await self._told(contract.order_id, before, [], found)

    async def read_file(self, order_id: str, path: Path) -> dict[str, Any]:
        """Take the papers in a file; see `take_objects`.

        Raises:
            NotFound: there is no such file.
            InvalidOrder: it is larger than papers are, or about another order.
        """
        raw = await self.workers.work(_read, path)
        _papers, contract = await self.workers.work(read_papers, raw)
        if contract.order_id != order_id:
            raise InvalidOrder("other_order", "The papers in that file are about another order.")
        return await self.take_objects(raw, "file")

    async def write_file(self, order_id: str, path: Path) -> dict[str, Any]:
        """Write this node's papers of an order to a new file, for the other party; Conflict if it exists."""
        raw = await self.signed_objects(order_id)
        await self.workers.work(write_new, path, raw)
        return {"order_id": order_id, "path": str(path), "bytes": len(raw)}

    async def recover(self, order_id: str, peers: Sequence[str] = ()) -> dict[str, Any]:
        """Ask everybody who should hold papers of the order, take what is missing here, look at the chain.

        Args:
            peers: whom to ask, where this node has lost the order altogether.

        Raises:
            NotFound: the order is not here, and nobody was named who could have it.
        """
        before, asked, found = await self._state(order_id), dict[str, Asked](), list[Found]()
        if not before and await self._written_again(order_id):
            found.append(Found(what="contract", source="request"))
        while fresh := await self._not_asked(order_id, peers, asked):
            answers: dict[str, bytes | OpenstallError] = {}
            async with trio.open_nursery() as nursery:
                for peer_id in fresh:
                    nursery.start_soon(self._ask_into, answers, peer_id, order_id)
            for peer_id, role in fresh.items():
                answer, fault = answers[peer_id], None
                try:
                    if isinstance(answer, OpenstallError):
                        raise answer
                    found += await self._take(order_id, answer, role)
                except (PeerError, InvalidOrder, Refused, Conflict) as error:
                    fault = error
                asked[peer_id] = Asked(peer=peer_id, role=role, fault=fault)
        if not asked and not found:
            raise NotFound(
                "no_such_order",
                f"There is no order {order_id[:70]} here.",
                "Name the peer with whom you made it: it holds the papers.",
            )
        return await self._told(order_id, before, list(asked.values()), found)

    async def recall(self, order: OpenOrder) -> OpenOrder:
        """Once after a start: these books may be an older copy, and the other side knows what was signed.

        Only for what the chain does not show. Whoever is away is passed by.
        """
        fresh = order.order_id in self.desk.born or order.order_id in self._recalled
        if fresh or order.state not in ("funded", "running", "ended"):
            return order
        self._recalled.add(order.order_id)
        try:
            with trio.move_on_after(RECALL_S):
                raw = await self.line.ask(order.other, order.order_id)
                await self._take(order.order_id, raw, "other")
                await self._settle(order.order_id)
        except (PeerError, InvalidOrder, Refused, Conflict) as error:
            log.info("no papers after the start", order=order.order_id, code=error.code)
        return await self.desk.load(order.order_id)

    # --- asking ---

    async def _written_again(self, order_id: str) -> bool:
        try:
            return await self.write_again(order_id)
        except (ChainError, Refused) as error:  # others may have it
            log.info("order not written again", order=order_id, code=error.code)
            return False

    async def _sources(self, order: OpenOrder | None, peers: Sequence[str]) -> dict[str, str]:
        """Whom to ask, in that order: the parties, then who holds a copy."""
        found = dict.fromkeys(peers, "named")
        if order is not None:
            contract = order.contract.order
            found |= {contract.buyer: "buyer", contract.seller: "seller"}
            for wallet in watchers(order.contract):
                peer_id = await self.catalogue.peer_of(wallet)
                if peer_id is not None and peer_id not in found:
                    found[peer_id] = "arbiter" if wallet == order.contract.arbiter.lower() else "evaluator"
        found.pop(self.me.peer_id, None)
        return found

    async def _not_asked(
        self, order_id: str, peers: Sequence[str], asked: Mapping[str, Asked]
    ) -> dict[str, str]:
        """Who may hold papers and was not asked; what one peer gives may name others."""
        sources = await self._sources(await self.desk.find(order_id), peers)
        return {peer_id: role for peer_id, role in sources.items() if peer_id not in asked}

    async def _ask_into(
        self, answers: dict[str, bytes | OpenstallError], peer_id: str, order_id: str
    ) -> None:
        try:
            answers[peer_id] = await self.line.ask(peer_id, order_id)
        except PeerError as error:
            answers[peer_id] = error

    # --- taking ---

    async def _take(self, order_id: str, raw: bytes, source: str) -> list[Found]:
        """Keep what is missing here, and bring the order to where all of it says it stands."""
        papers, contract = await self.workers.work(read_papers, raw)
        if contract.order_id != order_id:
            raise InvalidOrder("other_order", "The papers are about another order.")
        order = await self.desk.find(order_id)
        names: list[str] = []
        if order is None:
            order = await self._enter(contract, papers)
            names.append("contract")
        elif papers.seller_signature and not order.seller_signature:
            await self.desk.keep_signature(order, papers.seller_signature)
            names.append("signature")
        names += await self._take_said(contract, papers)
        if order.kind == "compute":  # first: how long a job ran is known by its vouchers
            names += await self.jobs.take(await self.desk.load(order_id), papers)
        await self._settle(order_id)
        for taker in self.takers[order.kind]:
            names += await taker.take(await self.desk.load(order_id), papers)
        for said in await self.transcripts.of(contract):
            await self.negotiation.telling.remember(await self.desk.load(order_id), said)
        return [Found(what=name, source=source) for name in names]

    async def _enter(self, contract: Contract, papers: Papers) -> OpenOrder:
        """An order that these books have lost: only one that this node has signed, or was given to watch."""
        order, me = contract.order, self.me
        role = party_of(contract, me.peer_id)
        if (order.network, order.chain_id) != (me.network, me.chain_id):
            raise InvalidOrder("other_network", "The order belongs to another group.")
        if role is None:
            await self.negotiation.keep_copy(
                order.buyer, contract, papers.buyer_signature, papers.seller_signature
            )
            return await self.desk.load(contract.order_id)
        mine, wallet = getattr(papers, f"{role}_signature"), getattr(order, f"{role}_wallet")
        if not mine or wallet.lower() != me.wallet.lower() or not papers.buyer_signature:
            raise Refused(
                "not_signed_here",
                "Those papers do not bear your own signature: you never agreed to that order.",
                "There is nothing to recover.",
            )
        kept = {"tries_left": 0, "patience_s": 60} if order.kind == "compute" and role == "buyer" else {}
        return await self.desk.create(
            contract,
            role=role,
            buyer_signature=papers.buyer_signature,
            seller_signature=papers.seller_signature,
            data=kept,
            words="The order was entered again from its signed papers.",
            actor="you",
        )

    async def _take_said(self, contract: Contract, papers: Papers) -> list[str]:
        """Both parties' chains; where one has signed two, what is here stays."""
        before, names = len(await self.transcripts.of(contract)), []
        chains = {contract.order.buyer: papers.buyer_entries, contract.order.seller: papers.seller_entries}
        for author, values in chains.items():
            try:
                await self.transcripts.take(contract, author, values)
            except Conflict:
                names.append("two_chains")
        return names + (["transcript"] if len(await self.transcripts.of(contract)) > before else [])

    # --- where the order stands ---

    async def _settle(self, order_id: str) -> ChainError | None:
        """Enter what the chain shows, then what signed objects show; why not the first, where it is away.

        What is entered without the chain it may show otherwise later: it has the last word then.
        """
        away: ChainError | None = None
        for _ in range(MOST_STEPS):
            order = await self.desk.load(order_id)
            try:
                order = await self._from_chain(order)
            except ChainError as error:
                away = error
            said = await self.transcripts.of(order.contract)
            over = order.deadline_at is not None and self.desk.now() > order.deadline_at + LAPSE_GRACE_S
            late = over and away is None
            event = due(MACHINES[order.kind], order.state, self._known(order, said), unpaid_too_long=late)
            if not event or (away and order.role == "buyer" and event == "withdraw"):  # it may have paid
                break
            await self._advance(order, event, said)
        return away

    async def _from_chain(self, order: OpenOrder) -> OpenOrder:
        if order.state in UNPAID and ended_too_soon(order.state, money=await self._has_money(order)):
            order = await self.desk.reopen(order, "The chain shows its money: the order goes on.")
        return order if order.final else await self.catch_up[order.kind](order)

    async def _has_money(self, order: OpenOrder) -> bool:
        return bool(order.seller_signature) and await self.is_paid(order.contract)

    @staticmethod
    def _known(order: OpenOrder, said: Sequence[SignedEntry]) -> Known:
        kinds = {one.entry.kind for one in said}
        return Known(
            signed=bool(order.seller_signature),
            declined="decline" in kinds,
            withdrawn="withdraw" in kinds,
            started="start" in kinds or bool(order.data.get("signed_tick")),
            ended=bool(order.data.get("report")),
        )

    async def _advance(self, order: OpenOrder, event: str, said: Sequence[SignedEntry]) -> None:
        words = _WORDS.get(event, "")
        data: dict[str, Any] = {}
        if event == "start":
            told = next((one for one in said if one.entry.kind == "start"), None)
            data = await self.jobs.started(order, told)
        elif event == "end":
            words = read_report(base64.b64decode(order.data["report"]), order.contract).report.words
        await self.desk.advance(order, event, actor=_actor(order, event), words=words, data=data)

    async def _state(self, order_id: str) -> str:
        order = await self.desk.find(order_id)
        return "" if order is None else order.state

    async def _told(
        self, order_id: str, before: str, asked: Sequence[Asked], found: Sequence[Found]
    ) -> dict[str, Any]:
        order, chain = await self.desk.find(order_id), None
        if order is not None:
            chain = await self._settle(order_id)
            order = await self.desk.load(order_id)
            self.engine.watch(order_id)
        return told(order_id, order, before=before, asked=asked, found=found, chain=chain)


_WORDS = {
    "agree": "Both have signed the contract.",
    "decline": "Not agreed: the seller has signed that it declines.",
    "withdraw": "The buyer stepped back before paying, and has signed that.",
    "lapse": "The time to pay ran out, and the chain shows no money.",
    "start": "The job had started, as its provider has signed.",
}
_BY = {"withdraw": "buyer"}


def _actor(order: OpenOrder, event: str) -> str:
    if event == "lapse":
        return "clock"
    return "you" if order.role == _BY.get(event, "seller") else "other"


def _read(path: Path) -> bytes:
    """A file of papers, and no more of it than papers have."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_PAPERS + 1)
    except OSError as error:
        raise NotFound("no_such_file", f"{path} cannot be read: {error.strerror}.") from error
