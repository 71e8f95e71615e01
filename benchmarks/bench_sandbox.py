"""What the sandbox costs: the way to a job's first line, cold and warm, and the pace of ONNX and torch."""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import trio
from table import Row

from openstall.compute_agent.runtime import Runtime, find_runtime
from openstall.compute_agent.sandbox.cgroup import find_scope
from openstall.compute_agent.sandbox.host import Facilities, find_facilities, run_sandbox
from openstall.compute_agent.sandbox.plan import Entry, Plan
from openstall.compute_agent.sandbox.pool import Stock, WarmPool
from openstall.compute_agent.specs import GIB, JobEvent, JobKind, Limits, LogLine

START_ROUNDS = 15
PACE_ROUNDS = 5
START_AIM_MS = 70.0
WARM_AIM_MS = 5.0
PACE_AIM = 0.98

HELLO = "print('first line', flush=True)\n"
PACE = """
import os, sys, time
sys.path[:0] = sys.argv[2:]
import numpy as np, onnxruntime
from onnx import TensorProto, helper, numpy_helper
chance = np.random.default_rng(0)
def weights(name, *shape):
    return numpy_helper.from_array(chance.standard_normal(shape).astype(np.float32), name)
graph = helper.make_graph(
    [
        helper.make_node("Conv", ["x", "k1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "k2"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"]),
    ],
    "cnn",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
    [weights("k1", 32, 3, 3, 3), weights("k2", 64, 32, 3, 3), weights("w", 64, 10)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
x = chance.standard_normal((1, 3, 64, 64)).astype(np.float32)
for _ in range(50): session.run(None, {"x": x})
began, runs = time.process_time(), 0
while time.process_time() - began < 1.5:
    session.run(None, {"x": x}); runs += 1
print("pace", runs / (time.process_time() - began), flush=True)
"""
TORCH_PACE = """
import sys, time
sys.path[:0] = sys.argv[2:]
import torch
torch.set_num_threads(1)
torch.manual_seed(0)
layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
steps = torch.optim.AdamW(layer.parameters(), lr=1e-3)
x = torch.randn(8, 32, 64)
def step():
    steps.zero_grad()
    layer(x).square().mean().backward()
    steps.step()
for _ in range(20): step()
began, runs = time.process_time(), 0
while time.process_time() - began < 1.5:
    step(); runs += 1
print("pace", runs / (time.process_time() - began), flush=True)
"""


def bare(runtime: Runtime, script: Path) -> tuple[str, float]:
    """First line and milliseconds to it with the same interpreter and flags, without a sandbox."""
    command = [str(runtime.python), "-I", "-S", "-B", str(script), "{}", str(runtime.site_packages)]
    began = time.perf_counter()
    quiet = {"ORT_DISABLE_TELEMETRY": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=quiet) as process:
        line = process.stdout.readline() if process.stdout else ""
        spent_ms = (time.perf_counter() - began) * 1000
    return line.strip(), spent_ms


async def boxed(facilities: Facilities, runtime: Runtime, script: Path) -> tuple[str, float]:
    """The same in a full sandbox, from before the launch to the line as the agent sees it."""
    seen: list[tuple[str, float]] = []
    began = time.perf_counter()

    async def emit(event: JobEvent) -> None:
        if isinstance(event, LogLine):
            seen.append((event.text, (time.perf_counter() - began) * 1000))

    plan = Plan(
        entry=Entry(script=script),
        runtime=runtime,
        inputs=script.parent,
        params=b"{}",
        limits=Limits(),
        mode=facilities.mode,
    )
    await run_sandbox(
        facilities=facilities,
        plan=plan,
        emit=emit,
        cancel=trio.Event(),
        allowed={},
        destination=script.parent,
    )
    return seen[0]


async def warm_starts(facilities: Facilities, runtime: Runtime, script: Path) -> list[float]:
    """Milliseconds from taking a sandbox that waits, torch imported, to the job's first line."""

    def make_plan(_kind: JobKind, number: int, inputs: Path) -> Plan:
        return Plan(
            entry=Entry(script=script),
            runtime=runtime,
            inputs=inputs,
            params=b"",
            limits=Limits(),
            mode=facilities.mode,
            slot=number,
            preload=("torch",),
        )

    stock = Stock(
        kinds=("train",),
        memory_bytes=GIB,
        folder=script.parent / "warm",
        facilities=facilities,
        make_plan=make_plan,
    )
    pool, spent = WarmPool(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.keep)
        await pool.hold(stock)
        for _ in range(START_ROUNDS):
            await pool.filled()
            spent.append(await warm_start(pool, facilities))
        nursery.cancel_scope.cancel()
    return spent


