"""Sealed evaluation in the real sandbox: figures come out, rows do not, and openings find a lie."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sealed_lab
from sealed_lab import SALT_SEED, SEED, Evaluator, floor, params, table

from openstall.app.services.sealed import LIMITS, Evaluated, statement_of
from openstall.compute_agent.specs import FirstOutput, JobEvent, JobResult, JobSpec, UsageTick
from openstall.market import merkle
from openstall.market.errors import InvalidRecord, SandboxError
from openstall.market.requests import openings
from openstall.market.requests.assessment import read_statement, statement_hash
from openstall.market.requests.openings import OpenedRow, Openings

ADDRESS = "0x" + "11" * 20
BLOCK = "ab" * 32
COUNT = """
import csv, sys
import numpy as np, onnxruntime
header, *rows = csv.reader(open(sys.argv[2], newline=""))
x = np.array([row[:-1] for row in rows], dtype=np.float32)
said = onnxruntime.InferenceSession(sys.argv[1]).run(None, {"x": x})[0]
if said.shape[1] > 1:
    print(sum(int(a) == int(row[-1]) for a, row in zip(said.argmax(axis=1), rows)))
else:
    print(np.sqrt(np.mean((said[:, 0] - np.array([float(row[-1]) for row in rows])) ** 2)))
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    sealed_lab.make_models(folder)
    return folder


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Evaluator]:
    async with sealed_lab.evaluator(tmp_path / "jobs") as found:
        yield found


def plainly(models: Path, name: str, tmp_path: Path) -> float:
    """The same figure from three lines of numpy outside every sandbox."""
    script = tmp_path / "count.py"
    script.write_text(COUNT)
    runtime = sealed_lab.find_runtime()
    return float(
        sealed_lab.run_in_runtime(runtime, script, str(models / f"{name}.onnx"), str(models / f"{name}.csv"))
    )


def statement(found: Evaluated, asked: Any, rows: list[list[str]], **changes: Any) -> bytes:
    root = merkle.root_of(openings.seal(rows, SEED)).hex()
    facts = {"network": "test:1", "chain_id": 31337, "key": "01" * 32, "request": "02" * 32, "attempt": 1}
    facts |= {"evaluator": ADDRESS, "model_sha256": "03" * 32, "rows": len(rows), "rows_root": root, "at": 9}
    return statement_of(found, asked, **(facts | changes))  # type: ignore[arg-type]


async def test_a_real_model_is_measured_and_its_statement_holds(
    lab: Evaluator, models: Path, tmp_path: Path
) -> None:
    _, rows = table(models / "wine.csv")
    floors = (floor("robustness", "0.8"), floor("latency", "1000"), floor("size", "5000"))
    asked = params("wine", models, floors=floors)
    found = await lab.service.evaluate(models / "wine.onnx", models / "wine.csv", asked, count=len(rows))
    assert found.measured is not None
    accuracy, robustness, latency, size = found.measured.figures
    hits = plainly(models, "wine", tmp_path)
    assert 0 <= hits / len(rows) - float(accuracy.value) < 0.01
    assert accuracy.rows == robustness.rows == len(rows)
    assert latency.hits is None
    assert size.value == size.high == str((models / "wine.onnx").stat().st_size)
    raw = statement(found, asked, rows)
    read = read_statement(raw)
    assert read.predicate.passed
    strict = statement(found, msgspec.structs.replace(asked, threshold="1"), rows)
    assert not read_statement(strict).predicate.passed
    again = await lab.service.evaluate(models / "wine.onnx", models / "wine.csv", asked, count=len(rows))
    assert again.measured is not None
    assert again.measured.outputs_root == found.measured.outputs_root
    assert again.measured.figures[:2] == found.measured.figures[:2]


