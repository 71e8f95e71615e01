"""From measurements to the ranking on the chain: who proposes, who signs whose prizes, who brings them.

The evaluators take turns in the order of their wallets, so that they do not sign as many rankings as there
are of them. One signs another's prizes only where its own figures agree, entry by entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from openstall.app.services.contests.desk import ContestDesk, Room, Seen, log
from openstall.app.services.contests.measuring import Measuring
from openstall.app.services.contests.sheets import MOST_OF_ONE, Held, Sheets
from openstall.market import canonical
from openstall.market.requests.assessment import Statement
from openstall.market.requests.ranking import Facts, Line, Sheet, disagreeing, may_sign
from openstall.store.parts import PartRow

MOST_PATIENCE_S, LEAST_PATIENCE_S = 120, 5
_BRING_AFTER_S = {"evaluator": 6, "requester": 12}
"""How long a quorum waits for whoever is first to bring it: else all pay for the same."""


@dataclass(slots=True, kw_only=True)
class Judging:
    """The part of the evaluators, and what the requester does with their rankings."""

    desk: ContestDesk
    measuring: Measuring
    sheets: Sheets

    async def evaluate(self, room: Room, seen: Seen) -> None:
        """Measure, propose or sign, and bring what enough have signed; raises as `Measuring.step`."""
        facts, body, now = room.facts(seen), room.body, self.desk.clock.now()
        if not facts.entries:
            return
        own = await self.measuring.step(room, seen)
        halfway = body.commit_by + (body.reveal_by - body.commit_by) // 2
        if None in own.values() and now <= halfway:
            return  # who shows its model in the first half of the time is measured
        if "ready_at" not in room.row.data:
            await self.desk.patch(room, ready_at=now)
            room = await self.desk.again(room)
        await self._propose(room, facts, own)
        for fellow in room.evaluators:
            await self._sign_for(room, facts, own, fellow)
        await self._gather(room, facts)
        await self.bring(room, facts)

    async def watch(self, room: Room, seen: Seen) -> None:
        """The requester: ask the evaluators for their rankings, and bring what enough have signed."""
        facts = room.facts(seen)
        if not facts.entries:
            return
        for evaluator in room.evaluators:
            await self.sheets.ask(room, facts, evaluator)
        await self.bring(room, facts)

    async def bring(self, room: Room, facts: Facts) -> None:
        """Bring a ranking that a quorum has signed to the chain, the proposer of it first."""
        quorum = room.body.quorum
        ready = [held for held in await self.sheets.all(room, facts) if len(held.signed) >= quorum]
        if not ready:
            return
        best = max(ready, key=lambda held: (len(held.signed), held.author))
        if "quorum_at" not in room.row.data:
            await self.desk.patch(room, quorum_at=self.desk.clock.now())
            room = await self.desk.again(room)
        if self.desk.clock.now() >= int(room.row.data["quorum_at"]) + self._wait_s(room.row, best):
            places = room.evaluators
            signed = [(places.index(one), bytes.fromhex(text)) for one, text in best.signed.items()]
            await self.desk.send(room, "judge", lambda client, _key: client.judge(best.ranking, signed))

    def _wait_s(self, row: PartRow, held: Held) -> int:
        return 0 if held.author == self.desk.my_wallet else _BRING_AFTER_S[row.role]

    async def _propose(self, room: Room, facts: Facts, own: dict[str, Statement | None]) -> None:
        """Make the own sheet once it is this evaluator's turn; anew where an entry was had only later."""
        body, place = room.body, room.evaluators.index(self.desk.my_wallet)
        span = (body.reveal_by - body.commit_by) // (4 * len(room.evaluators))
        patience = min(MOST_PATIENCE_S, max(LEAST_PATIENCE_S, span))
        if self.desk.clock.now() < int(room.row.data["ready_at"]) + place * patience:
            return
        lines = [
            Line(entrant=entrant, model_sha256=model, statement=_plain(own[entrant]))
            for entrant, model in facts.counted
        ]
        own_sheets = [
            held for held in await self.sheets.all(room, facts) if held.author == self.desk.my_wallet
        ]
        if len(own_sheets) >= MOST_OF_ONE or any(held.sheet.lines == lines for held in own_sheets):
            return
        sheet = Sheet(
            network=self.desk.me.network,
            chain_id=body.chain_id,
            contest=room.key.hex(),
            evaluator=self.desk.my_wallet,
            lines=lines,
            at=self.desk.clock.now(),
        )
        await self.sheets.make(room, facts, sheet)

    async def _sign_for(
        self, room: Room, facts: Facts, own: dict[str, Statement | None], fellow: str
    ) -> None:
        """Look at another evaluator's sheet, and sign the prizes where the figures agree."""
        if fellow == self.desk.my_wallet or await self._is_settled(room, facts, fellow):
            return
        held = await self.sheets.ask(room, facts, fellow, fellow)
        if held is None or self.desk.my_wallet in held.signed:
            return
        signed = [one for one in await self.sheets.all(room, facts) if self.desk.my_wallet in one.signed]
        if sum(one.author == fellow for one in signed) >= MOST_OF_ONE:
            return
        apart = disagreeing(room.body, own, held.statements)
        if apart:
            log.warning("another evaluator says otherwise", request=room.cid, by=fellow, entries=apart)
        elif may_sign(facts, own, held.statements, now=self.desk.clock.now()):
            await self.sheets.sign(room, held)

    async def _is_settled(self, room: Room, facts: Facts, fellow: str) -> bool:
        """Whether a fellow's prizes need no further look."""
        kept = await self.sheets.all(room, facts)
        return any(held.author == fellow and len(held.signed) >= room.body.quorum for held in kept)

    async def _gather(self, room: Room, facts: Facts) -> None:
        """Ask the others for their signatures on what this evaluator has signed."""
        for held in await self.sheets.all(room, facts):
            if self.desk.my_wallet not in held.signed:
                continue
            for fellow in room.evaluators:
                if fellow not in (*held.signed, self.desk.my_wallet):
                    await self.sheets.ask(room, facts, fellow, held.author)


def _plain(statement: Statement | None) -> dict[str, object] | None:
    if statement is None:
        return None
    plain: dict[str, object] = canonical.decode(canonical.encode(msgspec.to_builtins(statement)))
    return plain
