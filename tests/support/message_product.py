"""The product of an order's messages: what was sent, what each party holds and books, what the chain shows.

Whatever was ever sent may come at any time, never, late, twice, and in any order. Once, a party loses its
books of the order, or goes back to their first state, and loses everything signed that it held. A party sends
what the table of the protocol gives it to say, and takes what the table lets it take. `recovered` is what
`openstall order recover` makes of the books, by the same rules (`market.orders.papers.due`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from order_product import Explorer, Product

from openstall.market.orders.machine import UNPAID, Machine
from openstall.market.orders.papers import Known, due, ended_too_soon
from openstall.market.orders.protocols import NEW, PROTOCOLS

Side = Literal["buyer", "seller"]
SIDES: tuple[Side, ...] = ("buyer", "seller")
EVENT = {
    "signature": "agree",
    "decline": "decline",
    "withdraw": "withdraw",
    "start": "start",
    "report": "end",
}
"""What a message makes its reader enter; what it proves is kept under the same name."""
TO: dict[str, Side] = {
    "propose": "seller",
    "signature": "buyer",
    "decline": "buyer",
    "withdraw": "seller",
    "start": "buyer",
    "report": "buyer",
    "cancel": "seller",
}
Held = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One state of the product; a book is NEW where the party has none of the order."""

    chain: str
    late: bool = False
    buyer: str
    seller: str = NEW
    buyer_holds: Held = frozenset()
    seller_holds: Held = frozenset()
    sent: Held = frozenset()
    harmed: bool = False

    def book(self, side: Side) -> str:
        return self.buyer if side == "buyer" else self.seller

    def holds(self, side: Side) -> Held:
        return self.buyer_holds if side == "buyer" else self.seller_holds

    def with_side(self, side: Side, book: str, holds: Held) -> Course:
        if side == "buyer":
            return replace(self, buyer=book, buyer_holds=holds)
        return replace(self, seller=book, seller_holds=holds)