@pytest.mark.parametrize(
    ("name", "metric", "threshold"),
    [
        ("digits", "macro_f1", "0.9"),
        ("digits", "auc", "0.99"),
        ("diabetes", "rmse", "60.0"),
        ("diabetes", "mae", "60"),
    ],
)
async def test_every_metric_has_an_interval(
    lab: Evaluator, models: Path, name: str, metric: str, threshold: str
) -> None:
    _, rows = table(models / f"{name}.csv")
    asked = params(name, models, metric=metric, threshold=threshold)
    if name == "diabetes":
        asked = msgspec.structs.replace(
            asked, floors=(floor("fairness", "0.9", "sex"), floor("robustness", "0.5"))
        )
    found = await lab.service.evaluate(
        models / f"{name}.onnx", models / f"{name}.csv", asked, count=len(rows)
    )
    assert found.measured is not None
    figure = found.measured.figures[0]
    assert 0 < float(figure.low) <= float(figure.value) <= float(figure.high)
    assert figure.low != figure.high
    assert read_statement(statement(found, asked, rows)).predicate.passed


async def run_job(
    lab: Evaluator, models: Path, folder: Path, model: str, rows: str | None = None, **asked: Any
) -> tuple[JobResult, list[JobEvent]]:
    """The job as the agent runs it, with everything that it lets out."""
    (folder / "in").mkdir()
    shutil.copy(models / model, folder / "in" / "model.onnx")
    text = (models / "wine.csv").read_text() if rows is None else rows
    (folder / "in" / "rows.csv").write_text(text)
    events: list[JobEvent] = []

    async def on_event(event: JobEvent) -> None:
        events.append(event)

    plain = msgspec.to_builtins(params("wine", models, **asked))
    spec = JobSpec(job_id="j", kind="assess", params=plain, limits=LIMITS)
    return await lab.agent.run(spec, folder / "in", folder / "out", on_event), events


def cells_of(models: Path) -> set[str]:
    """The telling cells of the sealed rows: those that no rounded figure is like by chance."""
    return {cell for row in table(models / "wine.csv")[1] for cell in row if "." in cell and len(cell) > 4}


@pytest.mark.parametrize("model", ["echo.onnx", "spelled.onnx"])
async def test_a_model_that_answers_with_the_rows_gains_nothing(
    lab: Evaluator, models: Path, tmp_path: Path, model: str
) -> None:
    result, events = await run_job(lab, models, tmp_path, model)
    assert result.state == "done", result
    assert {type(event) for event in events[:-1]} <= {FirstOutput, UsageTick}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["assessment.json"]
    said = (tmp_path / "out" / "assessment.json").read_text()
    document = json.loads(said)
    assert len(said) <= 4096
    assert document.keys() == {"rows", "figures", "outputs_root"}
    assert [figure["name"] for figure in document["figures"]] == ["accuracy"]
    assert [cell for cell in cells_of(models) if cell in said] == []


async def test_an_error_without_end_carries_no_row(lab: Evaluator, models: Path) -> None:
    """Told to the last digit, it would be the cells of a row, whatever the right answers are."""
    _, rows = table(models / "diabetes.csv")
    asked = params("diabetes", models, metric="rmse", threshold="60.0")
    found = await lab.service.evaluate(models / "loud.onnx", models / "diabetes.csv", asked, count=len(rows))
    assert found.measured is not None
    (figure,) = found.measured.figures
    assert float(figure.low) > 1e9
    for told in (figure.value, figure.low, figure.high):
        assert len(told.replace(".", "").rstrip("0")) <= 2, told
    assert not read_statement(statement(found, asked, rows)).predicate.passed


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("nan.onnx", "model_failed"),
        ("wide.onnx", "output_too_wide"),
        ("huge.onnx", "out_of_memory"),
        ("number.onnx", "wrong_task"),
        ("other.onnx", "columns_mismatch"),
        ("diabetes.onnx", "columns_mismatch"),
        ("wine.csv", "model_refused"),
        ("random.onnx", "model_refused"),
        ("dropout.onnx", "model_refused"),
        ("relative.onnx", "model_failed"),
    ],
)
async def test_a_model_that_cannot_be_measured_fails_with_a_fixed_word(
    lab: Evaluator, models: Path, model: str, fault: str
) -> None:
    _, rows = table(models / "wine.csv")
    asked = params("wine", models)
    found = await lab.service.evaluate(models / model, models / "wine.csv", asked, count=len(rows))
    assert (found.fault, found.measured) == (fault, None)
    read = read_statement(statement(found, asked, rows))
    assert not read.predicate.passed


