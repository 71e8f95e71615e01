"""Both sides of `/openstall/custom/1`: what is asked of the other parties, and what they get from here."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom import wire
from openstall.app.services.custom.hand_in import HandIn
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.telling import party_of
from openstall.market.errors import NotFound
from openstall.market.fields import BlobRef, FileEntry
from openstall.market.orders.agree import watchers
from openstall.market.orders.protocols import expect
from openstall.market.requests.delivery import Delivery, read_delivery
from openstall.market.schema import from_wire, to_wire
from openstall.p2p.asking import Peers
from openstall.p2p.limits import Pace, Rate

RATE = Rate(per_s=2, burst=20)
TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A delivery as the developer shows it; the key is empty for who may not have it."""

    delivery: Delivery
    key: bytes
    salt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRows:
    """The buyer's validation rows: the encrypted blob, the file in it, its key, the seed of their salts."""

    blob: BlobRef
    file: FileEntry
    key: bytes
    seed: bytes

    @classmethod
    def of(cls, answer: wire.RowsAnswer) -> SealedRows:
        """As the buyer has answered."""
        return cls(
            blob=answer.blob, file=answer.file, key=bytes.fromhex(answer.key), seed=bytes.fromhex(answer.seed)
        )

    def as_answer(self) -> wire.RowsAnswer:
        """For an evaluator."""
        return wire.RowsAnswer(blob=self.blob, file=self.file, key=self.key.hex(), seed=self.seed.hex())


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTraining:
    """The buyer's training data: the encrypted blob, the file in it, and its key."""

    blob: BlobRef
    file: FileEntry
    key: bytes

    def as_answer(self) -> wire.TrainingAnswer:
        """For a developer."""
        return wire.TrainingAnswer(file=self.file, key=self.key.hex())


