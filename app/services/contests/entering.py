"""A developer's entry: checked, encrypted, kept, and put on the chain with its deposit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openstall.app.operations import Progress
from openstall.app.services.contests.desk import ContestDesk, Room, Seen
from openstall.app.services.custom.sealed_model import SealedModel, seal_model
from openstall.app.services.keys import peer_box_public
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.sealing import seal_key
from openstall.app.services.selling import Stock
from openstall.market.errors import Conflict, NotFound, Refused
from openstall.market.records import SignedRecord
from openstall.market.requests.bodies import RequestBody
from openstall.market.requests.delivery import Delivery
from openstall.market.requests.ranking import MOST_COUNTED
from openstall.market.requests.terms import request_in
from openstall.store.contests import Note

OWN = "own"
"""The note with one's own entry: the delivery, and the salt of its key."""


@dataclass(slots=True, kw_only=True)
class Entering:
    """Takes a model in, and releases its key."""

    desk: ContestDesk
    stock: Stock
    access: BlobAccess
    seed: bytes
    _one_at_a_time: trio.Lock = field(default_factory=trio.Lock)

    async def take(self, cid: str, path: Path, progress: Progress) -> dict[str, Any]:
        """Check and encrypt a model, and enter it; it cannot be changed afterwards. Returns its hash.

        Raises:
            NotFound: there is no such request.
            Conflict: this wallet has entered already, or the time to enter is over.
            Refused: the contest is not this node's to enter, or the check of the model found an error.
            MoneyError: the wallet holds less than the deposit.
            SandboxError: there is no sandbox to check the model in.
        """
        async with self._one_at_a_time:
            record = await self.desk.catalogue.live_record(cid)
            await self.check(record)
            await self.desk.afford(request_in(record).deposit_micro, "the deposit of an entry")
            model = await self.seal(cid, path, progress)
            await self.check(record)
            note = Note(kind=OWN, name=self.desk.my_wallet, data=model.as_note())
            room = await self.desk.keep(record, "entrant", note)
            self.access.make_public(model.delivery.blob.cid)
            progress("Paying the deposit, and entering")
            await self.enter(room, model.delivery)
        return {"request": cid, "model_hash": model.delivery.entry_hash(self.desk.my_wallet).hex()}

    async def check(self, record: SignedRecord) -> None:
        """Whether this node may enter now; raises as `take`."""
        body = request_in(record)
        check_entrant(record, body, self.desk)
        if self.desk.clock.now() > body.commit_by:
            raise Conflict("too_late", "The time to enter is over.")
        if await self.desk.find(record.cid) is not None:
            raise Conflict("already_entered", "You have entered: an entry cannot be changed.")
        seen = await self.desk.look(body, record.cid)
        if seen.contest.state != "open" or not self.desk.matches(seen, body):
            raise Refused(
                "no_contest",
                "The chain does not hold the contest that this request describes. Nothing was sent.",
                "Wait a minute; if it stays so, do not enter.",
            )
        if len(seen.entries) >= MOST_COUNTED:
            raise Refused("contest_full", f"{MOST_COUNTED} have entered; no more are measured.", "")

    async def seal(self, cid: str, path: Path, progress: Progress) -> SealedModel:
        """Check and encrypt a model; see `seal_model`."""
        return await seal_model(self.stock, self.seed, cid, path, progress)

    async def enter(self, room: Room, delivery: Delivery) -> None:
        """Put the hash of the model on the chain, with the deposit."""
        body = room.body
        await self.desk.send(
            room,
            "enter",
            lambda client, key: client.enter(
                self.desk.wallet,
                key,
                delivery.entry_hash(self.desk.my_wallet),
                deposit_micro=body.deposit_micro,
                pay_by=body.commit_by,
            ),
        )

    async def own(self, room: Room) -> SealedModel:
        """What was entered from here. Raises NotFound."""
        kept = await self.desk.workers.store(self.desk.books.noted, room.cid, OWN, self.desk.my_wallet)
        if kept is None:
            raise NotFound("no_entry", "Nothing was entered from this home.")
        return SealedModel.of_note(self.seed, kept)

    async def sealed_key(self, room: Room) -> bytes:
        """The key of the own entry, for the requester alone."""
        return seal_key((await self.own(room)).key, peer_box_public(room.requester))

    async def has_entered(self, room: Room, seen: Seen) -> bool:
        """Whether the own entry is on the chain."""
        return room.model_of(seen, self.desk.my_wallet) is not None


def check_entrant(record: SignedRecord, body: RequestBody, desk: ContestDesk) -> None:
    """Whether this peer may take part in a contest as a developer.

    Raises:
        Refused: it is its own, asks for its judgement, or is no contest of this group.
    """
    params = desk.chain.params
    if body.mechanism != "contest":
        raise Refused("no_contest", "This request is no contest; it takes bids.", "openstall bid place")
    if record.record.author == desk.me.peer_id or body.wallet.lower() == desk.my_wallet:
        raise Refused("own_request", "This is your own request.", "")
    if desk.my_wallet in (wallet.lower() for wallet in body.evaluators):
        raise Refused("own_judgement", "You are named to judge this contest, so you cannot enter it.", "")
    if (body.chain_id, body.contest.lower()) != (params.chain_id, params.contest.lower()):
        raise Refused("other_contest", "This contest is not held by this group's contract. Do not enter.", "")
