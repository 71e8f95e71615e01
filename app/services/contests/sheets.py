"""Rankings as this node holds them: whose sheet, which prizes follow from it, and who has signed them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import msgspec

from openstall.app.services.contests import wire
from openstall.app.services.contests.desk import ContestDesk, Room, Seen, log
from openstall.app.services.contests.talk import SHEET, ContestTalk, sheet_in
from openstall.ledger.contest import ContestClient, Ranking, ranking
from openstall.market import canonical
from openstall.market.errors import InvalidOrder, PeerError
from openstall.market.requests.assessment import Statement
from openstall.market.requests.ranking import Facts, Sheet, prizes_of, read_sheet, write_sheet

MOST_OF_ONE = 8
"""Sheets of one evaluator that another signs: an honest one makes a new one where an entry comes late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A checked sheet; `signed` are the evaluators' signatures (hex) on its prizes, by wallet."""

    sheet: Sheet
    signature: str
    statements: dict[str, Statement | None]
    ranking: Ranking
    signed: dict[str, str]

    @property
    def author(self) -> str:
        """The evaluator whose sheet it is."""
        return self.sheet.evaluator


@dataclass(slots=True, kw_only=True)
class Sheets:
    """Keeps, asks for and makes them."""

    desk: ContestDesk
    talk: ContestTalk

    async def make(self, room: Room, facts: Facts, sheet: Sheet) -> Held:
        """This evaluator's own sheet, signed, with its own signature on the prizes; kept."""
        raw = write_sheet(sheet)
        client, key = ContestClient(self.desk.chain), room.key
        signature = await self.desk.workers.chain(
            client.sign_sheet, self.desk.wallet, key, hashlib.sha256(raw).digest()
        )
        answer = wire.SheetAnswer(sheet=msgspec.to_builtins(sheet), signature=signature.hex(), signed=[])
        return await self.sign(room, await self._checked(room, facts, answer))

    async def sign(self, room: Room, held: Held) -> Held:
        """The same with this evaluator's signature on its prizes; kept."""
        client = ContestClient(self.desk.chain)
        signature = await self.desk.workers.chain(client.sign, self.desk.wallet, held.ranking)
        signed = {**held.signed, self.desk.my_wallet: signature.hex()}
        return await self._keep(room, replace(held, signed=signed))

    async def all(self, room: Room, facts: Facts) -> list[Held]:
        """All that are kept, those of the present entries."""
        notes = await self.desk.workers.store(self.desk.books.notes, room.cid, SHEET)
        found = []
        for note in notes.values():
            try:
                found.append(await self._checked(room, facts, sheet_in(room, note)))
            except InvalidOrder as error:
                log.info("an older ranking is passed by", request=room.cid, code=error.code)
        return found

    async def ask(self, room: Room, facts: Facts, wallet: str, author: str = "") -> Held | None:
        """What an evaluator (or the requester, by its wallet) has of a sheet, merged with what is kept.

        None where it cannot be reached, has none, or says what cannot be true.
        """
        peer = (
            room.requester
            if wallet == room.body.wallet.lower()
            else await self.desk.catalogue.peer_of(wallet)
        )
        if peer is None or peer == self.desk.me.peer_id:
            return None
        try:
            answer = await self.talk.sheet(peer, room.cid, author)
            found = await self._checked(room, facts, answer)
        except (PeerError, InvalidOrder) as error:
            log.info("no ranking from there", request=room.cid, peer=peer, code=error.code)
            return None
        return None if author not in ("", found.author) else await self._merge(room, facts, found)

    async def of_root(self, room: Room, seen: Seen) -> Held | None:
        """The ranking whose root the chain has: out of the books, or from whoever gives it."""
        facts, root = room.facts(seen), seen.contest.root
        for held in await self.all(room, facts):
            if held.ranking.root == root:
                return held
        for wallet in (*room.evaluators, room.body.wallet.lower()):
            found = await self.ask(room, facts, wallet)
            if found is not None and found.ranking.root == root:
                return found
        return None

    async def _merge(self, room: Room, facts: Facts, found: Held) -> Held:
        """Add signatures to those that are kept; another sheet of the same author takes its place.

        But never that of this evaluator itself, of which others may still hold an older one; and never one
        that it or a quorum has signed: should the chain have that one, the winners need it to be paid.
        """
        older = [held for held in await self.all(room, facts) if held.author == found.author]
        for held in older:
            if held.ranking.root == found.ranking.root:
                if set(found.signed) <= set(held.signed):
                    return held
                return await self._keep(room, replace(held, signed={**held.signed, **found.signed}))
        if found.author == self.desk.my_wallet:
            return found
        for held in older:
            if self.desk.my_wallet not in held.signed and len(held.signed) < room.body.quorum:
                await self.desk.workers.store(self.desk.books.forget, room.cid, SHEET, _name(held))
        return await self._keep(room, found)

    async def _checked(self, room: Room, facts: Facts, answer: wire.SheetAnswer) -> Held:
        return await self.desk.workers.chain(self._check, room, facts, answer)

    def _check(self, room: Room, facts: Facts, answer: wire.SheetAnswer) -> Held:
        raw = canonical.encode(answer.sheet)
        sheet, statements = read_sheet(raw, facts)
        client = ContestClient(self.desk.chain)
        digest = hashlib.sha256(raw).digest()
        if client.sheet_signer(facts.contest, digest, bytes.fromhex(answer.signature)) != sheet.evaluator:
            raise InvalidOrder("not_signed", "The ranking is not signed by its evaluator.")
        found = ranking(facts.contest, prizes_of(facts, statements))
        signed: dict[str, str] = {}
        for one in answer.signed:
            wallet = room.evaluators[one.place] if one.place < len(room.evaluators) else ""
            if client.signer(found, bytes.fromhex(one.signature)) != wallet:
                raise InvalidOrder("not_signed", "A signature on the prizes is not an evaluator's.")
            signed[wallet] = one.signature
        return Held(
            sheet=sheet, signature=answer.signature, statements=statements, ranking=found, signed=signed
        )

    async def _keep(self, room: Room, held: Held) -> Held:
        note = {
            "sheet": msgspec.to_builtins(held.sheet),
            "signature": held.signature,
            "signed": held.signed,
            "root": held.ranking.root.hex(),
        }
        await self.desk.note(room, SHEET, _name(held), note)
        return held


def _name(held: Held) -> str:
    return f"{held.author} {held.ranking.root.hex()}"
