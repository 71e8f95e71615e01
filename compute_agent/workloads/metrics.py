"""Accuracy, macro-F1, RMSE, MAE: the figures that a report carries, as name and decimal string."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openstall.compute_agent.workloads.channel import decimal

Metric = dict[str, str]


def classification(truth: Sequence[str], predicted: Sequence[str]) -> list[Metric]:
    """Share of equal labels, and the unweighted mean of the F1 of every label that occurs."""
    hits = Counter(a for a, b in zip(truth, predicted, strict=True) if a == b)
    real, said = Counter(truth), Counter(predicted)
    scores = [2 * hits[name] / (said[name] + real[name]) for name in real | said]
    right = hits.total()
    return [
        {"name": "accuracy", "value": decimal(right / len(truth))},
        {"name": "macro_f1", "value": decimal(sum(scores) / len(scores))},
    ]


def regression(truth: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]) -> list[Metric]:
    """Root mean square error, mean absolute error."""
    error = predicted - truth
    return [
        {"name": "rmse", "value": decimal(float(np.sqrt(np.mean(error**2))))},
        {"name": "mae", "value": decimal(float(np.mean(np.abs(error))))},
    ]
