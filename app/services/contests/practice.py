"""Practice during the time to enter: a few tries, of which no more is told than the Ladder lets.

One evaluator, the one with the lowest wallet, keeps the board of a contest, so that tries are counted in one
place. Each developer has a ladder of its own; all of them together ask 700 times at most.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import trio

from openstall.app.services.contests import wire
from openstall.app.services.contests.desk import ContestDesk, Room, log
from openstall.app.services.contests.measuring import Measuring
from openstall.app.services.custom.sealed_model import delivery_in
from openstall.app.services.sealed import BROKEN_OFF, Evaluated
from openstall.app.services.sealing import check_key
from openstall.learning.grid import Grid
from openstall.learning.ladder import Ladder, QueriesSpent
from openstall.market.errors import (
    Conflict,
    InvalidOrder,
    InvalidRecord,
    NotFound,
    PeerError,
    Refused,
    SandboxError,
    StoreError,
)
from openstall.market.requests.bodies import SHARES, RequestBody
from openstall.market.requests.delivery import Delivery, read_delivery
from openstall.market.schema import fit

ETA: Final = Fraction(1, 100)
MOST_QUESTIONS: Final = 700
"""Of all developers of a contest together: what the Ladder was measured with."""
BOARD_GRID: Final = Grid(2)
TRY, PRACTICE = "try", "practice"
"""The notes on a try that waits to be measured, and on a developer's ladder."""


