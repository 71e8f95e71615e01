"""What a few rows, drawn at random and opened, prove of all of them; exact, by counting."""

from __future__ import annotations

from fractions import Fraction
from math import comb


def detection(*, rows: int, wrong: int, opened: int) -> Fraction:
    """The chance that at least one of `wrong` rows is among `opened` different ones out of `rows`.

    Raises:
        ValueError: more rows than there are.
    """
    _check(rows, wrong, opened)
    return 1 - Fraction(comb(rows - wrong, opened), comb(rows, opened))


def openings_needed(*, rows: int, wrong: int, chance: Fraction) -> int:
    """The fewest openings that find one of `wrong` rows with at least this chance.

    Raises:
        ValueError: no row is wrong, or a chance that is no chance.
    """
    if wrong < 1 or not 0 < chance <= 1:
        raise ValueError("nothing to be found, or not a chance")
    missed, opened = Fraction(1), 0
    while 1 - missed < chance:
        missed *= Fraction(max(0, rows - wrong - opened), rows - opened)
        opened += 1
    return opened


def so_few(*, rows: int, hits: int, opened: int, seen: int) -> Fraction:
    """The chance to see at most `seen` hits among `opened` rows, if `hits` of all rows were hits.

    Small where somebody claims more hits than there are.

    Raises:
        ValueError: more rows than there are.
    """
    _check(rows, hits, opened)
    ways = sum(comb(hits, k) * comb(rows - hits, opened - k) for k in range(min(seen, opened) + 1))
    return Fraction(ways, comb(rows, opened))


def so_many(*, rows: int, hits: int, opened: int, seen: int) -> Fraction:
    """The chance to see at least `seen` hits among `opened` rows, if `hits` of all rows were hits.

    Small where somebody claims fewer hits than there are.

    Raises:
        ValueError: more rows than there are.
    """
    return so_few(rows=rows, hits=rows - hits, opened=opened, seen=opened - seen)


def _check(rows: int, some: int, opened: int) -> None:
    if not (0 <= some <= rows and 0 <= opened <= rows):
        raise ValueError("more rows than there are")
