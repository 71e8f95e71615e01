"""What all parts of the contests share: the books, the chain, and who is who in one contest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.chain_time import ChainTime
from openstall.app.services.custom.funds import check_funds
from openstall.app.services.orders.placing import Party
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.contest import (
    ContestClient,
    ContestOnChain,
    ContestTerms,
    EntrySeen,
    contest_id,
)
from openstall.ledger.wallet import Wallet
from openstall.market import ids
from openstall.market.errors import OpenstallError
from openstall.market.records import SignedRecord, parse_record
from openstall.market.requests.bodies import RequestBody
from openstall.market.requests.ranking import Facts
from openstall.market.requests.terms import request_in
from openstall.store.contests import Contests, Note
from openstall.store.parts import PartRow

log = get_logger("openstall.contests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A contest as the chain has it, with its entries."""

    contest: ContestOnChain
    entries: list[EntrySeen]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One contest in the books of this node."""

    row: PartRow
    record: SignedRecord
    body: RequestBody

    @property
    def cid(self) -> str:
        """The address of its request."""
        return self.row.request_cid

    @property
    def request_hash(self) -> bytes:
        """The hash in that address."""
        return ids.digest_in_cid(self.cid)

    @property
    def key(self) -> bytes:
        """The contest's name on the chain."""
        return contest_id(self.body.wallet, self.request_hash)

    @property
    def requester(self) -> str:
        """The peer that asks."""
        return self.record.record.author

    @property
    def evaluators(self) -> list[str]:
        """Their wallets, ascending, lower case."""
        return [wallet.lower() for wallet in self.body.evaluators]

    def facts(self, seen: Seen) -> Facts:
        """What everybody knows of it."""
        return Facts(
            network=self.record.record.network,
            contest=self.key,
            request_hash=self.request_hash,
            body=self.body,
            entries=tuple((entry.entrant, entry.model_hash.hex()) for entry in seen.entries),
        )

    def model_of(self, seen: Seen, wallet: str) -> bytes | None:
        """The hash of what a wallet has entered."""
        return next((entry.model_hash for entry in seen.entries if entry.entrant == wallet.lower()), None)


@dataclass(slots=True, kw_only=True)
class ContestDesk:
    """Reads and moves the contests of one wallet on one chain."""

    me: Party
    books: Contests
    catalogue: Catalogue
    chain: Chain
    wallet: Wallet
    transactions: TransactionService
    workers: Workers
    clock: Clock
    changed: Callable[[str], None]
    """Tells the windows that something of a contest has changed, by its cid."""

    @property
    def time(self) -> ChainTime:
        """The chain's own clock."""
        return ChainTime(
            chain=self.chain, transactions=self.transactions, wallet=self.wallet, workers=self.workers
        )

    @property
    def my_wallet(self) -> str:
        """Lower case."""
        return self.me.wallet.lower()

    def room(self, row: PartRow) -> Room:
        """The contest of a row, by the request as it was kept: it may have left the catalogue since."""
        record = parse_record(row.record, network=self.me.network, now=row.created_at)
        return Room(row=row, record=record, body=request_in(record))

    async def find(self, cid: str) -> Room | None:
        """A contest that this node takes part in, or None."""
        row = await self.workers.store(self.books.find, cid)
        return None if row is None else self.room(row)

    async def again(self, room: Room) -> Room:
        """The same contest as the books have it now."""
        return self.room(await self.workers.store(self.books.get, room.cid))

    async def keep(self, record: SignedRecord, role: str, note: Note | None = None) -> Room:
        """Take part in a contest from now on; a first note is kept in the same transaction."""
        add = self.books.add
        now = self.clock.now()
        row = await self.workers.store(
            lambda: add(record.cid, role=role, record=record.raw, data={}, at=now, note=note)
        )
        return self.room(row)

    async def sources(self, room: Room, entrant: str) -> list[str]:
        """Which other peers may have the model of an entrant: itself first, then the evaluators."""
        peers = [await self.catalogue.peer_of(wallet) for wallet in (entrant, *room.evaluators)]
        return [peer for peer in peers if peer is not None and peer != self.me.peer_id]

    async def patch(self, room: Room, **data: object) -> None:
        """Change what is known of it."""
        await self.workers.store(lambda: self.books.patch(room.cid, **data))
        self.changed(room.cid)

    async def note(self, room: Room, kind: str, name: str, note: dict[str, Any], *, drop: str = "") -> None:
        """Keep what a window shows of a contest: a line of the board, a ranking, a model that was won."""
        await self.workers.store(lambda: self.books.note(room.cid, kind, name, note, drop=drop))
        self.changed(room.cid)

    async def close(self, room: Room, state: str) -> None:
        """Nothing is left to do."""
        await self.workers.store(self.books.close, room.cid, state)
        self.changed(room.cid)

    async def look(self, body: RequestBody, cid: str) -> Seen:
        """What the chain shows."""

        def look() -> Seen:
            client, key = ContestClient(self.chain), contest_id(body.wallet, ids.digest_in_cid(cid))
            found = client.contest(key)
            return Seen(contest=found, entries=client.entries(key) if found.state != "none" else [])

        return await self.workers.chain(look)

    async def send(
        self, room: Room, purpose: str, build: Callable[[ContestClient, bytes], TxRequest]
    ) -> None:
        """Send one transaction of a contest, once for each purpose."""
        client, key = ContestClient(self.chain), room.key
        await self.transactions.send(purpose, room.cid, lambda: build(client, key))

    async def afford(self, amount_micro: int, what: str) -> None:
        """Whether the wallet holds an amount; raises MoneyError."""
        await check_funds(self.chain, self.workers, self.me.wallet, amount_micro, what)

    async def note_trouble(self, room: Room, error: OpenstallError | None) -> None:
        """Say why a contest waits, or that it waits no more."""
        told = None if error is None else error.as_dict()
        row = await self.workers.store(self.books.get, room.cid)
        if row.data.get("trouble") != told:
            await self.patch(room, trouble=told)

    def matches(self, seen: Seen, body: RequestBody) -> bool:
        """Whether the chain holds the very contest that a request describes."""
        return seen.contest.matches(
            requester=body.wallet, terms=contest_terms(body), token=self.chain.params.credit
        )


def contest_terms(body: RequestBody) -> ContestTerms:
    """The contest that a request describes."""
    return ContestTerms(
        pool_micro=body.budget_micro,
        deposit_micro=body.deposit_micro,
        entry_by=body.commit_by,
        judge_by=body.reveal_by,
        review_s=body.review_s,
        quorum=body.quorum,
        evaluators=tuple(body.evaluators),
        weights_bps=tuple(body.weights_bps),
    )
