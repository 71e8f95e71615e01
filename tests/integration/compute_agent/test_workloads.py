"""The three workloads on real models and data, inside real sandboxes, through the agent."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.specs import (
    GIB,
    Checkpoint,
    JobEvent,
    JobKind,
    JobResult,
    JobSpec,
    Limits,
    LogLine,
    Progress,
)

RUN_SAMPLES = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1))"


@dataclass(kw_only=True)
class Job:
    result: JobResult
    outputs: Path
    checkpoints: Path
    events: list[JobEvent] = field(default_factory=list)

    def json(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.outputs / name).read_text("utf-8"))
        return document


RunJob = Callable[..., Awaitable[Job]]


@pytest.fixture(scope="session")
def samples(workload_runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    script = Path(__file__).with_name("make_samples.py")
    site = str(workload_runtime.site_packages)
    command = [str(workload_runtime.python), "-I", "-S", "-c", RUN_SAMPLES, site, str(script), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
async def run_job(nursery: trio.Nursery, tmp_path: Path) -> Any:
    client = AgentClient()
    await client.start(nursery)
    count = 0

    async def run(kind: JobKind, given: dict[str, Path | str], /, **params: Any) -> Job:
        nonlocal count
        count += 1
        limits = params.pop("limits", Limits(wall_s=120, cpu_s=120, memory_bytes=2 * GIB))
        inputs, outputs = tmp_path / f"in{count}", tmp_path / f"out{count}"
        checkpoints = tmp_path / f"states{count}"
        inputs.mkdir()
        checkpoints.mkdir()
        for name, content in given.items():
            if isinstance(content, Path):
                shutil.copy(content, inputs / name)
            else:
                (inputs / name).write_text(content, "utf-8")
        events: list[JobEvent] = []

        async def on_event(event: JobEvent) -> None:
            events.append(event)

        spec = JobSpec(job_id=f"job-{count}", kind=kind, params=params, limits=limits)
        result = await client.run(spec, inputs, outputs, on_event, checkpoints=checkpoints)
        return Job(result=result, outputs=outputs, checkpoints=checkpoints, events=events)

    yield run
    await client.aclose()


REFUSED = {
    "external.onnx": "external_data",
    "external_plain.onnx": "external_data",
    "external_constant.onnx": "external_data",
    "external_subgraph.onnx": "external_data",
    "domain.onnx": "unknown_domain",
    "undeclared.onnx": "unknown_domain",
    "operator.onnx": "unknown_operator",
    "loop.onnx": "refused_operator",
    "nodes.onnx": "too_many_nodes",
    "deep.onnx": "too_deep",
    "lying.onnx": "bad_tensor",
    "negative.onnx": "bad_tensor",
    "function.onnx": "functions",
    "unsorted.onnx": "checker",
    "truncated.onnx": "not_onnx",
    "garbage.onnx": "not_onnx",
    "empty_graph.onnx": "no_graph",
}


async def test_hostile_models_are_refused_with_a_reason(run_job: RunJob, samples: Path) -> None:
    for name, code in REFUSED.items():
        job = await run_job("lint", {"model.onnx": samples / name}, file="model.onnx")
        assert job.result.state == "done", (name, job.result)
        report = job.json("lint.json")
        errors = [finding["code"] for finding in report["findings"] if finding["severity"] == "error"]
        assert not report["ok"], name
        assert code in errors, (name, report["findings"])


async def test_a_refused_model_is_never_run(run_job: RunJob, samples: Path) -> None:
    rows = {"rows.csv": "a,b\n1,2\n"}
    for name in ("external.onnx", "loop.onnx"):
        job = await run_job("infer", {"model.onnx": samples / name, **rows})
        assert (job.result.state, job.result.reason) == ("failed", "model_refused")
        assert job.result.usage.seconds_useful == 0
    job = await run_job("infer", {"model.onnx": "not a model", **rows})
    assert job.result.reason == "model_refused"


async def test_lint_describes_a_good_model(run_job: RunJob, samples: Path) -> None:
    job = await run_job("lint", {"model.onnx": samples / "plain.onnx"}, file="model.onnx")
    report = job.json("lint.json")
    assert report["ok"]
    assert report["format"] == "onnx"
    assert report["inputs"] == [{"name": "x", "type": "float32", "shape": ["n", 2]}]
    assert report["outputs"] == [{"name": "y", "type": "float32", "shape": ["n", 2]}]
    assert job.result.outputs[0].size == (job.outputs / "lint.json").stat().st_size


async def test_a_model_that_eats_memory_hits_the_limit(run_job: RunJob, samples: Path) -> None:
    job = await run_job(
        "infer",
        {"model.onnx": samples / "hungry.onnx", "rows.csv": "a,b\n1,2\n"},
        limits=Limits(wall_s=60, cpu_s=60, memory_bytes=GIB),
    )
    assert (job.result.state, job.result.reason) == ("limit", "memory"), job.result
    assert "1024 MiB" in job.result.words


async def test_train_infer_and_the_numbers_agree(run_job: RunJob, samples: Path) -> None:
    cancer = samples / "cancer.csv"
    trained = await run_job("train", {"data.csv": cancer}, task="classification", label="target")
    assert trained.result.state == "done", trained.result
    report = trained.json("report.json")
    figures = {metric["name"]: float(metric["value"]) for metric in report["metrics"]}
    assert figures["accuracy"] >= 0.95
    assert figures["macro_f1"] > 0.9
    assert figures["accuracy"] > float(report["baseline"][0]["value"])
    assert report["classes"] == ["benign", "malignant"]
    assert len(report["features"]) == 30
    assert all(isinstance(point, str) for point in report["loss_curve"])
    assert trained.result.usage.cpu_s < 30
    steps = [event for event in trained.events if isinstance(event, Progress)]
    assert steps[-1] == Progress(done=60, total=60)
    assert any("epoch 60/60" in event.text for event in trained.events if isinstance(event, LogLine))

    model = trained.outputs / "model.onnx"
    lint = (await run_job("lint", {"model.onnx": model}, file="model.onnx")).json("lint.json")
    assert lint["ok"]
    assert lint["features"] == report["features"]
    assert lint["classes"] == report["classes"]

    shuffled = shuffle_columns(cancer)
    inferred = await run_job("infer", {"model.onnx": model, "rows.csv": shuffled}, label="target")
    assert inferred.result.state == "done", inferred.result
    measured = inferred.json("report.json")
    assert float(measured["metrics"][0]["value"]) >= 0.95
    with (inferred.outputs / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == measured["rows"] == 569
    assert {row["prediction"] for row in rows} == {"benign", "malignant"}
    assert abs(float(rows[0]["score benign"]) + float(rows[0]["score malignant"]) - 1) < 1e-4


def shuffle_columns(path: Path) -> str:
    """The same rows with the columns in another order and one more that means nothing."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    return (
        "\n".join(",".join(["note" if n == 0 else "hello", *reversed(row)]) for n, row in enumerate(rows))
        + "\n"
    )