VerdictTaker = Callable[[OpenOrder, wire.Ask], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Talk:
    """Asks and answers."""

    desk: OrderDesk
    peers: Peers
    catalogue: Catalogue
    hand_in: HandIn
    rows_of: Callable[[str], Awaitable[SealedRows]]
    """The buyer's own, by the request's cid: what its home keeps of it. Raises NotFound."""
    training_of: Callable[[str], Awaitable[SealedTraining]]
    """The buyer's own. Raises NotFound where the request has none."""
    grant: Callable[[str, str], None]
    """Lets a peer fetch a blob: cid, peer id."""
    take_verdict: VerdictTaker
    open_rows: Callable[[OpenOrder, str], Awaitable[bytes]]
    """What an evaluator shows of its own report to a peer. Raises NotFound where it may see nothing."""
    _pace: Pace = field(default_factory=lambda: Pace(RATE))

    def serve(self) -> None:
        """Answer other peers from now on."""
        self.peers.serve(
            wire.PROTOCOL,
            self._answer,
            max_request=wire.MAX_ASK,
            max_response=wire.MOST_ANSWER,
            per_peer_rate=RATE,
        )

    # --- what this node asks ---

    async def delivery(self, order: OpenOrder) -> Shown:
        """What the developer handed in for the present try.

        Raises:
            PeerError: it cannot be reached, or refuses.
            InvalidOrder: it is not what the chain names.
        """
        ask = wire.Ask(do="delivery", order_id=order.order_id, attempt=int(order.data["attempt"]))
        raw = await self._ask(order.contract.order.seller, ask)
        answer = from_wire(raw, wire.DeliveryAnswer, most=wire.MAX_ANSWER)
        found = read_delivery(
            answer.delivery,
            request=order.contract.custom.request,
            model_hash=bytes.fromhex(order.data["model_hash"]),
        )
        return Shown(delivery=found, key=bytes.fromhex(answer.key), salt=answer.salt)

    async def sealed_rows(self, order: OpenOrder) -> SealedRows:
        """An evaluator asks the buyer for its rows."""
        if order.role == "buyer":
            return await self.rows_of(order.contract.custom.request)
        ask = wire.Ask(do="rows", order_id=order.order_id)
        raw = await self._ask(order.contract.order.buyer, ask)
        return SealedRows.of(from_wire(raw, wire.RowsAnswer, most=wire.MAX_ANSWER))

    async def training(self, order: OpenOrder) -> wire.TrainingAnswer:
        """The developer asks the buyer for what opens the training data."""
        ask = wire.Ask(do="training", order_id=order.order_id)
        raw = await self._ask(order.contract.order.buyer, ask)
        return from_wire(raw, wire.TrainingAnswer, most=wire.MAX_ANSWER)

    async def verdict(self, order: OpenOrder, peer_id: str, statement: bytes, signature: bytes) -> None:
        """An evaluator tells a party, or the arbiter, its verdict."""
        ask = wire.Ask(
            do="verdict",
            order_id=order.order_id,
            attempt=int(order.data["attempt"]),
            statement=base64.b64encode(statement).decode(),
            signature=signature.hex(),
        )
        await self._ask(peer_id, ask)

    async def openings(self, order: OpenOrder, peer_id: str) -> bytes:
        """A party asks an evaluator to open rows of its newest report; nothing of the answer is checked."""
        ask = wire.Ask(do="openings", order_id=order.order_id, attempt=int(order.data["attempt"]))
        return await self._ask(peer_id, ask, most=wire.MOST_ANSWER)

    async def _ask(self, peer_id: str, ask: wire.Ask, *, most: int = wire.MAX_ANSWER) -> bytes:
        await self._pace.turn(peer_id)
        return await self.peers.request(
            peer_id, wire.PROTOCOL, to_wire(ask), timeout_s=TIMEOUT_S, max_response=most
        )

    # --- what others ask of this node ---

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        ask = from_wire(raw, wire.Ask, most=wire.MAX_ASK)
        order = await self.desk.find(ask.order_id)
        if order is None or order.kind != "custom":
            raise _stranger()
        sender = await self._sender(order, peer_id, ask.do)
        expect("delivery", ask.do, kind=order.kind, sender=sender, receiver=order.role, state=order.state)
        match ask.do:
            case "delivery":
                return to_wire(await self._show(order, peer_id, ask.attempt))
            case "rows":
                return to_wire(await self._show_rows(order, peer_id))
            case "training":
                return to_wire(await self._show_training(order, peer_id))
            case "verdict":
                await self.take_verdict(order, ask)
                return b"{}"
            case "openings":
                if ask.attempt != int(order.data.get("attempt", 0)):
                    raise _stranger()
                return await self.open_rows(order, peer_id)

    async def _sender(self, order: OpenOrder, peer_id: str, message: str) -> str:
        """The role in which a peer says this: a buyer may evaluate too, the developer and the arbiter never.

        Raises:
            NotFound: it has no part in the order.
        """
        party = party_of(order.contract, peer_id)
        if party == "seller" or (party == "buyer" and message not in ("rows", "verdict")):
            return party
        if await self._evaluates(order, peer_id):
            return "evaluator"
        arbiter = order.contract.arbiter.lower()
        if party is None and arbiter and await self.catalogue.wallet_of(peer_id) == arbiter:
            return "arbiter"
        raise _stranger()

    async def _show(self, order: OpenOrder, peer_id: str, attempt: int) -> wire.DeliveryAnswer:
        """The delivery of a try that is on the chain; its key for evaluators only, while they measure it."""
        evaluates = await self._evaluates(order, peer_id)
        found = self.hand_in.waiting(order, attempt)
        if found is None or attempt > int(order.data.get("attempt", 0)):
            raise NotFound("nothing_there", "Nothing was handed in for this try.", "Ask again later.")
        measured = evaluates and order.state == "submitted" and attempt == int(order.data["attempt"])
        key = self.hand_in.key(order, attempt).hex() if measured else ""
        salt = self.hand_in.salt(order, attempt)
        return wire.DeliveryAnswer(delivery=found.as_dict(), key=key, salt=salt)

    async def _show_rows(self, order: OpenOrder, peer_id: str) -> wire.RowsAnswer:
        """For evaluators only, once the money is in escrow: the developer never sees them."""
        found = await self.rows_of(order.contract.custom.request)
        self.grant(found.blob.cid, peer_id)
        return found.as_answer()

    async def _show_training(self, order: OpenOrder, peer_id: str) -> wire.TrainingAnswer:
        """For the developer that won, once it has signed."""
        if not order.seller_signature:
            raise _stranger()
        found = await self.training_of(order.contract.custom.request)
        self.grant(found.blob.cid, peer_id)
        return found.as_answer()

    async def _evaluates(self, order: OpenOrder, peer_id: str) -> bool:
        """Whether the peer's wallet, as its own record binds it, is one of the order's evaluators."""
        if peer_id == order.contract.order.seller:
            return False
        wallet = await self.catalogue.wallet_of(peer_id)
        arbiter = order.contract.arbiter.lower()
        return wallet in watchers(order.contract) and wallet != arbiter


def _stranger() -> NotFound:
    """The same words whether the order exists or not."""
    return NotFound("no_such_order", "There is no such order.")
