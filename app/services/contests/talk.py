"""Both sides of `/openstall/contest/1`: what is asked of others, and what they get from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from openstall.app.services.contests import wire
from openstall.app.services.contests.desk import ContestDesk, Room
from openstall.app.services.contests.entering import Entering
from openstall.app.services.custom.talk import SealedRows, SealedTraining, Shown
from openstall.app.services.custom.wire import DeliveryAnswer, RowsAnswer, TrainingAnswer
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.ledger.contest import ContestClient
from openstall.market.errors import Conflict, NotFound
from openstall.market.fields import Body
from openstall.market.requests.delivery import read_delivery
from openstall.market.schema import from_wire, to_wire
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Pace, Rate

RATE = Rate(per_s=4, burst=60)
TIMEOUT_S = 20.0
T = TypeVar("T", bound=Body)
ENTRY = "entry"
"""The note of an evaluator about one entry: the delivery, its key, and what was measured."""
SHEET = "sheet"
"""The note about one sheet of an evaluator's, with the signatures on the prizes that follow from it."""


@dataclass(slots=True, kw_only=True)
class ContestTalk:
    """Asks and answers."""

    desk: ContestDesk
    peers: PeerHost
    entering: Entering
    access: BlobAccess
    rows_of: Callable[[str], Awaitable[SealedRows]]
    """The requester's own, by the request's cid. Raises NotFound."""
    training_of: Callable[[str], Awaitable[SealedTraining]]
    take_try: Callable[[Room, str, str, wire.Ask], Awaitable[wire.PracticeAnswer]]
    """Evaluator: a developer's try at practice; the room, the peer, its wallet, what it sent."""
    board_of: Callable[[Room], Awaitable[wire.BoardAnswer]]
    _pace: Pace = field(default_factory=lambda: Pace(RATE))

    def serve(self) -> None:
        """Answer other peers from now on."""
        self.peers.serve(
            wire.PROTOCOL,
            self._answer,
            max_request=wire.MAX_ASK,
            max_response=wire.MAX_ANSWER,
            per_peer_rate=RATE,
        )

    # --- what this node asks; each raises PeerError or InvalidOrder ---

    async def delivery(self, room: Room, peer_id: str, wallet: str, model_hash: bytes) -> Shown:
        """What a wallet has entered, as it or an evaluator shows it; checked against the chain."""
        ask = wire.Ask(do="delivery", request=room.cid, wallet=wallet)
        answer = await self._ask(peer_id, ask, DeliveryAnswer)
        found = read_delivery(answer.delivery, request=room.cid, model_hash=model_hash, entrant=wallet)
        return Shown(delivery=found, key=bytes.fromhex(answer.key))

    async def rows(self, room: Room) -> SealedRows:
        """An evaluator asks the requester for its rows."""
        ask = wire.Ask(do="rows", request=room.cid)
        return SealedRows.of(await self._ask(room.requester, ask, RowsAnswer))

    async def training(self, requester: str, cid: str) -> TrainingAnswer:
        """Anybody asks the requester for what opens its training data."""
        return await self._ask(requester, wire.Ask(do="training", request=cid), TrainingAnswer)

    async def sheet(self, peer_id: str, cid: str, wallet: str = "") -> wire.SheetAnswer:
        """The sheet of an evaluator, or the best supported one, as a peer has it."""
        return await self._ask(peer_id, wire.Ask(do="sheet", request=cid, wallet=wallet), wire.SheetAnswer)

    async def practise(
        self, peer_id: str, cid: str, delivery: dict[str, Any], key: bytes
    ) -> wire.PracticeAnswer:
        """A developer has a model measured."""
        ask = wire.Ask(do="practice", request=cid, delivery=delivery, key=key.hex())
        return await self._ask(peer_id, ask, wire.PracticeAnswer)

    async def board(self, peer_id: str, cid: str) -> wire.BoardAnswer:
        """The board of practice."""
        return await self._ask(peer_id, wire.Ask(do="board", request=cid), wire.BoardAnswer)

    async def _ask(self, peer_id: str, ask: wire.Ask, answer: type[T]) -> T:
        await self._pace.turn(peer_id)
        raw = await self.peers.request(
            peer_id, wire.PROTOCOL, to_wire(ask), timeout_s=TIMEOUT_S, max_response=wire.MAX_ANSWER
        )
        return from_wire(raw, answer, most=wire.MAX_ANSWER)

    # --- what others ask of this node ---

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        ask = from_wire(raw, wire.Ask, most=wire.MAX_ASK)
        room = await self.desk.find(ask.request)
        wallet = await self.desk.catalogue.wallet_of(peer_id)
        if room is None or not wallet:
            raise _stranger()
        match ask.do:
            case "delivery":
                return to_wire(await self._show(room, peer_id, wallet, ask.wallet))
            case "rows":
                return to_wire(await self._show_rows(room, peer_id, wallet))
            case "training":
                return to_wire(await self._show_training(room, peer_id))
            case "sheet":
                return to_wire(await self._show_sheet(room, peer_id, wallet, ask.wallet))
            case "practice":
                return to_wire(await self.take_try(room, peer_id, wallet, ask))
            case "board":
                return to_wire(await self.board_of(room))

    async def _show(self, room: Room, peer_id: str, asker: str, wallet: str) -> DeliveryAnswer:
        """Once nobody can enter any more: with the key to evaluators, and to the requester if it has paid.

        Not before: whoever holds the document of an entry could enter the same under another wallet.
        """
        evaluates, asks = asker in room.evaluators, peer_id == room.requester
        if not (evaluates or asks):
            raise _stranger()
        by = room.body.commit_by
        if self.desk.clock.now() <= by or not await self.desk.time.has_passed(by):
            raise Conflict("not_now", "The time to enter is not over.", "Ask again later.")
        if room.row.role == "entrant" and wallet == self.desk.my_wallet:
            own = await self.entering.own(room)
            key = own.key.hex() if evaluates else ""
            return DeliveryAnswer(delivery=own.delivery.as_dict(), key=key)
        if room.row.role != "evaluator":
            raise _stranger()
        kept = await self.desk.workers.store(self.desk.books.noted, room.cid, ENTRY, wallet)
        if kept is None:
            raise NotFound("nothing_there", "That model is not here.", "Ask again later.")
        # An entry may name any blob of this node's: only what came for it, or opened with its key, goes out.
        if kept.get("fetched") or "statement" in kept:
            self.access.grant(kept["doc"]["blob"]["cid"], peer_id)
        paid = asks and await self._is_paid(room, wallet)
        return DeliveryAnswer(delivery=kept["doc"], key=kept["key"] if evaluates or paid else "")

    async def _is_paid(self, room: Room, entrant: str) -> bool:
        """Whether the chain shows that an entrant took a prize: its model is the requester's then."""
        prizes = await self.desk.workers.chain(ContestClient(self.desk.chain).prizes, room.key)
        return any(prize.entrant == entrant and prize.amount_micro for prize in prizes)

    async def _show_rows(self, room: Room, peer_id: str, asker: str) -> RowsAnswer:
        """For evaluators only, once the pool is in the contract: no entrant ever sees them."""
        if room.row.role != "requester" or asker not in room.evaluators:
            raise _stranger()
        if (await self.desk.look(room.body, room.cid)).contest.state != "open":
            raise Conflict("not_now", "The contest does not stand open on the chain.", "Ask again later.")
        found = await self.rows_of(room.cid)
        self.access.grant(found.blob.cid, peer_id)
        return found.as_answer()

    async def _show_training(self, room: Room, peer_id: str) -> TrainingAnswer:
        """For everybody of the group: all of them build at once."""
        if room.row.role != "requester":
            raise _stranger()
        found = await self.training_of(room.cid)
        self.access.grant(found.blob.cid, peer_id)
        return found.as_answer()

    async def _show_sheet(self, room: Room, peer_id: str, asker: str, wallet: str) -> wire.SheetAnswer:
        """To those who judge and pay at any time, to others once the chain has the ranking."""
        judges = asker in room.evaluators or peer_id == room.requester
        if not judges and room.row.data.get("state") not in ("judged", "closed"):
            raise _stranger()
        sheets = await self.desk.workers.store(self.desk.books.notes, room.cid, SHEET)
        wanted = [note for note in sheets.values() if wallet in ("", note["sheet"]["evaluator"])]
        if not wanted:
            raise NotFound("nothing_there", "There is no such ranking here.", "Ask again later.")
        on_chain = room.row.data.get("root")
        return sheet_in(room, max(wanted, key=lambda note: (note["root"] == on_chain, len(note["signed"]))))


def sheet_in(room: Room, note: dict[str, Any]) -> wire.SheetAnswer:
    """The sheet in a note, as it is told others."""
    signed = [
        wire.Signed(place=room.evaluators.index(wallet), signature=signature)
        for wallet, signature in sorted(note["signed"].items())
    ]
    return wire.SheetAnswer(sheet=note["sheet"], signature=note["signature"], signed=signed)


def _stranger() -> NotFound:
    """The same words whether the contest exists or not."""
    return NotFound("no_such_contest", "There is no such contest.")
