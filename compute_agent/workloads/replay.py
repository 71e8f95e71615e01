"""Workload `replay`: a part of a training again, up to the end of an epoch. Writes `weights.safetensors`.

The same code on the same recipe and data as `train`, begun at the start or at a checkpoint.
"""

from __future__ import annotations

from typing import Any

from openstall.compute_agent.workloads.channel import INPUTS, OUTPUTS, log, progress, run_workload, write_json
from openstall.compute_agent.workloads.tables import read_table
from openstall.compute_agent.workloads.train import plan_training


class _Reached(Exception):
    """The epoch to stop after has ended."""


def main(params: dict[str, Any]) -> None:
    """Train until the epoch is over, and keep the weights as a checkpoint names them."""
    recipe, until = params["recipe"], params["until"]
    table = read_table(INPUTS / "data.csv", label=recipe["label"])
    plan = plan_training(table, recipe).training
    # torch takes a second to import: only for data that can be trained on
    from safetensors.torch import save_file

    from openstall.compute_agent.workloads import network
    from openstall.compute_agent.workloads.checkpoints import Checkpoints

    first = 0

    def on_epoch(epoch: int, _loss: float) -> None:
        nonlocal first
        first = first or epoch
        progress(epoch, until)
        if epoch >= until:
            raise _Reached

    try:
        network.train(plan, Checkpoints({**recipe, "checkpoint_s": 3600}), on_epoch, resume=recipe["resume"])
    except _Reached:
        log(f"epochs {first} to {until} done again")
    weights = {f"weight.{name}": value.detach() for name, value in plan.network.named_parameters()}
    save_file(weights, OUTPUTS / "weights.safetensors")
    steps = (until - first + 1) * -(-len(plan.values) // plan.batch_size)
    write_json("replay.json", {"first": first, "last": until, "steps": steps})


if __name__ == "__main__":
    run_workload(main)
