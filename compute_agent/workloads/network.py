"""A small multilayer perceptron: trained by torch, exported node by node, compared with onnxruntime."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto, checker, helper, numpy_helper

from openstall.compute_agent.workloads.channel import OUTPUTS, Fault, begin
from openstall.compute_agent.workloads.checkpoints import Checkpoints
from openstall.compute_agent.workloads.devices import best_device

_OPSET: Final = 17
_IR_VERSION: Final = 8
_TOLERANCE: Final = 1e-4
_WEIGHT_DECAY: Final = 1e-3
# Gaussian noise on standardised inputs while training: over six splits of a 569-row set it lifted the
# worst test accuracy from 0.929 to 0.956 and the mean from 0.975 to 0.979
_INPUT_NOISE: Final = 0.3
_COMPARED_ROWS: Final = 512

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Per-column shift and divisor; learnt from the training rows only."""

    mean: Floats
    spread: Floats

    @classmethod
    def learn(cls, values: Floats, *, wanted: bool) -> Scaling:
        """Mean and standard deviation (1 for constant columns), or the identity."""
        if not wanted:
            width = values.shape[1]
            return cls(mean=np.zeros(width, np.float32), spread=np.ones(width, np.float32))
        exact = values.astype(np.float64)
        spread = exact.std(axis=0)
        spread[spread < 1e-12] = 1.0
        return cls(mean=exact.mean(axis=0).astype(np.float32), spread=spread.astype(np.float32))

    def apply(self, values: Floats) -> Floats:
        """As the exported model does it, in float32."""
        return (values - self.mean) / self.spread


def _without_compiler() -> None:
    """Keep torch from loading its compiler, which the first optimiser does only to say that it needs none.

    That would take two seconds of each training. The two functions are all that an optimiser of torch 2.13
    calls; the self-test (`versions`) takes a step with one.
    """
    compiler = ModuleType("torch._dynamo")
    vars(compiler).update(disable=lambda wrapped, *_, **__: wrapped, graph_break=lambda: None)
    sys.modules.setdefault(compiler.__name__, compiler)


def use_threads(threads: int) -> None:
    """Set torch to `threads` and to operations that give the same result every time."""
    _without_compiler()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for to be deterministic
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, without loading a compiler


