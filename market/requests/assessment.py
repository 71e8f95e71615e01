"""What an evaluator signs about a model: an in-toto Statement v1 with the predicate `openstall.assessment/1`.

It holds rounded figures, commitments and hashes; no row, and no answer to one. Everything that follows
from something else in it is reckoned again by whoever reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from openstall.learning import intervals
from openstall.learning.grid import COUNTED, WITHIN_ONE, Grid, coarse, least_hits
from openstall.learning.grid import meets as is_met
from openstall.market import canonical, text
from openstall.market.fields import Address, Body, Network, Sha256, Time
from openstall.market.requests.demands import (
    LEAST_ROWS,
    MOST_ROWS,
    FigureName,
    Floor,
    Limit,
    MetricName,
    Task,
    check_demands,
    contradiction,
    demands_of,
    grid_of,
)
from openstall.market.schema import fit

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "openstall.assessment/1"
MAX_STATEMENT: Final = 16 * 1024
MOST_CALLS: Final = 1_000
"""Answers that a latency is measured on."""

Rows = Annotated[int, Meta(ge=1, le=MOST_ROWS)]
Hits = Annotated[int, Meta(ge=0, le=MOST_ROWS)]
RootOrNone = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
Fault = Literal[
    "",
    "model_refused",
    "model_not_runnable",
    "model_not_tabular",
    "model_failed",
    "columns_mismatch",
    "wrong_task",
    "no_scores",
    "output_too_wide",
    "out_of_time",
    "out_of_memory",
]
"""Why a model could not be measured at all; every one of them is the model's own."""


class Figure(Body, frozen=True, kw_only=True):
    """One measured figure on its grid, with the interval of 95 %; `hits` only where it is a share of rows."""

    name: FigureName
    hits: Hits | None
    rows: Rows
    value: Limit
    low: Limit
    high: Limit


class Assessment(Body, frozen=True, kw_only=True):
    """The predicate: which model was measured on which sealed rows, by what, and what came out.

    `key` is that of the escrow or of the contest, `request` the hash in the request's address.
    """

    network: Network
    chain_id: Annotated[int, Meta(ge=1)]
    key: Sha256
    request: Sha256
    attempt: Annotated[int, Meta(ge=1, le=255)]
    evaluator: Address
    task: Task
    metric: MetricName
    threshold: Limit
    floors: Annotated[list[Floor], Meta(max_length=4)]
    rows: Annotated[int, Meta(ge=LEAST_ROWS, le=MOST_ROWS)]
    rows_root: Sha256
    code_sha256: Sha256
    sandbox_sha256: Sha256
    runtime_sha256: Sha256
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    fault: Fault
    outputs_root: RootOrNone
    figures: Annotated[list[Figure], Meta(max_length=5)]
    passed: bool
    at: Time


class Digest(Body, frozen=True, kw_only=True):
    """The hash by which the chain names what was delivered."""

    sha256: Sha256


class Subject(Body, frozen=True, kw_only=True):
    """What the statement is about."""

    name: Literal["delivery"]
    digest: Digest


class Statement(Body, frozen=True, kw_only=True, rename={"kind": "_type", "predicate_type": "predicateType"}):
    """The whole statement, as in-toto writes it."""

    kind: Literal["https://in-toto.io/Statement/v1"]
    subject: Annotated[list[Subject], Meta(min_length=1, max_length=1)]
    predicate_type: Literal["openstall.assessment/1"]
    predicate: Assessment

    @property
    def model_sha256(self) -> str:
        """The model hash that the developer submitted on the chain."""
        return self.subject[0].digest.sha256


def write_statement(model_sha256: str, assessment: Assessment) -> bytes:
    """The canonical bytes of a statement, which pass `read_statement`.

    Raises:
        InvalidRecord: the assessment contradicts itself.
    """
    raw = canonical.encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": "delivery", "digest": {"sha256": model_sha256}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": msgspec.to_builtins(assessment),
        }
    )
    read_statement(raw)
    return raw


def statement_hash(raw: bytes) -> str:
    """The hash of the canonical bytes: what the evaluator signs for the chain as its report."""
    return hashlib.sha256(raw).hexdigest()


def read_statement(raw: bytes) -> Statement:
    """A statement from anybody: size, form, schema and arithmetic, in that order.

    Raises:
        InvalidRecord: with the check that failed.
    """
    statement = fit(canonical.decode(raw, max_bytes=MAX_STATEMENT), Statement, "assessment")
    text.refuse_hidden(statement)
    verify_arithmetic(statement.predicate)
    return statement


