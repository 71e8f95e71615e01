from __future__ import annotations

import json

import pytest

from openstall.compute_agent import specs, wire
from openstall.market.errors import SandboxError


def spec(**fields: object) -> specs.JobSpec:
    return specs.JobSpec(**{"job_id": "job-1", "kind": "train", **fields})  # type: ignore[arg-type]


def run_line(**changes: object) -> bytes:
    document = {
        "id": 1,
        "op": "run",
        "spec": {"job_id": "job-1", "kind": "lint", "params": {}},
        "inputs": "/in",
        "outputs": "/out",
    }
    return json.dumps({**document, **changes}).encode()


def test_request_survives_the_wire() -> None:
    request = wire.Request(id=7, op="run", spec=spec(params={"a": 1}), inputs="/i", outputs="/o")
    line = wire.encode_line(request)
    assert line.endswith(b"\n")
    assert wire.decode_request(line) == request


@pytest.mark.parametrize(
    "event",
    [
        specs.LogLine(seq=3, text="x"),
        specs.FirstOutput(start_ms=40),
        specs.Progress(done=1, total=2),
        specs.UsageTick(usage=specs.Usage(seconds_useful=2, cpu_s=1, peak_memory_bytes=5)),
        specs.End(result=specs.JobResult(state="done", reason="ok", words="The job is done.")),
    ],
)
def test_event_survives_the_wire(event: specs.JobEvent) -> None:
    reply = wire.Reply(job_id="j", event=event)
    assert wire.decode_reply(wire.encode_line(reply)) == reply


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[1]",
        b'{"id": 1}',
        b'{"id": -1, "op": "probe"}',
        b'{"id": 1, "op": "shell"}',
        b'{"id": 1, "op": "probe", "extra": 1}',
        b'{"id": 1, "op": "probe", "id": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        run_line(spec={"job_id": "../x", "kind": "lint"}),
        run_line(spec={"job_id": "x\n", "kind": "lint"}),
        run_line(spec={"job_id": "x", "kind": "shell"}),
        run_line(spec={"job_id": "x", "kind": "lint", "limits": {"memory_bytes": 1}}),
        run_line(spec={"job_id": "x", "kind": "lint", "limits": {"wall_s": 10**9}}),
        run_line(spec={"job_id": "x", "kind": "lint", "limits": {"processes": 2.5}}),
    ],
)
def test_hostile_requests_are_refused(line: bytes) -> None:
    with pytest.raises(SandboxError) as caught:
        wire.decode_request(line)
    assert caught.value.code == "bad_agent_message"


def test_long_lines_are_refused_before_parsing() -> None:
    with pytest.raises(SandboxError):
        wire.decode_request(b" " * (wire.LINE_CAP_BYTES + 1))
    with pytest.raises(SandboxError) as caught:
        wire.encode_line(wire.Reply(id=1, hello="x" * wire.LINE_CAP_BYTES))
    assert caught.value.code == "agent_line_too_long"


def test_params_take_the_type_of_their_kind() -> None:
    recipe = {"task": "regression", "label": "y", "hidden": [4], "learning_rate": "0.5"}
    params = spec(params=recipe).parse_params()
    assert isinstance(params, specs.TrainParams)
    assert params.hidden == (4,)
    assert isinstance(spec(kind="infer", params={}).parse_params(), specs.InferParams)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("train", {}),
        ("train", {"task": "clustering", "label": "y"}),
        ("train", {"task": "regression", "label": ""}),
        ("train", {"task": "regression", "label": "y", "learning_rate": "0"}),
        ("train", {"task": "regression", "label": "y", "learning_rate": "1e3"}),
        ("train", {"task": "regression", "label": "y", "learning_rate": 0.1}),
        ("train", {"task": "regression", "label": "y", "learning_rate": "0.1\n"}),
        ("train", {"task": "regression", "label": "y", "test_fraction": "0.95"}),
        ("train", {"task": "regression", "label": "y", "hidden": [1] * 9}),
        ("train", {"task": "regression", "label": "y", "hidden": [10**9]}),
        ("train", {"task": "regression", "label": "y", "epochs": 10**9}),
        ("train", {"task": "regression", "label": "y", "code": "import os"}),
        ("infer", {"batch_size": 0}),
        ("lint", {"file": "../../etc/passwd"}),
        ("lint", {"file": "model.onnx\n"}),
    ],
)
def test_bad_params_name_the_field(kind: specs.JobKind, params: dict[str, object]) -> None:
    with pytest.raises(SandboxError) as caught:
        spec(kind=kind, params=params).parse_params()
    assert caught.value.code == "bad_job_params"
    assert caught.value.what_next


@pytest.mark.parametrize("name", ["model.onnx", "report.json", "a-b_c.tar.gz", "7.x"])
def test_plain_names(name: str) -> None:
    assert specs.is_plain_file_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b.c", "a\\b.c", ".hidden", "-rf.x", "model", "a.b.c.d.e"),
        *("model.onnx\n", "\u202egpj.exe", "x\x1b[2J.txt", "con.txt", "NUL.json", "com1.csv"),
        *("ünicode.txt", "a b.txt", "a" * 70 + ".txt", "x.", "x.y/"),
    ],
)
def test_names_that_are_not_plain(name: str) -> None:
    assert not specs.is_plain_file_name(name)
