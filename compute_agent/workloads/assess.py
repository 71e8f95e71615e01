"""Workload `assess`: measure `model.onnx` on sealed rows. Writes a few rounded figures and nothing else.

`assessment.json` holds the figures that were asked for, each rounded to its grid, and the root of a salted
tree over the answers to all rows. With `opened` it writes the answers to those rows instead, each with the
proof that it is in that tree. Only the evaluator, who has the rows anyhow, starts this; it prints nothing.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from openstall.compute_agent.workloads import metrics
from openstall.compute_agent.workloads.channel import INPUTS, OUTPUTS, Fault, begin, decimal, run_workload
from openstall.compute_agent.workloads.evaluate import LEAST_ROWS, numbered
from openstall.compute_agent.workloads.lint import lint_file
from openstall.compute_agent.workloads.models import Predictions, TableModel, open_session, true_values
from openstall.compute_agent.workloads.tables import Table, read_table
from openstall.learning import grid, intervals
from openstall.market import merkle

MOST_SCORES: Final = 256
LEAST_IN_GROUP: Final = 10
MOST_CALLS: Final = 200
WARM_CALLS: Final = 20
MOST_ALONE: Final = 64
"""Rows that are answered once more, each alone."""
TOLERANCE: Final = 2e-4
"""As where opened rows are answered again."""
NUDGE: Final = 0.1
"""Of the standard deviation: how far each feature is moved to see whether an answer holds."""

Floats = npt.NDArray[np.float64]
Told = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One model, the sealed rows, and what it answered to them."""

    params: Mapping[str, Any]
    model: TableModel
    table: Table
    labels: tuple[str, ...]
    said: Predictions

    @property
    def classify(self) -> bool:
        """Whether answers are labels."""
        return bool(self.params["task"] == "classification")


def main(params: dict[str, Any]) -> None:
    """Run the model on every row, then tell the figures, or show the opened answers."""
    model = _model(params)
    table = read_table(INPUTS / "rows.csv", label=params["target"], features=model.features)
    labels = table.labels or ()
    if len(labels) < LEAST_ROWS and not params["opened"]:
        raise Fault("too_few_rows", f"rows.csv has {len(labels)} rows; a figure needs {LEAST_ROWS}.")
    begin()
    work = Work(
        params=params, model=model, table=table, labels=labels, said=_answers(params, model, table.values)
    )
    cells = _cells(work.said)
    seed = bytes.fromhex(params["salt_seed"])
    leaves = [merkle.sealed_leaf(merkle.salt_of(seed, at), row) for at, row in enumerate(cells)]
    root = merkle.root_of(leaves).hex()
    if params["opened"]:
        opened = _opened(params["opened"], cells, leaves, seed)
        _write("openings.json", {"outputs_root": root, "opened": opened})
        return
    _check_alone(work)
    figures = [_figure(work, params["metric"], params["threshold"], "")]
    figures += [_figure(work, floor["name"], floor["limit"], floor["group"]) for floor in params["floors"]]
    _write("assessment.json", {"rows": len(labels), "figures": figures, "outputs_root": root})


