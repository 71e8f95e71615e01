"""Workload `infer`: run `model.onnx` on `rows.csv`. Writes `predictions.csv` and `report.json`."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np

from openstall.compute_agent.workloads import metrics
from openstall.compute_agent.workloads.channel import OUTPUTS, decimal, log, run_workload, write_json
from openstall.compute_agent.workloads.models import Predictions, Run, run_model, true_values
from openstall.compute_agent.workloads.tables import canonical_label


def main(params: dict[str, Any]) -> None:
    """Run the model, write what it says, and compare if a label was named."""
    run = run_model(params)
    _write_predictions(run.predictions)
    write_json("report.json", _report(run))
    log(f"{len(run.predictions.names)} predictions written")


def _write_predictions(predictions: Predictions) -> None:
    with (OUTPUTS / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        scored = predictions.scores is not None
        writer.writerow(["row", "prediction", *(f"score {name}" for name in predictions.classes if scored)])
        for at, name in enumerate(predictions.names):
            scores = predictions.scores[at] if predictions.scores is not None else ()
            writer.writerow([at + 1, name, *(decimal(float(score)) for score in scores)])


def _report(run: Run) -> dict[str, Any]:
    table, predictions = run.table, run.predictions
    measured: list[metrics.Metric] = []
    if table.labels is not None and predictions.task == "classification":
        truth = [canonical_label(label) for label in table.labels]
        measured = metrics.classification(truth, [canonical_label(name) for name in predictions.names])
    elif table.labels is not None:
        said = np.array(predictions.names, dtype=np.float64)
        measured = metrics.regression(true_values(table.labels), said)
    for metric in measured:
        log(f"{metric['name']} {metric['value']}")
    return {
        "kind": "infer",
        "task": predictions.task,
        "rows": len(predictions.names),
        "features": list(table.features),
        "classes": list(predictions.classes),
        "named_columns": bool(run.lint.features),
        "metrics": measured,
    }


if __name__ == "__main__":
    run_workload(main)
