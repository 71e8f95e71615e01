"""Federated averaging: each party's step in a real sandbox, the averages of two parties, and bad weights."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.app.demo.dataset import LABEL, write_data
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.specs import JobEvent, JobResult, JobSpec, Limits
from openstall.market.errors import SandboxError

ROUNDS = 2
EPOCHS = 6
"""As many for who learns alone as for both together."""
AVERAGE = """
import json, sys, numpy as np
from safetensors.numpy import load_file, save_file
start, out, parts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
deltas = [(load_file(path), rows) for path, rows in parts]
total = sum(rows for _delta, rows in deltas)
base = load_file(start)
save_file({n: (base[n] + sum(d[n] * (r / total) for d, r in deltas)).astype(np.float32) for n in base}, out)
"""
START = """
import json, sys
from openstall.compute_agent.workloads import network
from safetensors.torch import save_file
save_file(dict(network.build(json.loads(sys.argv[1]), int(sys.argv[2])).named_parameters()), sys.argv[3])
"""
SAME = """
import sys, numpy as np
from safetensors.numpy import load_file
one, other = load_file(sys.argv[1]), load_file(sys.argv[2])
assert set(one) == set(other) and all(np.allclose(one[n], other[n], atol=1e-6) for n in one)
"""
ACCURACY = """
import csv, json, sys, numpy as np
from safetensors.numpy import load_file
path, rows, recipe = sys.argv[1], list(csv.DictReader(open(sys.argv[2]))), json.loads(sys.argv[3])
x = np.array([[float(row[name]) for name in recipe["features"]] for row in rows])
x = (x - np.array(recipe["mean"], float)) / np.array(recipe["spread"], float)
w = load_file(path)
h = np.maximum(x @ w["0.weight"].T + w["0.bias"], 0) @ w["2.weight"].T + w["2.bias"]
said = [recipe["classes"][at] for at in h.argmax(axis=1)]
print(np.mean([a == row[recipe["label"]] for a, row in zip(said, rows)]))
"""


@dataclass(kw_only=True)
class Step:
    result: JobResult
    delta: Path
    report: dict[str, Any]


RunStep = Callable[..., Awaitable[Step]]


@pytest.fixture
async def client(nursery: trio.Nursery) -> AsyncIterator[AgentClient]:
    client = AgentClient()
    await client.start(nursery)
    yield client
    await client.aclose()


@pytest.fixture
async def step(tmp_path: Path, client: AgentClient) -> RunStep:
    count = 0

    async def run(data: Path, weights: Path | None, recipe: dict[str, Any]) -> Step:
        nonlocal count
        count += 1
        folder = tmp_path / f"step{count}"
        (folder / "in").mkdir(parents=True)
        shutil.copy(data, folder / "in" / "data.csv")
        if weights is not None:
            shutil.copy(weights, folder / "in" / "global.safetensors")
        params = {**recipe, "resume": weights is not None}
        limits = Limits(wall_s=60, cpu_s=60)
        spec = JobSpec(job_id=f"step{count}", kind="federate", params=params, limits=limits)

        async def ignore(_event: JobEvent) -> None:
            """The result is enough."""

        result = await client.run(spec, folder / "in", folder / "out", ignore)
        report = folder / "out" / "report.json"
        return Step(
            result=result,
            delta=folder / "out" / "delta.safetensors",
            report=json.loads(report.read_text()) if report.exists() else {},
        )

    return run


def in_runtime(runtime: Runtime, code: str, *arguments: str) -> str:
    """Run a program with the workload runtime, outside any sandbox; what it prints."""
    rooms = f"{Path(__file__).parents[3] / 'build' / 'types'}:{runtime.site_packages}"
    command = [str(runtime.python), "-c", code, *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, env={"PYTHONPATH": rooms}, text=True
    ).stdout


@dataclass(kw_only=True)
class Parties:
    """Two parties, each of which has seen almost one class only, and rows that neither has seen."""

    one: Path
    other: Path
    holdout: Path
    recipe: dict[str, Any]


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def parties(workload_runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Parties:
    folder = tmp_path_factory.mktemp("parties")
    train, holdout = write_data(workload_runtime, folder)
    rows = table(train)
    features = [name for name in rows[0] if name != LABEL]
    classes = sorted({row[LABEL] for row in rows})
    shares: list[list[dict[str, str]]] = [[], []]
    for number, row in enumerate(rows):
        mostly = classes.index(row[LABEL])
        shares[mostly if number % 40 else 1 - mostly].append(row)
    paths = []
    for name, share in zip(("one", "other"), shares, strict=True):
        path = folder / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*features, LABEL])
            writer.writeheader()
            writer.writerows(share)
        paths.append(path)
    known = [[float(row[name]) for row in table(holdout)] for name in features]
    means = [sum(column) / len(column) for column in known]
    spreads = [
        (sum((value - mean) ** 2 for value in column) / len(column)) ** 0.5
        for column, mean in zip(known, means, strict=True)
    ]
    recipe = {
        "task": "classification",
        "label": LABEL,
        "features": features,
        "classes": classes,
        "mean": [f"{mean:.6f}" for mean in means],
        "spread": [f"{spread:.6f}" for spread in spreads],
        "hidden": [16],
        "epochs": 2,
        "learning_rate": "0.02",
        "seed": 5,
        "clip": "5",
    }
    return Parties(one=paths[0], other=paths[1], holdout=holdout, recipe=recipe)


def first_weights(runtime: Runtime, parties: Parties, folder: Path) -> Path:
    sizes = [len(parties.recipe["features"]), *parties.recipe["hidden"], len(parties.recipe["classes"])]
    path = folder / "start.safetensors"
    in_runtime(runtime, START, json.dumps(sizes), str(parties.recipe["seed"]), str(path))
    return path


async def average(
    client: AgentClient, steps: list[Step], weights: Path | None, folder: Path, recipe: dict[str, Any]
) -> JobResult:
    """Put a round together in a sandbox; the results are in `folder`/out."""
    (folder / "in").mkdir(parents=True)
    for number, one in enumerate(steps, 1):
        shutil.copy(one.delta, folder / "in" / f"delta-{number}.safetensors")
    if weights is not None:
        shutil.copy(weights, folder / "in" / "global.safetensors")
    params = {
        "recipe": {**recipe, "resume": weights is not None},
        "rows": [one.report["rows"] for one in steps],
    }
    spec = JobSpec(job_id="average", kind="average", params=params, limits=Limits(wall_s=60, cpu_s=60))

    async def ignore(_event: JobEvent) -> None:
        """The result is enough."""

    return await client.run(spec, folder / "in", folder / "out", ignore)


async def test_two_parties_together_know_what_neither_knows_alone(
    client: AgentClient,
    step: RunStep,
    parties: Parties,
    workload_runtime: Runtime,
    tmp_path: Path,
) -> None:
    start = first_weights(workload_runtime, parties, tmp_path)

    async def learn(name: str, rounds: int, *data: Path) -> float:
        weights: Path | None = None  # the first round begins from the seed
        recipe = {**parties.recipe, "epochs": EPOCHS // rounds}
        for number in range(rounds):
            steps = [await step(path, weights, recipe) for path in data]
            assert [one.result.state for one in steps] == ["done"] * len(data)
            parts = json.dumps([[str(one.delta), one.report["rows"]] for one in steps])
            averaged = tmp_path / f"{name}{number}.safetensors"
            in_runtime(workload_runtime, AVERAGE, str(weights or start), str(averaged), parts)
            if len(steps) > 1:
                folder = tmp_path / f"round{number}"
                ended = await average(client, steps, weights, folder, recipe)
                assert ended.state == "done"
                ours = folder / "out" / "global.safetensors"
                in_runtime(workload_runtime, SAME, str(ours), str(averaged))
                averaged = ours
            weights = averaged
        return float(
            in_runtime(workload_runtime, ACCURACY, str(weights), str(parties.holdout), json.dumps(recipe))
        )

    alone = [await learn("one", 1, parties.one), await learn("other", 1, parties.other)]
    together = await learn("both", ROUNDS, parties.one, parties.other)
    assert together > max(alone) + 0.02
    assert together > 0.9


async def test_a_step_repeats_and_is_clipped(step: RunStep, parties: Parties) -> None:
    first, again = [await step(parties.one, None, parties.recipe) for _ in range(2)]
    assert first.delta.read_bytes() == again.delta.read_bytes()
    assert first.report["clipped"] is False
    assert float(first.report["loss_after"]) < float(first.report["loss_before"])
    clipped = await step(parties.one, None, {**parties.recipe, "clip": "0.01", "seed": 6})
    assert clipped.report["clipped"] is True
    assert clipped.report["norm"] != first.report["norm"]  # another seed is another run
    assert clipped.report["norm_kept"] == "0.010000"


async def test_a_change_that_breaks_the_recipe_is_refused(
    client: AgentClient, step: RunStep, parties: Parties, tmp_path: Path
) -> None:
    honest = await step(parties.one, None, parties.recipe)
    greedy = await step(parties.other, None, {**parties.recipe, "clip": "100", "learning_rate": "1"})
    assert float(greedy.report["norm_kept"]) > float(parties.recipe["clip"])
    ended = await average(client, [honest, greedy], None, tmp_path / "greedy", parties.recipe)
    assert (ended.state, ended.reason) == ("failed", "too_long")
    assert "party 2" in ended.words
    greedy.delta.write_bytes(b"\x80\x04cos\nsystem\n(S'id'\ntR.")
    ended = await average(client, [honest, greedy], None, tmp_path / "stranger", parties.recipe)
    assert (ended.state, ended.reason) == ("failed", "bad_weights")
    assert "delta-2" in ended.words


async def test_weights_of_another_round_are_refused_before_anything_is_owed(
    step: RunStep, parties: Parties, workload_runtime: Runtime, tmp_path: Path
) -> None:
    start = first_weights(workload_runtime, parties, tmp_path)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(start.read_bytes()[:-4])
    names = parties.recipe["features"]
    wild = {"task": "regression", "classes": [], "label": names[0], "features": names[1:], "hidden": []}
    wild |= {"mean": [], "spread": [], "learning_rate": "10"}
    wrong = [
        (broken, parties.recipe, "bad_weights"),
        (start, {**parties.recipe, "hidden": [17]}, "bad_weights"),
        (None, {**parties.recipe, "classes": ["benign", "x"]}, "bad_label"),
        (None, {**parties.recipe, "features": ["nothing"], "mean": [], "spread": []}, "bad_csv"),
        (None, {**parties.recipe, **wild}, "training_diverged"),
    ]
    for weights, recipe, code in wrong:
        ended = await step(parties.one, weights, recipe)
        assert (ended.result.state, ended.result.reason) == ("failed", code)
        assert ended.result.usage.seconds_useful == 0 or code == "training_diverged"


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ["benign"]},
        {"classes": ["benign", "benign"]},
        {"task": "regression"},
        {"features": ["a", "a"], "mean": [], "spread": []},
        {"features": [LABEL], "mean": [], "spread": []},
        {"mean": ["0"]},
        {"spread": []},
        {"clip": "0"},
        {"clip": 1},
        {"learning_rate": "0"},
        {"path": "/etc"},
    ],
)
def test_recipes_that_no_step_can_follow(parties: Parties, changes: dict[str, Any]) -> None:
    spec = JobSpec(job_id="j", kind="federate", params={**parties.recipe, **changes})
    with pytest.raises(SandboxError) as caught:
        spec.parse_params()
    assert caught.value.code == "bad_job_params"
