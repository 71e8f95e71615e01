"""What a party tells another in the transcript of an order, beside the contract: sent as its whole chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.transcripts import TranscriptDesk
from openstall.market import canonical, text
from openstall.market.errors import InvalidOrder, NotFound, OpenstallError, Refused
from openstall.market.orders.documents import Contract
from openstall.market.orders.machine import Party
from openstall.market.orders.protocols import expect
from openstall.market.orders.transcript import MAX_CHAIN, MOST_WORDS, SignedEntry, next_entry, read_chain

PROTOCOL_OF = {"withdraw": "order", "cancel": "job", "reason": "dispute"}
"""What may be told by itself, and in which protocol; `decline` is an answer, `start` is in a job's stream."""


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request: `propose` (the buyer signs), `copy` (both signed), `tell` (a party's chain of entries)."""

    do: str
    order: dict[str, Any] = {}
    order_id: str = ""
    buyer_signature: str = ""
    seller_signature: str = ""
    entries: list[Any] = []


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """To a proposal: the seller's signature, or its chain that ends with `decline`; else neither."""

    signature: str = ""
    entries: list[Any] = []

    @classmethod
    def read(cls, raw: bytes) -> Answer:
        """As a peer has answered; InvalidOrder where it fits no schema."""
        try:
            return msgspec.convert(canonical.decode(raw, max_bytes=MAX_CHAIN), cls)
        except msgspec.ValidationError as error:
            raise InvalidOrder("bad_message", "The other peer's answer does not fit its schema.") from error

    def raw(self) -> bytes:
        """Its canonical bytes."""
        return canonical.encode(msgspec.to_builtins(self))


def declined(contract: Contract, error: OpenstallError, *, author: str, seed: bytes) -> Answer:
    """The seller's signed no. Nothing of it is kept: a stranger could fill the books with it.

    It bears the order's own date, so that asked again the seller says the same.
    """
    words = f"{error.message}\n{error.what_next}" if error.what_next else error.message
    entry = next_entry(
        contract,
        [],
        "decline",
        author=author,
        seed=seed,
        at=contract.order.created,
        code=text.clean(error.code)[:120],
        words=text.clean(words, lines=True)[:MOST_WORDS],
    )
    return Answer(entries=[entry.as_dict()])


def refusal_in(entry: SignedEntry) -> Refused:
    """What a seller has declined with."""
    message, _, what_next = entry.entry.words.partition("\n")
    return Refused(entry.entry.code, message, what_next)


@dataclass(slots=True, kw_only=True)
class Telling:
    """Takes what parties tell this node, and lets it happen."""

    desk: OrderDesk
    transcripts: TranscriptDesk
    on_cancel: Callable[[OpenOrder], Awaitable[None]]
    """Ends the job of an order."""

    async def take(self, peer_id: str, order_id: str, values: Sequence[Any]) -> None:
        """The chain of a party, whose newest entry is what it tells.

        Raises:
            NotFound: it is no order of that peer's.
            Unexpected: this is not the time for it.
            InvalidOrder: the chain is not that party's.
            Conflict: it is another chain than the one that is here.
        """
        order = await self.desk.find(order_id)
        sender = None if order is None else party_of(order.contract, peer_id)
        if order is None or sender is None or sender == order.role:
            raise NotFound("no_such_order", "There is no such order.")
        chain = read_chain(values, order.contract, peer_id)
        if not chain or chain[-1].entry.kind not in PROTOCOL_OF:
            raise InvalidOrder("bad_message", "The message tells nothing that can be told so.")
        told = chain[-1]
        expect(
            PROTOCOL_OF[told.entry.kind],
            told.entry.kind,
            kind=order.kind,
            sender=sender,
            receiver=order.role,
            state=order.state,
        )
        await self.transcripts.take(order.contract, peer_id, values)
        await self.heed(order, told, sender)

    async def heed(self, order: OpenOrder, told: SignedEntry, sender: Party) -> None:
        """Let happen what an entry says, where it has not happened."""
        match told.entry.kind:
            case "withdraw" if order.state == "agreed" or (order.kind, order.state) == ("sale", "proposed"):
                words = "The buyer stepped back before paying."
                await self.desk.advance(order, "withdraw", actor="other", words=words)
            case "cancel" if order.role == "seller":
                await self.on_cancel(order)
            case "reason" if order.role == "arbiter":
                await self.desk.patch(order.order_id, **reason_of(order, sender, told.entry.words))

    async def remember(self, order: OpenOrder, told: SignedEntry) -> None:
        """What an entry means for books that were made again from papers; another's words are heeded now."""
        sender = party_of(order.contract, told.entry.author)
        if sender is None or order.final:
            return
        if sender != order.role:
            due = told.entry.kind == "reason" or order.state == "funded"
            if due and order.role != "evaluator":
                await self.heed(order, told, sender)
        elif told.entry.kind == "cancel" and not order.data.get("cancel_requested"):
            await self.desk.patch(order.order_id, cancel_requested=True, cancel_at=told.entry.at)
        elif told.entry.kind == "reason" and not order.data.get("dispute_reason"):
            await self.desk.patch(order.order_id, dispute_reason=told.entry.words, reason_told=True)


def party_of(contract: Contract, peer_id: str) -> Party | None:
    """Which party of an order a peer is."""
    parties: dict[str, Party] = {contract.order.buyer: "buyer", contract.order.seller: "seller"}
    return parties.get(peer_id)


def reason_of(order: OpenOrder, side: str, reason: str) -> dict[str, str]:
    """What an arbiter's books keep of a party's words: they are the dispute's if that party has called.

    The first words of each side count. Where either may call, the chain says who did.
    """
    first = order.data.get(f"reason_{side}", reason)
    called = order.kind != "custom" or order.data.get("called_by") == side
    return {f"reason_{side}": first} | ({"dispute_reason": first} if called else {})
