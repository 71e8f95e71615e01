"""Messages about an order: kept before they are sent, sent until they are there, shown in their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.disputes import wire
from openstall.app.services.mailbox.post import KEPT
from openstall.app.services.names import ways_out
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.placing import Party
from openstall.app.services.orders.telling import party_of
from openstall.app.threads import Workers
from openstall.market import text
from openstall.market.disputes.evidence import MAX_BUNDLE
from openstall.market.disputes.messages import (
    MOST_CHARS,
    MOST_MESSAGES,
    Message,
    SignedMessage,
    follows,
    read_message,
    sign_message,
)
from openstall.market.errors import Conflict, InvalidOrder, NotFound, OpenstallError, PeerError
from openstall.market.orders.protocols import expect
from openstall.market.orders.words import seller_word
from openstall.market.schema import from_wire, to_wire
from openstall.p2p.asking import Peers
from openstall.p2p.limits import Pace, Rate
from openstall.store.disputes import MessageRow, Messages

RATE = Rate(per_s=1, burst=20)
TIMEOUT_S = 15.0
AGAIN_S = 15.0
"""Before the second try to bring messages to a peer that is away; twice as long before each later one."""
LONGEST_PAUSE_S = 120.0
ARBITER = "arbiter"
"""Stands for the peer of the arbiter's wallet, which may change."""
_NOT_AGREED = frozenset({"proposed", "declined", "lapsed"})

log = get_logger("openstall.talk")


