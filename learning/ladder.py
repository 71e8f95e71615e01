"""A leaderboard that cannot be climbed by guessing: the Ladder of Blum and Hardt (2015).

Whoever may ask again and again how good an answer is can add up what each reply gives away, and end with
answers that fit these rows and no others. The Ladder tells a new figure only where it is better than the
best so far by more than chance explains, and else repeats that one. A budget of questions bounds the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

WORST: Final = Fraction(1)


class QueriesSpent(Exception):
    """Every question of the budget was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A loss between 0 and 1 is told in steps of `eta`, and only where it is better by more than one."""

    eta: Fraction
    budget: int
    best: Fraction = WORST
    asked: int = 0

    def submit(self, loss: Fraction) -> Ladder:
        """The ladder after one more submission; its `best` is what may be told.

        Raises:
            QueriesSpent: the budget is used up.
        """
        after = replace(self, asked=_next(self.asked, self.budget))
        if loss < self.best - self.eta:
            # to the nearest step, the half to the worse side
            return replace(after, best=math.floor(loss / self.eta + Fraction(1, 2)) * self.eta)
        return after


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeLadder:
    """The ladder without a parameter: the step is what chance makes of the two losses row by row.

    It keeps the losses of the best submission so far, one a row: they stay with whoever evaluates.
    """

    budget: int
    best: Fraction = WORST
    losses: tuple[float, ...] = ()
    asked: int = 0

    def submit(self, losses: Sequence[float]) -> FreeLadder:
        """The ladder after one more submission, given its loss on each row.

        Raises:
            QueriesSpent: the budget is used up.
            ValueError: not as many rows as before.
        """
        after = replace(self, asked=_next(self.asked, self.budget))
        rows = len(losses)
        if not rows or (self.losses and len(self.losses) != rows):
            raise ValueError("a submission has one loss for each row")
        mean = math.fsum(losses) / rows
        if mean < float(self.best) - _step(self.losses, losses):
            return replace(after, best=Fraction(round(mean * rows), rows), losses=tuple(losses))
        return after


def _step(before: Sequence[float], now: Sequence[float]) -> float:
    """The standard error of the difference of two losses; 0 where there is nothing to compare with."""
    if not before:
        return 0.0
    rows = len(now)
    gaps = [new - old for new, old in zip(now, before, strict=True)]
    middle = math.fsum(gaps) / rows
    return math.sqrt(math.fsum((gap - middle) ** 2 for gap in gaps) / rows / rows)


def _next(asked: int, budget: int) -> int:
    if asked >= budget:
        raise QueriesSpent
    return asked + 1
