"""Workload `evaluate`: measure `model.onnx` on labelled `rows.csv`. Writes `report.json` and nothing else.

What a model says about single rows stays inside: the report has figures over all rows, each with the
interval that 95 of 100 such samples would give.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from openstall.compute_agent.workloads import metrics
from openstall.compute_agent.workloads.channel import Fault, log, run_workload, write_json
from openstall.compute_agent.workloads.models import Predictions, Run, run_model, true_values
from openstall.compute_agent.workloads.tables import canonical_label

LEAST_ROWS = 10


def main(params: dict[str, Any]) -> None:
    """Run the model, compare with the right answers, report."""
    run = run_model(params)
    labels = run.table.labels or ()
    if len(labels) < LEAST_ROWS:
        raise Fault("too_few_rows", f"rows.csv has {len(labels)} rows; a figure needs {LEAST_ROWS}.")
    measured = _classes(run, labels) if run.predictions.task == "classification" else _numbers(run, labels)
    for metric in measured:
        log(f"{metric['name']} {metric['value']} ({metric['low']} to {metric['high']})")
    write_json(
        "report.json",
        {
            "kind": "evaluate",
            "task": run.predictions.task,
            "rows": len(labels),
            "features": list(run.table.features),
            "classes": list(run.predictions.classes),
            "metrics": measured,
        },
    )


def numbered(
    said: Predictions, labels: tuple[str, ...]
) -> tuple[metrics.Ints, metrics.Ints, npt.NDArray[np.float64] | None, int]:
    """The right classes and those that a model said, as numbers below the fourth, with its scores.

    There are no scores where labels occur that it has no score for.
    """
    names = [canonical_label(name) for name in said.classes]
    known = {name: at for at, name in enumerate(names)}
    truth = [canonical_label(label) for label in labels]
    answers = [canonical_label(name) for name in said.names]
    for name in [*truth, *answers]:
        known.setdefault(name, len(known))
    scores: npt.NDArray[np.float64] | None = None
    if said.scores is not None and len(known) == len(names):
        scores = said.scores.astype(np.float64)
    return (
        np.array([known[name] for name in truth]),
        np.array([known[name] for name in answers]),
        scores,
        len(known),
    )


def _classes(run: Run, labels: tuple[str, ...]) -> list[metrics.Metric]:
    return metrics.measured_classes(*numbered(run.predictions, labels))


def _numbers(run: Run, labels: tuple[str, ...]) -> list[metrics.Metric]:
    return metrics.measured_numbers(true_values(labels), np.array(run.predictions.names, dtype=np.float64))


if __name__ == "__main__":
    run_workload(main)
