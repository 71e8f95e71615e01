"""What a request demands of a model: a metric with a threshold, and floors beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from openstall.learning import grid
from openstall.market.errors import InvalidRecord

LEAST_ROWS: Final = 10
MOST_ROWS: Final = 10_000_000
MOST_OPENED: Final = 64
"""Rows whose answers an evaluator shows at once."""

Task = Literal["classification", "regression"]
MetricName = Literal["accuracy", "macro_f1", "auc", "rmse", "mae"]
FloorName = Literal["robustness", "fairness", "latency", "size"]
FigureName = Literal[MetricName, FloorName]
Limit = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,6})?\Z")]
"""Zero or more, at most six decimals."""
METRICS_OF: Final[dict[str, frozenset[str]]] = {
    "classification": frozenset({"accuracy", "macro_f1", "auc"}),
    "regression": frozenset({"rmse", "mae"}),
}


class Floor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second demand beside the metric; `group` is the column of the groups for `fairness`, else empty."""

    name: FloorName
    limit: Limit
    group: Annotated[str, Meta(max_length=200)]


def check_demands(task: str, metric: str, threshold: str, floors: Sequence[Floor]) -> None:
    """Whether the metric fits the task, and each demand has one meaning.

    Raises:
        InvalidRecord: `bad_figures`.
    """
    if metric not in METRICS_OF[task]:
        raise contradiction(f"{metric} is no metric of a {task}")
    if len({floor.name for floor in floors}) != len(floors):
        raise contradiction("one floor is named twice")
    if any((floor.name == "fairness") != bool(floor.group) for floor in floors):
        raise contradiction("fairness names the column of its groups, and nothing else does")
    for name, limit in demands_of(metric, threshold, floors):
        grid_of(name, limit)


def demands_of(metric: str, threshold: str, floors: Sequence[Floor]) -> list[tuple[str, str]]:
    """Each figure that is asked for, with its limit, in the order in which they are told."""
    return [(metric, threshold), *((floor.name, floor.limit) for floor in floors)]


def grid_of(name: str, limit: str) -> grid.Grid:
    """The grid of a figure.

    Raises:
        InvalidRecord: `bad_figures`.
    """
    try:
        return grid.grid_of(name, limit)
    except ValueError as error:
        raise contradiction(str(error)) from error


def contradiction(words: str) -> InvalidRecord:
    """The error for demands or figures that do not fit one another."""
    return InvalidRecord(
        "bad_figures",
        f"The figures contradict one another: {words}.",
        "Do not act on them; ask for others.",
    )
