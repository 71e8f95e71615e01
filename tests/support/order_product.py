"""The product of an order: what the chain holds, what each party's book says, who is down, what time it is.

The chain takes a call when the table allows it in the true state, whatever a party believes: so parties that
run modified programs are in here too. Only the buyer's funding waits for its own book to say `agreed`.
A message may be lost or come at once; a party may crash and come back at any moment, with its book as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from openstall.market.orders.machine import Machine, Party, Step

TRIES = 2
UNPAID = {"declined", "lapsed"}
Side = Literal["buyer", "seller"]
SIDES: tuple[Side, ...] = ("buyer", "seller")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One state of the product."""

    chain: str
    overdue: bool
    attempt: int
    payouts: int
    buyer: str
    seller: str
    down: frozenset[Side] = frozenset()

    def book(self, side: Side) -> str:
        """The state which a party's book has entered last."""
        return self.buyer if side == "buyer" else self.seller

    def enter(self, side: Side, state: str) -> Product:
        """The same with a party's book in another state."""
        return replace(self, buyer=state) if side == "buyer" else replace(self, seller=state)


class Explorer:
    """All product states of one machine, and what one party or a bystander can reach from each."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._shown = {state: state for state in {step.state for step in machine.steps} | machine.final}
        for step in machine.steps:  # states that differ by a message are one state to the chain
            if step.source == "message" and step.target not in machine.final:
                self._shown[step.target] = self._shown[step.state]
        for state in UNPAID & machine.final:
            self._shown[state] = machine.first
        self._paths = {state: self._after(state) for state in self._shown}
        self._exits: dict[tuple[Product, Side | None], bool] = {}

    def shown(self, state: str) -> str:
        """What the chain shows of a state."""
        return self._shown[state]

    def first(self) -> Product:
        """Where every order begins."""
        start = self.machine.first
        return Product(chain=start, overdue=False, attempt=0, payouts=0, buyer=start, seller=start)

    def follows(self, book: str, chain: str) -> bool:
        """Whether the table leads a book to what the chain shows, or it is there."""
        return self.shown(book) == chain or chain in self._paths[book]

    def holds(self, at: Product) -> bool:
        """Whether the chain holds money."""
        return at.chain in self.machine.money_held

    def explored(self) -> set[Product]:
        """Every product state that can be reached."""
        found, fresh = {self.first()}, [self.first()]
        while fresh:
            for after in self.moves(fresh.pop()):
                if after not in found:
                    found.add(after)
                    fresh.append(after)
        return found

    def moves(self, at: Product) -> Iterator[Product]:
        """All that may happen next."""
        yield from self._clock(at)
        for by in ("evaluator", "arbiter", "anyone"):
            yield from self._calls(at, by)
        for side in SIDES:
            if side in at.down:
                yield replace(at, down=at.down - {side})
                continue
            yield replace(at, down=at.down | {side})
            yield from self._calls(at, side)
            yield from self._look(at, side)
            yield from self._off_chain(at, side)

    def gets_out(self, at: Product, alone: Side | None) -> bool:
        """Whether all money leaves by one honest party (by its own book) or a bystander, and the clock."""
        if not self.holds(at):
            return True
        known = self._exits.get((at, alone))
        if known is None:
            self._exits[at, alone] = False  # a way round in a circle is no way out
            known = any(self.gets_out(after, alone) for after in self._alone(at, alone))
            self._exits[at, alone] = known
        return known

    def _alone(self, at: Product, alone: Side | None) -> Iterator[Product]:
        yield from self._clock(at)
        yield from self._calls(at, "anyone")
        if alone is None:
            return
        if alone in at.down:
            yield replace(at, down=at.down - {alone})
            return
        yield from self._look(at, alone)
        if self.shown(at.book(alone)) == at.chain:
            yield from self._calls(at, alone)

    def _clock(self, at: Product) -> Iterator[Product]:
        if not at.overdue and at.chain not in self.machine.final:
            yield replace(at, overdue=True)

    def _calls(self, at: Product, by: Party) -> Iterator[Product]:
        for step in self.machine.steps:
            if step.source != "chain" or step.by != by or self.shown(step.state) != at.chain:
                continue
            if not self._in_time(step, at):
                continue
            if step.event == "fund" and by == "buyer" and at.buyer != "agreed":
                continue
            attempt = at.attempt + (step.event == "submit")
            if attempt > TRIES:
                continue
            target = self.shown(step.target)
            out = at.chain in self.machine.money_held and target not in self.machine.money_held
            yield replace(at, chain=target, overdue=False, attempt=attempt, payouts=at.payouts + out)

    def _look(self, at: Product, side: Side) -> Iterator[Product]:
        if self.shown(at.book(side)) != at.chain and self.follows(at.book(side), at.chain):
            yield at.enter(side, at.chain)

    def _off_chain(self, at: Product, side: Side) -> Iterator[Product]:
        """A step without the chain: the other's book follows unless the message is lost."""
        if self.shown(at.book(side)) != at.chain:
            return
        other: Side = "seller" if side == "buyer" else "buyer"
        for step in self.machine.steps:
            if step.source == "chain" or step.state != at.book(side) or step.by not in (side, "anyone"):
                continue
            if not self._in_time(step, at):
                continue
            moved = at.enter(side, step.target)
            yield moved
            if step.source == "message" and other not in at.down and at.book(other) == step.state:
                yield moved.enter(other, step.target)

    @staticmethod
    def _in_time(step: Step, at: Product) -> bool:
        return step.when != ("before" if at.overdue else "after")

    def _after(self, state: str) -> set[str]:
        found, fresh = set[str](), [state]
        while fresh:
            here = fresh.pop()
            for step in self.machine.steps:
                if step.state == here and step.target not in found:
                    found.add(step.target)
                    fresh.append(step.target)
        return found