async def test_the_words_of_a_failure_stay_inside(lab: Evaluator, models: Path, tmp_path: Path) -> None:
    header, rows = table(models / "wine.csv")
    rows[5][2] = "SECRET-CELL"
    text = "\n".join(",".join(row) for row in [header, *rows]) + "\n"
    result, events = await run_job(lab, models, tmp_path, "wine.onnx", text)
    assert (result.state, result.reason) == ("failed", "bad_csv")
    assert "SECRET" not in result.words + result.what_next
    assert {type(event) for event in events[:-1]} <= {FirstOutput, UsageTick}


async def test_rows_that_do_not_fit_give_no_verdict(lab: Evaluator, models: Path, tmp_path: Path) -> None:
    header, rows = table(models / "wine.csv")
    few = tmp_path / "few.csv"
    few.write_text("\n".join(",".join(row) for row in [header, *rows[:5]]) + "\n")
    with pytest.raises(SandboxError) as caught:
        await lab.service.evaluate(models / "wine.onnx", few, params("wine", models), count=5)
    assert caught.value.code == "too_few_rows"
    with pytest.raises(InvalidRecord, match="another number of rows"):
        await lab.service.evaluate(
            models / "wine.onnx", models / "wine.csv", params("wine", models), count=len(rows) + 1
        )


async def test_openings_are_replayed_and_made_up_answers_are_found(lab: Evaluator, models: Path) -> None:
    header, rows = table(models / "wine.csv")
    asked = params("wine", models)
    model, sealed_rows = models / "wine.onnx", models / "wine.csv"
    found = await lab.service.evaluate(model, sealed_rows, asked, count=len(rows))
    assert found.measured is not None
    root = found.measured.outputs_root
    answers = []
    for start in range(0, len(rows), 64):
        wanted = range(start, min(start + 64, len(rows)))
        answers += await lab.service.open(model, sealed_rows, asked, wanted, outputs_root=root)
    with pytest.raises(SandboxError, match="answers otherwise"):
        await lab.service.open(model, sealed_rows, asked, [0], outputs_root="00" * 32)
    honest = opened(statement(found, asked, rows), rows, [answer.cells for answer in answers])
    assert [entry.output for entry in honest] == [answers[entry.index] for entry in honest]
    assert await lab.service.replay(model, header, honest, asked) == []

    # the same evaluator, had it made up the answers to a tenth of the rows and committed to those
    lied = set(random.Random(3).sample(range(len(rows)), len(rows) // 10))
    claimed = [answer.cells for answer in answers]
    for at in lied:
        claimed[at] = ["1" if claimed[at][0] == "0" else "0", *claimed[at][1:]]
    root = merkle.root_of(openings.seal(claimed, bytes.fromhex(SALT_SEED))).hex()
    false = dataclasses.replace(found, measured=msgspec.structs.replace(found.measured, outputs_root=root))
    shown = opened(statement(false, asked, rows), rows, claimed)
    wrong = await lab.service.replay(model, header, shown, asked)
    assert wrong == sorted(lied & {entry.index for entry in shown})
    assert wrong


def opened(raw: bytes, rows: list[list[str]], answers: Sequence[list[str]]) -> list[OpenedRow]:
    """What an evaluator shows of its statement, checked as whoever asked for it does."""
    read, digest, seed = read_statement(raw), statement_hash(raw), bytes.fromhex(SALT_SEED)
    of_rows, of_answers = openings.seal(rows, SEED), openings.seal(answers, seed)
    entries = [
        OpenedRow(
            index=at,
            row=openings.show(of_rows, SEED, at, rows[at]),
            output=openings.show(of_answers, seed, at, answers[at]),
        )
        for at in openings.rows_to_open(digest, BLOCK, len(rows))
    ]
    told = Openings(network="test:1", statement=digest, block_hash=BLOCK, opened=entries)
    told = openings.read_openings(openings.write_openings(told))
    openings.check_openings(told, raw, read)
    return told.opened