async def warm_start(pool: WarmPool, facilities: Facilities) -> float:
    """One of them."""
    seen: list[float] = []

    async def emit(event: JobEvent) -> None:
        if isinstance(event, LogLine):
            seen.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    slot = pool.take("train", Limits(), facilities)
    if slot is None:
        raise RuntimeError("no sandbox waits")
    await run_sandbox(
        facilities=facilities,
        plan=dataclasses.replace(slot.plan, params=b"{}"),
        emit=emit,
        cancel=trio.Event(),
        allowed={},
        destination=slot.plan.inputs,
        warm=slot.running,
    )
    return seen[0]


async def paces(facilities: Facilities, runtime: Runtime, script: Path) -> tuple[float, float]:
    """Medians of bare and boxed runs per processor second, made in turn."""
    pairs = [
        (figure(bare(runtime, script)[0]), figure((await boxed(facilities, runtime, script))[0]))
        for _ in range(PACE_ROUNDS)
    ]
    bare_pace, boxed_pace = (statistics.median(column) for column in zip(*pairs, strict=True))
    return bare_pace, boxed_pace


async def measure() -> list[Row]:
    """All rows, bare and boxed runs in turn."""
    runtime = find_runtime()
    facilities = await find_facilities(runtime=runtime, scope=find_scope())
    with tempfile.TemporaryDirectory(prefix="openstall-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # noqa: ASYNC240 - one call on a local temporary folder
        scripts = {"hello": HELLO, "onnx": PACE, "torch": TORCH_PACE}
        for title, text in scripts.items():
            (folder / f"{title}.py").write_text(text)
        starts = [
            (
                bare(runtime, folder / "hello.py")[1],
                (await boxed(facilities, runtime, folder / "hello.py"))[1],
            )
            for _ in range(START_ROUNDS)
        ]
        warm = await warm_starts(facilities, runtime, folder / "hello.py")
        onnx = await paces(facilities, runtime, folder / "onnx.py")
        torch = await paces(facilities, runtime, folder / "torch.py")
    bare_ms, boxed_ms = (statistics.median(column) for column in zip(*starts, strict=True))
    mode = facilities.mode.replace("_", " ")
    return [
        Row(
            name="sandbox: cold start to the job's first line, over a bare interpreter",
            value=boxed_ms - bare_ms,
            unit="ms",
            limit=f"< {START_AIM_MS:.0f} ms",
            ok=boxed_ms - bare_ms < START_AIM_MS,
            note=f"{boxed_ms:.0f} ms against {bare_ms:.0f} ms bare, medians of {START_ROUNDS}; {mode}",
        ),
        Row(
            name="sandbox: start in a warm sandbox, torch imported, to the job's first line",
            value=statistics.median(warm),
            unit="ms",
            limit=f"<= {WARM_AIM_MS:.0f} ms",
            ok=statistics.median(warm) <= WARM_AIM_MS,
            note=f"median of {START_ROUNDS}, slowest {max(warm):.1f} ms; each used once",
        ),
        pace_row("ONNX", "small CNN", onnx),
        pace_row("torch", "training steps of a transformer layer", torch),
    ]


def pace_row(library: str, words: str, pair: tuple[float, float]) -> Row:
    """Steady throughput inside, as a part of bare."""
    bare_pace, boxed_pace = pair
    return Row(
        name=f"sandbox: steady {library} throughput against bare",
        value=boxed_pace / bare_pace,
        unit="of bare",
        limit=f">= {PACE_AIM}",
        ok=boxed_pace / bare_pace >= PACE_AIM,
        note=f"{boxed_pace:.0f} against {bare_pace:.0f} runs per processor second, {words}, 1 thread",
    )


def figure(line: str) -> float:
    """The figure in a `pace …` line."""
    return float(line.removeprefix("pace "))


def rows() -> Iterable[Row]:
    """For benchmarks/run.py."""
    return trio.run(measure)
