"""Accuracy, macro-F1, AUC, RMSE, MAE: the figures that a report carries, as name and decimal string."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from openstall.compute_agent.workloads.channel import decimal

Metric = dict[str, str]
Ints = npt.NDArray[np.int64]
Figure = Callable[[Ints], float]
_RESAMPLES: Final = 500
_SEED: Final = 20261128


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


def measured_classes(
    truth: Ints, said: Ints, scores: npt.NDArray[np.float64] | None, count: int
) -> list[Metric]:
    """Accuracy, macro-F1 and, with a score for each class, the area under the ROC curve; with intervals."""
    return _with_intervals(class_figures(truth, said, scores, count), len(truth))


def measured_numbers(truth: npt.NDArray[np.float64], said: npt.NDArray[np.float64]) -> list[Metric]:
    """RMSE and MAE with intervals."""
    return _with_intervals(number_figures(truth, said), len(truth))


def class_figures(
    truth: Ints, said: Ints, scores: npt.NDArray[np.float64] | None, count: int
) -> Mapping[str, Figure]:
    """Each figure of a classification as a function of the rows that it is taken over.

    `truth` and `said` are class numbers below `count`, one a row; `scores` is [rows, count]. There is no
    `auc` without scores, or where a class has no row.
    """
    figures: dict[str, Figure] = {
        "accuracy": lambda rows: float(np.mean(truth[rows] == said[rows])),
        "macro_f1": lambda rows: _macro_f1(truth[rows], said[rows], count),
    }
    if scores is not None and len(np.unique(truth)) == count:
        given = scores
        figures["auc"] = lambda rows: _auc(truth[rows], given[rows], count)
    return figures


def number_figures(truth: npt.NDArray[np.float64], said: npt.NDArray[np.float64]) -> Mapping[str, Figure]:
    """RMSE and MAE as functions of the rows that they are taken over."""
    return {
        "rmse": lambda rows: float(np.sqrt(np.mean((said[rows] - truth[rows]) ** 2))),
        "mae": lambda rows: float(np.mean(np.abs(said[rows] - truth[rows]))),
    }


def with_interval(figure: Figure, count: int, *, seed: int) -> tuple[float, float, float]:
    """The figure over all rows, and its 2.5 and 97.5 percentile over resampled rows.

    The percentile bootstrap of Efron (1979), seeded, so that a report can be made again.
    """
    return _interval(figure, _draws(count, seed))


def _draws(count: int, seed: int) -> list[Ints]:
    chance = np.random.default_rng(seed)
    return [chance.integers(0, count, count) for _ in range(_RESAMPLES)]


def _interval(figure: Figure, draws: Sequence[Ints]) -> tuple[float, float, float]:
    low, high = np.nanpercentile(np.array([figure(rows) for rows in draws]), [2.5, 97.5])
    return figure(np.arange(len(draws[0]))), float(low), float(high)


def _with_intervals(figures: Mapping[str, Figure], count: int) -> list[Metric]:
    draws = _draws(count, _SEED)
    found = []
    for name, figure in figures.items():
        value, low, high = map(decimal, _interval(figure, draws))
        found.append({"name": name, "value": value, "low": low, "high": high})
    return found


def _macro_f1(truth: Ints, said: Ints, count: int) -> float:
    hits = np.bincount(truth[truth == said], minlength=count)
    total = np.bincount(truth, minlength=count) + np.bincount(said, minlength=count)
    return float(np.mean(2 * hits[total > 0] / total[total > 0]))


def _auc(truth: Ints, scores: npt.NDArray[np.float64], count: int) -> float:
    """One class against the rest, averaged over the classes that have rows (Hand and Till's M is pairwise).

    NaN where a resample holds one class only. By ranks (Mann-Whitney), ties sharing theirs.
    """
    areas = []
    for number in range(1 if count == 2 else 0, count):
        mine = truth == number
        positive, negative = int(mine.sum()), int((~mine).sum())
        if positive and negative:
            _, places, sizes = np.unique(scores[:, number], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[places]
            areas.append((ranks[mine].sum() - positive * (positive + 1) / 2) / (positive * negative))
    return float(np.mean(areas)) if areas else float("nan")
