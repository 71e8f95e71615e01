"""The network of a federated recipe, and tensors that strangers sent: only what fits it exactly is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from openstall.compute_agent.workloads import network
from openstall.compute_agent.workloads.channel import Fault

GLOBAL: Final = "global.safetensors"
_FIX: Final = "All parties need the weights and the recipe of one and the same round."


def start_network(recipe: dict[str, Any], weights: Path | None) -> torch.nn.Sequential:
    """As the seed makes it, or with these weights. Raises Fault `bad_weights`."""
    outputs = len(recipe["classes"]) or 1
    model = network.build([len(recipe["features"]), *recipe["hidden"], outputs], recipe["seed"])
    if weights is not None:
        own = dict(model.named_parameters())
        with torch.no_grad():
            for name, given in read_like(weights, own).items():
                own[name].copy_(given)
    return model


def read_like(path: Path, own: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """Tensors with the names, shapes and type of `own`, all finite. Raises Fault `bad_weights`."""
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError, ValueError) as error:
        raise Fault("bad_weights", f"{path.name} cannot be read: {str(error)[:200]}.", _FIX) from error
    if set(found) != set(own):
        raise Fault("bad_weights", f"{path.name} holds other tensors than the recipe's network.", _FIX)
    for name, weight in own.items():
        if found[name].shape != weight.shape or found[name].dtype != torch.float32:
            raise Fault("bad_weights", f"{path.name}: {name} has another shape or type.", _FIX)
        if not bool(torch.isfinite(found[name]).all()):
            raise Fault("bad_weights", f"{path.name}: {name} holds NaN or infinity.", _FIX)
    return found


def norm_of(tensors: dict[str, torch.Tensor]) -> float:
    """The Euclidean norm of all of them as one vector."""
    return float(sum((tensor.double() ** 2).sum() for tensor in tensors.values()) ** 0.5)
