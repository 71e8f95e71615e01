"""Files on their way to and from a Ray worker: compared, capped, named. Ray itself is not needed for this."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from openstall.compute_agent.ray_files import Incoming, checked
from openstall.compute_agent.ray_worker import InputFile, WorkerJob, _write_inputs
from openstall.compute_agent.specs import JobResult, JobSpec, Limits, OutputFile
from openstall.market.errors import SandboxError

SPEC = JobSpec(
    job_id="job",
    kind="train",
    params={"task": "classification", "label": "y"},
    limits=Limits(disk_bytes=2**20),
)


def output(name: str, content: bytes) -> OutputFile:
    return OutputFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def test_inputs_that_changed_on_the_way_start_nothing(tmp_path: Path) -> None:
    whole = b"a,y\n1,0\n"
    file = InputFile(name="data.csv", pieces=2, sha256=hashlib.sha256(whole).hexdigest())
    _write_inputs(tmp_path / "in", [file], [whole[:3], whole[3:]])
    assert (tmp_path / "in" / "data.csv").read_bytes() == whole
    with pytest.raises(SandboxError) as caught:
        _write_inputs(tmp_path / "other", [file], [whole[:3], whole[4:]])
    assert caught.value.code == "bad_job_inputs"


def test_what_a_worker_sends_is_capped_and_named(tmp_path: Path) -> None:
    incoming = Incoming(tmp_path / "out", SPEC)
    incoming.add(b"mo")
    incoming.add(b"del")
    assert incoming.end("model.onnx") == output("model.onnx", b"model")
    assert incoming.end("report.json") == output("report.json", b"")
    for name in ("../x.json", "con.txt", ".hidden.json"):
        with pytest.raises(SandboxError):
            incoming.end(name)
    with pytest.raises(SandboxError) as caught:
        incoming.add(bytes(2 * 2**20))
    assert caught.value.code == "output_too_large"
    incoming.move(["model.onnx"], tmp_path / "out")
    incoming.close()
    assert not (tmp_path / "incoming").exists()


@pytest.mark.parametrize(
    ("came", "named"),
    [
        ({"model.onnx": b"m"}, {"model.onnx": b"m"}),
        ({"model.onnx": b"m", "report.json": b"{}"}, {"model.onnx": b"other", "report.json": b"{}"}),
        ({"model.onnx": b"m"}, {"model.onnx": b"m", "report.json": b"{}"}),
        ({"model.onnx": b"m", "x.json": b""}, {"model.onnx": b"m", "x.json": b""}),
    ],
)
def test_results_that_are_not_whole(came: dict[str, bytes], named: dict[str, bytes]) -> None:
    files = {name: output(name, content) for name, content in came.items()}
    outputs = tuple(output(name, content) for name, content in named.items())
    result = JobResult(state="done", reason="ok", words="Done.", outputs=outputs)
    found = checked(SPEC, files, result)
    assert (found.state, found.outputs) == ("failed", ())


def test_results_that_are_whole() -> None:
    files = {"model.onnx": output("model.onnx", b"m"), "report.json": output("report.json", b"{}")}
    result = JobResult(state="done", reason="ok", words="Done.", outputs=tuple(files.values()))
    assert checked(SPEC, files, result) == result


def test_ray_makes_no_one_threaded_actor_of_a_job() -> None:
    """One async method, and `tell` would wait until `run` has ended: no cancel, no pause."""
    import inspect

    assert [name for name, _ in inspect.getmembers(WorkerJob, inspect.iscoroutinefunction)] == []
