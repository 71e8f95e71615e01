"""Real sandboxes for the tests: hostile scripts go straight to the launcher, never through an agent."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.compute_agent.runtime import Runtime, find_runtime
from openstall.compute_agent.sandbox.cgroup import find_scope
from openstall.compute_agent.sandbox.hold import Hold
from openstall.compute_agent.sandbox.host import Facilities, find_facilities, own_interpreter, run_sandbox
from openstall.compute_agent.sandbox.plan import Entry, Mode, Plan
from openstall.compute_agent.sandbox.supervisor import Outcome
from openstall.compute_agent.specs import MIB, JobEvent, Limits, LogLine, OutputFile

MODES: tuple[Mode, ...] = ("dropped_root", "user_namespace") if os.geteuid() == 0 else ("user_namespace",)


@dataclass(kw_only=True)
class Ran:
    outcome: Outcome
    outputs: tuple[OutputFile, ...]
    log: list[str]
    events: list[JobEvent]
    folder: Path


RunScript = Callable[..., Awaitable[Ran]]


@pytest.fixture(scope="session")
def found() -> Facilities:
    return trio.run(lambda: find_facilities(runtime=own_interpreter(), scope=find_scope()))


@pytest.fixture(scope="session")
def workload_runtime() -> Runtime:
    return find_runtime()


@pytest.fixture(params=MODES)
def facilities(found: Facilities, request: pytest.FixtureRequest) -> Facilities:
    return dataclasses.replace(found, mode=request.param)


@pytest.fixture
def run_script(facilities: Facilities, tmp_path: Path) -> RunScript:
    """Run Python text in a sandbox with tight limits; `cancel` and `allowed` as for `run_sandbox`."""

    async def run(
        script: str,
        *,
        cancel: trio.Event | None = None,
        hold: Hold | None = None,
        allowed: dict[str, int] | None = None,
        on_line: Callable[[str], None] = lambda _line: None,
        allow_fork: bool = False,
        **limits: Any,
    ) -> Ran:
        for name in ("in", "out"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "in" / "data.csv").write_text("a,b\n1,2\n")
        (tmp_path / "script.py").write_text(script)
        for path in (tmp_path, tmp_path / "in"):
            path.chmod(0o755)
        tight = {
            "wall_s": 20,
            "cpu_s": 20,
            "memory_bytes": 128 * MIB,
            "processes": 16,
            "disk_bytes": 8 * MIB,
            "log_bytes": 16384,
        }
        events: list[JobEvent] = []

        async def emit(event: JobEvent) -> None:
            events.append(event)
            if isinstance(event, LogLine):
                on_line(event.text)

        outcome, outputs = await run_sandbox(
            facilities=facilities,
            plan=Plan(
                entry=Entry(script=tmp_path / "script.py"),
                runtime=own_interpreter(),
                inputs=tmp_path / "in",
                params=b'{"x": 1}',
                limits=Limits(**{**tight, **limits}),
                mode=facilities.mode,
                allow_fork=allow_fork,
            ),
            emit=emit,
            cancel=trio.Event() if cancel is None else cancel,
            allowed=allowed or {},
            destination=tmp_path / "out",
            hold=hold,
        )
        log = [event.text for event in events if isinstance(event, LogLine)]
        return Ran(outcome=outcome, outputs=outputs, log=log, events=events, folder=tmp_path)

    return run