def verify_arithmetic(found: Assessment) -> None:
    """Reckon again what follows from the rest: shares, intervals, grids, and whether it passed.

    Raises:
        InvalidRecord: `bad_figures`.
    """
    check_demands(found.task, found.metric, found.threshold, found.floors)
    if found.fault:
        if found.figures or found.outputs_root or found.passed:
            raise contradiction("a model that could not be measured has figures")
        return
    if not found.outputs_root:
        raise contradiction("the answers are not committed to")
    check_figures(found.metric, found.threshold, found.floors, found.rows, found.figures)
    if found.passed != has_passed(found.metric, found.threshold, found.floors, found.figures):
        raise contradiction("the outcome does not follow from the figures")


def check_figures(
    metric: str, threshold: str, floors: Sequence[Floor], rows: int, figures: Sequence[Figure]
) -> None:
    """Whether these are the figures that were asked for, in that order, each true to itself.

    Raises:
        InvalidRecord: `bad_figures`.
    """
    wanted = demands_of(metric, threshold, floors)
    if [figure.name for figure in figures] != [name for name, _ in wanted]:
        raise contradiction("these are not the figures that were asked for")
    for figure, (_, limit) in zip(figures, wanted, strict=True):
        _check_figure(figure, grid_of(figure.name, limit), rows)
        _check_digits(figure, grid_of(figure.name, limit), limit)


def has_passed(metric: str, threshold: str, floors: Sequence[Floor], figures: Sequence[Figure]) -> bool:
    """Whether every figure is as good as its limit asks."""
    wanted = demands_of(metric, threshold, floors)
    return all(meets(figure, limit) for figure, (_, limit) in zip(figures, wanted, strict=True))


def meets(figure: Figure, limit: str) -> bool:
    """Whether one figure is as good as its limit asks: at least, or at most, as its name has it."""
    of = grid_of(figure.name, limit)
    return is_met(figure.name, of, of.units(figure.value), limit)


def _check_figure(figure: Figure, of: Grid, rows: int) -> None:
    name = figure.name
    try:
        value, low, high = (of.units(part) for part in (figure.value, figure.low, figure.high))
    except ValueError as error:
        raise contradiction(f"{name} is {error}") from error
    if not low <= value <= high:
        raise contradiction(f"{name} lies outside its own interval")
    if name in WITHIN_ONE and high > 10**of.decimals:
        raise contradiction(f"{name} is more than 1")
    if (figure.hits is not None) != (name in COUNTED):
        raise contradiction(f"{name} is no count, or leaves it out")
    if not _rows_fit(figure, rows):
        raise contradiction(f"{name} was measured on another number of rows")
    if figure.hits is not None and _told(of, figure.hits, figure.rows) != (value, low, high):
        raise contradiction(f"{name} does not follow from its count")
    if figure.hits is not None and figure.hits != least_hits(of, value, figure.rows):
        raise contradiction(f"the count of {name} says more than its value")
    if name == "size" and not low == value == high:
        raise contradiction("the size is known exactly")


def _check_digits(figure: Figure, of: Grid, limit: str) -> None:
    for part, up in ((figure.value, True), (figure.low, False), (figure.high, True)):
        if coarse(figure.name, of, of.units(part), limit, up=up) != of.units(part):
            raise contradiction(f"{figure.name} lies far from its limit and is told too finely")


def _rows_fit(figure: Figure, rows: int) -> bool:
    if figure.name == "latency":
        return figure.rows <= MOST_CALLS
    if figure.name == "fairness":
        return figure.rows <= rows
    return figure.rows == (1 if figure.name == "size" else rows)


def _told(of: Grid, hits: int, rows: int) -> tuple[int, int, int]:
    if hits > rows:
        raise contradiction("a count is larger than the number of rows")
    low, high = intervals.wilson(hits, rows)
    return of.down(Fraction(hits, rows)), of.down(low), of.up(high)


class Measured(Body, frozen=True, kw_only=True):
    """All that leaves the sandbox of an assessment."""

    rows: Annotated[int, Meta(ge=LEAST_ROWS, le=MOST_ROWS)]
    figures: Annotated[list[Figure], Meta(min_length=1, max_length=5)]
    outputs_root: Sha256


def read_measured(
    value: Any, *, task: str, metric: str, threshold: str, floors: Sequence[Floor], rows: int
) -> Measured:
    """What a sandbox left, checked as if a stranger had sent it.

    Raises:
        InvalidRecord: not the figures that were asked for, of as many rows, each on its grid.
    """
    check_demands(task, metric, threshold, floors)
    found = fit(value, Measured, "assessment")
    text.refuse_hidden(found)
    if found.rows != rows:
        raise contradiction("another number of rows was measured")
    check_figures(metric, threshold, floors, rows, found.figures)
    return found
