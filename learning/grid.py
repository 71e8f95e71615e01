"""The grid that a measured figure is rounded to before anybody sees it, always to its worse side.

A limit lies on its own grid, so a figure that is rounded to the worse side meets it exactly when the
unrounded figure does. Of a share, what is told beside it is the least count that gives it: the count says
no more than the share.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

HIGHER_IS_BETTER: Final = frozenset({"accuracy", "macro_f1", "auc", "robustness"})
COUNTED: Final = frozenset({"accuracy", "robustness"})
"""Shares of rows: `hits` of `rows`."""
WITHIN_ONE: Final = HIGHER_IS_BETTER | {"fairness"}
FIGURES: Final = WITHIN_ONE | {"rmse", "mae", "latency", "size"}
LEAST_SCORE_DECIMALS: Final = 2
OPEN_ENDED: Final = FIGURES - WITHIN_ONE - {"size"}
"""What a model can make as large as it likes."""
FAR: Final = 2
FAR_DIGITS: Final = 2
MOST_DECIMALS: Final = 6
MOST_UNITS: Final = 2**53 - 1

_TEXT: Final = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Grid:
    """Figures with so many digits behind the point, as whole numbers of the last of them."""

    decimals: int

    @property
    def step(self) -> Fraction:
        """The distance of two neighbours."""
        return Fraction(1, 10**self.decimals)

    def down(self, value: Fraction) -> int:
        """The next one below, or the value itself."""
        return math.floor(value / self.step)

    def up(self, value: Fraction) -> int:
        """The next one above, or the value itself."""
        return math.ceil(value / self.step)

    def text(self, units: int) -> str:
        """A figure of this grid as it is written: every digit, also where it is a zero."""
        whole, rest = divmod(units, 10**self.decimals)
        return f"{whole}.{rest:0{self.decimals}d}" if self.decimals else str(whole)

    def units(self, text: str) -> int:
        """What `text` wrote.

        Raises:
            ValueError: it wrote no such text.
        """
        if _TEXT.fullmatch(text) is None:
            raise ValueError("no plain number that is zero or more")
        whole, _, rest = text.partition(".")
        units = int(whole + rest)
        if len(rest) != self.decimals or units > MOST_UNITS:
            raise ValueError(f"not a number with {self.decimals} digits behind the point")
        return units


def grid_of(name: str, limit: str) -> Grid:
    """The grid of a figure that is held against `limit`: it follows from the two alone.

    As fine as the limit is written, and hundredths at least where the figure is a share or a score.

    Raises:
        ValueError: no such figure, or a limit that is no plain number of at most six decimals.
    """
    if name not in FIGURES:
        raise ValueError(f"no figure is called {name!r}")
    if _TEXT.fullmatch(limit) is None:
        raise ValueError(f"the limit of {name} is no plain number of at most {MOST_DECIMALS} decimals")
    decimals = len(limit.partition(".")[2])
    if name in WITHIN_ONE:
        decimals = max(decimals, LEAST_SCORE_DECIMALS)
        if Fraction(limit) > 1:
            raise ValueError(f"the limit of {name} lies between 0 and 1")
    if name == "size" and decimals:
        raise ValueError("the limit of the size is a number of whole bytes")
    return Grid(decimals)


def released(name: str, grid: Grid, value: Fraction) -> int:
    """The figure that may be told: the next on the grid, to the worse side."""
    return grid.down(value) if name in HIGHER_IS_BETTER else grid.up(value)


def coarse(name: str, grid: Grid, units: int, limit: str, *, up: bool) -> int:
    """What is told of a figure that lies beyond twice its limit: two digits, rounded up or down.

    A model sees the rows, and could else write a dozen digits of one of them into an error or a time.
    """
    if name not in OPEN_ENDED or units * grid.step <= FAR * Fraction(limit):
        return units
    step = int(10 ** max(0, len(str(units)) - FAR_DIGITS))
    return -(-units // step) * step if up else units // step * step


def least_hits(grid: Grid, units: int, rows: int) -> int:
    """The least count of `rows` whose share is told as `units`."""
    return math.ceil(units * grid.step * rows)


def most_hits(grid: Grid, units: int, rows: int) -> int:
    """The greatest count of `rows` whose share is told as `units`."""
    return min(rows, math.ceil((units + 1) * grid.step * rows) - 1)


def meets(name: str, grid: Grid, units: int, limit: str) -> bool:
    """Whether a figure is as good as its limit asks."""
    wanted = Fraction(limit)
    return units * grid.step >= wanted if name in HIGHER_IS_BETTER else units * grid.step <= wanted
