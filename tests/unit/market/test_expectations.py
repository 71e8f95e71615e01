"""The closed forms against published cases, against the mechanisms themselves, and against deviations."""

from __future__ import annotations

import hashlib
import math
import random
from fractions import Fraction

import pytest

from openstall.market.mechanisms import expectations
from openstall.market.mechanisms.procurement import second_price

ONE, HALF = Fraction(1), Fraction(1, 2)
PRIZES = {
    "winner takes all": [ONE],
    "two": [Fraction(2, 3), Fraction(1, 3)],
    "three": [HALF, Fraction(1, 3), Fraction(1, 6)],
    "top quartile": [Fraction(1, 4)] * 4,
}
TABLE = {
    1: [(0.8824, 0.4688), (0.8431, 0.3774), (0.8039, 0.3088), (0.7059, 0.178)],
    2: [(1.7213, 0.6455), (1.8832, 0.5946), (2.0077, 0.5452), (2.1685, 0.4208)],
    3: [(2.4725, 0.734), (2.772, 0.7006), (3.0228, 0.6639), (3.3929, 0.5612)],
}
"""For 16 entrants: (all the work, the best one's), by the power at which work gets dearer."""
NAME = hashlib.sha256(b"drawn").digest()
UNIT = 10**9


def drawn(bidders: int, reserve: Fraction, draws: int) -> tuple[float, float, float]:
    """By the auction itself: mean price, mean rent, mean gain of a buyer to whom the model is worth 1."""
    dice = random.Random(bidders)
    paid = rent = gain = 0
    names = [str(at) for at in range(bidders)]
    for _ in range(draws):
        bids = {name: dice.randint(1, UNIT) for name in names}
        award = second_price(NAME, bids, reserve_micro=int(reserve * UNIT))
        paid += award.paid_micro
        rent += award.rent_micro
        gain += UNIT - award.paid_micro if award.winner else 0
    return paid / draws / UNIT, rent / draws / UNIT, gain / draws / UNIT


@pytest.mark.parametrize("bidders", [1, 2, 3, 5, 10])
def test_price_and_rent_of_a_second_price_auction(bidders: int) -> None:
    paid, rent, _ = drawn(bidders, ONE, 20_000)
    assert expectations.price(bidders) == Fraction(2, bidders + 1)
    assert expectations.rent(bidders) == Fraction(1, bidders + 1)
    assert paid == pytest.approx(2 / (bidders + 1), abs=0.006)
    assert rent == pytest.approx(1 / (bidders + 1), abs=0.006)


def test_the_best_budget_is_half_of_what_the_model_is_worth() -> None:
    assert expectations.buyer_gain(3, HALF) == Fraction(17, 32)  # .53125
    assert expectations.buyer_gain(3, ONE) == HALF
    assert expectations.best_reserve() == HALF
    for bidders in (1, 2, 3, 7):
        gains = {Fraction(at, 40): expectations.buyer_gain(bidders, Fraction(at, 40)) for at in range(41)}
        assert max(gains, key=lambda reserve: gains[reserve]) == HALF
    for reserve in (HALF, ONE):
        gain = drawn(3, reserve, 20_000)[2]
        assert gain == pytest.approx(float(expectations.buyer_gain(3, reserve)), abs=0.006)
    assert expectations.nobody(3, HALF) == Fraction(1, 8)
    assert expectations.best_reserve(Fraction(3)) == ONE


def test_shares_draw_what_no_entrant_would_change() -> None:
    assert float(expectations.tullock_effort(4)) == 0.1875
    assert expectations.tullock_effort(4, Fraction(4, 5)) == Fraction(3, 20)
    first, second = expectations.tullock_pair(ONE, HALF)
    assert (round(float(first), 4), round(float(second), 4)) == (0.2222, 0.1111)
    for entrants in (2, 3, 4, 9):
        own = expectations.tullock_effort(entrants)
        others = own * (entrants - 1)
        best = own / (own + others) - own
        for at in range(1, 60):
            other = Fraction(at, 60)
            assert other / (other + others) - other <= best
    for own, others, worth in ((first, second, ONE), (second, first, HALF)):
        best = worth * own / (own + others) - own
        assert all(
            worth * Fraction(at, 90) / (Fraction(at, 90) + others) - Fraction(at, 90) <= best
            for at in range(1, 90)
        )


def test_sums_of_contests_where_all_pay() -> None:
    best = [float(expectations.all_pay(entrants)[1]) for entrants in (2, 3, 5)]
    assert [round(one, 4) for one in best] == [0.6667, 0.6, 0.5556]
    assert all(expectations.all_pay(entrants)[0] == 1 for entrants in (2, 3, 5))
    for entrants in (2, 5, 16, 40):
        hidden = expectations.all_pay_hidden(entrants)
        assert hidden == (Fraction(entrants - 1, entrants + 1), Fraction(entrants - 1, 2 * entrants))
        assert hidden == expectations.work(entrants, [ONE], 1), "one prize is the special case"


def test_the_best_of_all_who_pay_by_drawing_from_the_mixed_equilibrium() -> None:
    """Each of n draws its work by F(x) = x^(1/(n-1)); the density of the best is that of the largest."""
    for entrants in (2, 3, 5):
        steps = 20_000
        power = entrants / (entrants - 1)
        best = sum(1 - ((at + 0.5) / steps) ** power for at in range(steps)) / steps
        everybody = (
            entrants * sum(1 - ((at + 0.5) / steps) ** (power / entrants) for at in range(steps)) / steps
        )
        found = expectations.all_pay(entrants)
        assert (everybody, best) == pytest.approx([float(one) for one in found], abs=2e-4)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_prizes_by_place_draw_what_the_table_says(power: int) -> None:
    found = [expectations.work(16, weights, power) for weights in PRIZES.values()]
    for (everybody, best), (all_in_table, best_in_table) in zip(found, TABLE[power], strict=True):
        assert float(everybody) == pytest.approx(all_in_table, abs=6e-5)
        assert float(best) == pytest.approx(best_in_table, abs=6e-5)


@pytest.mark.parametrize("weights", PRIZES.values(), ids=PRIZES)
def test_nobody_gains_by_working_as_another_talent_would(weights: list[Fraction]) -> None:
    entrants = 7

    def prize(talent: float) -> float:
        return sum(
            float(weight) * math.comb(entrants - 1, k) * talent ** (entrants - 1 - k) * (1 - talent) ** k
            for k, weight in enumerate(weights)
        )

    grid = [at / 25 for at in range(26)]
    costs = {talent: expectations.cost_at(talent, entrants, weights) for talent in grid}
    for talent in grid:
        honest = talent * prize(talent) - costs[talent]
        assert honest >= -1e-12
        assert all(talent * prize(other) - costs[other] <= honest + 1e-12 for other in grid)


@pytest.mark.parametrize("entrants", [2, 3, 10, 40, 100])
def test_one_prize_has_a_closed_form_for_every_power(entrants: int) -> None:
    """Its entrants spend (n-1)/n v^n, so they put in a root of that, which is integrated by hand here."""
    for power in (2, 3):
        scale, slope = ((entrants - 1) / entrants) ** (1 / power), entrants / power
        everybody, best = expectations.work(entrants, [ONE], power)
        assert float(everybody) == pytest.approx(entrants * scale / (slope + 1), rel=2e-4)
        assert float(best) == pytest.approx(scale * entrants / (entrants + slope), rel=2e-4)
