"""What buyers may expect of auctions and contests, in closed form, where costs are drawn evenly.

Auctions: each of n developers has a cost drawn evenly between nothing and the budget (1). Contests: each
entrant has a talent v, drawn evenly between 0 and 1, and puts in work whose dearness grows with a power of
it; the pool is 1. Exact fractions where there are any. These are forecasts that are shown to people: no
money is reckoned from them. Sources and derivations: docs/mechanisms.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

ONE = Fraction(1)
INTERVALS = 512
"""Of Simpson's rule; even."""


def price(bidders: int) -> Fraction:
    """What a second-price auction is expected to cost: the second lowest of n costs, the budget if n is 1."""
    return Fraction(2, bidders + 1)


def rent(bidders: int) -> Fraction:
    """What the winner is expected to be paid above its cost."""
    return Fraction(1, bidders + 1)


def buyer_gain(bidders: int, reserve: Fraction, worth: Fraction = ONE) -> Fraction:
    """What the buyer is expected to gain if the model is worth so much to it and it pays at most the reserve.

    The integral of (worth - 2c) over the lowest cost c up to the reserve: 2c is the virtual cost (R. Myerson,
    "Optimal auction design", 1981).
    """
    none = (1 - reserve) ** bidders
    lowest = (1 - none * (1 - reserve)) / (bidders + 1) - reserve * none
    return worth * (1 - none) - 2 * lowest


def best_reserve(worth: Fraction = ONE) -> Fraction:
    """The reserve with the largest gain, for any number of bidders: where the virtual cost is the worth."""
    return min(ONE, worth / 2)


def nobody(bidders: int, reserve: Fraction) -> Fraction:
    """The chance that every cost is above the reserve, so that the model is not built."""
    return (1 - reserve) ** bidders


def tullock_effort(entrants: int, power: Fraction = ONE, prize: Fraction = ONE) -> Fraction:
    """What each of n equal entrants puts in where shares go by effort to a power."""
    return power * (entrants - 1) * prize / entrants**2


def tullock_pair(first: Fraction, second: Fraction) -> tuple[Fraction, Fraction]:
    """What two put in to whom the prize is worth different amounts, at power 1."""
    whole = (first + second) ** 2
    return first**2 * second / whole, first * second**2 / whole


def all_pay(entrants: int) -> tuple[Fraction, Fraction]:
    """All work, the best is paid, and everybody knows everybody's cost: (all the work, the best one's)."""
    return ONE, Fraction(entrants, 2 * entrants - 1)


def all_pay_hidden(entrants: int) -> tuple[Fraction, Fraction]:
    """The same where talent is known to oneself alone, at even cost: (all the work, the best one's)."""
    return Fraction(entrants - 1, entrants + 1), Fraction(entrants - 1, 2 * entrants)


def cost_at(talent: float, entrants: int, weights: Sequence[Fraction]) -> float:
    """What somebody of a talent spends on its entry in the equilibrium of a contest with prizes by place.

    After B. Moldovanu and A. Sela, "The optimal allocation of prizes in contests" (2001): cost(v) is the
    integral of x dP(x), P(x) the expected prize of rank x. It comes to a sum without differences: over k of
    (w_k - w_k+1) (n-k)/n times the chance that of n talents at least n-k+1 are below v.
    """
    return sum(
        float(step) * (entrants - k) / entrants * _below(talent, entrants, k)
        for k, step in _steps(entrants, weights)
    )


def work(entrants: int, weights: Sequence[Fraction], power: int) -> tuple[Fraction, Fraction]:
    """All the work, and the best entrant's, where work x costs x**power; exact for power 1."""
    if power == 1:
        return _work_at_even_cost(entrants, weights)
    values = [cost_at(at / INTERVALS, entrants, weights) ** (1 / power) for at in range(INTERVALS + 1)]
    best = [
        entrants * (at / INTERVALS) ** (entrants - 1) * value for at, value in enumerate(values)
    ]  # times the density of the best talent
    return Fraction(entrants * _simpson(values)), Fraction(_simpson(best))


def _work_at_even_cost(entrants: int, weights: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    everybody, best = Fraction(0), Fraction(0)
    for k, step in _steps(entrants, weights):
        everybody += step * Fraction(k * (entrants - k), entrants + 1)
        # The integral of n v^(n-1) times the chance above, term by term a beta integral.
        chance = sum(
            Fraction(
                entrants * math.comb(entrants, j),
                2 * entrants * math.comb(2 * entrants - 1, entrants - j),
            )
            for j in range(entrants - k + 1, entrants + 1)
        )
        best += step * Fraction(entrants - k, entrants) * chance
    return everybody, best


def _steps(entrants: int, weights: Sequence[Fraction]) -> list[tuple[int, Fraction]]:
    """By how much each place is paid more than the next, where it is; the last place needs no work."""
    padded = [*weights, *[Fraction(0)] * (entrants + 1 - len(weights))]
    return [(k, padded[k - 1] - padded[k]) for k in range(1, entrants) if padded[k - 1] != padded[k]]


def _below(talent: float, entrants: int, k: int) -> float:
    """The chance that at least n-k+1 of n talents lie below this one."""
    return sum(
        math.comb(entrants, over) * talent ** (entrants - over) * (1 - talent) ** over for over in range(k)
    )


def _simpson(values: Sequence[float]) -> float:
    """The integral over 0 to 1 of a function that is given at even distances."""
    inner = 4 * math.fsum(values[1:-1:2]) + 2 * math.fsum(values[2:-1:2])
    return (values[0] + inner + values[-1]) / (3 * (len(values) - 1))
