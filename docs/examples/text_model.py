"""Train a small model of text, byte by byte, and write it as `model.onnx` that a serve job answers with.

Runs as a script job (`text.txt` beside it, output `model.onnx`), or at home with the workload runtime:

    python text_model.py FOLDER STEPS     reads FOLDER/text.txt, writes model.onnx into the present folder

The last 32 bytes, each as 24 numbers, through one hidden layer to a score for each of 256 next bytes. It
learns how words look, not what they mean: a minute of one processor core is all it takes.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, checker, helper, numpy_helper

CONTEXT, WIDTH, HIDDEN, BYTES = 32, 24, 384, 256
BATCH = 256


def samples(data: torch.Tensor, chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of contexts and the byte that follows each."""
    starts = torch.randint(0, len(data) - CONTEXT, (BATCH, 1), generator=chance)
    windows = data[starts + torch.arange(CONTEXT + 1)]
    return windows[:, :-1], windows[:, -1]


def network() -> torch.nn.Sequential:
    """Numbers for each byte, one hidden layer, scores."""
    return torch.nn.Sequential(
        torch.nn.Embedding(BYTES, WIDTH),
        torch.nn.Flatten(),
        torch.nn.Linear(CONTEXT * WIDTH, HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN, BYTES),
    )


def train(text: bytes, steps: int) -> tuple[torch.nn.Sequential, float]:
    """The trained network, and its loss on the last tenth of the text in bits per byte."""
    torch.manual_seed(0)
    chance = torch.Generator().manual_seed(0)
    data = torch.tensor(list(bytes(CONTEXT) + text))
    cut = len(data) * 9 // 10
    model, loss_of = network(), torch.nn.CrossEntropyLoss()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    for step in range(1, steps + 1):
        inputs, targets = samples(data[:cut], chance)
        optimiser.zero_grad()
        loss = loss_of(model(inputs), targets)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % max(1, steps // 10) == 0:
            print(f"step {step}/{steps}: {loss.item() / math.log(2):.3f} bits per byte", flush=True)
    with torch.no_grad():
        inputs, targets = zip(*(samples(data[cut:], chance) for _ in range(20)), strict=True)
        held = loss_of(model(torch.cat(inputs)), torch.cat(targets)).item() / math.log(2)
    return model, held


def export(model: torch.nn.Sequential, path: Path) -> None:
    """The network as ONNX, node by node, with the metadata that makes it a model of text."""
    table, _flat, first, _relu, last = model
    weights = {
        "table": table.weight,
        "w1": first.weight,
        "b1": first.bias,
        "w2": last.weight,
        "b2": last.bias,
    }
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["each"]),
        helper.make_node("Flatten", ["each"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1", "b1"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "bytes",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["rows", CONTEXT])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", BYTES])],
        [
            numpy_helper.from_array(value.detach().numpy().astype(np.float32), name)
            for name, value in weights.items()
        ],
    )
    exported = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(exported, {"text": json.dumps({"tokenizer": "bytes", "context": CONTEXT})})
    checker.check_model(exported, full_check=True)
    path.write_bytes(exported.SerializeToString())


def main() -> None:
    """Train on `text.txt` and write the model."""
    folder, steps = (Path(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else (Path("/job/in"), 3000)
    model, held = train((folder / "text.txt").read_bytes(), steps)
    print(f"on text that it has not seen: {held:.3f} bits per byte", flush=True)
    export(model, Path("model.onnx"))


if __name__ == "__main__":
    main()
