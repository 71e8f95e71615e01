"""What the parties of an order have told each other: said once, kept before it is sent, taken as a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openstall.app.clock import Clock
from openstall.app.threads import Workers
from openstall.market.orders.documents import Contract
from openstall.market.orders.transcript import Kind, SignedEntry, news, next_entry, of_author, read_entry
from openstall.market.orders.transcript import read_chain as read
from openstall.store.transcripts import Transcripts, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptDesk:
    """The transcripts of this node's orders."""

    books: Transcripts
    me: str
    """This node's own peer id."""
    seed: bytes
    clock: Clock
    workers: Workers

    async def say(
        self, contract: Contract, kind: Kind, *, code: str = "", words: str = ""
    ) -> list[dict[str, Any]]:
        """Sign and keep an entry, unless one of its kind is there; returns this party's whole chain."""

        def choose(values: list[Value]) -> list[Value]:
            held = [read_entry(value, contract) for value in values]
            made = next_entry(
                contract,
                held,
                kind,
                author=self.me,
                seed=self.seed,
                at=self.clock.now(),
                code=code,
                words=words,
            )
            return [] if made in held else [made.as_dict()]

        kept = await self.workers.store(self.books.write, contract.order_id, choose, at=self.clock.now())
        return [value for value in kept if value["entry"]["author"] == self.me]

    async def take(self, contract: Contract, author: str, values: Sequence[Any]) -> list[SignedEntry]:
        """Keep what is new in a party's chain, from whoever brings it; returns all that is held of it then.

        Raises:
            InvalidOrder: it is forged, or does not hang together.
            Conflict: `two_chains`, the party has signed another entry in the place of one that is here.
        """
        chain = await self.workers.work(read, values, contract, author)

        def choose(kept: list[Value]) -> list[Value]:
            held = of_author((read_entry(value, contract) for value in kept), author)
            return [one.as_dict() for one in news(held, chain)]

        await self.workers.store(self.books.write, contract.order_id, choose, at=self.clock.now())
        return of_author(await self.of(contract), author)

    async def of(self, contract: Contract) -> list[SignedEntry]:
        """All entries of both parties."""
        values = await self.workers.store(self.books.of_order, contract.order_id)
        return [read_entry(value, contract) for value in values]

    async def own(self, contract: Contract) -> list[dict[str, Any]]:
        """This party's whole chain, as it is sent."""
        values = await self.workers.store(self.books.of_order, contract.order_id)
        return [value for value in values if value["entry"]["author"] == self.me]