def _write(name: str, document: Mapping[str, Any]) -> None:
    """In canonical form: whole numbers and texts only."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    (OUTPUTS / name).write_text(text, "utf-8")


def _model(params: Mapping[str, Any]) -> TableModel:
    path = INPUTS / "model.onnx"
    report = lint_file(path)
    if not report.ok or report.format != "onnx":
        raise Fault("model_refused", "The model is refused.")
    if report.draws:  # no second run, here or elsewhere, would give the same answers
        raise Fault("model_refused", "The model draws random numbers.")
    wanted = tuple(params["features"])
    features = tuple(report.features) or wanted
    if sorted(features) != sorted(wanted):
        raise Fault("columns_mismatch", "The model names other columns than the request.")
    session = open_session(str(path), int(os.environ["OPENSTALL_THREADS"]))
    classes = tuple(report.classes) or tuple(params["classes"])
    model = TableModel(session, features, classes)
    if model.width != len(features):
        raise Fault("columns_mismatch", "The model takes another number of columns than the request names.")
    return model


def _answers(params: Mapping[str, Any], model: TableModel, values: npt.NDArray[np.float32]) -> Predictions:
    """In batches, so that what a model gives too much of is seen after the first."""
    step = params["batch_size"]
    parts: list[Predictions] = []
    for start in range(0, len(values), step):
        part = model.predict(values[start : start + step])
        if part.task != params["task"]:
            raise Fault("wrong_task", f"The model answers a {part.task}.")
        if part.scores is not None and part.scores.shape[1] > MOST_SCORES:
            raise Fault("output_too_wide", f"The model gives {part.scores.shape[1]} figures for one row.")
        if parts and part.classes != parts[0].classes:
            raise Fault("model_failed", "The model changes its classes.")
        parts.append(part)
    scores = [part.scores for part in parts if part.scores is not None]
    return Predictions(
        task=parts[0].task,
        names=[name for part in parts for name in part.names],
        scores=np.concatenate(scores) if len(scores) == len(parts) else None,
        classes=parts[0].classes,
    )


def _check_alone(work: Work) -> None:
    """Whether drawn rows are answered alone as they are among all others.

    Else the figures say nothing of one row, and opened rows that are answered again look made up.
    """
    values, chance = work.table.values, np.random.default_rng([work.params["seed"], len(work.labels)])
    for at in chance.permutation(len(values))[:MOST_ALONE].tolist():
        alone = _answers(work.params, work.model, values[at : at + 1])
        if work.said.scores is not None and alone.scores is not None:
            same = np.allclose(alone.scores[0], work.said.scores[at], rtol=TOLERANCE, atol=TOLERANCE)
        elif work.classify:
            same = alone.names[0] == work.said.names[at]
        else:
            same = math.isclose(
                float(alone.names[0]), float(work.said.names[at]), rel_tol=TOLERANCE, abs_tol=TOLERANCE
            )
        if not same:
            raise Fault("model_failed", "The model answers a row otherwise alone than among others.")


def _cells(said: Predictions) -> list[list[str]]:
    """The answer to each row as texts: the label or the value, then the scores if there are any."""
    if said.scores is None:
        return [[name] for name in said.names]
    return [[name, *map(decimal, row)] for name, row in zip(said.names, said.scores.tolist(), strict=True)]


def _opened(
    wanted: Sequence[int], cells: Sequence[list[str]], leaves: Sequence[bytes], seed: bytes
) -> list[Told]:
    if max(wanted) >= len(cells):
        raise Fault("bad_opening", "There is no such row.")
    return [
        {
            "index": at,
            "cells": cells[at],
            "salt": merkle.salt_of(seed, at).hex(),
            "proof": [part.hex() for part in merkle.inclusion_proof(leaves, at)],
        }
        for at in wanted
    ]


def _figure(work: Work, name: str, limit: str, group: str) -> Told:
    of = grid.grid_of(name, limit)
    match name:
        case "accuracy":
            right, said, _, _ = numbered(work.said, work.labels)
            return _counted(name, of, int(np.count_nonzero(right == said)), len(right))
        case "robustness":
            return _counted(name, of, _holding(work), len(work.labels))
        case "fairness":
            return _fairness(of, limit, work, group)
        case "latency":
            return _latency(of, limit, work)
        case "size":
            size = Fraction((INPUTS / "model.onnx").stat().st_size)
            return _told(name, of, limit, 1, (size, size, size))
        case _:
            return _told(name, of, limit, len(work.labels), _measured(work, name))


def _counted(name: str, of: grid.Grid, hits: int, rows: int) -> Told:
    """A share: what is told of the count is the least one that has the same share on the grid."""
    units = of.down(Fraction(hits, rows))
    least = grid.least_hits(of, units, rows)
    low, high = intervals.wilson(least, rows)
    return {
        "name": name,
        "hits": least,
        "rows": rows,
        "value": of.text(units),
        "low": of.text(of.down(low)),
        "high": of.text(of.up(high)),
    }


def _told(
    name: str, of: grid.Grid, limit: str, rows: int, found: tuple[Fraction, Fraction, Fraction]
) -> Told:
    """A figure and its interval: the figure to its worse side, the interval outwards; far off, coarsely."""
    value, low, high = found
    units = grid.released(name, of, value)
    least, most = min(units, of.down(low)), max(units, of.up(high))
    units, most = (grid.coarse(name, of, one, limit, up=True) for one in (units, most))
    least = grid.coarse(name, of, least, limit, up=False)
    if most > grid.MOST_UNITS:
        raise Fault("model_failed", "An error of the model is beyond every measure.")
    return {
        "name": name,
        "hits": None,
        "rows": rows,
        "value": of.text(units),
        "low": of.text(least),
        "high": of.text(most),
    }


def _measured(work: Work, name: str) -> tuple[Fraction, Fraction, Fraction]:
    if work.classify:
        right, said, scores, count = numbered(work.said, work.labels)
        if name == "auc" and scores is None:
            raise Fault("no_scores", "The model gives no score for each class.")
        figures = metrics.class_figures(right, said, scores, count)
        if name not in figures:
            raise Fault("too_few_rows", "A class has no row.")
    else:
        figures = metrics.number_figures(true_values(work.labels), _numbers(work.said))
    return _exact(metrics.with_interval(figures[name], len(work.labels), seed=work.params["seed"]))


def _exact(found: tuple[float, float, float]) -> tuple[Fraction, Fraction, Fraction]:
    if not all(map(math.isfinite, found)):
        raise Fault("model_failed", "An error of the model is beyond every measure.")
    value, low, high = map(intervals.exact, found)
    return value, low, high


def _numbers(said: Predictions) -> Floats:
    return np.array(said.names, dtype=np.float64)


def _holding(work: Work) -> int:
    """How many answers stay when every feature is moved by seeded noise, a tenth of its own spread."""
    values = work.table.values
    chance = np.random.default_rng(work.params["seed"])
    noise = chance.standard_normal(values.shape) * (NUDGE * values.std(axis=0, dtype=np.float64))
    moved = _answers(work.params, work.model, (values + noise).astype(np.float32))
    if work.classify:
        return sum(one == other for one, other in zip(work.said.names, moved.names, strict=True))
    allowed = NUDGE * float(np.std(true_values(work.labels)))
    return int(np.count_nonzero(np.abs(_numbers(moved) - _numbers(work.said)) <= allowed))


def _fairness(of: grid.Grid, limit: str, work: Work, column: str) -> Told:
    """The widest gap between two groups: of accuracies; of mean errors, as a part of the larger one."""
    named = read_table(INPUTS / "rows.csv", label=column, features=work.model.features).labels or ()
    names, members, sizes = np.unique(np.array(named), return_inverse=True, return_counts=True)
    large = [at for at in range(len(names)) if sizes[at] >= LEAST_IN_GROUP]
    if len(large) < 2:
        raise Fault("too_few_rows", f"Fairness needs two groups of {LEAST_IN_GROUP} rows.")
    kept = np.isin(members, large)
    members, errors = members[kept], _errors(work)[kept]

    def gap(rows: npt.NDArray[np.int64]) -> float:
        which, of_rows = members[rows], errors[rows]
        means = [float(of_rows[which == at].mean()) for at in large if (which == at).any()]
        widest = max(means) - min(means)
        return widest if work.classify or not widest else widest / max(means)

    seed = work.params["seed"]
    found = _exact(metrics.with_interval(gap, len(errors), seed=seed))
    return _told("fairness", of, limit, len(errors), found)


def _errors(work: Work) -> Floats:
    if work.classify:
        right, said, _, _ = numbered(work.said, work.labels)
        wrong: Floats = (right != said).astype(np.float64)
        return wrong
    errors: Floats = np.abs(_numbers(work.said) - true_values(work.labels))
    return errors


def _latency(of: grid.Grid, limit: str, work: Work) -> Told:
    """Milliseconds within which 95 of 100 single rows are answered on this machine."""
    values = work.table.values
    spent: list[float] = []
    for call in range(WARM_CALLS + MOST_CALLS):
        at = call % len(values)
        began = time.perf_counter()
        work.model.predict(values[at : at + 1])
        spent.append((time.perf_counter() - began) * 1000)
    ranked = sorted(spent[WARM_CALLS:])
    return _told("latency", of, limit, MOST_CALLS, _exact(_percentile(ranked, 0.95)))


def _percentile(ranked: Sequence[float], share: float) -> tuple[float, float, float]:
    """The value at a share of the ranks, between those ranks that bound it in 95 of 100 samples."""
    count = len(ranked)
    half = intervals.Z_95 * math.sqrt(count * share * (1 - share))
    place: Callable[[float], float] = lambda at: ranked[max(0, min(count - 1, math.ceil(at) - 1))]  # noqa: E731
    return place(count * share), place(count * share - half), place(count * share + half)


if __name__ == "__main__":
    run_workload(main)
