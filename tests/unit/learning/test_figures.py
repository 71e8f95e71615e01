from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.learning import grid, intervals, sampling


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    # Newcombe (1998), the four examples of its table, score method without correction
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_wilson(hits: int, rows: int, low: float, high: float) -> None:
    assert [round(float(side), 4) for side in intervals.wilson(hits, rows)] == [low, high]


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_its_ends_are_the_shares_that_the_sample_just_does_not_refute(hits: int, rows: int) -> None:
    hits = min(hits, rows)
    for end in intervals.wilson(hits, rows):
        share = float(end)
        surprise = (hits / rows - share) ** 2 - intervals.Z_95**2 * share * (1 - share) / rows
        assert surprise == pytest.approx(0, abs=1e-8)


def test_what_is_not_finite_is_no_figure() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            intervals.exact(value)
    assert intervals.exact(0.1 + 0.2) == Fraction(3, 10)


@given(st.integers(0, 5000), st.integers(1, 5000), st.integers(0, 10_000))
def test_rounding_to_the_worse_side_changes_no_outcome(hits: int, rows: int, threshold: int) -> None:
    hits = min(hits, rows)
    limit = grid.Grid(4).text(threshold)
    of = grid.grid_of("accuracy", limit)
    units = grid.released("accuracy", of, Fraction(hits, rows))
    assert grid.meets("accuracy", of, units, limit) == (Fraction(hits, rows) >= Fraction(limit))
    least, most = grid.least_hits(of, units, rows), grid.most_hits(of, units, rows)
    assert least <= hits <= most
    assert of.down(Fraction(least, rows)) == of.down(Fraction(most, rows)) == units
    assert most == rows or of.down(Fraction(most + 1, rows)) > units


@given(st.fractions(0, 1000, max_denominator=10**6), st.integers(0, 10**6))
def test_an_error_is_rounded_up(value: Fraction, threshold: int) -> None:
    limit = grid.Grid(3).text(threshold)
    of = grid.grid_of("rmse", limit)
    units = grid.released("rmse", of, value)
    assert grid.meets("rmse", of, units, limit) == (value <= Fraction(limit))
    assert of.units(of.text(units)) == units


@given(units=st.integers(0, 2**53), limit=st.sampled_from(["0", "0.5", "60", "12.345678"]), up=st.booleans())
def test_far_beyond_its_limit_an_error_says_two_digits(units: int, limit: str, up: bool) -> None:
    """A model that sees the rows could else write one of them into its error."""
    of = grid.grid_of("rmse", limit)
    told = grid.coarse("rmse", of, units, limit, up=up)
    assert (told >= units) is up or told == units
    assert grid.coarse("rmse", of, told, limit, up=up) == told
    if units * of.step <= 2 * Fraction(limit):
        assert told == units
    else:
        assert len(str(told).rstrip("0")) <= 2
        assert grid.meets("rmse", of, told, limit) == grid.meets("rmse", of, units, limit) or not up
    assert grid.coarse("size", of, units, limit, up=up) == units


@pytest.mark.parametrize(
    "text", ["", "-1", "1.", ".5", "1e3", "nan", "01", "0.1234567", "1 ", "\u0661", "0.5\n"]
)
def test_a_limit_is_a_plain_number(text: str) -> None:
    with pytest.raises(ValueError, match="plain number"):
        grid.grid_of("rmse", text)


def test_a_grid_is_as_fine_as_its_limit() -> None:
    assert grid.grid_of("accuracy", "0.9").decimals == 2
    assert grid.grid_of("accuracy", "0.925").decimals == 3
    assert grid.grid_of("mae", "25000").decimals == 0
    for name, limit in (("accuracy", "1.01"), ("size", "1.5"), ("beauty", "1")):
        with pytest.raises(ValueError, match=name):
            grid.grid_of(name, limit)
    with pytest.raises(ValueError, match="2 digits"):
        grid.Grid(2).units("0.500")


def test_thirty_openings_find_a_tenth_in_96_of_100_cases() -> None:
    for rows in (300, 1_000, 100_000):
        assert (
            Fraction("0.957") < sampling.detection(rows=rows, wrong=rows // 10, opened=30) < Fraction("0.965")
        )
    assert sampling.openings_needed(rows=1_000, wrong=100, chance=Fraction("0.96")) <= 31
    assert sampling.openings_needed(rows=10, wrong=1, chance=Fraction(1)) == 10


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_the_chances_agree_with_counting(rows: int, wrong: int, opened: int, seen: int) -> None:
    wrong, opened = min(wrong, rows), min(opened, rows)
    missed = Fraction(1)
    for at in range(opened):
        missed *= Fraction(max(0, rows - wrong - at), rows - at)
    assert sampling.detection(rows=rows, wrong=wrong, opened=opened) == 1 - missed
    assert sampling.so_few(rows=rows, hits=wrong, opened=opened, seen=0) == missed
    assert sampling.so_few(rows=rows, hits=wrong, opened=opened, seen=opened) == 1
    if wrong:
        needed = sampling.openings_needed(rows=rows, wrong=wrong, chance=Fraction(9, 10))
        assert sampling.detection(rows=rows, wrong=wrong, opened=needed) >= Fraction(9, 10)
        assert not sampling.detection(rows=rows, wrong=wrong, opened=needed - 1) >= Fraction(9, 10)


def test_too_many_hits_are_unlikely() -> None:
    """A claim of 95 in 100 where 60 in 100 are right: 30 opened rows show it."""
    right = [True] * 600 + [False] * 400
    seen = sum(random.Random(1).sample(right, 30))
    assert sampling.so_few(rows=1_000, hits=950, opened=30, seen=seen) < Fraction(1, 10_000)
    assert sampling.so_many(rows=1_000, hits=100, opened=30, seen=seen) < Fraction(1, 10_000)


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 40), st.integers(1, 40))
def test_few_and_many_are_the_two_sides_of_one_chance(rows: int, hits: int, opened: int, seen: int) -> None:
    hits, opened = min(hits, rows), min(opened, rows)
    few = sampling.so_few(rows=rows, hits=hits, opened=opened, seen=seen - 1)
    many = sampling.so_many(rows=rows, hits=hits, opened=opened, seen=min(seen, opened))
    assert few + many == 1 if seen <= opened else few == 1


@pytest.mark.parametrize("wrong", [-1, 11])
def test_there_are_not_more_rows_than_there_are(wrong: int) -> None:
    with pytest.raises(ValueError, match="more rows"):
        sampling.detection(rows=10, wrong=wrong, opened=1)
    with pytest.raises(ValueError, match="nothing to be found"):
        sampling.openings_needed(rows=10, wrong=0, chance=Fraction(1, 2))