def build(sizes: list[int], seed: int) -> torch.nn.Sequential:
    """Linear layers with ReLU between them, initialised from `seed`."""
    torch.manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for at, (before, after) in enumerate(pairwise(sizes)):
        layers += [torch.nn.ReLU()] if at else []
        layers.append(torch.nn.Linear(before, after))
    return torch.nn.Sequential(*layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """`targets` are class numbers (int64) or standardised values (float32 [rows, 1])."""

    network: torch.nn.Sequential
    values: Floats
    targets: npt.NDArray[Any]
    classify: bool
    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    standardised: bool


def train(
    plan: Training, checkpoints: Checkpoints, on_epoch: Callable[[int, float], None], *, resume: bool
) -> list[float]:
    """Adam over shuffled batches; `on_epoch(number, mean loss)` after each epoch. The mean loss of each.

    `resume` goes on from the checkpoint among the inputs. On a graphics processor if the job rents one; what
    is drawn at random is drawn on the processor, so that both learn from the same rows in the same order.
    """
    device = best_device()
    plan.network.to(device)
    inputs, targets = torch.from_numpy(plan.values).to(device), torch.from_numpy(plan.targets).to(device)
    loss_of = torch.nn.CrossEntropyLoss() if plan.classify else torch.nn.MSELoss()
    optimiser = torch.optim.Adam(plan.network.parameters(), lr=plan.learning_rate, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=plan.epochs)
    chance = torch.Generator().manual_seed(plan.seed)
    begun = 0
    losses: list[float] = []
    if resume:
        begun, losses = checkpoints.load(plan.network, optimiser, schedule, chance)
    begin()
    plan.network.train()
    for epoch in range(begun + 1, plan.epochs + 1):
        total = 0.0
        order = torch.randperm(len(inputs), generator=chance)
        for picked in order.to(device).split(plan.batch_size):
            optimiser.zero_grad()
            rows = inputs[picked]
            if plan.standardised:
                rows = rows + _INPUT_NOISE * torch.randn(rows.shape, generator=chance).to(device)
            loss = loss_of(plan.network(rows), targets[picked])
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(picked)
        schedule.step()
        mean = total / len(inputs)
        if not np.isfinite(mean):
            raise Fault(
                "training_diverged",
                f"The loss became infinite in epoch {epoch}.",
                "Use a smaller learning rate, and let the data be standardised.",
            )
        losses.append(mean)
        on_epoch(epoch, mean)
        if epoch < plan.epochs and checkpoints.due():
            checkpoints.save(epoch, plan.network, optimiser, chance, losses)
    plan.network.cpu().eval()
    checkpoints.clear()
    return losses


def evaluate(network: torch.nn.Sequential, values: Floats, *, classify: bool) -> Floats:
    """Class probabilities, or the standardised value."""
    with torch.no_grad():
        raw = network(torch.from_numpy(values))
        answer: Floats = (torch.softmax(raw, dim=1) if classify else raw).numpy()
    return answer


def export(
    network: torch.nn.Sequential,
    scaling: Scaling,
    *,
    classify: bool,
    target: tuple[float, float],
    metadata: dict[str, Any],
) -> None:
    """Write `model.onnx`: scaling, layers and softmax (or the target's own scale) in one graph.

    `target` is the mean and spread that regression values were standardised with.
    """
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["shifted"]),
        helper.make_node("Div", ["shifted", "spread"], ["h0"]),
    ]
    weights = {"mean": scaling.mean, "spread": scaling.spread}
    for at, layer in enumerate(linear):
        last = at == len(linear) - 1
        weight, bias = layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()
        if last and not classify:
            weight, bias = (
                weight * np.float32(target[1]),
                bias * np.float32(target[1]) + np.float32(target[0]),
            )
        weights[f"w{at}"], weights[f"b{at}"] = weight, bias
        result = ("logits" if classify else "value") if last else f"g{at}"
        nodes.append(helper.make_node("Gemm", [f"h{at}", f"w{at}", f"b{at}"], [result], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [result], [f"h{at + 1}"]))
    if classify:
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
    output = "scores" if classify else "value"
    graph = helper.make_graph(
        nodes,
        "openstall_mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", linear[0].in_features])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["rows", linear[-1].out_features])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    _write(graph, metadata)


def _write(graph: Any, metadata: dict[str, Any]) -> None:
    model = helper.make_model(
        graph,
        producer_name="openstall",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    texts = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in metadata.items()}
    helper.set_model_props(model, texts)
    checker.check_model(model, full_check=True)
    (OUTPUTS / "model.onnx").write_bytes(model.SerializeToString())


def compare(
    network: torch.nn.Sequential,
    scaling: Scaling,
    values: Floats,
    *,
    classify: bool,
    target: tuple[float, float],
    threads: int,
) -> Floats:
    """Run the exported file in onnxruntime on `values` and return its answers.

    Raises Fault `export_differs` when it and torch disagree by more than 1e-4 of the target's scale.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(OUTPUTS / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    answers: Floats = session.run(None, {"x": values})[0]
    rows = values[:_COMPARED_ROWS]
    expected = evaluate(network, scaling.apply(rows), classify=classify)
    actual = answers[:_COMPARED_ROWS]
    if not classify:
        actual = (actual - target[0]) / target[1]
    worst = float(np.max(np.abs(actual - expected)))
    if not worst <= _TOLERANCE:
        raise Fault("export_differs", f"The exported model differs from the trained one by {worst:.2e}.")
    return answers
