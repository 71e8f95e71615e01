"""Parameters of the job that measures a model on sealed rows. Only an evaluator's own node starts it.

What leaves its sandbox is a few rounded figures and a hash, or the answers to the rows that were opened;
its log and its words stay inside, because a model or a row may speak through them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from openstall.market.errors import InvalidRecord
from openstall.market.requests.demands import (
    MOST_OPENED,
    MOST_ROWS,
    Floor,
    Limit,
    MetricName,
    Task,
    check_demands,
)

RESULT_BYTES: Final = 4096
"""The most that an assessment says."""
OPENINGS_BYTES: Final = 1024 * 1024

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class AssessParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measure `model.onnx` on `rows.csv`, whose column `target` has the right answers.

    `salt_seed` stays with the evaluator: from it come the salts of the answers. With `opened` the answers to
    these rows are written, with their proofs, in place of the figures.
    """

    task: Task
    features: Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    target: _Name
    classes: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=256)] = ()
    metric: MetricName
    threshold: Limit
    floors: Annotated[tuple[Floor, ...], msgspec.Meta(max_length=4)] = ()
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    salt_seed: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    opened: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, lt=MOST_ROWS)], ...],
        msgspec.Meta(max_length=MOST_OPENED),
    ] = ()
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 256

    def __post_init__(self) -> None:
        """Refuse demands that contradict themselves, as a schema does."""
        try:
            check_demands(self.task, self.metric, self.threshold, self.floors)
        except InvalidRecord as error:
            raise ValueError(error.message) from error

    def outputs(self) -> dict[str, int]:
        """The one file that the job leaves, and its greatest size."""
        return {"openings.json": OPENINGS_BYTES} if self.opened else {"assessment.json": RESULT_BYTES}


AssessKind = Literal["assess"]
ASSESSING: Final[dict[str, type[AssessParams]]] = {"assess": AssessParams}
SILENT: Final[frozenset[str]] = frozenset({"assess"})
"""Kinds of which no log line, no progress and no word of its own leaves the sandbox."""
SILENT_WORDS: Final[dict[str, str]] = {
    "model_refused": "the model holds what the market does not take",
    "model_not_runnable": "the model cannot be loaded",
    "model_not_tabular": "the model does not take a table",
    "model_failed": "the model fails, or answers with something that is no finite number",
    "columns_mismatch": "the model takes other columns than the request names",
    "wrong_task": "the model answers another sort of question than was asked",
    "no_scores": "the model gives no score for each class, and the metric needs them",
    "output_too_wide": "the model gives more figures for one row than any task needs",
    "bad_csv": "the sealed rows are not as the request describes them",
    "too_few_rows": "there are too few sealed rows, or too few of a class or group",
    "bad_opening": "a row was to be opened that is not there",
}
"""The fixed words for each end of a silent job; any other end is told without a reason."""