@dataclass(slots=True, kw_only=True)
class TalkService:
    """Writes, sends, takes and shows messages; `run` sends until cancelled."""

    me: Party
    desk: OrderDesk
    messages: Messages
    peers: Peers
    catalogue: Catalogue
    workers: Workers
    show: Callable[[OpenOrder], Awaitable[bytes]]
    """What this node shows to the order's arbiter."""
    _news: trio.Event = field(default_factory=trio.Event)
    _under_way: set[tuple[str, str]] = field(default_factory=set)
    _again_at: dict[tuple[str, str], float] = field(default_factory=dict)
    _pauses: dict[tuple[str, str], float] = field(default_factory=dict)
    _pace: Pace = field(default_factory=lambda: Pace(RATE))

    def serve(self) -> None:
        """Answer other peers from now on."""
        self.peers.serve(
            wire.PROTOCOL,
            self._answer,
            max_request=wire.MAX_ASK,
            max_response=MAX_BUNDLE,
            per_peer_rate=RATE,
        )

    async def run(self) -> None:
        """Send what waits: at once what is new, again after a pause what did not get through."""
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                for key in await self.workers.store(self.messages.due):
                    if key not in self._under_way and trio.current_time() >= self._again_at.get(key, 0.0):
                        self._under_way.add(key)
                        nursery.start_soon(self._try_to_bring, *key)
                with trio.move_on_after(AGAIN_S):
                    await self._news.wait()

    def try_now(self) -> None:
        """An answer has come by letter, perhaps to a message: do not wait for the pause to end."""
        self._again_at.clear()
        self._news.set()

    async def say(self, order_id: str, words: str) -> dict[str, Any]:
        """Write a message; it is on disk when this returns, and sent by itself.

        Raises:
            Conflict: nobody can write about this order, or this node has written enough.
            InvalidOrder: there is nothing to read in it, or too much.
        """
        order = await self.desk.load(order_id)
        self._check_may_write(order)
        words = text.clean(words, lines=True)
        if not words or len(words) > MOST_CHARS:
            raise InvalidOrder(
                "bad_text", f"A message has 1 to {MOST_CHARS:,} characters.", "Write it shorter, or in parts."
            )

        def make(held: list[MessageRow]) -> MessageRow:
            signed = sign_message(self._next(order, held, words), self.me.seed)
            return self._row(signed, unread=False)

        row = await self.workers.store(self.messages.write, order_id, make, self._recipients(order))
        self._announce(order_id)
        for recipient in self._recipients(order):
            self._again_at.pop((order_id, recipient), None)
            self._pauses.pop((order_id, recipient), None)
        self._news.set()
        return {"order_id": order_id, "seq": row.seq, "hash": row.hash}

    async def view(self, order_id: str) -> dict[str, Any]:
        """All messages of an order, oldest first."""
        order = await self.desk.load(order_id)
        held = await self.workers.store(self.messages.of_order, order_id)
        waiting = await self.workers.store(self.messages.waiting, order_id)
        outside = await self.workers.work(lambda: [ways_out(row.doc["text"]) for row in held])
        items = [
            {
                "seq": row.seq,
                "by": self._side(order, row.author),
                "mine": row.author == self.me.peer_id,
                "at": int(row.doc["at"]),
                "text": str(row.doc["text"]),
                "unread": row.unread,
                "waits": row.author == self.me.peer_id and row.seq in waiting,
                "ways_out": ways,
            }
            for row, ways in zip(held, outside, strict=True)
        ]
        return {
            "items": items,
            "total": len(items),
            "may_write": self._may_write(order),
            "readers": self._readers(order),
        }

    async def mark_read(self, order_id: str) -> None:
        """The owner has seen all messages of an order."""
        if await self.workers.store(self.messages.mark_read, order_id):
            self._announce(order_id)

    async def unread(self) -> dict[str, int]:
        """How many new messages each order has."""
        return await self.workers.store(self.messages.unread)

    async def ask_evidence(self, order_id: str, peer_id: str) -> bytes:
        """What a party shows about an order; PeerError where it is away or refuses."""
        await self._pace.turn(peer_id)
        ask = to_wire(wire.Ask(do="evidence", order_id=order_id, message={}, signature=""))
        return await self.peers.request(
            peer_id, wire.PROTOCOL, ask, timeout_s=2 * TIMEOUT_S, max_response=MAX_BUNDLE
        )

    # --- writing ---

    def _may_write(self, order: OpenOrder) -> bool:
        if order.state in _NOT_AGREED or order.kind not in ("sale", "custom"):
            return False
        return order.role in ("buyer", "seller") or (order.role == "arbiter" and order.state == "disputed")

    def _check_may_write(self, order: OpenOrder) -> None:
        if self._may_write(order):
            return
        if order.role == "arbiter":
            raise Conflict("no_dispute", "The arbiter writes while a dispute is open.", "")
        raise Conflict(
            "no_talk", "Buyer and seller of a signed order write to each other, and nobody else.", ""
        )

    def _next(self, order: OpenOrder, held: list[MessageRow], words: str) -> Message:
        last: dict[str, MessageRow] = {}
        for row in held:
            if row.author not in last or row.seq > last[row.author].seq:
                last[row.author] = row
        mine = last.pop(self.me.peer_id, None)
        seq = mine.seq + 1 if mine is not None else 1
        if seq > MOST_MESSAGES:
            raise Conflict("too_many", f"You have written {MOST_MESSAGES} messages about this order.", "")
        return Message(
            network=order.contract.order.network,
            order_id=order.order_id,
            author=self.me.peer_id,
            seq=seq,
            previous=mine.hash if mine is not None else "",
            seen=sorted(row.hash for row in last.values()),
            at=self.desk.now(),
            text=words,
        )

    def _recipients(self, order: OpenOrder) -> list[str]:
        """The arbiter reads what is written while a dispute is open, and nothing from before it."""
        parties = [order.contract.order.buyer, order.contract.order.seller]
        found = [one for one in parties if one != self.me.peer_id]
        called = order.state == "disputed" and order.contract.arbiter
        return [*found, ARBITER] if called and order.role != "arbiter" else found

    def _readers(self, order: OpenOrder) -> list[str]:
        sides = ["buyer", seller_word(order.kind)]
        return [*sides, "arbiter"] if order.state == "disputed" and order.contract.arbiter else sides

    # --- sending ---

    async def _try_to_bring(self, order_id: str, recipient: str) -> None:
        """Bring what is due; a peer that stays away is tried less and less often."""
        key = (order_id, recipient)
        try:
            await self._bring(order_id, recipient)
        except PeerError as error:
            log.info("message waits", order=order_id, reason=error.code)
            pause_s = self._pauses[key] = min(2 * self._pauses.get(key, AGAIN_S / 2), LONGEST_PAUSE_S)
            self._again_at[key] = trio.current_time() + pause_s
        else:
            self._pauses.pop(key, None)
        finally:
            self._under_way.discard(key)

    async def _bring(self, order_id: str, recipient: str) -> None:
        """Send a recipient what it does not have yet, in order; all of it in letters where it is off.

        Raises:
            PeerError: it is away, or does not take it now.
        """
        peer_id = await self._peer(order_id, recipient)
        if peer_id is None:
            raise PeerError("unknown_peer", "The peer of the arbiter is not known (yet).", "")
        kept: PeerError | None = None
        due = await self.workers.store(self.messages.due_to, order_id, recipient)
        held = await self.workers.store(self.messages.of_order, order_id)
        for row in [one for one in held if one.author == self.me.peer_id and one.seq in due]:
            ask = wire.Ask(do="say", order_id=order_id, message=row.doc, signature=row.signature)
            await self._pace.turn(peer_id)
            try:
                await self.peers.request(
                    peer_id, wire.PROTOCOL, to_wire(ask), timeout_s=TIMEOUT_S, max_response=2
                )
            except PeerError as error:
                if error.code != KEPT:
                    raise
                kept = error
                continue
            await self.workers.store(self.messages.delivered, order_id, recipient, row.seq)
            self._announce(order_id)
        if kept is not None:
            raise kept

    async def _peer(self, order_id: str, recipient: str) -> str | None:
        if recipient != ARBITER:
            return recipient
        order = await self.desk.load(order_id)
        return await self.catalogue.peer_of(order.contract.arbiter)

    # --- what others ask of this node ---

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        ask = from_wire(raw, wire.Ask, most=wire.MAX_ASK)
        order = await self.desk.find(ask.order_id)
        if order is None:
            raise _stranger()
        expect(
            "dispute",
            ask.do,
            kind=order.kind,
            sender=await self._sender(order, peer_id),
            receiver=order.role,
            state=order.state,
        )
        if ask.do == "say":
            await self._take(order, peer_id, ask)
            return b"{}"
        return await self.show(order)

    async def _sender(self, order: OpenOrder, peer_id: str) -> str:
        """The role of whoever speaks; NotFound where it has none."""
        party = party_of(order.contract, peer_id)
        if party is not None:
            return party
        arbiter = order.contract.arbiter.lower()
        if arbiter and await self.catalogue.wallet_of(peer_id) == arbiter:
            return "arbiter"
        raise _stranger()

    async def _take(self, order: OpenOrder, peer_id: str, ask: wire.Ask) -> None:
        """A message from a party, or from the arbiter; refused is whatever is not the next of its author."""
        signed = read_message(ask.message, ask.signature)
        message = signed.message
        if message.author != peer_id or message.order_id != order.order_id:
            raise InvalidOrder("not_the_author", "A peer brings its own messages about its own orders.", "")
        if message.network != order.contract.order.network:
            raise InvalidOrder("other_network", "The message belongs to another group.", "")
        late = order.role == "arbiter"

        def check(last: MessageRow | None) -> bool:
            known = None if last is None else signed_of(last)
            return follows(known, signed, from_middle=late)

        row = self._row(signed, unread=True)
        if await self.workers.store(self.messages.keep, row, check):
            self._announce(order.order_id)

    async def keep_again(self, signed: SignedMessage, check: Callable[[MessageRow | None], bool]) -> bool:
        """Keep a message that this node had, or never got; whether it is new here."""
        mine = signed.message.author == self.me.peer_id
        row = self._row(signed, unread=not mine)
        kept = await self.workers.store(self.messages.keep, row, check)
        if kept:
            self._announce(signed.message.order_id)
        return kept

    # --- the rest ---

    def _row(self, signed: SignedMessage, *, unread: bool) -> MessageRow:
        message = signed.message
        return MessageRow(
            order_id=message.order_id,
            author=message.author,
            seq=message.seq,
            hash=signed.hash,
            doc=msgspec.to_builtins(message),
            signature=signed.signature,
            kept_at=self.desk.now(),
            unread=unread,
        )

    def _side(self, order: OpenOrder, author: str) -> str:
        contract = order.contract.order
        if author == contract.buyer:
            return "buyer"
        if author == contract.seller:
            return seller_word(order.kind)
        return "arbiter"

    def _announce(self, order_id: str) -> None:
        self.desk.bus.publish("order", {"order_id": order_id})


def signed_of(row: MessageRow) -> SignedMessage:
    """The message in a row, as it was when it was checked and kept."""
    return SignedMessage(message=msgspec.convert(row.doc, Message), signature=row.signature, hash=row.hash)


def _stranger() -> OpenstallError:
    """The same words whether the order exists or not."""
    return NotFound("no_such_order", "There is no such order.")
