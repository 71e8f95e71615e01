from __future__ import annotations

from fractions import Fraction
from typing import Any, get_args

import pytest

from openstall.market.errors import Refused
from openstall.market.mechanisms import expectations
from openstall.market.mechanisms.choosing import (
    DECIDING_POWER,
    MOST_BIDDERS,
    RUNS_ON_CHAIN,
    Goal,
    Mechanism,
    Recommendation,
    recommend,
)
from openstall.market.mechanisms.contests import check_weights

GOALS = get_args(Goal)


def deciding(found: Recommendation) -> dict[tuple[int, ...], tuple[int, int]]:
    return {
        one.weights_bps: (one.best_bps, one.all_bps) for one in found.prizes if one.power == DECIDING_POWER
    }


def test_the_cheapest_is_found_by_sealed_bids() -> None:
    found = recommend("cheapest", 3)
    assert (found.best.mechanism, found.best.runs_here, found.weights_bps) == ("second_price", True, ())
    assert [one.value_bps for one in found.working] == [5_000, 2_500, 4_000, 5_000, 5_312, 1_250]
    assert "asks 25.00 credits" in found.best.example
    assert "paid 50.00 credits" in found.best.example


def test_the_working_of_a_contest() -> None:
    assert [one.value_bps for one in recommend("best", 4).working] == [6_000, 3_750, 5_714, 1_875]
    pair = recommend("many", 2).working[-1]
    assert (pair.value_bps, "11.11 %" in pair.words) == (2_222, True)


def test_the_single_best_by_one_prize_and_many_good_ones_by_several() -> None:
    best, many = recommend("best", 16), recommend("many", 16)
    assert best.weights_bps == (10_000,)
    assert many.weights_bps == (2_500, 2_500, 2_500, 2_500)
    assert deciding(best) == deciding(many)
    assert deciding(best)[10_000,] == (6_455, 17_213)
    assert deciding(many)[many.weights_bps] == (4_208, 21_685)
    assert best.best.runs_here
    assert "--mechanism contest --weights 10000." in best.here_words
    assert "--mechanism contest" not in recommend("cheapest", 16).here_words


@pytest.mark.parametrize("goal", GOALS)
def test_what_is_said_follows_from_the_figures_for_any_number(goal: Goal) -> None:
    for bidders in (1, 2, 3, 5, 8, 40, MOST_BIDDERS):
        found = recommend(goal, bidders)
        options = [found.best, *found.others]
        assert sorted(one.mechanism for one in options) == sorted(get_args(Mechanism))
        runs = {one.mechanism for one in options if one.runs_here}
        assert runs == RUNS_ON_CHAIN == {"second_price", "contest_by_rank", "contest_by_share"}
        if goal == "cheapest" or bidders == 1:
            assert (found.best.mechanism, found.prizes) == ("second_price", ())
            assert found.working[0].value_bps == round(expectations.price(bidders) * 10_000)
        else:
            check_weights(found.weights_bps)
            drawn = deciding(found)
            place = 0 if goal == "best" else 1
            assert drawn[found.weights_bps][place] == max(each[place] for each in drawn.values())
            assert len(found.weights_bps) <= bidders
            ways = [(one.power, one.weights_bps) for one in found.prizes]
            assert len(set(ways)) == len(ways), "no way to cut the pool is listed twice"


def test_costs_that_grow_evenly_call_for_one_prize_even_for_many() -> None:
    even = [one for one in recommend("many", 16).prizes if one.power == 1]
    assert max(even, key=lambda one: one.all_bps).weights_bps == (10_000,)
    assert even[0].all_bps == round(Fraction(15, 17) * 10_000)


@pytest.mark.parametrize(
    ("goal", "bidders"), [("fairest", 3), ("best", 0), ("best", 101), ("best", 2.0), ("best", True)]
)
def test_what_makes_no_sense_is_refused(goal: Any, bidders: Any) -> None:
    with pytest.raises(Refused) as refused:
        recommend(goal, bidders)
    assert refused.value.what_next
