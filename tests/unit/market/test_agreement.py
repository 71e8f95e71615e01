"""When two results are the same work, and which of three stands alone."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from openstall.market.errors import InvalidOrder
from openstall.market.mechanisms.agreement import (
    AGREED,
    FLOAT32,
    REDUCED,
    SHORT_STEPS,
    Figures,
    Outcome,
    check_words,
    judge,
    read_figures,
    two_of_three,
)


def figures(**changes: object) -> Figures:
    return read_figures({"compared": 1_000, "unequal": 1, "answers": 100, **changes})


def test_equal_values_are_the_same_and_near_ones_are_within_the_bound() -> None:
    assert judge(figures(unequal=0)).outcome == "same"
    assert judge(figures(worst_ppb=FLOAT32.worst_ppb)).outcome == "within_tolerance"
    assert judge(figures(worst_ppb=FLOAT32.worst_ppb + 1)).outcome == "different"


def test_sixteen_bits_may_differ_by_more() -> None:
    near = figures(arithmetic="reduced", worst_ppb=REDUCED.worst_ppb, answers_other=1)
    assert judge(near).outcome == "within_tolerance"
    assert judge(figures(arithmetic="reduced", worst_ppb=REDUCED.worst_ppb + 1)).outcome == "different"


def test_a_long_training_that_differs_is_unclear_and_nobody_is_blamed() -> None:
    far, near = figures(worst_ppb=10**9), figures(worst_ppb=FLOAT32.worst_ppb)
    assert judge(far, steps=SHORT_STEPS).outcome == "different"
    assert judge(far, steps=SHORT_STEPS + 1).outcome == "unclear"
    assert judge(far, steps=1, card=True).outcome == "unclear"
    assert judge(far, card=True).outcome == "different"  # a run of a model, not a training
    assert judge(near, steps=SHORT_STEPS + 1).outcome == "within_tolerance"
    assert judge(Figures(unreadable="x"), steps=SHORT_STEPS + 1).outcome == "different"


def test_figures_of_a_report_that_do_not_fit_the_weights_are_told() -> None:
    told = figures(report_ppb=FLOAT32.worst_ppb + 1)
    assert judge(told, steps=SHORT_STEPS + 1).outcome == "different"


def test_another_answer_needs_a_tie_where_there_are_scores() -> None:
    assert judge(figures(scored=True, answers=10_000, answers_other=1)).outcome == "different"
    assert judge(figures(answers=999, answers_other=1)).outcome == "different"
    assert judge(figures(answers=1_000, answers_other=1)).outcome == "within_tolerance"


def test_of_the_best_scores_120_of_128_are_asked_for_in_sixteen_bits() -> None:
    assert judge(figures(arithmetic="reduced", overlap_ppm=937_500)).outcome == "within_tolerance"
    assert judge(figures(arithmetic="reduced", overlap_ppm=937_499)).outcome == "different"


def test_nothing_and_the_unreadable_are_never_the_same() -> None:
    assert judge(Figures()).outcome == "different"
    assert judge(Figures(unreadable="it is a pickle")).words == "it is a pickle"


@pytest.mark.parametrize(
    "value", [[], {"compared": -1}, {"compared": 1.5}, {"overlap_ppm": 1_000_001}, {"more": 1}]
)
def test_a_comparison_is_read_strictly(value: object) -> None:
    with pytest.raises(InvalidOrder, match="no comparison"):
        read_figures(value)


def test_nobody_who_agrees_with_another_is_the_odd_one_out() -> None:
    for pairs in product(get_args(Outcome), repeat=3):
        ruling = two_of_three(*pairs)
        mine = {0: (pairs[0], pairs[1]), 1: (pairs[0], pairs[2]), 2: (pairs[1], pairs[2])}
        agrees = any(pair in AGREED for pair in mine[0])
        assert (ruling.outcome in AGREED) == agrees
        if ruling.odd is not None:
            assert set(mine[ruling.odd]) == {"different"}
            assert sum(pair in AGREED for pair in pairs) == 1
        if "unclear" in pairs and not agrees:
            assert ruling.outcome == "unclear"
    assert two_of_three("different", "different", "same").odd == 0
    assert two_of_three("different", "same", "different").odd == 1
    assert two_of_three("different", "different", "different").outcome == "undecided"
    assert two_of_three("unclear", "different", "same").odd is None


def test_what_was_found_is_a_sentence() -> None:
    found = {
        "outcome": "different",
        "part": "the whole job",
        "words": "7 values differ",
        "odd": "the provider",
    }
    assert check_words(found).endswith("(the whole job): 7 values differ. The odd one out is the provider.")
    assert "not found again" in check_words(found)
