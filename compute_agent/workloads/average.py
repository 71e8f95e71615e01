"""Workload `average`: the changes of a round's parties, each weighted by its rows, added to the weights.

Writes `global.safetensors` for the next round, `model.onnx` and `report.json`. A change that is longer than
the recipe allows is refused: whoever made it did not follow the recipe.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
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
    run_workload,
    write_json,
)
from openstall.compute_agent.workloads.weights import GLOBAL, norm_of, read_like, start_network

_ROUNDING: Final = 1.0001


def main(params: dict[str, Any]) -> None:
    """Check each change, add them up, export."""
    recipe, rows = params["recipe"], params["rows"]
    network.use_threads(1)
    model = start_network(recipe, INPUTS / GLOBAL if recipe["resume"] else None)
    own = dict(model.named_parameters())
    begin()
    norms = []
    changes = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in own.items()}
    for number, count in enumerate(rows, 1):
        delta = read_like(INPUTS / f"delta-{number}.safetensors", own)
        norms.append(norm_of(delta))
        if norms[-1] > float(recipe["clip"]) * _ROUNDING:
            words = f"The change of party {number} is {decimal(norms[-1])} long"
            raise Fault(
                "too_long",
                f"{words}; the recipe allows {recipe['clip']}.",
                "Leave this party out: it did not follow the recipe.",
            )
        for name, change in delta.items():
            changes[name] += change.double() * (count / sum(rows))
        log(f"party {number}: {count} rows, change {decimal(norms[-1])}")
    with torch.no_grad():
        for name, weight in own.items():
            weight.add_(changes[name].float())
    save_file({name: weight.detach().contiguous() for name, weight in own.items()}, OUTPUTS / GLOBAL)
    classify = recipe["task"] == "classification"
    names = {"classes": list(recipe["classes"])} if classify else {}
    network.export(
        model,
        _scaling(recipe),
        classify=classify,
        target=(0.0, 1.0),
        metadata={
            "task": recipe["task"],
            "features": list(recipe["features"]),
            "label": recipe["label"],
            **names,
        },
    )
    write_json(
        "report.json",
        {
            "kind": "average",
            "parties": [
                {"rows": count, "norm": decimal(norm)} for count, norm in zip(rows, norms, strict=True)
            ],
            "change": decimal(norm_of(changes)),
        },
    )


def _scaling(recipe: dict[str, Any]) -> network.Scaling:
    width = len(recipe["features"])
    mean, spread = recipe["mean"] or ["0"] * width, recipe["spread"] or ["1"] * width
    return network.Scaling(mean=np.array(mean, dtype=np.float32), spread=np.array(spread, dtype=np.float32))


if __name__ == "__main__":
    run_workload(main)
