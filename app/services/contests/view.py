"""What is shown of a contest: the chain's word on it, the figures of its ranking, the board of practice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from openstall.app.services.contests.desk import ContestDesk, Room, Seen
from openstall.app.services.contests.entering import OWN
from openstall.app.services.contests.practice import Practice, keeper_of
from openstall.app.services.contests.receiving import PrizeModels
from openstall.app.services.contests.sheets import Held, Sheets
from openstall.app.services.contests.talk import ContestTalk
from openstall.app.services.contests.wire import BoardLine
from openstall.ledger.contest import ContestClient, EntrySeen
from openstall.market.errors import InvalidOrder, NotFound, PeerError
from openstall.market.requests.bodies import SHARES, RequestBody
from openstall.market.requests.ranking import standing
from openstall.market.requests.terms import request_in
from openstall.store.parts import PartRow

BOARD_TIMEOUT_S = 4.0


@dataclass(slots=True, kw_only=True)
class ContestViews:
    """Put together anew each time."""

    desk: ContestDesk
    talk: ContestTalk
    sheets: Sheets
    practice: Practice
    models: PrizeModels

    async def view(self, cid: str) -> dict[str, Any]:
        """A contest, one's own or another's. Raises NotFound."""
        room = await self.desk.find(cid)
        if room is None:
            record = await self.desk.catalogue.live_record(cid)
            row = PartRow(
                request_cid=record.cid, role="", state="open", record=record.raw, data={}, created_at=0
            )
            room = Room(row=row, record=record, body=request_in(record))
        body = room.body
        if body.mechanism != "contest":
            raise NotFound("no_contest", "That request is no contest; it takes bids.", "openstall bid place")
        seen = await self.desk.look(body, room.cid)
        board = await self._board(room, seen)
        return {
            "request": room.cid,
            "title": body.title,
            "role": room.row.role,
            "state": self._state(room, seen),
            "pool_micro": body.budget_micro,
            "deposit_micro": body.deposit_micro,
            "weights_bps": list(body.weights_bps),
            "metric": body.metric,
            "threshold": body.threshold,
            "entry_by": body.commit_by,
            "judge_by": body.reveal_by,
            "claim_by": seen.contest.claim_by,
            "entries": await self._entries(room, seen),
            "board": await self._named_board(board),
            "tries_left": self._tries_left(room, board),
            "own": await self._own(room, seen),
            "library_paths": await self.models.paths(room) if room.row.role == "requester" else [],
            "transactions": await self.desk.transactions.of_order(room.cid),
            "trouble": room.row.data.get("trouble"),
        }

    def _state(self, room: Room, seen: Seen) -> str:
        judging = seen.contest.state == "open" and self.desk.clock.now() > room.body.commit_by
        return "judging" if judging else seen.contest.state

    async def _entries(self, room: Room, seen: Seen) -> list[dict[str, Any]]:
        held = await self._ranking(room, seen)
        taken = await self._taken(room, seen)
        places = _places(held, room.body) if held is not None else {}
        prizes = dict(held.ranking.prizes) if held is not None else {}
        names = await self._names([entry.entrant for entry in seen.entries])
        items = []
        for entry in seen.entries:
            statement = held.statements.get(entry.entrant) if held is not None else None
            figure = standing(room.body, statement) if statement is not None else None
            passed = None if held is None else statement is not None and statement.predicate.passed
            items.append(
                {
                    "entrant": entry.entrant,
                    "name": names[entry.entrant][0],
                    "name_marks": names[entry.entrant][1],
                    "model_hash": entry.model_hash.hex(),
                    "figure": None
                    if figure is None
                    else {"value": figure.value, "low": figure.low, "high": figure.high},
                    "passed": passed,
                    "place": places.get(entry.entrant),
                    "prize_micro": prizes.get(entry.entrant),
                    "claimed": entry.entrant in taken,
                    "mine": entry.entrant == self.desk.my_wallet,
                }
            )
        return items

    async def _ranking(self, room: Room, seen: Seen) -> Held | None:
        """The ranking that the chain has, if its sheet is in the books here."""
        if not any(seen.contest.root) or not seen.entries:
            return None
        held = await self.sheets.all(room, room.facts(seen))
        return next((one for one in held if one.ranking.root == seen.contest.root), None)

    async def _taken(self, room: Room, seen: Seen) -> set[str]:
        if seen.contest.state not in ("judged", "closed"):
            return set()
        prizes = await self.desk.workers.chain(ContestClient(self.desk.chain).prizes, room.key)
        return {prize.entrant for prize in prizes}

    async def _own(self, room: Room, seen: Seen) -> dict[str, str] | None:
        mine: EntrySeen | None = next(
            (entry for entry in seen.entries if entry.entrant == self.desk.my_wallet), None
        )
        if mine is not None:
            client, me = ContestClient(self.desk.chain), self.desk.my_wallet
            state = await self.desk.workers.chain(client.entry_state, room.key, me)
            return {"state": state, "model_hash": mine.model_hash.hex()}
        kept = await self.desk.workers.store(self.desk.books.noted, room.cid, OWN, self.desk.my_wallet)
        return None if kept is None else {"state": "sending", "model_hash": ""}

    async def _board(self, room: Room, seen: Seen) -> list[BoardLine]:
        """The board while it counts; empty where whoever keeps it cannot be reached now."""
        body = room.body
        if body.metric not in SHARES or seen.contest.state != "open":
            return []
        if self.practice.keeps(room):
            return (await self.practice.board(room)).lines
        keeper = await self.desk.catalogue.peer_of(keeper_of(body))
        if keeper is None or self.desk.clock.now() > body.commit_by:
            return []
        with trio.move_on_after(BOARD_TIMEOUT_S):
            try:
                return (await self.talk.board(keeper, room.cid)).lines
            except (PeerError, InvalidOrder):
                return []
        return []

    async def _named_board(self, lines: list[BoardLine]) -> list[dict[str, Any]]:
        names = await self._names([line.developer for line in lines])
        ranked = sorted(lines, key=lambda line: (line.figure or "0", line.developer), reverse=True)
        return [
            {
                "developer": line.developer,
                "name": names[line.developer][0],
                "name_marks": names[line.developer][1],
                "figure": line.figure,
                "tries_used": line.tries_used,
                "at": line.at,
            }
            for line in ranked
        ]

    def _tries_left(self, room: Room, board: list[BoardLine]) -> int:
        body = room.body
        judges = room.row.role in ("requester", "evaluator")
        if judges or body.metric not in SHARES or self.desk.clock.now() > body.commit_by:
            return 0
        used = [line.tries_used for line in board if line.developer == self.desk.my_wallet]
        return max(0, body.tries - sum(used))

    async def _names(self, wallets: list[str]) -> dict[str, tuple[str, list[dict[str, str]]]]:
        """The name of each wallet's peer, and what is to be said of it."""
        peers = {wallet: await self.desk.catalogue.peer_of(wallet) for wallet in wallets}
        known = await self.desk.catalogue.peer_names([peer for peer in peers.values() if peer is not None])
        marks = await self.desk.catalogue.marks_of(known)
        return {
            wallet: (known.get(peer or "", ""), marks.get(peer or "", [])) for wallet, peer in peers.items()
        }


def _places(held: Held, body: RequestBody) -> dict[str, int]:
    """The place of each entry that passed, by its prize, or by its figure where the prize is the same."""
    higher = 1 if body.metric in SHARES else -1
    good = []
    for entrant, statement in held.statements.items():
        figure = standing(body, statement) if statement is not None else None
        if statement is not None and statement.predicate.passed and figure is not None:
            good.append((dict(held.ranking.prizes)[entrant], higher * float(figure.value), entrant))
    good.sort(key=lambda one: (-one[0], -one[1], one[2]))
    return {entrant: place for place, (_prize, _figure, entrant) in enumerate(good, 1)}