class Messages:
    """All courses of one kind of order, and what recovery makes of each."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._chain = Explorer(machine)
        self._taken = {
            message: frozenset(state for row in rows for state in row.states)
            for message, rows in (
                (
                    name,
                    [
                        row
                        for table in PROTOCOLS.values()
                        for row in table
                        if row.message == name and machine.kind in row.kinds
                    ],
                )
                for name in ("propose", "withdraw", "start", "report", "cancel")
            )
        }

    def explored(self) -> set[Course]:
        """Every course that can be reached."""
        first = Course(chain=self.machine.first, buyer=self.machine.first)
        found, fresh = {first}, [first]
        while fresh:
            for after in self.moves(fresh.pop()):
                if after not in found:
                    found.add(after)
                    fresh.append(after)
        return found

    def moves(self, at: Course) -> Iterator[Course]:
        """All that may happen next."""
        if not at.late:
            yield replace(at, late=True)
        yield from self._calls(at)
        for message in at.sent:
            yield from self._comes(at, message)
        for side in SIDES:
            if at.book(side) == NEW:
                continue
            yield from self._looks(at, side)
            yield from self._says(at, side)
            yield from self._gives_up(at, side)
            if not at.harmed:
                yield replace(at.with_side(side, NEW, frozenset()), harmed=True)
                yield replace(at.with_side(side, self.machine.first, frozenset()), harmed=True)

    def recovered(self, at: Course, side: Side) -> Course:
        """The course after one party has asked the other for its papers, and looked at the chain."""
        other: Side = "seller" if side == "buyer" else "buyer"
        book, holds = at.book(side), at.holds(side)
        if at.book(other) != NEW:
            holds |= at.holds(other)
            holds |= {"signature"} if book == NEW and self._asked_again(at) else set()
        if book == NEW and (self._written_again(side) or self._is_in_papers(at, side, holds)):
            book = self.machine.first
        if book == NEW:
            return at
        while True:
            if self._chain.shown(book) != at.chain:
                if ended_too_soon(book, money=self._has_money(at) and "signature" in holds):
                    book = "agreed"
                if self._chain.follows(book, at.chain) and not self._unsigned(book, at):
                    book = at.chain
            known = Known(
                signed="signature" in holds,
                declined="decline" in holds,
                withdrawn="withdraw" in holds,
                started="start" in holds,
                ended="report" in holds,
            )
            event = due(self.machine, book, known, unpaid_too_long=at.late and not self._has_money(at))
            if not event:
                return at.with_side(side, book, holds)
            book = self.machine.target(book, event)

    def together(self, at: Course) -> bool:
        """Whether both books say the same, or differ in words alone about an order that never held money.

        Over is over, whether declined or lapsed. A seller may lack what it never signed, and may have signed
        what it has also declined: the clock ends that.
        """
        if len({at.buyer, at.seller}) == 1:
            return True
        if at.seller == NEW and "signature" not in at.buyer_holds and at.chain in self.machine.final:
            return at.buyer == at.chain  # a developer that never came: its bid alone was bound
        if self._has_money(at):
            return False
        unpaid = UNPAID | {self.machine.first}
        if {at.buyer, at.seller} <= UNPAID or (at.seller == NEW and at.buyer in unpaid):
            return True
        return at.buyer == "declined" and "decline" in at.buyer_holds

    def _written_again(self, side: Side) -> bool:
        """The order of a model made for a buyer follows from its request and the auction, word by word."""
        return side == "buyer" and self.machine.kind == "custom"

    @staticmethod
    def _is_in_papers(at: Course, side: Side, holds: Held) -> bool:
        """Whether the other side's papers bear this one's own signature."""
        if side == "buyer":
            return at.seller != NEW
        return at.buyer != NEW and "signature" in holds

    def _asked_again(self, at: Course) -> bool:
        """In a model made to order the buyer asks for a signature that it lacks until the order is over."""
        return self.machine.kind == "custom" and at.buyer != NEW and at.chain not in self.machine.final

    def _has_money(self, at: Course) -> bool:
        return at.chain != self.machine.first

    def _unsigned(self, book: str, at: Course) -> bool:
        """A book that waits for a signature enters no payment, where the machine has no such step."""
        custom = self.machine.kind == "custom"
        return book == self.machine.first and not custom and self._has_money(at)

    def _calls(self, at: Course) -> Iterator[Course]:
        """The chain takes what the machine allows; a buyer pays when its own book says that both signed."""
        product = Product(
            chain=at.chain, overdue=at.late, attempt=0, payouts=0, buyer=at.buyer, seller=at.seller
        )
        for by in ("buyer", "seller", "arbiter", "evaluator", "anyone"):
            for after in self._chain._calls(product, by):
                yield replace(at, chain=after.chain, late=False)

    def _looks(self, at: Course, side: Side) -> Iterator[Course]:
        book = at.book(side)
        behind = self._chain.shown(book) != at.chain and self._chain.follows(book, at.chain)
        if behind and not self._unsigned(book, at):
            yield at.with_side(side, at.chain, at.holds(side))

    def _says(self, at: Course, side: Side) -> Iterator[Course]:
        """What a party may sign and send in the state of its own book."""
        book, holds = at.book(side), at.holds(side)
        if side == "buyer" and book == self.machine.first:
            yield replace(at, sent=at.sent | {"propose"})
        if side == "buyer" and book in ("funded", "running") and self.machine.kind == "compute":
            yield replace(at, sent=at.sent | {"cancel"})
        for message in ("withdraw", "start", "report"):
            step = next(
                (
                    step
                    for step in self.machine.steps
                    if step.event == EVENT[message] and step.state == book and step.source == "message"
                ),
                None,
            )
            if step is not None and step.by == side:
                after = at.with_side(side, step.target, holds | {message})
                yield replace(after, sent=at.sent | {message})

    def _gives_up(self, at: Course, side: Side) -> Iterator[Course]:
        """The clock ends what no money was ever in."""
        if at.late and not self._has_money(at) and self.machine.allows(at.book(side), "lapse"):
            yield at.with_side(side, "lapsed", at.holds(side))

    def _comes(self, at: Course, message: str) -> Iterator[Course]:
        side = TO[message]
        book, holds = at.book(side), at.holds(side)
        if message == "propose":
            yield from self._proposal(at)
        elif book == NEW or (message in self._taken and book not in self._taken[message]):
            return
        elif message == "cancel":
            if self.machine.allows(book, "end"):
                after = at.with_side(side, self.machine.target(book, "end"), holds | {"report"})
                yield replace(after, sent=at.sent | {"report"})
        else:
            yield at.with_side(side, self._entered(book, EVENT[message]), holds | {message})

    def _entered(self, book: str, event: str) -> str:
        for step in self.machine.steps:
            if (step.state, step.event, step.source) == (book, event, "message"):
                return step.target
        return book

    def _proposal(self, at: Course) -> Iterator[Course]:
        """The seller signs, or says no where it has not signed; asked again it says the same."""
        book, holds = at.seller, at.seller_holds
        if "signature" not in holds and book == NEW and self.machine.allows(self.machine.first, "decline"):
            yield replace(at, sent=at.sent | {"decline"})
        if book in (NEW, self.machine.first) and not (at.late and self.machine.kind != "custom"):
            after = at.with_side("seller", "agreed", holds | {"signature"})
            yield replace(after, sent=at.sent | {"signature"})
        elif "signature" in holds:
            yield replace(at, sent=at.sent | {"signature"})
