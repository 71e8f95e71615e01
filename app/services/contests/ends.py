"""The timed exits of a contest, taken by whoever is due: the requester first, then the others."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.app.services.contests.desk import ContestDesk, Room, Seen
from openstall.app.services.contests.sheets import Sheets
from openstall.ledger.contest import ContestClient, Ranking

PATIENCE_S = {"requester": 0, "entrant": 15, "evaluator": 30}


@dataclass(slots=True, kw_only=True)
class Ends:
    """Sends them once their time has come."""

    desk: ContestDesk
    sheets: Sheets

    async def step(self, room: Room, seen: Seen) -> None:
        """Forfeits of winners who kept their model, then the rest of the pool to the requester."""
        wait_s, now = PATIENCE_S[room.row.role], self.desk.clock.now()
        found = seen.contest
        if found.claim_by is not None and now > found.claim_by + wait_s and room.row.role != "entrant":
            await self._forfeit(room, seen)
        if found.deadline_at is not None and now > found.deadline_at + wait_s:
            await self.desk.send(room, "close", lambda client, key: client.close(key))

    async def withdraw(self, room: Room) -> None:
        """An entrant's deposit, once the contest is over."""
        client, me = ContestClient(self.desk.chain), self.desk.my_wallet
        if await self.desk.workers.chain(client.entry_state, room.key, me) == "entered":
            await self.desk.send(room, "withdraw", lambda client, key: client.withdraw(key, me))

    async def _forfeit(self, room: Room, seen: Seen) -> None:
        held = await self.sheets.of_root(room, seen)
        if held is None:
            return
        client = ContestClient(self.desk.chain)
        for entrant, amount in held.ranking.prizes:
            if not amount:
                continue
            if await self.desk.workers.chain(client.entry_state, room.key, entrant) == "entered":
                await self._forfeit_one(room, held.ranking, entrant)

    async def _forfeit_one(self, room: Room, ranking: Ranking, entrant: str) -> None:
        purpose = f"forfeit {entrant}"
        await self.desk.send(room, purpose, lambda client, _key: client.forfeit(ranking, entrant))
