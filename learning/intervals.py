"""How far a share that was counted on some rows may lie from the true one."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

Z_95: Final = 1.959963984540054
_DIGITS: Final = 9


def wilson(hits: int, rows: int) -> tuple[Fraction, Fraction]:
    """The 95 % interval of Wilson (1927) for a share, rounded to nine digits.

    Unlike the plain one it stays within 0 and 1 and is right for few rows and for shares near the ends.
    Only sums, products, quotients and roots: every machine finds the same bits.
    """
    share, square = hits / rows, Z_95 * Z_95
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    spread = share * (1 - share) / rows + square / (4 * rows * rows)
    half = Z_95 * math.sqrt(spread) / (1 + square / rows)
    low = Fraction(0) if hits == 0 else exact(max(0.0, middle - half))
    high = Fraction(1) if hits == rows else exact(min(1.0, middle + half))
    return low, high


def exact(value: float) -> Fraction:
    """A computed figure as a fraction, without what floating point adds behind the ninth digit.

    Raises:
        ValueError: it is not finite.
    """
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return Fraction(f"{value:.{_DIGITS}f}")
