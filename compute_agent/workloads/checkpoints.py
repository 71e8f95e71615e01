"""The state of a training run as a safetensors file, so that another machine can go on with it.

A resumed run is the same run: weights, both moments of Adam, the learning rate and the state of the
random generator are restored exactly, so that its model equals that of an uninterrupted run on the
same kind of processor.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from openstall.compute_agent.workloads.channel import INPUTS, OUTPUTS, Fault, checkpoint

NAME: Final = "checkpoint.safetensors"
_SLOTS: Final = ("checkpoint0.safetensors", "checkpoint1.safetensors")
_SHARE: Final = 20
"""Of the time, one part in so many at most goes into writing."""


def recipe_digest(params: dict[str, Any]) -> str:
    """What a checkpoint belongs to: the recipe and the data, whoever runs it."""
    recipe = {name: value for name, value in params.items() if name not in ("resume", "checkpoint_s")}
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    with (INPUTS / "data.csv").open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Checkpoints:
    """Writes the state of a run every few seconds, and reads the state that a run begins with."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._recipe = recipe_digest(params)
        self._gap_s: int = params["checkpoint_s"]
        self._slot = 0
        self._next: float = time.monotonic() + self._gap_s

    def due(self) -> bool:
        """Whether it is time for one."""
        return time.monotonic() >= self._next

    def save(
        self,
        epoch: int,
        network: torch.nn.Module,
        optimiser: torch.optim.Adam,
        chance: torch.Generator,
        losses: list[float],
    ) -> None:
        """Write the state after `epoch`, in two files by turns: one is copied away, the other is written."""
        began = time.monotonic()
        tensors = {"random": chance.get_state(), "losses": torch.tensor(losses, dtype=torch.float64)}
        for name, parameter in network.named_parameters():
            state = optimiser.state[parameter]
            tensors[f"weight.{name}"] = parameter.detach()
            tensors[f"mean.{name}"] = state["exp_avg"]
            tensors[f"square.{name}"] = state["exp_avg_sq"]
            tensors[f"step.{name}"] = state["step"]
        rate = float(optimiser.param_groups[0]["lr"])
        facts = {"recipe": self._recipe, "epoch": str(epoch), "rate": rate.hex()}
        save_file(tensors, OUTPUTS / _SLOTS[self._slot], metadata=facts)
        checkpoint(self._slot, epoch)
        self._slot = 1 - self._slot
        now = time.monotonic()
        self._next = now + max(self._gap_s, _SHARE * (now - began))

    def load(
        self,
        network: torch.nn.Module,
        optimiser: torch.optim.Adam,
        schedule: torch.optim.lr_scheduler.CosineAnnealingLR,
        chance: torch.Generator,
    ) -> tuple[int, list[float]]:
        """Restore the state of the input file; the epoch it was written after, and the losses so far.

        Raises:
            Fault: the file belongs to another run, or is damaged.
        """
        try:
            with safe_open(INPUTS / NAME, framework="pt") as file:
                facts = file.metadata() or {}
                if facts.get("recipe") != self._recipe:
                    raise _unfit("it belongs to another recipe or other data")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            epoch, rate = int(facts["epoch"]), float.fromhex(facts["rate"])
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    parameter.copy_(_like(parameter, tensors[f"weight.{name}"]))
                    optimiser.state[parameter] = {
                        "step": tensors[f"step.{name}"].reshape(()),
                        "exp_avg": _like(parameter, tensors[f"mean.{name}"]),
                        "exp_avg_sq": _like(parameter, tensors[f"square.{name}"]),
                    }
            chance.set_state(tensors["random"])
            losses = [float(loss) for loss in tensors["losses"]]
        except (KeyError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
            raise _unfit("it is damaged") from error
        if not 0 < epoch == len(losses):
            raise _unfit("its count of epochs is wrong")
        optimiser.param_groups[0]["lr"] = rate
        schedule.last_epoch = epoch
        return epoch, losses

    def clear(self) -> None:
        """Remove what was written: a finished run leaves its model only."""
        for name in _SLOTS:
            Path(OUTPUTS / name).unlink(missing_ok=True)


def _like(parameter: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    if found.shape != parameter.shape or found.dtype != parameter.dtype:
        raise ValueError("another shape")
    return found.to(parameter.device)


def _unfit(words: str) -> Fault:
    return Fault(
        "bad_checkpoint",
        f"The checkpoint cannot be used: {words}.",
        "Send the job without it: it then starts from the beginning.",
    )
