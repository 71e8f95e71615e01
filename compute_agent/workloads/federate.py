"""Workload `federate`: one step of federated averaging. Writes `delta.safetensors` and `report.json`.

The recipe declares all that the parties must share: columns and their scale, classes, layers, seed. The
weights to start from come as `global.safetensors`, or from the seed in the first round. What leaves is how
the weights changed, scaled down to the norm that the recipe allows, and facts about the change: nothing of a
single row. The same recipe, data and weights give the same bytes on the same kind of processor.
"""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from openstall.compute_agent.workloads import network
from openstall.compute_agent.workloads.channel import (
    INPUTS,
    OUTPUTS,
    Fault,
    begin,
    decimal,
    log,
    progress,
    run_workload,
    write_json,
)
from openstall.compute_agent.workloads.tables import Table, parse_number, read_table
from openstall.compute_agent.workloads.weights import GLOBAL, norm_of, start_network

_LEAST_ROWS: Final = 10
_FIX: Final = "All parties need the weights and the recipe of one and the same round."


def main(params: dict[str, Any]) -> None:
    """Read, start from the common weights, train, clip, report."""
    network.use_threads(int(os.environ["OPENSTALL_THREADS"]))
    table = read_table(INPUTS / "data.csv", label=params["label"], features=tuple(params["features"]))
    if len(table.values) < _LEAST_ROWS:
        raise Fault("too_few_rows", f"data.csv has {len(table.values)} rows; a step needs {_LEAST_ROWS}.")
    classify = params["task"] == "classification"
    targets = torch.from_numpy(_classes(table, params) if classify else _numbers(table))
    values = torch.from_numpy(_scaled(table.values, params))
    model = start_network(params, INPUTS / GLOBAL if params["resume"] else None)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    loss_of: torch.nn.Module = torch.nn.CrossEntropyLoss() if classify else torch.nn.MSELoss()
    begin()
    first = _loss(model, loss_of, values, targets)
    _train(model, loss_of, values, targets, params)
    last = _loss(model, loss_of, values, targets)
    norm, kept = _write_delta(model, before, float(params["clip"]))
    log(f"{len(values)} rows, loss {decimal(first)} to {decimal(last)}, change {decimal(norm)}")
    write_json(
        "report.json",
        {
            "kind": "federate",
            "task": params["task"],
            "rows": len(values),
            "loss_before": decimal(first),
            "loss_after": decimal(last),
            "norm": decimal(norm),
            "norm_kept": decimal(kept),
            "clipped": norm > kept,
            "recipe": params,
        },
    )


def _classes(table: Table, params: dict[str, Any]) -> npt.NDArray[np.int64]:
    numbers = {name: at for at, name in enumerate(params["classes"])}
    strange = sorted({label for label in table.labels or () if label not in numbers})
    if strange:
        shown = repr(strange[0][:40])
        raise Fault("bad_label", f"data.csv has the class {shown}, which the recipe does not name.", _FIX)
    return np.array([numbers[label] for label in table.labels or ()], dtype=np.int64)


def _numbers(table: Table) -> npt.NDArray[np.float32]:
    values = []
    for row, label in enumerate(table.labels or (), 1):
        number = parse_number(label)
        if number is None:
            raise Fault("bad_label", f"data.csv: row {row}: the label {label[:40]!r} is not a number.")
        values.append(number)
    return np.array(values, dtype=np.float32).reshape(-1, 1)


def _scaled(values: npt.NDArray[np.float32], params: dict[str, Any]) -> npt.NDArray[np.float32]:
    """By the shift and divisor of the recipe: with a scale of one's own the weights mean other things."""
    if not params["mean"]:
        return np.ascontiguousarray(values)
    mean = np.array([float(one) for one in params["mean"]], dtype=np.float32)
    spread = np.array([float(one) for one in params["spread"]], dtype=np.float32)
    return ((values - mean) / spread).astype(np.float32)


def _train(
    model: torch.nn.Sequential,
    loss_of: torch.nn.Module,
    values: torch.Tensor,
    targets: torch.Tensor,
    params: dict[str, Any],
) -> None:
    chance = torch.Generator().manual_seed(params["seed"])
    optimiser = torch.optim.SGD(model.parameters(), lr=float(params["learning_rate"]), momentum=0.9)
    for epoch in range(1, params["epochs"] + 1):
        for picked in torch.randperm(len(values), generator=chance).split(params["batch_size"]):
            optimiser.zero_grad()
            loss = loss_of(model(values[picked]), targets[picked])
            loss.backward()
            optimiser.step()
        progress(epoch, params["epochs"])


def _loss(
    model: torch.nn.Sequential, loss_of: torch.nn.Module, values: torch.Tensor, targets: torch.Tensor
) -> float:
    with torch.no_grad():
        loss = float(loss_of(model(values), targets))
    if not np.isfinite(loss):
        raise Fault(
            "training_diverged",
            "The loss became infinite.",
            "Use a smaller learning rate, and a mean and spread that fit the columns.",
        )
    return loss


def _write_delta(
    model: torch.nn.Sequential, before: dict[str, torch.Tensor], clip: float
) -> tuple[float, float]:
    """The change of all weights, no longer than `clip` in all; its norm before and after that."""
    delta = {name: weight.detach() - before[name] for name, weight in model.named_parameters()}
    norm = norm_of(delta)
    factor = min(1.0, clip / norm) if norm else 1.0
    save_file(
        {name: (change * factor).contiguous() for name, change in delta.items()},
        OUTPUTS / "delta.safetensors",
    )
    return norm, norm * factor


if __name__ == "__main__":
    run_workload(main)