@dataclass(slots=True, kw_only=True)
class Practice:
    """The evaluator's side."""

    desk: ContestDesk
    measuring: Measuring

    def keeps(self, room: Room) -> bool:
        """Whether this node keeps the board of a contest."""
        return room.row.role == "evaluator" and self.desk.my_wallet == keeper_of(room.body)

    async def take(self, room: Room, peer_id: str, wallet: str, ask: wire.Ask) -> wire.PracticeAnswer:
        """A try of a developer's; it is measured as soon as its turn comes.

        Raises:
            NotFound: the board is not kept here.
            Refused: there is no practice in this contest, or not for this peer.
            Conflict: no try is left, or the time is over.
            InvalidOrder: what was sent is no model.
        """
        if not self.keeps(room):
            raise NotFound("no_such_contest", "There is no such contest.")
        body, now = room.body, self.desk.clock.now()
        check_practice(body, now)
        if wallet in (*room.evaluators, body.wallet.lower()):
            raise Refused("own_judgement", "Who asks or judges does not take part.")
        delivery = _delivery(room, ask)
        check_key(bytes.fromhex(ask.key), delivery.key_sha256)
        balance = await self.desk.workers.chain(self.desk.chain.balance_micro, wallet)
        if balance < body.deposit_micro:
            raise Refused("no_deposit", "Who practises must hold the deposit of an entry.")
        waiting = await self.desk.workers.store(self.desk.books.notes, room.cid, TRY)
        ladders = await self._ladders(room)
        others = [one for one in waiting if one != wallet]
        asked = sum(int(one["asked"]) for one in ladders.values())
        if int(ladders.get(wallet, {"asked": 0})["asked"]) >= body.tries:
            raise Conflict("no_tries_left", "No try is left in this contest.", "Enter your best model.")
        too_many = len({*ladders, *others, wallet}) > wire.MOST_ON_BOARD
        if too_many or asked + len(others) >= MOST_QUESTIONS:
            raise Conflict(
                "no_tries_left", "All tries of this contest are used up.", "Enter your best model."
            )
        note = {"doc": delivery.as_dict(), "key": ask.key, "peer": peer_id, "at": now}
        await self.desk.workers.store(self.desk.books.note, room.cid, TRY, wallet, note)
        before = waiting.get(wallet)
        if before is not None and before["doc"] != note["doc"]:
            await self._clear(delivery_in(before))
        return wire.PracticeAnswer(model_sha256=delivery.model_hash.hex())

    async def board(self, room: Room) -> wire.BoardAnswer:
        """What everybody may know. Raises NotFound where it is kept elsewhere."""
        if not self.keeps(room):
            raise NotFound("no_such_contest", "There is no such contest.")
        waiting = await self.desk.workers.store(self.desk.books.notes, room.cid, TRY)
        ladders = await self._ladders(room)
        lines = []
        for wallet in sorted({*ladders, *waiting})[: wire.MOST_ON_BOARD]:
            known = ladders.get(wallet, {"asked": 0, "figure": "", "at": 0})
            lines.append(
                wire.BoardLine(
                    developer=wallet,
                    figure=known["figure"],
                    tries_used=known["asked"],
                    waiting=wallet in waiting,
                    at=max(int(known["at"]), int(waiting.get(wallet, {"at": 0})["at"])),
                )
            )
        return wire.BoardAnswer(lines=lines)

    async def step(self, room: Room) -> None:
        """Measure the tries that wait; raises as `Measuring.measure`."""
        if not self.keeps(room):
            return
        waiting = await self.desk.workers.store(self.desk.books.notes, room.cid, TRY)
        for wallet, one in sorted(waiting.items(), key=lambda item: int(item[1]["at"])):
            if self.desk.clock.now() > room.body.commit_by:
                await self.desk.workers.store(self.desk.books.forget, room.cid, TRY, wallet)
                await self._clear(delivery_in(one))
                continue
            try:
                loss = await self._loss(room, one)
            except (PeerError, StoreError) as error:
                log.info("a try waits for its model", request=room.cid, who=wallet, code=error.code)
                continue
            await self._count(room, wallet, loss)

    async def _loss(self, room: Room, one: dict[str, Any]) -> Fraction:
        """How far from 1 a model is; as far as can be where it cannot be measured: that is not told apart."""
        delivery = delivery_in(one)
        rows = await self.measuring.bring_rows(room)
        params = self.measuring.params(room, secrets.randbelow(2**31), f"{room.cid}/{secrets.token_hex(16)}")
        fetched = False
        try:
            fetched = await self.measuring.bring(delivery, [one["peer"]])
            found = await self.measuring.measure(room, delivery, bytes.fromhex(one["key"]), rows, params)
        except (InvalidOrder, InvalidRecord, SandboxError) as error:
            if isinstance(error, SandboxError) and error.code not in BROKEN_OFF:
                raise
            if error.code == "wrong_rows":
                raise
            return Fraction(1)
        finally:
            if fetched:  # else it was here for another reason, whatever the developer called it
                with trio.CancelScope(shield=True):
                    await self.measuring.blobs.remove(delivery.blob.cid)
        return Fraction(1) - _share(room.body, found)

    async def _count(self, room: Room, wallet: str, loss: Fraction) -> None:
        """One step of the developer's ladder; with it the try is gone, in one transaction."""
        known = (await self._ladders(room)).get(wallet, {"asked": 0, "best": "1"})
        ladder = Ladder(
            eta=ETA, budget=room.body.tries, best=Fraction(known["best"]), asked=int(known["asked"])
        )
        try:
            after = ladder.submit(loss)
        except QueriesSpent:
            await self.desk.workers.store(self.desk.books.forget, room.cid, TRY, wallet)
            return
        note = {
            "asked": after.asked,
            "best": str(after.best),
            "figure": BOARD_GRID.text(BOARD_GRID.down(1 - after.best)),
            "at": self.desk.clock.now(),
        }
        await self.desk.note(room, PRACTICE, wallet, note, drop=TRY)

    async def _clear(self, delivery: Delivery) -> None:
        """What was fetched of a model that is not tried any more."""
        if not self.measuring.blobs.have(delivery.blob.cid):
            await self.measuring.blobs.remove(delivery.blob.cid)

    async def _ladders(self, room: Room) -> dict[str, dict[str, Any]]:
        return await self.desk.workers.store(self.desk.books.notes, room.cid, PRACTICE)


def keeper_of(body: RequestBody) -> str:
    """The wallet of the evaluator who keeps the board."""
    return body.evaluators[0].lower()


def check_practice(body: RequestBody, now: int) -> None:
    """Whether there is practice in a contest, now.

    Raises:
        Refused: its metric is no share of 1.
        Conflict: the time to enter is over.
    """
    if body.metric not in SHARES:
        raise Refused(
            "no_practice",
            f"There is no practice in a contest that is ranked by {body.metric}.",
            "Enter your best model.",
        )
    if now > body.commit_by:
        raise Conflict("too_late", "The time to practise and to enter is over.")


def _delivery(room: Room, ask: wire.Ask) -> Delivery:
    try:
        named = fit(ask.delivery, Delivery, "delivery")
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    if not ask.key:
        raise InvalidOrder("no_key", "The model comes without its key.")
    return read_delivery(ask.delivery, request=room.cid, model_hash=named.model_hash)


def _share(body: RequestBody, found: Evaluated) -> Fraction:
    figures = found.measured.figures if found.measured is not None else []
    return next((Fraction(figure.value) for figure in figures if figure.name == body.metric), Fraction(0))
