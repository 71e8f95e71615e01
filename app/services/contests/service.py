"""Contests, all sides: open one's own, enter others', judge where one is named, and see each to its end.

What has to be done at a certain time the node does by itself. Each contest has a task of its own while
something of it is being done, so that a long measurement keeps no other one waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openstall.app.operations import Progress
from openstall.app.services.contests.desk import ContestDesk, Room, Seen, contest_terms, log
from openstall.app.services.contests.developing import Developing
from openstall.app.services.contests.ends import Ends
from openstall.app.services.contests.entering import OWN, Entering
from openstall.app.services.contests.judging import Judging
from openstall.app.services.contests.measuring import ROWS, Measuring
from openstall.app.services.contests.practice import TRY, Practice
from openstall.app.services.contests.receiving import PrizeModels
from openstall.app.services.contests.sheets import Sheets
from openstall.app.services.contests.talk import ENTRY, ContestTalk
from openstall.app.services.contests.view import ContestViews
from openstall.app.services.custom.sealed_model import delivery_in
from openstall.app.services.custom.willing import Willingness
from openstall.market.errors import NotFound, OpenstallError
from openstall.market.fields import DAY_S
from openstall.market.records import SignedRecord
from openstall.market.requests.terms import request_in

POLL_S = 5.0
DISCOVER_S = 5
MOST_NAMED = 100
"""Requests that name this wallet and are looked at, the newest ones."""
GIVE_UP_S = 30 * DAY_S
"""So long the requester asks for models that it has paid for, after the contest was closed."""


@dataclass(slots=True, kw_only=True)
class ContestService:
    """All roles."""

    desk: ContestDesk
    entering: Entering
    developing: Developing
    talk: ContestTalk
    measuring: Measuring
    practice: Practice
    sheets: Sheets
    judging: Judging
    ends: Ends
    models: PrizeModels
    views: ContestViews
    willing: Willingness
    on_over: Callable[[str], Awaitable[None]] = field(init=False)
    """Hears of each own request whose contest is over."""
    _changed: trio.Event = field(default_factory=trio.Event)
    _busy: set[str] = field(default_factory=set)
    _discovered_at: int = 0

    # --- what a person does ---

    async def open(self, record: SignedRecord) -> None:
        """Pay the pool of one's own contest in; from then on it cannot be withdrawn.

        Raises:
            MoneyError: the wallet holds less than the pool.
            ChainError: the chain refuses, or cannot be reached (then it is sent later).
        """
        if await self.desk.find(record.cid) is None:
            await self.check_budget(request_in(record).budget_micro)
            await self._open(await self.desk.keep(record, "requester"))
        self.wake()

    async def check_budget(self, budget_micro: int) -> None:
        """Whether the wallet holds the pool of a contest; raises MoneyError."""
        await self.desk.afford(budget_micro, "the pool of the contest")

    async def enter(self, cid: str, path: Path, progress: Progress) -> dict[str, Any]:
        """Enter a model; see `Entering.take`."""
        done = await self.entering.take(cid, path, progress)
        self.wake()
        return done

    async def practise(self, cid: str, path: Path, progress: Progress) -> dict[str, Any]:
        """Have a model measured beforehand; see `Developing.practise`."""
        return await self.developing.practise(cid, path, progress)

    async def save_training(self, cid: str, folder: Path, progress: Progress) -> dict[str, str]:
        """The training data of a contest; see `Developing.training`."""
        return await self.developing.training(cid, folder, progress)

    async def view(self, cid: str) -> dict[str, Any]:
        """A contest as the chain and this node have it. Raises NotFound."""
        return await self.views.view(cid)

    async def items(self) -> list[dict[str, Any]]:
        """The contests this node takes part in, newest first."""
        rows = await self.desk.workers.store(self.desk.books.items)
        found: dict[str, dict[str, Any]] = {}
        failed: list[OpenstallError] = []

        async def look(cid: str) -> None:
            try:
                found[cid] = await self.views.view(cid)
            except OpenstallError as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:  # a board that cannot be reached keeps no other waiting
            for row in rows:
                nursery.start_soon(look, row.request_cid)
        if failed:
            raise failed[0]
        return [found[row.request_cid] for row in rows]

    async def stages(self) -> dict[str, dict[str, Any]]:
        """How far the contest of each own request is, by the request's cid."""
        rows = await self.desk.workers.store(lambda: self.desk.books.items(role="requester"))
        return {row.request_cid: {"stage": _stage(row.state, row.data), "order_id": None} for row in rows}

    # --- what the node does by itself ---

    async def restore(self) -> None:
        """After a start: own entries can be fetched again, and nothing lies open that was being measured."""
        await self.measuring.clear()
        for row in await self.desk.workers.store(lambda: self.desk.books.items(role="entrant")):
            kept = await self.desk.workers.store(self.desk.books.notes, row.request_cid, OWN)
            for note in kept.values():
                self.entering.access.make_public(delivery_in(note).blob.cid)

    def wake(self) -> None:
        """Something has changed: look now."""
        self._changed.set()

    async def run(self) -> None:
        """See every open contest to its end, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                await self.discover()
                for row in await self.desk.workers.store(lambda: self.desk.books.items(open_only=True)):
                    if row.request_cid not in self._busy:
                        nursery.start_soon(self._attend, self.desk.room(row))
                with trio.move_on_after(POLL_S):
                    await self._changed.wait()

    async def look(self) -> None:
        """Do for every open contest what is due now."""
        await self.discover(at_once=True)
        for row in await self.desk.workers.store(lambda: self.desk.books.items(open_only=True)):
            await self._attend(self.desk.room(row))

    async def discover(self, *, at_once: bool = False) -> None:
        """Take on contests whose requests name this wallet as an evaluator, if the owner has agreed."""
        now = self.desk.clock.now()
        if not at_once and now < self._discovered_at + DISCOVER_S:
            return
        self._discovered_at = now
        if not (await self.willing.get())["on"]:
            return
        page = await self.desk.catalogue.find(query=self.desk.my_wallet, types=("request",), limit=MOST_NAMED)
        for item in page["items"]:
            try:
                await self._take_on(item["cid"])
            except OpenstallError as error:
                log.info("a contest is not taken on", request=item["cid"], code=error.code)

    async def _take_on(self, cid: str) -> None:
        if await self.desk.find(cid) is not None:
            return
        record = await self.desk.catalogue.live_record(cid)
        body = request_in(record)
        named = self.desk.my_wallet in (wallet.lower() for wallet in body.evaluators)
        ours = body.contest.lower() == self.desk.chain.params.contest.lower()
        if body.mechanism != "contest" or not named or not ours:
            return
        seen = await self.desk.look(body, cid)
        if seen.contest.state == "open" and self.desk.matches(seen, body):
            await self.desk.keep(record, "evaluator")

    async def _attend(self, room: Room) -> None:
        self._busy.add(room.cid)
        try:
            await self._step(await self.desk.again(room))
        except OpenstallError as error:
            log.info("contest waits", request=room.cid, code=error.code)
            await self.desk.note_trouble(room, error)
        else:
            await self.desk.note_trouble(room, None)
        finally:
            self._busy.discard(room.cid)

    async def _step(self, room: Room) -> None:
        seen = await self.desk.look(room.body, room.cid)
        room = await self._note_state(room, seen)
        match room.row.role:
            case "requester":
                await self._requester(room, seen)
            case "entrant":
                await self._entrant(room, seen)
            case "evaluator":
                await self._evaluator(room, seen)

    async def _note_state(self, room: Room, seen: Seen) -> Room:
        if room.row.data.get("state") == seen.contest.state:
            return room
        await self.desk.patch(room, state=seen.contest.state, root=seen.contest.root.hex())
        return await self.desk.again(room)

    async def _requester(self, room: Room, seen: Seen) -> None:
        now = self.desk.clock.now()
        match seen.contest.state:
            case "none" if now > room.body.commit_by:
                await self._over(room, "expired")
            case "none":  # the node was ended between keeping the contest and sending it
                await self._open(room)
            case "open":
                if room.body.commit_by < now <= (seen.contest.deadline_at or 0):
                    await self.judging.watch(room, seen)
                await self.ends.step(room, seen)
            case "judged":
                await self.sheets.of_root(room, seen)  # kept: it says who may be paid what
                await self.ends.step(room, seen)
                await self.models.step(room, seen)
            case "void":
                await self._over(room, "void")
            case "closed" if now > seen.contest.since + GIVE_UP_S or await self.models.step(room, seen):
                await self._over(room, "closed")

    async def _entrant(self, room: Room, seen: Seen) -> None:
        state, now = seen.contest.state, self.desk.clock.now()
        entered = await self.entering.has_entered(room, seen)
        if not entered:
            if state == "open" and now <= room.body.commit_by:
                await self.entering.enter(room, (await self.entering.own(room)).delivery)
            elif await self.desk.transactions.started(room.cid, "enter") and state in ("none", "open"):
                # sent in time, and not yet in a block that is seen here: it may be an entry still
                await self.entering.enter(room, (await self.entering.own(room)).delivery)
            elif state != "none" or now > room.body.commit_by:
                await self.desk.close(room, "expired")
            return
        if state == "judged" and now <= (seen.contest.claim_by or 0):
            await self._claim(room, seen)
        if state in ("void", "closed"):
            await self.ends.withdraw(room)
            await self.desk.close(room, state)
        else:
            await self.ends.step(room, seen)

    async def _claim(self, room: Room, seen: Seen) -> None:
        """Hand the key over and take the prize; or take the deposit alone."""
        me = self.desk.my_wallet
        if await self.desk.transactions.started(room.cid, "claim"):
            return
        held = await self.sheets.of_root(room, seen)
        if held is None:
            raise NotFound(
                "no_ranking",
                "Nobody shows the ranking yet that is on the chain, so nothing can be claimed.",
                "Your node asks again by itself until the time to claim is over.",
            )
        prize = dict(held.ranking.prizes)[me]
        sealed = await self.entering.sealed_key(room) if prize else b""
        await self.desk.send(room, "claim", lambda client, _key: client.claim(held.ranking, me, sealed))

    async def _evaluator(self, room: Room, seen: Seen) -> None:
        state, now, by = seen.contest.state, self.desk.clock.now(), room.body.commit_by
        if state == "open" and now <= (seen.contest.deadline_at or 0):
            if now <= by:
                await self.measuring.bring_rows(room)
            await self.practice.step(room)
            if now > by and await self.desk.time.pass_by(by, room.cid, now=now):
                await self.judging.evaluate(room, await self.desk.look(room.body, room.cid))
        if state == "judged":
            await self.sheets.of_root(room, seen)  # kept: entrants ask for it
        if state in ("void", "closed"):
            await self._forget(room)
            await self.desk.close(room, state)
        else:
            await self.ends.step(room, seen)

    async def _forget(self, room: Room) -> None:
        """An evaluator keeps nobody's model, key or rows longer than they are of use.

        A blob that was here before stays, whoever named it: it may be this node's own.
        """
        books, store = self.desk.books, self.desk.workers.store
        for kind in (ENTRY, TRY, ROWS):
            for note in (await store(books.notes, room.cid, kind)).values():
                blob = (note["doc"]["blob"] if "doc" in note else note["blob"])["cid"]
                if note.get("fetched") or not self.measuring.blobs.have(blob):
                    await self.measuring.blobs.remove(blob)
            await store(books.forget_all, room.cid, kind)

    async def _over(self, room: Room, state: str) -> None:
        await self.on_over(room.cid)
        await self.desk.close(room, state)

    async def _open(self, room: Room) -> None:
        body, request_hash = room.body, room.request_hash
        await self.desk.send(
            room,
            "open",
            lambda client, _key: client.open(
                self.desk.wallet, request_hash, contest_terms(body), pay_by=body.commit_by
            ),
        )


def _stage(state: str, data: dict[str, Any]) -> str:
    return state if state != "open" else str(data.get("state", "open"))
