"""When two results are the same work, and which of three stands alone."""

from __future__ import annotations

from itertools import product

import pytest

from openstall.market.errors import InvalidOrder
from openstall.market.mechanisms.agreement import (
    FLOAT32,
    LONG_TRAINING,
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


def test_sixteen_bits_and_long_trainings_may_differ_by_more() -> None:
    for bounds, how, steps in ((REDUCED, "reduced", 0), (LONG_TRAINING, "float32", SHORT_STEPS + 1)):
        near = figures(arithmetic=how, worst_ppb=bounds.worst_ppb)
        far = figures(arithmetic=how, worst_ppb=bounds.worst_ppb + 1)
        assert judge(near, steps=steps).outcome == "within_tolerance"
        assert judge(far, steps=steps).outcome == "different"
    assert judge(figures(worst_ppb=LONG_TRAINING.worst_ppb), steps=SHORT_STEPS).outcome == "different"


def test_another_answer_needs_a_tie_where_there_are_scores() -> None:
    assert judge(figures(scored=True, answers_other=1)).outcome == "different"
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
    outcomes: tuple[Outcome, ...] = ("same", "within_tolerance", "different")
    for first_second, first_third, second_third in product(outcomes, repeat=3):
        ruling = two_of_three(first_second, first_third, second_third)
        agree = {
            0: "different" not in (first_second, first_third)
            or first_second != "different"
            or first_third != "different",
            1: first_second != "different" or second_third != "different",
            2: first_third != "different" or second_third != "different",
        }
        assert ruling.odd is None or not agree[ruling.odd]
        assert (ruling.outcome in ("same", "within_tolerance")) == agree[0]
    assert two_of_three("different", "different", "same").odd == 0
    assert two_of_three("different", "same", "different").odd == 1
    assert two_of_three("different", "different", "different").outcome == "undecided"


def test_what_was_found_is_a_sentence() -> None:
    found = {
        "outcome": "different",
        "part": "the whole job",
        "words": "7 values differ",
        "odd": "the provider",
    }
    assert check_words(found).endswith("(the whole job): 7 values differ. The odd one out is the provider.")
    assert "not found again" in check_words(found)
