"""Self-test: import every library of the runtime, learn a little with it, write the versions."""

from __future__ import annotations

from typing import Any

from openstall.compute_agent.workloads.channel import Fault, run_workload, write_json


def main(_params: dict[str, Any]) -> None:
    """Load and use numpy, onnx, onnxruntime, safetensors and torch."""
    import numpy as np
    import onnx
    import onnxruntime
    import safetensors
    import torch

    from openstall.compute_agent.workloads import network

    network.use_threads(1)
    learner = network.build([8, 1], seed=1)
    ones = torch.ones(8, 8)
    learner(ones).sum().backward()
    torch.optim.Adam(learner.parameters()).step()
    if float((ones @ ones).sum()) != 8.0 * 8.0 * 8.0:
        raise Fault("runtime_wrong", "torch computes wrong results on this machine.")
    modules = (np, onnx, onnxruntime, safetensors, torch)
    write_json("versions.json", {module.__name__: module.__version__ for module in modules})


if __name__ == "__main__":
    run_workload(main)