async def test_the_same_recipe_gives_the_same_model(run_job: RunJob, samples: Path) -> None:
    recipe = {"task": "classification", "label": "target", "epochs": 3, "seed": 7}
    first = await run_job("train", {"data.csv": samples / "cancer.csv"}, **recipe)
    second = await run_job("train", {"data.csv": samples / "cancer.csv"}, **recipe)
    assert first.result.outputs[0].sha256 == second.result.outputs[0].sha256


ORACLE = """
import csv, json, sys
sys.path.insert(0, sys.argv[1])
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
with open(sys.argv[2], newline="") as file:
    said = list(csv.DictReader(file))
with open(sys.argv[3], newline="") as file:
    truth = [row["target"] for row in csv.DictReader(file)]
names = [row["prediction"] for row in said]
second = list(said[0])[-1]
scores = [float(row[second]) for row in said]
print(json.dumps({
    "accuracy": accuracy_score(truth, names),
    "macro_f1": f1_score(truth, names, average="macro"),
    "auc": roc_auc_score([f"score {t}" == second for t in truth], scores),
}))
"""


async def test_an_evaluation_agrees_with_scikit_learn_and_gives_away_no_row(
    run_job: RunJob, samples: Path, workload_runtime: Runtime
) -> None:
    recipe = {"task": "classification", "label": "target", "epochs": 2, "seed": 7}
    trained = await run_job("train", {"data.csv": samples / "cancer.csv"}, **recipe)
    files = {"model.onnx": trained.outputs / "model.onnx", "rows.csv": samples / "cancer.csv"}
    measured = await run_job("evaluate", files, label="target")
    assert [item.name for item in measured.result.outputs] == ["report.json"]
    run = await run_job("infer", files, label="target")
    site, predictions = str(workload_runtime.site_packages), str(run.outputs / "predictions.csv")
    command = [str(workload_runtime.python), "-I", "-c", ORACLE, site, predictions, str(files["rows.csv"])]
    oracle = await trio.run_process(command, capture_stdout=True)
    expected = json.loads(oracle.stdout)
    found = {metric["name"]: metric for metric in measured.json("report.json")["metrics"]}
    assert {name: float(metric["value"]) for name, metric in found.items()} == pytest.approx(
        expected,
        abs=5e-5,  # the predictions on disk have six digits
    )
    for metric in found.values():
        assert float(metric["low"]) <= float(metric["value"]) <= float(metric["high"])
    again = await run_job("evaluate", files, label="target")
    assert again.result.outputs[0].sha256 == measured.result.outputs[0].sha256
    bad = await run_job("evaluate", files, label="nosuch")
    assert (bad.result.state, bad.result.usage.seconds_useful) == ("failed", 0)


