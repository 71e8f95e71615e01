"""What a program could do that took the place of our metric code: it has the rows, and tries to tell them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.compute_agent.assess_specs import AssessParams
from openstall.compute_agent.jobs import allowed_outputs, failed_collection, result_of
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox.host import Facilities, own_interpreter, run_sandbox
from openstall.compute_agent.sandbox.plan import Entry, Plan
from openstall.compute_agent.sandbox.supervisor import Outcome
from openstall.compute_agent.specs import (
    MIB,
    FirstOutput,
    JobEvent,
    JobResult,
    JobSpec,
    Limits,
    Usage,
    UsageTick,
)
from openstall.market.errors import SandboxError
from openstall.market.merkle import root_of, salt_of, sealed_leaf

LIMITS = Limits(wall_s=20, cpu_s=20, memory_bytes=256 * MIB, processes=16, disk_bytes=MIB, log_bytes=16384)
SPEC = JobSpec(
    job_id="j",
    kind="assess",
    limits=LIMITS,
    params={
        "task": "classification",
        "features": ["a"],
        "target": "b",
        "metric": "accuracy",
        "threshold": "0.9",
        "seed": 1,
        "salt_seed": "00" * 32,
    },
)
SECRET = "4711,0815"
TELL = """
import json, os, sys
rows = open("/job/in/rows.csv").read()
def say(**event): os.write(3, json.dumps(event).encode() + b"\\n")
say(t="begin")
"""


async def run(facilities: Facilities, folder: Path, script: str) -> tuple[JobResult, list[JobEvent]]:
    """The script in the place of the workload `assess`, with all that holds that one."""
    for name in ("in", "out"):
        (folder / name).mkdir()
    (folder / "in" / "rows.csv").write_text(f"a,b\n{SECRET}\n" * 400)
    (folder / "script.py").write_text(TELL + script)
    for path in (folder, folder / "in"):
        path.chmod(0o755)
    events: list[JobEvent] = []

    async def emit(event: JobEvent) -> None:
        events.append(event)

    plan = Plan(
        entry=Entry(script=folder / "script.py"),
        runtime=own_interpreter(),
        inputs=folder / "in",
        params=b"{}",
        limits=LIMITS,
        mode=facilities.mode,
        silent=True,
    )
    try:
        outcome, outputs = await run_sandbox(
            facilities=facilities,
            plan=plan,
            emit=emit,
            cancel=trio.Event(),
            allowed=allowed_outputs(SPEC),
            destination=folder / "out",
        )
    except SandboxError as error:
        return failed_collection(SPEC, error, Usage()), events
    return result_of(SPEC, outcome, outputs), events


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("print(rows, flush=True)\nopen('assessment.json', 'w').write('{}')\n", "ok"),
        ("sys.stderr.write(rows)\nopen('assessment.json', 'w').write('{}')\n", "ok"),
        (
            "say(t='progress', done=47, total=4711)\nopen('assessment.json', 'w').write('{}')",
            "ok",
        ),
        ("open('assessment.json', 'w').write(rows)", "output_too_large"),
        ("open('assessment.json', 'w').write('{}')\nopen('rows.csv', 'w').write(rows)", "output_unexpected"),
        ("open('assessment.json', 'w').write('{}')\nopen(rows[4:13] + '.csv', 'w')", "output_unexpected"),
        ("say(t='fault', code='bad_csv', words=rows[:400], what_next=rows[:400])\nsys.exit(3)", "bad_csv"),
        ("say(t='fault', code='x', words=rows[:400])\nos.kill(os.getpid(), 9)", "crashed"),
        ("say(t='fault', code='secret', words=rows[:400])\nsys.exit(3)", "crashed"),
        ("say(t=rows[:40])\nsys.stdin.read()", "crashed"),
        ("raise ValueError(rows)", "crashed"),
    ],
)
async def test_no_way_of_speaking_carries_a_row(
    facilities: Facilities, tmp_path: Path, script: str, reason: str
) -> None:
    result, events = await run(facilities, tmp_path, script)
    assert result.reason == reason
    assert {type(event) for event in events} <= {FirstOutput, UsageTick}
    assert "4711" not in repr(result) + repr(events)
    left = [path.name for path in (tmp_path / "out").iterdir()]
    assert left == (["assessment.json"] if reason == "ok" else [])


def test_a_machine_without_a_full_sandbox_evaluates_nothing() -> None:
    from openstall.compute_agent.jobs import require_tier

    require_tier("assess", "full")
    with pytest.raises(SandboxError, match="tier full"):
        require_tier("assess", "reduced")


async def test_the_sandbox_reckons_with_the_same_code(
    facilities: Facilities, workload_runtime: Runtime, tmp_path: Path
) -> None:
    """Salts, leaves and roots are one module on both sides, also in a sandbox without our packages."""
    (tmp_path / "in").mkdir()
    (tmp_path / "script.py").write_text(
        "from openstall.learning import grid, intervals\nfrom openstall.market.merkle import *\n"
        "print(root_of([sealed_leaf(salt_of(bytes(32), n), ['a', str(n)]) for n in range(5)]).hex())\n"
    )
    for path in (tmp_path, tmp_path / "in"):
        path.chmod(0o755)
    lines: list[Any] = []

    async def emit(event: JobEvent) -> None:
        lines.append(getattr(event, "text", None))

    plan = Plan(
        entry=Entry(script=tmp_path / "script.py"),
        runtime=workload_runtime,
        inputs=tmp_path / "in",
        params=b"{}",
        limits=LIMITS,
        mode=facilities.mode,
    )
    outcome, _ = await run_sandbox(
        facilities=facilities, plan=plan, emit=emit, cancel=trio.Event(), allowed={}, destination=tmp_path
    )
    assert outcome.exit_code == 0, lines
    assert root_of([sealed_leaf(salt_of(bytes(32), n), ["a", str(n)]) for n in range(5)]).hex() in lines


def test_the_one_output_is_small() -> None:
    assert allowed_outputs(SPEC) == {"assessment.json": 4096}
    opened = JobSpec(job_id="j", kind="assess", limits=LIMITS, params={**SPEC.params, "opened": [0, 3]})
    assert allowed_outputs(opened) == {"openings.json": MIB}
    assert isinstance(SPEC.parse_params(), AssessParams)


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "rmse"},
        {"threshold": "1.5"},
        {"threshold": "nan"},
        {"threshold": "0.90000001"},
        {"floors": [{"name": "fairness", "limit": "0.1", "group": ""}]},
        {"floors": [{"name": "size", "limit": "0.1", "group": ""}]},
        {"floors": [{"name": "size", "limit": "9", "group": ""}] * 2},
        {"features": []},
        {"salt_seed": "00"},
        {"opened": list(range(65))},
        {"rows": 4},
    ],
)
def test_demands_that_contradict_themselves_are_refused(change: dict[str, Any]) -> None:
    spec = JobSpec(job_id="j", kind="assess", params={**SPEC.params, **change})
    with pytest.raises(SandboxError) as caught:
        spec.parse_params()
    assert caught.value.code == "bad_job_params"


def test_an_end_by_the_machine_is_told_as_ever() -> None:
    short = Outcome(exit_code=137, usage=Usage())
    assert result_of(SPEC, short, (), host_short=True).reason == "host_memory"
