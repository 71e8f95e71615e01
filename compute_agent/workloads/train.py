"""Workload `train`: a declared recipe on `data.csv`. Writes `model.onnx` and `report.json`."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from openstall.compute_agent.workloads import metrics
from openstall.compute_agent.workloads.channel import (
    INPUTS,
    Fault,
    decimal,
    log,
    progress,
    run_workload,
    write_json,
)
from openstall.compute_agent.workloads.tables import Table, parse_number, read_table

if TYPE_CHECKING:
    from openstall.compute_agent.workloads import network

_CLASSES_CAP: Final = 1000
_LEAST_ROWS: Final = 10
_LOG_EVERY_S: Final = 0.25
_CURVE_POINTS: Final = 100

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the network learns: class numbers, or values standardised by `scale` (mean, spread)."""

    values: npt.NDArray[Any]
    classes: tuple[str, ...]
    scale: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A training before its first step, and what its export and report need."""

    training: network.Training
    scaling: network.Scaling
    train_rows: Indices
    test_rows: Indices
    targets: Targets


def plan_training(table: Table, params: dict[str, Any]) -> Plan:
    """Everything that follows from recipe and data alone: the split, the scaling, the first weights."""
    classify = params["task"] == "classification"
    train_rows, test_rows, targets = prepare(table, params, classify=classify)
    # torch takes a second to import: only for data that can be trained on
    from openstall.compute_agent.workloads import network

    network.use_threads(int(os.environ["OPENSTALL_THREADS"]))
    scaling = network.Scaling.learn(table.values[train_rows], wanted=params["standardise"])
    model = network.build(
        [len(table.features), *params["hidden"], len(targets.classes) if classify else 1], params["seed"]
    )
    training = network.Training(
        network=model,
        values=scaling.apply(table.values[train_rows]),
        targets=targets.values[train_rows],
        classify=classify,
        epochs=params["epochs"],
        learning_rate=float(params["learning_rate"]),
        batch_size=params["batch_size"],
        seed=params["seed"],
        standardised=params["standardise"],
    )
    return Plan(
        training=training, scaling=scaling, train_rows=train_rows, test_rows=test_rows, targets=targets
    )


def main(params: dict[str, Any]) -> None:
    """Read, split, train, export, verify, report."""
    table = read_table(INPUTS / "data.csv", label=params["label"])
    plan = plan_training(table, params)
    from openstall.compute_agent.workloads import network

    classify, targets, scaling = plan.training.classify, plan.targets, plan.scaling
    log(
        f"{len(plan.train_rows)} rows to train, {len(plan.test_rows)} to test, {len(table.features)} features"
        + (f", {len(targets.classes)} classes" if classify else "")
    )
    curve = _train(plan.training, params)
    network.export(
        plan.training.network,
        scaling,
        classify=classify,
        target=targets.scale,
        metadata={
            "task": params["task"],
            "features": list(table.features),
            "label": params["label"],
            **({"classes": list(targets.classes)} if classify else {}),
        },
    )
    answers = network.compare(
        plan.training.network,
        scaling,
        np.ascontiguousarray(table.values[plan.test_rows]),
        classify=classify,
        target=targets.scale,
        threads=int(os.environ["OPENSTALL_THREADS"]),
    )
    found = report(table, plan.train_rows, plan.test_rows, targets, answers, classify=classify)
    write_json("report.json", {**found, "recipe": params, "loss_curve": curve})


def prepare(table: Table, params: dict[str, Any], *, classify: bool) -> tuple[Indices, Indices, Targets]:
    """The rows to train on, those to test on, and what is learnt."""
    labels = table.labels or ()
    if len(labels) < _LEAST_ROWS:
        raise Fault("too_few_rows", f"data.csv has {len(labels)} rows; training needs {_LEAST_ROWS}.")
    chance = np.random.default_rng(params["seed"])
    fraction = float(params["test_fraction"])
    if not classify:
        return _prepare_regression(labels, chance, fraction)
    classes = _classes(labels)
    numbers = {name: at for at, name in enumerate(classes)}
    values = np.array([numbers[label] for label in labels], dtype=np.int64)
    train_rows, test_rows = _split_by_class(values, len(classes), chance, fraction)
    return train_rows, test_rows, Targets(values=values, classes=classes, scale=(0.0, 1.0))


def _classes(labels: tuple[str, ...]) -> tuple[str, ...]:
    """All labels in a stable order: numbers by value, then text."""
    counts = Counter(labels)
    if not 2 <= len(counts) <= _CLASSES_CAP:
        raise Fault(
            "bad_label",
            f"The label column has {len(counts)} different values; classification needs 2 to {_CLASSES_CAP}.",
            "Pick another label column, or train a regression.",
        )

    def order(name: str) -> tuple[int, float, str]:
        number = parse_number(name)
        return (1, 0.0, name) if number is None else (0, number, name)

    classes = tuple(sorted(counts, key=order))
    rare = [name for name in classes if counts[name] < 2]
    if rare:
        raise Fault("bad_label", f"The class {rare[0]!r} has a single row; every class needs two or more.")
    return classes


def _split_by_class(
    values: npt.NDArray[np.int64], count: int, chance: np.random.Generator, fraction: float
) -> tuple[Indices, Indices]:
    train_parts, test_parts = [], []
    for number in range(count):
        rows = chance.permutation(np.nonzero(values == number)[0])
        held = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
        test_parts.append(rows[:held])
        train_parts.append(rows[held:])
    return np.sort(np.concatenate(train_parts)), np.sort(np.concatenate(test_parts))


def _prepare_regression(
    labels: tuple[str, ...], chance: np.random.Generator, fraction: float
) -> tuple[Indices, Indices, Targets]:
    numbers = []
    for row, label in enumerate(labels, 1):
        number = parse_number(label)
        if number is None:
            raise Fault(
                "bad_label",
                f"data.csv: row {row}: the label {label[:40]!r} is not a number.",
                "Correct the file, or train a classification.",
            )
        numbers.append(number)
    rows = chance.permutation(len(numbers))
    held = min(max(round(len(rows) * fraction), 1), len(rows) - 2)
    train_rows, test_rows = np.sort(rows[held:]), np.sort(rows[:held])
    exact = np.array(numbers, dtype=np.float64)
    mean, spread = float(exact[train_rows].mean()), float(exact[train_rows].std()) or 1.0
    values = ((exact - mean) / spread).astype(np.float32).reshape(-1, 1)
    return train_rows, test_rows, Targets(values=values, classes=(), scale=(mean, spread))


def _train(plan: network.Training, params: dict[str, Any]) -> list[str]:
    """Train with progress and log lines; the loss after each of up to a hundred epochs."""
    epochs = plan.epochs
    from openstall.compute_agent.workloads import network
    from openstall.compute_agent.workloads.checkpoints import Checkpoints

    first = True
    last_line = time.monotonic()

    def on_epoch(epoch: int, loss: float) -> None:
        nonlocal last_line, first
        progress(epoch, epochs)
        if first and params["resume"]:
            log(f"goes on from a checkpoint after epoch {epoch - 1}")
        now = time.monotonic()
        if first or epoch == epochs or now - last_line >= _LOG_EVERY_S:
            last_line = now
            log(f"epoch {epoch}/{epochs} loss {decimal(loss)}")
        first = False

    losses = network.train(plan, Checkpoints(params), on_epoch, resume=params["resume"])
    picked = np.unique(np.linspace(0, len(losses) - 1, min(len(losses), _CURVE_POINTS)).round().astype(int))
    return [decimal(losses[at]) for at in picked]


def report(
    table: Table,
    train_rows: Indices,
    test_rows: Indices,
    targets: Targets,
    answers: npt.NDArray[np.float32],
    *,
    classify: bool,
) -> dict[str, Any]:
    """What the test rows say of a model that gives these answers on them."""
    if classify:
        truth = [targets.classes[at] for at in targets.values[test_rows]]
        said = [targets.classes[at] for at in answers.argmax(axis=1)]
        measured = metrics.classification(truth, said)
        common = int(np.bincount(targets.values[train_rows]).argmax())
        baseline = metrics.classification(truth, [targets.classes[common]] * len(truth))
    else:
        mean, spread = targets.scale
        truth_values = targets.values[test_rows, 0].astype(np.float64) * spread + mean
        measured = metrics.regression(truth_values, answers[:, 0].astype(np.float64))
        baseline = metrics.regression(truth_values, np.full(len(test_rows), mean))
    for metric in measured:
        log(f"test {metric['name']} {metric['value']}")
    return {
        "kind": "train",
        "task": "classification" if classify else "regression",
        "rows_train": len(train_rows),
        "rows_test": len(test_rows),
        "features": list(table.features),
        "classes": list(targets.classes),
        "metrics": measured,
        "baseline": baseline,
    }


if __name__ == "__main__":
    run_workload(main)