SCRIPT = """
import csv, sys
import numpy as np
with open("/job/in/rows.csv", newline="") as file:
    rows = list(csv.reader(file))
print(f"{len(rows) - 1} rows, factor {sys.argv[1]}", flush=True)
total = np.sum([[float(x) for x in row] for row in rows[1:]]) * float(sys.argv[1])
with open("result.csv", "w") as file:
    file.write(f"total\\n{total}\\n")
"""


async def test_a_script_reads_its_inputs_and_leaves_what_it_named(run_job: RunJob) -> None:
    files = {"script.py": SCRIPT, "rows.csv": "a,b\n1,2\n3,4\n"}
    wanted = {"files": ["rows.csv"], "arguments": ["2"], "outputs": ["result.csv"]}
    job = await run_job("script", files, **wanted)
    assert job.result.state == "done"
    assert job.result.usage.seconds_useful >= 1
    assert (job.outputs / "result.csv").read_text() == "total\n20.0\n"
    assert "2 rows, factor 2" in [event.text for event in job.events if isinstance(event, LogLine)]


@pytest.mark.parametrize(
    ("script", "state", "reason"),
    [
        ("raise ValueError('no such column')", "failed", "script_failed"),
        ("import sys; sys.exit(3)", "failed", "script_failed"),
        ("pass", "failed", "output_missing"),
        ("open('other.csv', 'w').close(); open('result.csv', 'w').close()", "failed", "output_unexpected"),
        ("import subprocess; subprocess.run(['true'])", "failed", "script_failed"),
        ("import socket; socket.socket()", "failed", "script_failed"),
        ("open('/etc/passwd')", "failed", "script_failed"),
    ],
)
async def test_how_scripts_fail(run_job: RunJob, script: str, state: str, reason: str) -> None:
    job = await run_job("script", {"script.py": script}, outputs=["result.csv"])
    assert (job.result.state, job.result.reason) == (state, reason)
    assert not list(job.outputs.iterdir())


LONG = {"task": "classification", "label": "target", "epochs": 60, "seed": 7, "checkpoint_s": 0}


async def test_a_resumed_training_gives_the_same_model_as_an_uninterrupted_one(
    run_job: RunJob, samples: Path
) -> None:
    whole = await run_job("train", {"data.csv": samples / "cancer.csv"}, **LONG)
    states = [event for event in whole.events if isinstance(event, Checkpoint)]
    assert whole.result.state == "done"
    assert [item.name for item in whole.result.outputs] == ["model.onnx", "report.json"]
    assert 0 < states[0].done < LONG["epochs"]
    first = whole.checkpoints / states[0].file.name
    assert hashlib.sha256(first.read_bytes()).hexdigest() == states[0].file.sha256
    inputs = {"data.csv": samples / "cancer.csv", "checkpoint.safetensors": first}
    rest = await run_job("train", inputs, **LONG, resume=True)
    steps = [event.done for event in rest.events if isinstance(event, Progress)]
    assert steps[0] == states[0].done + 1
    assert rest.json("report.json")["loss_curve"] == whole.json("report.json")["loss_curve"]
    assert rest.result.outputs[0].sha256 == whole.result.outputs[0].sha256

    spoilt = first.read_bytes()[:-8] + b"\x00" * 7
    wrong = await run_job(
        "train", {**inputs, "checkpoint.safetensors": first}, **{**LONG, "seed": 8}, resume=True
    )
    (first.parent / "spoilt.safetensors").write_bytes(spoilt)
    cut = await run_job(
        "train",
        {**inputs, "checkpoint.safetensors": first.parent / "spoilt.safetensors"},
        **LONG,
        resume=True,
    )
    for refused in (wrong, cut):
        assert (refused.result.state, refused.result.reason) == ("failed", "bad_checkpoint")


