"""Whether two machines that did the same job found the same: figures in, a verdict out.

The bounds were measured (docs/sandbox.md, "Done again"): machines of one kind agree to the last bit; two
kinds of processors differ by less than a millionth where a job computes in float32; models that compute in
16 bits differ by a hundredth. A training of some thousand steps drifts apart between two kinds of
processors until nothing can be said: that is unclear, and nobody's fault.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from openstall.market.errors import InvalidOrder

Outcome = Literal["same", "within_tolerance", "unclear", "different"]
AGREED: Final[frozenset[str]] = frozenset({"same", "within_tolerance"})
BILLION: Final = 1_000_000_000
MILLION: Final = 1_000_000
SHORT_STEPS: Final = 1_000
"""Steps of a training up to which two kinds of processors stay as near as in one pass."""
MOST_ROWS_OTHER: Final = 1_000
"""One row of so many may be answered otherwise, where the scores that would show a tie are not given."""
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Share = Annotated[int, Meta(ge=0, le=MILLION)]


class Figures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a comparison counted; whole numbers, as they are kept.

    `worst_ppb` is the largest difference in billionths of the size of what was compared, without what
    rounding to six decimals explains; `report_ppb` is that of the report beside it, of a training against
    what its own model says. `answers_other` counts
    rows whose first answer differs though its lead is too large for chance; `overlap_ppm` is the share of
    the 128 best scores that both have.
    """

    unreadable: Annotated[str, Meta(max_length=300)] = ""
    """Why one of the two is no such result at all; everything else is 0 then."""
    arithmetic: Literal["float32", "reduced"] = "float32"
    compared: Count = 0
    unequal: Count = 0
    worst_ppb: Count = 0
    report_ppb: Count = 0
    scored: bool = False
    """Whether each row has scores, so that a tie can be told from a lie."""
    answers: Count = 0
    answers_other: Count = 0
    overlap_ppm: Share = MILLION


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What may differ and still be the same work."""

    worst_ppb: int
    other_ppm: int
    overlap_ppm: int


FLOAT32: Final = Bounds(worst_ppb=100_000, other_ppm=MILLION // MOST_ROWS_OTHER, overlap_ppm=0)
SCORED: Final = msgspec.structs.replace(FLOAT32, other_ppm=0)
REDUCED: Final = Bounds(worst_ppb=25_000_000, other_ppm=12_000, overlap_ppm=937_500)
"""16 bits: 1.2e-2 was measured, 98.8 of 100 first answers, 125 of the 128 best; 120 of 128 are asked for."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome, and why, as a clause."""

    outcome: Outcome
    words: str


def bounds_for(figures: Figures) -> Bounds:
    """The bounds for a kind of result."""
    if figures.arithmetic == "reduced":
        return REDUCED
    return SCORED if figures.scored else FLOAT32


def judge(figures: Figures, *, steps: int = 0, card: bool = False) -> Judgement:
    """Whether a result is the same work as the one that it was compared with.

    `steps` is how many steps a training made, at most; 0 for all else. `card`: it rented a graphics card; its
    sums run in another order, and 690 steps on an H100 ended at a loss six hundredths from the processor's.
    """
    nothing = "" if figures.compared else "there was nothing to compare"
    if figures.unreadable or nothing:
        return Judgement(outcome="different", words=figures.unreadable or nothing)
    if not figures.unequal:
        return Judgement(outcome="same", words=f"all {figures.compared:,} values are equal")
    bounds = bounds_for(figures)
    counted = (
        f"{figures.unequal:,} of {figures.compared:,} values differ, by {_share(figures.worst_ppb)} at most"
    )
    if figures.report_ppb > bounds.worst_ppb:
        words = f"the figures of the report differ by {_share(figures.report_ppb)} from what was found"
        return Judgement(outcome="different", words=words)
    if figures.worst_ppb > bounds.worst_ppb and steps > (0 if card else SHORT_STEPS):
        words = f"{counted}; in up to {steps:,} steps two kinds of processors may drift that far apart"
        return Judgement(outcome="unclear", words=words)
    fault = _excess(figures, bounds)
    if fault:
        return Judgement(outcome="different", words=f"{counted}; {fault}")
    return Judgement(outcome="within_tolerance", words=f"{counted}, as on another kind of processor")


def _excess(figures: Figures, bounds: Bounds) -> str:
    """Which bound is passed; empty where none is."""
    if figures.worst_ppb > bounds.worst_ppb:
        return f"two honest machines differ by {_share(bounds.worst_ppb)} at most"
    if figures.answers_other * MILLION > figures.answers * bounds.other_ppm:
        return f"{figures.answers_other:,} of {figures.answers:,} rows have another answer"
    if figures.overlap_ppm < bounds.overlap_ppm:
        return f"{figures.overlap_ppm / 10_000:.1f} % of the best scores are the same ones"
    return ""


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What two of three say of the first; `odd` is the one that stands alone (0, 1, 2), if one does."""

    outcome: Outcome | Literal["undecided"]
    odd: int | None


def two_of_three(first_second: Outcome, first_third: Outcome, second_third: Outcome) -> Ruling:
    """A quorum of two, asked for where the first and the second do not agree."""
    pairs = (first_second, first_third, second_third)
    agree = [pair in AGREED for pair in pairs]
    if agree[0]:
        return Ruling(outcome=first_second, odd=None)
    if agree[1]:
        alone = first_second == second_third == "different"
        return Ruling(outcome=first_third, odd=1 if alone else None)
    if agree[2] and first_second == first_third == "different":
        return Ruling(outcome="different", odd=0)
    return Ruling(outcome="unclear" if "unclear" in pairs or agree[2] else "undecided", odd=None)


_FOUND: Final = {
    "same": "The result was found again, to the last digit",
    "within_tolerance": "The result was found again, as near as two machines come",
    "unclear": "Whether the result is right cannot be said",
    "different": "The result was not found again",
    "undecided": "No two of those who did the job found the same",
}


def check_words(found: dict[str, Any]) -> str:
    """What the check of a job has shown, in a sentence or two."""
    said = _FOUND.get(str(found.get("outcome")), "It is not known what was found")
    odd = str(found.get("odd", ""))
    alone = f" The odd one out is {odd}." if odd else ""
    return f"{said} ({found.get('part', '')}): {found.get('words', '')}.{alone}"


def read_figures(value: object) -> Figures:
    """The figures in what a comparison wrote.

    Raises:
        InvalidOrder: it wrote something else.
    """
    try:
        return msgspec.convert(value, Figures)
    except msgspec.ValidationError as error:
        raise InvalidOrder(
            "bad_comparison", "The comparison wrote something that is no comparison."
        ) from error


def _share(ppb: int) -> str:
    """A share of one in words that nobody has to count zeros in."""
    if ppb < 10_000:
        return f"{ppb:,} billionths"
    percent = ppb / 10_000_000
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.3f}".rstrip("0") + " %"
