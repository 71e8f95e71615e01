"""What runs an ONNX model on a table: the checks before it, the batches, and what its answers mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from openstall.compute_agent.workloads.channel import (
    INPUTS,
    Fault,
    begin,
    decimal,
    is_memory_error,
    log,
    progress,
)
from openstall.compute_agent.workloads.findings import Report, shown
from openstall.compute_agent.workloads.lint import lint_file
from openstall.compute_agent.workloads.tables import Table, canonical_label, parse_number, read_table

_HALF: Final = 0.5
_REASON_CHARS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """`names` are predicted labels or decimal values, one per row; `scores` per class, if there are any."""

    task: str
    names: list[str]
    scores: npt.NDArray[np.float32] | None
    classes: tuple[str, ...]


def open_session(path: str, threads: int) -> onnxruntime.InferenceSession:
    """A plain CPU session. Raises Fault `model_not_runnable` with the runtime's words."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common base class of its own
        if is_memory_error(error):
            raise MemoryError from error
        raise Fault(
            "model_not_runnable",
            f"The model cannot be loaded: {shown(str(error), length=_REASON_CHARS)}",
            "Ask the seller for a model that runs in onnxruntime on a CPU.",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A model that was run on all rows of a table."""

    table: Table
    predictions: Predictions
    lint: Report


def run_model(params: dict[str, Any]) -> Run:
    """Lint, load, check the rows against the model, predict in batches.

    Raises:
        Fault: the model is refused or fails, or the rows do not fit it.
    """
    report = lint_file(INPUTS / "model.onnx")
    if not report.ok or report.format != "onnx":
        words = report.first_error() or f"it is a {report.format} file; a job runs ONNX."
        raise Fault("model_refused", f"The model is refused: {words}", "Nothing of it was run.")
    session = open_session(str(INPUTS / "model.onnx"), int(os.environ["OPENSTALL_THREADS"]))
    width = _input_width(session)
    features = tuple(report.features) or None
    table = read_table(INPUTS / "rows.csv", label=params["label"], features=features)
    if width is not None and width != len(table.features):
        raise Fault(
            "columns_mismatch",
            f"rows.csv has {len(table.features)} feature columns; the model takes {width}.",
            "Remove columns that are not features, and name the label column if there is one.",
        )
    begin()
    log(f"{len(table.values)} rows, {len(table.features)} features")
    predictions = _interpret(
        _predict(session, table.values, params["batch_size"], progress), tuple(report.classes)
    )
    return Run(table=table, predictions=predictions, lint=report)


class TableModel:
    """A model of tables that stays loaded, for rows that come one by one."""

    def __init__(
        self, session: onnxruntime.InferenceSession, features: tuple[str, ...], classes: tuple[str, ...]
    ) -> None:
        """Raises Fault `model_not_tabular` for a model that takes something else."""
        self._session = session
        self._classes = classes
        self.features = features
        self.width = _input_width(session) or len(features) or None

    def predict(self, values: npt.NDArray[np.float32]) -> Predictions:
        """Predictions for float32 [rows, columns]. Raises Fault `model_failed`."""
        return _interpret(_predict(self._session, values, len(values)), self._classes)


def true_values(labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """The right answers of a regression. Fault `bad_csv` where one is no number."""
    numbers = [parse_number(label) for label in labels]
    for row, number in enumerate(numbers, 1):
        if number is None:
            raise Fault("bad_csv", f"rows.csv: row {row}: the label is not a number.", "Correct the file.")
    return np.array(numbers, dtype=np.float64)


def _input_width(session: onnxruntime.InferenceSession) -> int | None:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
        raise Fault(
            "model_not_tabular",
            "The model does not take one float32 table [rows, features], so it cannot be run on a CSV.",
            "Pick a model whose page says that it takes a table.",
        )
    width = inputs[0].shape[1]
    return width if isinstance(width, int) else None


def _predict(
    session: onnxruntime.InferenceSession,
    values: npt.NDArray[np.float32],
    batch_size: int,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[npt.NDArray[Any]]:
    name = session.get_inputs()[0].name
    batch = session.get_inputs()[0].shape[0]
    step = batch if isinstance(batch, int) and batch > 0 else batch_size
    total = len(values)
    parts: list[list[npt.NDArray[Any]]] = []
    for start in range(0, total, step):
        rows = values[start : start + step]
        short = step - len(rows) if isinstance(batch, int) and batch > 0 else 0
        fed = np.concatenate([rows, np.repeat(rows[-1:], short, axis=0)]) if short else rows
        try:
            answers = session.run(None, {name: fed})
        except Exception as error:  # as in open_session
            if is_memory_error(error):
                raise MemoryError from error
            raise Fault(
                "model_failed",
                f"The model failed on rows from {start + 1}: {shown(str(error), length=_REASON_CHARS)}",
            ) from error
        parts.append([a[: len(rows)] for a in answers if isinstance(a, np.ndarray) and len(a) == len(fed)])
        tell(min(start + step, total), total)
    if not parts[0] or any(len(part) != len(parts[0]) for part in parts):
        raise Fault("model_failed", "The model gives no output with one value per row.")
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def _interpret(answers: Sequence[npt.NDArray[Any]], classes: tuple[str, ...]) -> Predictions:
    """Class scores, class labels or one value per row, told apart by shape and type."""
    for answer in answers:
        if answer.ndim == 2 and answer.shape[1] > 1 and answer.dtype.kind == "f":
            _require_finite(answer)
            count = answer.shape[1]
            names = classes if len(classes) == count else tuple(str(n) for n in range(count))
            picked = [names[at] for at in answer.argmax(axis=1)]
            scores = answer.astype(np.float32)
            return Predictions(task="classification", names=picked, scores=scores, classes=names)
    for answer in answers:
        flat = answer.reshape(len(answer), -1)
        if flat.shape[1] != 1:
            continue
        column = flat[:, 0]
        if column.dtype.kind in "iuOUS":
            labels = [canonical_label(shown(str(value))) for value in column]
            return Predictions(task="classification", names=labels, scores=None, classes=classes)
        if column.dtype.kind == "f":
            _require_finite(column)
            if len(classes) == 2:
                picked = [classes[int(value >= _HALF)] for value in column]
                return Predictions(task="classification", names=picked, scores=None, classes=classes)
            values = [decimal(float(value)) for value in column]
            return Predictions(task="regression", names=values, scores=None, classes=())
    raise Fault("model_failed", "Its outputs are neither class scores, labels, nor one value per row.")


def _require_finite(values: npt.NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        row = int(np.nonzero(~np.isfinite(values))[0][0]) + 1
        raise Fault("model_failed", f"The model answers NaN or infinity on row {row}.")
