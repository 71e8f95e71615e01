from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from openstall.compute_agent import gpu_faults, jobs
from openstall.compute_agent.gpu_faults import GpuFault, GpuFaults
from openstall.compute_agent.sandbox.log_lines import plain_text
from openstall.compute_agent.sandbox.supervisor import Outcome
from openstall.compute_agent.sandbox.usage import host_oom_kills
from openstall.compute_agent.specs import MIB, JobSpec, Limits, Usage
from openstall.market.errors import SandboxError

SPEC = JobSpec(job_id="j", kind="train", limits=Limits(wall_s=7, cpu_s=9, memory_bytes=256 * MIB))


def outcome(**fields: object) -> Outcome:
    return Outcome(**{"exit_code": 0, "usage": Usage(seconds_useful=3), **fields})  # type: ignore[arg-type]


def test_a_kind_of_job_needs_its_tier() -> None:
    for kind in ("lint", "infer", "train"):
        jobs.require_tier(kind, "full")
        jobs.require_tier(kind, "reduced")
        with pytest.raises(SandboxError) as caught:
            jobs.require_tier(kind, "none")
        assert caught.value.code == "sandbox_too_weak"
        assert caught.value.what_next


@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({}, "done", "ok"),
        ({"exit_code": 1}, "failed", "crashed"),
        ({"exit_code": 3, "fault": ("bad_csv", "row 1: bad", "fix")}, "failed", "bad_csv"),
        ({"exit_code": 3, "fault": ("out_of_memory", "x", "")}, "limit", "memory"),
        ({"exit_code": 3, "fault": ("disk_full", "x", "")}, "limit", "disk"),
        ({"exit_code": 137, "limit": "wall"}, "limit", "wall"),
        ({"exit_code": 137, "cancelled": True}, "cancelled", "cancelled"),
        ({"exit_code": 137, "usage": Usage(cpu_s=9)}, "limit", "cpu"),
        ({"exit_code": 137, "usage": Usage(peak_memory_bytes=250 * MIB)}, "limit", "memory"),
        ({"exit_code": 137}, "failed", "killed"),
    ],
)
def test_every_end_has_its_state_and_words(fields: dict[str, object], state: str, reason: str) -> None:
    result = jobs.result_of(SPEC, outcome(**fields), ())
    assert (result.state, result.reason) == (state, reason)
    assert result.words
    assert "{" not in result.words + result.what_next


def test_a_kill_that_the_system_counted_is_the_machines_own() -> None:
    assert jobs.result_of(SPEC, outcome(exit_code=137), (), host_short=True).reason == "host_memory"
    over = outcome(exit_code=137, usage=Usage(peak_memory_bytes=250 * MIB))
    assert jobs.result_of(SPEC, over, (), host_short=True).reason == "memory", "it used all that was rented"


def test_a_fault_of_the_device_goes_before_what_the_job_says_and_one_of_the_program_does_not() -> None:
    failed = outcome(exit_code=3, fault=("script_failed", "CUDA error", ""))
    own = GpuFault(at=1.0, device="GPU-1", xid=31)
    broken = GpuFault(at=2.0, device="GPU-1", xid=79)
    assert jobs.result_of(SPEC, failed, (), gpu_faults=[own]).reason == "script_failed"
    found = jobs.result_of(SPEC, failed, (), gpu_faults=[own, broken])
    assert (found.state, found.reason) == ("failed", "gpu_fault")
    assert "Xid 79" in found.words
    assert jobs.result_of(SPEC, outcome(), (), gpu_faults=[broken]).state == "done"


class Driver:
    """In the place of the vendor's library: two events, then nothing more."""

    NVML_ERROR_TIMEOUT = 10

    class NVMLError(Exception):
        value = 10

    def __init__(self) -> None:
        self.xids = [31, 79]

    def nvmlEventSetWait_v2(self, _events: object, _wait_ms: int) -> object:  # noqa: N802 - the vendor's name
        if not self.xids:
            raise self.NVMLError
        return SimpleNamespace(device=1, eventData=self.xids.pop(0))

    def nvmlDeviceGetUUID(self, _device: object) -> str:  # noqa: N802 - the vendor's name
        return "GPU-1"


def test_events_of_a_device_are_kept_for_every_job_that_ran_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_faults, "_register", lambda: (Driver(), object()))
    faults, before = GpuFaults(), time.monotonic()
    assert [fault.xid for fault in faults.since(before)] == [31, 79]
    assert [fault.xid for fault in faults.since(before)] == [31, 79], "another job asks as well"
    assert faults.since(time.monotonic()) == []
    monkeypatch.setattr(gpu_faults, "_register", lambda: (None, None))
    assert GpuFaults().since(0.0) == []


def test_the_kills_of_this_machine_are_read_or_not_told(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 12\noom_kill 3\n")
    assert host_oom_kills(counters) == 3
    assert host_oom_kills(tmp_path / "none") is None


@pytest.mark.parametrize("limit", ["wall", "cpu", "memory", "disk", "files", "processes", "log", "start"])
def test_every_limit_has_words(limit: str) -> None:
    result = jobs.result_of(SPEC, outcome(limit=limit, exit_code=137), ())
    assert result.state == "limit"
    assert result.what_next


def test_inputs_must_be_exactly_the_plain_files_of_the_kind(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    wanted = frozenset({"data.csv"})

    def refused(outputs: str = "out") -> str:
        with pytest.raises(SandboxError) as caught:
            jobs.check_folders(inputs, tmp_path / outputs, wanted, share=False)
        assert caught.value.code == "bad_job_inputs"
        return caught.value.message

    assert "need ['data.csv']" in refused()
    (inputs / "data.csv").symlink_to("/etc/passwd")
    assert "not a plain file" in refused()
    (inputs / "data.csv").unlink()
    os.mkfifo(inputs / "data.csv")
    assert "not a plain file" in refused()
    (inputs / "data.csv").unlink()
    (inputs / "data.csv").write_text("a\n1\n")
    (inputs / "more").touch()
    assert "more" in refused()
    (inputs / "more").unlink()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert "not empty" in refused("full")
    (inputs / "data.csv").chmod(0o600)
    jobs.check_folders(inputs, tmp_path / "out", wanted, share=True)
    assert (inputs / "data.csv").stat().st_mode & 0o777 == 0o644


def test_outputs_are_named_by_kind() -> None:
    assert set(jobs.allowed_outputs(SPEC)) == {"model.onnx", "report.json"}
    assert set(jobs.allowed_outputs(JobSpec(job_id="j", kind="lint"))) == {"lint.json"}
    assert set(jobs.allowed_outputs(JobSpec(job_id="j", kind="infer"))) == {"predictions.csv", "report.json"}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07", "red "),
        (b"a\x00b\x07c\rd", "abcd"),
        ("safe\u202egnp.exe\u200b".encode(), "safegnp.exe"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u2028line".encode(), "line"),
    ],
)
def test_log_text_is_made_harmless(raw: bytes, text: str) -> None:
    assert plain_text(raw) == text


def test_log_lines_are_cut() -> None:
    assert len(plain_text(b"x" * 100_000)) == 2001
