"""The attack on a leaderboard of Blum and Hardt, with the settings of our own measurement of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from openstall.learning.ladder import FreeLadder, Ladder, QueriesSpent

QUERIES, PUBLIC, ROWS = 700, 4_000, 12_000
SEEDS = range(5)
Answers = npt.NDArray[np.bool_]
Board = Callable[[Answers], float]
"""What is told of a submission, given which of the public rows it got wrong."""


def unprotected() -> Board:
    return lambda wrong: float(wrong.mean())


def fixed() -> Board:
    state = Ladder(eta=Fraction(1, 100), budget=QUERIES)

    def tell(wrong: Answers) -> float:
        nonlocal state
        state = state.submit(Fraction(int(wrong.sum()), PUBLIC))
        return float(state.best)

    return tell


def free() -> Board:
    state = FreeLadder(budget=QUERIES)

    def tell(wrong: Answers) -> float:
        nonlocal state
        state = state.submit(tuple(wrong.astype(float).tolist()))
        return float(state.best)

    return tell


def gain_of(board: Board, seed: int, *, greedy: bool = False) -> tuple[float, float]:
    """What guessing gains: how much better than a coin the vote of the good guesses is, and truly is.

    A guess is good where the board says less than one half; for the greedy, where it says less than before.
    """
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 2, ROWS).astype(bool)
    votes, good, before = np.zeros(ROWS), 0, 1.0
    for _ in range(QUERIES):
        guess = chance.integers(0, 2, ROWS).astype(bool)
        told = board((guess != truth)[:PUBLIC])
        if told < (before if greedy else 0.5):
            votes += np.where(guess, 1, -1)
            good += 1
        before = told
    wrong = (votes > 0) != truth
    assert good
    return 0.5 - float(wrong[:PUBLIC].mean()), 0.5 - float(wrong[PUBLIC:].mean())


def test_without_protection_700_questions_gain_a_tenth() -> None:
    public, private = zip(*(gain_of(unprotected(), seed) for seed in SEEDS), strict=True)
    assert statistics.mean(public) == pytest.approx(0.094, abs=0.008)
    assert abs(statistics.mean(private)) < 0.006


@pytest.mark.parametrize("board", [fixed, free])
def test_with_the_ladder_they_gain_nothing_worth_having(board: Callable[[], Board]) -> None:
    gains = [gain_of(board(), seed)[0] for seed in SEEDS]
    assert statistics.mean(gains) <= 0.016


@pytest.mark.parametrize("board", [fixed, free])
def test_nor_does_keeping_only_what_was_told_to_be_better(board: Callable[[], Board]) -> None:
    gains = [gain_of(board(), seed, greedy=True)[0] for seed in SEEDS]
    assert statistics.mean(gains) <= 0.016


def test_a_step_that_is_no_better_repeats_the_best() -> None:
    ladder = Ladder(eta=Fraction(1, 10), budget=9).submit(Fraction(34, 100))
    assert ladder.best == Fraction(3, 10)
    assert ladder.submit(Fraction(20, 100)).best == Fraction(3, 10)
    assert ladder.submit(Fraction(19, 100)).best == Fraction(2, 10)
    assert ladder.submit(Fraction(90, 100)).best == Fraction(3, 10)


def test_the_free_ladder_asks_for_more_than_chance_explains() -> None:
    first = FreeLadder(budget=9).submit([1.0] * 50 + [0.0] * 50)
    assert first.best == Fraction(1, 2)
    assert first.submit([0.0] * 51 + [1.0] * 49).best == Fraction(1, 2)
    assert first.submit([1.0] * 40 + [0.0] * 60).best == Fraction(2, 5)
    with pytest.raises(ValueError, match="one loss for each row"):
        first.submit([1.0])


def test_the_budget_ends_it() -> None:
    ladder = Ladder(eta=Fraction(1, 100), budget=2).submit(Fraction(1, 2)).submit(Fraction(1, 2))
    with pytest.raises(QueriesSpent):
        ladder.submit(Fraction(1, 3))
    with pytest.raises(QueriesSpent):
        FreeLadder(budget=0).submit([0.0])
