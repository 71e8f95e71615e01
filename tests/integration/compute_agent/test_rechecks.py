"""Results that are looked at again: honest machines agree, made-up and hostile results are told apart."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.specs import GIB, Checkpoint, JobEvent, JobKind, JobResult, JobSpec, Limits
from openstall.market.mechanisms.agreement import Figures, judge, read_figures

RECIPE: dict[str, Any] = {
    "task": "classification",
    "label": "y",
    "hidden": [8],
    "epochs": 400,
    "learning_rate": "0.01",
    "batch_size": 32,
    "seed": 3,
    "test_fraction": "0.2",
    "standardise": True,
    "resume": False,
    "checkpoint_s": 0,
}
ROWS = 200


def table() -> str:
    lines = [f"{n * 37 % 101},{n * 53 % 97},{(n * 37 % 101) > (n * 53 % 97):d}" for n in range(ROWS)]
    return "\n".join(["a,b,y", *lines]) + "\n"


class Bench:
    """Runs jobs in folders of their own, one after another."""

    def __init__(self, client: AgentClient, folder: Path) -> None:
        self.client, self.folder, self.count = client, folder, 0
        self.heard: list[Checkpoint] = []

    async def run(
        self,
        kind: JobKind,
        files: dict[str, Path | str | bytes],
        *,
        threads: int = 1,
        checkpoints: int | None = None,
        **params: Any,
    ) -> tuple[JobResult, Path]:
        """To its end, or until it has written so many checkpoints."""
        self.count += 1
        inputs, outputs, kept = (self.folder / f"{name}{self.count}" for name in ("in", "out", "kept"))
        inputs.mkdir()
        kept.mkdir()
        for name, content in files.items():
            if isinstance(content, Path):
                shutil.copyfile(content, inputs / name)
            else:
                (inputs / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        limits = Limits(wall_s=120, cpu_s=240, memory_bytes=2 * GIB, threads=threads)
        spec = JobSpec(job_id=f"job-{self.count}", kind=kind, params=params, limits=limits)

        async def on_event(event: JobEvent) -> None:
            if isinstance(event, Checkpoint):
                target = self.folder / f"checkpoint-{event.done}.safetensors"
                shutil.move(kept / event.file.name, target)
                self.heard.append(event)
                if len(self.heard) == checkpoints:
                    await self.client.cancel(spec.job_id)

        result = await self.client.run(spec, inputs, outputs, on_event, checkpoints=kept)
        assert result.state == ("done" if checkpoints is None else "cancelled"), result.words
        return result, outputs

    def stretch(self) -> tuple[int, int]:
        """The epochs of the first two checkpoints."""
        return self.heard[0].done, self.heard[1].done

    async def compare(self, of: str, files: dict[str, Path | str | bytes], **params: Any) -> Figures:
        _, outputs = await self.run("compare", files, of=of, **params)
        return read_figures(json.loads((outputs / "comparison.json").read_text()))


@pytest.fixture
async def bench(nursery: trio.Nursery, tmp_path: Path) -> Any:
    client = AgentClient()
    await client.start(nursery)
    yield Bench(client, tmp_path)
    await client.aclose()


def pair(one: Path, other: Path, *names: str) -> dict[str, Path | str | bytes]:
    endings = {"predictions.csv": "csv", "model.onnx": "onnx", "report.json": "json"}
    return {
        f"{side}.{endings[name]}": folder / name
        for side, folder in (("one", one), ("other", other))
        for name in names
    }


async def test_a_training_done_again_with_other_threads_is_the_same_and_another_is_not(bench: Bench) -> None:
    recipe, steps = {**RECIPE, "epochs": 150}, 150 * 5
    _, first = await bench.run("train", {"data.csv": table()}, **recipe)
    _, again = await bench.run("train", {"data.csv": table()}, threads=2, **recipe)
    _, lazy = await bench.run("train", {"data.csv": table()}, **{**recipe, "epochs": 140})
    names = ("model.onnx", "report.json")
    about: dict[str, Any] = {"recipe": recipe}
    data = {"data.csv": table()}
    honest = await bench.compare("train", pair(first, again, *names) | data, **about)
    assert judge(honest, steps=steps).outcome in ("same", "within_tolerance")
    shorter = await bench.compare("train", pair(first, lazy, *names) | data, **about)
    assert judge(shorter, steps=steps).outcome == "different"
    assert judge(shorter, steps=10 * steps).outcome == "unclear"
    flattered = json.loads((again / "report.json").read_text())
    flattered["metrics"][0]["value"] = "0.123456"
    for model in (again, lazy):  # the report is held against the model that came with it
        files = pair(first, model, *names) | data | {"one.json": json.dumps(flattered)}
        told = judge(await bench.compare("train", files, **about), steps=10 * steps)
        assert told.outcome == "different"
        assert "report" in told.words


async def test_from_one_checkpoint_to_the_next_machines_agree_to_the_last_bit(bench: Bench) -> None:
    recipe = {**RECIPE, "epochs": 10_000}
    await bench.run("train", {"data.csv": table()}, checkpoints=2, **recipe)
    first, last = (bench.folder / f"checkpoint-{at}.safetensors" for at in bench.stretch())
    _, start = await bench.run("replay", {"data.csv": table()}, recipe=recipe, until=bench.stretch()[0])
    files: dict[str, Path | str | bytes] = {"data.csv": table(), "checkpoint.safetensors": first}
    _, end = await bench.run(
        "replay", files, recipe={**recipe, "resume": True}, until=bench.stretch()[1], threads=2
    )
    for theirs, ours in ((first, start), (last, end)):
        weights: dict[str, Path | str | bytes] = {
            "one.safetensors": theirs,
            "other.safetensors": ours / "weights.safetensors",
        }
        assert judge(await bench.compare("weights", weights)).outcome == "same"
    assert judge(await bench.compare("weights", {**weights, "one.safetensors": first})).outcome == "different"


async def predictions(bench: Bench) -> tuple[Path, Path]:
    """A model, and what it says of the rows of its own table."""
    _, trained = await bench.run("train", {"data.csv": table()}, **{**RECIPE, "epochs": 20})
    model = trained / "model.onnx"
    _, said = await bench.run("infer", {"model.onnx": model, "rows.csv": table()}, label="y", batch_size=32)
    return model, said


TAMPERED: dict[str, Callable[[str], str]] = {
    "one answer": lambda text: re.sub(
        r"^(7),(\d)", lambda found: f"7,{1 - int(found[2])}", text, flags=re.MULTILINE
    ),
    "one score": lambda text: re.sub(r"^(9,\d),[0-9.]+", r"\1,0.123456", text, flags=re.MULTILINE),
    "another number of a row": lambda text: re.sub(r"^7,", "70,", text, flags=re.MULTILINE),
    "a row less": lambda text: text.rsplit("\n", 2)[0] + "\n",
    "a row more": lambda text: text + text.splitlines()[-1] + "\n",
    "rows in another order": lambda text: (
        "\n".join([*text.splitlines()[:1], *text.splitlines()[:0:-1]]) + "\n"
    ),
    "no number": lambda text: text.replace("0.", "nan0.", 1),
    "another column": lambda text: text.replace("score 1", "score 2"),
    "not UTF-8": lambda text: text + "\udcff",
    "nothing": lambda _text: "",
    "a quote that never ends": lambda text: text + '"' + "x" * 200_000,
}


async def test_made_up_predictions_are_told_from_honest_ones(bench: Bench) -> None:
    model, said = await predictions(bench)
    names = ("predictions.csv", "report.json")
    honest = pair(said, said, *names) | {"model.onnx": model}
    assert judge(await bench.compare("infer", honest)).outcome == "same"
    text = (said / "predictions.csv").read_text()
    for name, change in TAMPERED.items():
        spoilt = change(text).encode(errors="surrogateescape")
        found = judge(await bench.compare("infer", {**honest, "one.csv": spoilt}))
        assert found.outcome == "different", name
    other_rounding = re.sub(r"(0\.\d{5})4", r"\g<1>5", text)
    assert other_rounding != text
    near = judge(await bench.compare("infer", {**honest, "one.csv": other_rounding}))
    assert near.outcome == "within_tolerance", near.words


async def test_a_part_of_the_rows_is_found_at_its_place(bench: Bench) -> None:
    model, said = await predictions(bench)
    blocks = [[32, 32], [128, 32]]
    lines = table().splitlines()
    rows = "\n".join([lines[0], *(line for at, count in blocks for line in lines[1 + at : 1 + at + count])])
    _, part = await bench.run("infer", {"model.onnx": model, "rows.csv": rows}, label="y", batch_size=32)
    files: dict[str, Path | str | bytes] = {
        "one.csv": said / "predictions.csv", "other.csv": part / "predictions.csv", "model.onnx": model,
    }  # fmt: skip
    found = await bench.compare("infer", files, blocks=blocks)
    assert (found.compared, judge(found).outcome) == (64 * 3, "same")
    shifted = await bench.compare("infer", files, blocks=[[31, 32], [128, 32]])
    assert judge(shifted).outcome == "different"
    beyond = await bench.compare("infer", files, blocks=[[32, 32], [190, 32]])
    assert "number of rows" in judge(beyond).words


async def test_results_that_are_no_results_say_so(bench: Bench) -> None:
    _, trained = await bench.run("train", {"data.csv": table()}, **{**RECIPE, "epochs": 5})
    honest = pair(trained, trained, "model.onnx", "report.json") | {"data.csv": table()}
    deep = "[" * 100_000
    for files in (
        {"one.onnx": b"\x80\x04pickle"},
        {"one.onnx": b"MZ" + bytes(100)},
        {"one.json": deep},
        {"one.json": '{"metrics": [{"name": "x", "value": 1}]}'},
        {"one.json": "[]"},
        {"one.json": b"\xff"},
    ):
        found = await bench.compare("train", {**honest, **files}, recipe=RECIPE)
        assert found.unreadable, files
        assert judge(found).outcome == "different"
    header = json.dumps({"weight.a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    good = struct.pack("<Q", len(header)) + header
    for one in (good + struct.pack("<f", float("nan")), good, struct.pack("<Q", 2**60) + header, b""):
        weights: dict[str, Path | str | bytes] = {
            "one.safetensors": one, "other.safetensors": good + struct.pack("<f", 1.0)
        }  # fmt: skip
        assert (await bench.compare("weights", weights)).unreadable


HALF = """
import sys
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
half, whole = TensorProto.FLOAT16, TensorProto.FLOAT
weights = np.random.default_rng(5).normal(size=(2, 3)).astype(np.float16)
nodes = [
    helper.make_node("Cast", ["x"], ["h"], to=half),
    helper.make_node("MatMul", ["h", "w"], ["m"]),
    helper.make_node("Cast", ["m"], ["f"], to=whole),
    helper.make_node("Softmax", ["f"], ["scores"], axis=1),
]
graph = helper.make_graph(
    nodes, "half",
    [helper.make_tensor_value_info("x", whole, ["rows", 2])],
    [helper.make_tensor_value_info("scores", whole, ["rows", 3])],
    [numpy_helper.from_array(weights, "w")],
)
model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
onnx.save(model, sys.argv[1])
"""


def nudged(text: str, factor: float) -> str:
    """The predictions with each score of the first 50 rows a little larger, and the same answers."""
    head, *rows = text.splitlines()
    cells = [row.split(",") for row in rows]
    for row in cells[:50]:
        row[2:] = [f"{float(score) * factor:.6f}" for score in row[2:]]
    return "\n".join([head, *(",".join(row) for row in cells)]) + "\n"


@pytest.fixture
def half_model(workload_runtime: Runtime, tmp_path: Path) -> Path:
    model = tmp_path / "half.onnx"
    site = f"import sys; sys.path.append({str(workload_runtime.site_packages)!r})\n"
    command = [str(workload_runtime.python), "-I", "-S", "-c", site + HALF, str(model)]
    subprocess.run(command, check=True, capture_output=True)
    return model


async def test_a_model_that_computes_in_sixteen_bits_may_differ_by_more(
    bench: Bench, half_model: Path
) -> None:
    rows = "a,b\n" + "".join(f"{n % 7 / 9},{n % 11 / 13}\n" for n in range(ROWS))
    _, said = await bench.run("infer", {"model.onnx": half_model, "rows.csv": rows})
    honest = pair(said, said, "predictions.csv", "report.json") | {"model.onnx": half_model}
    same = await bench.compare("infer", honest)
    assert (same.arithmetic, judge(same).outcome) == ("reduced", "same")
    text = (said / "predictions.csv").read_text()
    for factor, outcome in ((1.01, "within_tolerance"), (1.04, "different")):
        found = judge(await bench.compare("infer", {**honest, "one.csv": nudged(text, factor)}))
        assert found.outcome == outcome, found.words


async def test_predicted_numbers_are_compared_by_their_own_size(bench: Bench) -> None:
    rows = "a,b,y\n" + "".join(f"{n % 17},{n % 23},{1000 * (n % 17) - 3 * (n % 23)}\n" for n in range(ROWS))
    recipe = {**RECIPE, "task": "regression", "epochs": 30}
    _, trained = await bench.run("train", {"data.csv": rows}, **recipe)
    model = trained / "model.onnx"
    _, said = await bench.run("infer", {"model.onnx": model, "rows.csv": rows}, label="y")
    honest = pair(said, said, "predictions.csv", "report.json") | {"model.onnx": model}
    text = (said / "predictions.csv").read_text()
    lines = text.splitlines()
    number, value = lines[100].split(",")
    for change, outcome in ((1e-5, "within_tolerance"), (1e-3, "different")):
        changed = f"{number},{float(value) + change * 10_000:.6f}"
        one = "\n".join([*lines[:100], changed, *lines[101:]]) + "\n"
        found = judge(await bench.compare("infer", {**honest, "one.csv": one}))
        assert found.outcome == outcome, found.words