async def test_regression_beats_the_mean(run_job: RunJob, samples: Path) -> None:
    job = await run_job("train", {"data.csv": samples / "diabetes.csv"}, task="regression", label="target")
    report = job.json("report.json")
    assert report["metrics"][0]["name"] == "rmse"
    assert float(report["metrics"][0]["value"]) < 0.9 * float(report["baseline"][0]["value"])
    model = job.outputs / "model.onnx"
    inferred = await run_job(
        "infer", {"model.onnx": model, "rows.csv": samples / "diabetes.csv"}, label="target"
    )
    assert [metric["name"] for metric in inferred.json("report.json")["metrics"]] == ["rmse", "mae"]


async def test_a_foreign_model_takes_columns_by_position(run_job: RunJob, samples: Path) -> None:
    job = await run_job(
        "infer", {"model.onnx": samples / "plain.onnx", "rows.csv": "p,q,t\n3,1,0\n0,2,1\n5,1,1\n"}, label="t"
    )
    report = job.json("report.json")
    assert report["metrics"][0] == {"name": "accuracy", "value": "0.666667"}
    assert report["named_columns"] is False


@pytest.mark.parametrize(
    ("rows", "label", "reason", "words"),
    [
        ("a,b\n1,x\n", None, "bad_csv", "rows.csv: row 1, column 2 ('b'): 'x' is not a number"),
        ("a,b\n1,2\n", "c", "bad_csv", "no column 'c'"),
        ("a,b,c\n1,2,3\n", None, "columns_mismatch", "3 feature columns; the model takes 2"),
        ("", None, "bad_csv", "empty"),
    ],
)
async def test_bad_rows_fail_before_anything_is_owed(
    run_job: RunJob, samples: Path, *, rows: str, label: str | None, reason: str, words: str
) -> None:
    job = await run_job("infer", {"model.onnx": samples / "plain.onnx", "rows.csv": rows}, label=label)
    assert (job.result.state, job.result.reason) == ("failed", reason)
    assert words in job.result.words
    assert job.result.usage.seconds_useful == 0


async def test_a_model_that_takes_no_table_says_so(run_job: RunJob, samples: Path) -> None:
    job = await run_job("infer", {"model.onnx": samples / "text_input.onnx", "rows.csv": "a,b\n1,2\n"})
    assert job.result.reason == "model_not_tabular"


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        ("a,y\n" + "1,x\n" * 20, "bad_label", "1 different values"),
        ("a,y\n" + "1,x\n2,y\n" * 2, "too_few_rows", "4 rows"),
        ("a,y\n" + "1,x\n2,y\n" * 9 + "3,z\n", "bad_label", "'z' has a single row"),
        ("a,y\n" + "1,x\n" * 19 + ",y\n", "bad_csv", "row 20, column 1 ('a'): the cell is empty"),
    ],
)
async def test_bad_training_data_fails_before_anything_is_owed(
    run_job: RunJob, data: str, reason: str, words: str
) -> None:
    job = await run_job("train", {"data.csv": data}, task="classification", label="y")
    assert (job.result.state, job.result.reason) == ("failed", reason)
    assert words in job.result.words
    assert job.result.usage.seconds_useful == 0


async def test_training_that_diverges_is_explained(run_job: RunJob) -> None:
    rows = "".join(f"{n}e37,{n % 9}\n" for n in range(1, 30))
    recipe = {"task": "regression", "label": "y", "standardise": False}
    job = await run_job("train", {"data.csv": f"a,y\n{rows}"}, **recipe)
    assert (job.result.state, job.result.reason) == ("failed", "training_diverged")
    assert "standardised" in job.result.what_next
