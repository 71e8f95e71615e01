"""Runs every attempt in every column of one user and prints the verdicts as JSON. Takes about half a minute.

    python campaign.py FOLDER [COLUMN…]

FOLDER must not exist yet; it is removed in the end.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import trio

HERE = Path(__file__).resolve().parent
for _folder in (HERE, HERE / "inside"):
    sys.path.insert(0, str(_folder))

import files  # noqa: E402, F401  (they register their attempts)
import kernel  # noqa: E402, F401
import network  # noqa: E402, F401
import processes  # noqa: E402, F401
from attempts import ATTEMPTS, Attempt  # noqa: E402
from columns import BOMB_COLUMNS, Column, columns_here  # noqa: E402
from hosting import Stage  # noqa: E402

import resources  # noqa: E402, F401
from openstall.compute_agent.runtime import Runtime  # noqa: E402
from openstall.compute_agent.sandbox.host import find_bwrap, own_interpreter  # noqa: E402
from openstall.compute_agent.sandbox.launcher import launch  # noqa: E402
from openstall.compute_agent.sandbox.plan import Entry, Plan  # noqa: E402
from openstall.compute_agent.sandbox.seccomp import build_filter  # noqa: E402
from openstall.compute_agent.sandbox.supervisor import supervise  # noqa: E402
from openstall.compute_agent.specs import MIB, JobEvent, Limits, LogLine  # noqa: E402

Verdict = tuple[str, str]
"""open, blocked or not tried; and how."""

_LIMITS = Limits(wall_s=30, cpu_s=20, memory_bytes=128 * MIB, processes=16, disk_bytes=8 * MIB, log_bytes=MIB)
# Time enough, so that what takes too much is ended by the limit it breaks, and not by the clock.
_TAKE_LIMITS = msgspec.structs.replace(_LIMITS, wall_s=20, cpu_s=10, log_bytes=64 * 1024)
_STAY_LIMITS = msgspec.structs.replace(_LIMITS, wall_s=1, cpu_s=1, log_bytes=64 * 1024)
_GUARD_S = 15
_STAY_S = 4
_AT_ONCE = 3


@dataclasses.dataclass(kw_only=True)
class Ran:
    """What one start of a column gave."""

    lines: list[str]
    end: str
    mark: str
    outside: bool = False
    """It had to be ended from outside, because nothing of its own did."""


class Campaign:
    """One user's columns on one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._inputs = stage.folder / "inputs"
        for path in (HERE / "inside").glob("*.py"):
            (self._inputs / path.name).write_text(path.read_text("utf-8"), "utf-8")
        self._runtime: Runtime = dataclasses.replace(
            own_interpreter(), site_packages=stage.folder / "runtime"
        )
        self._filters = {
            (fork, boxed): build_filter(allow_fork=fork, boxed=boxed)
            for fork in (True, False)
            for boxed in (True, False)
        }

    async def column(self, column: Column) -> dict[str, Verdict]:
        """The verdict on every attempt."""
        verdicts: dict[str, Verdict] = {}
        batch: list[str] = []
        for attempt in ATTEMPTS.values():
            why_not = _why_not(attempt, column)
            if why_not:
                verdicts[attempt.name] = ("not tried", why_not)
            elif not attempt.alone:
                batch.append(attempt.name)
        while batch:
            ran = await self._run(column, batch, _LIMITS)
            seen = _verdicts(ran)
            if not seen:
                raise RuntimeError(f"{column.name}: {ran}")
            verdicts |= seen
            batch = [name for name in batch if name not in verdicts]
        for attempt in ATTEMPTS.values():
            if attempt.name not in verdicts:
                verdicts[attempt.name] = await self._alone(column, attempt)
        return verdicts

    async def _alone(self, column: Column, attempt: Attempt) -> Verdict:
        limits = _STAY_LIMITS if attempt.group.startswith("stay") else _TAKE_LIMITS
        ran = await self._run(column, [attempt.name], limits)
        verdict = _verdicts(ran).get(attempt.name, ("blocked", ran.end))
        if verdict == ("open", "host"):
            verdict = self._host_verdict(attempt, ran)
        if ran.outside:
            return ("open", "ended from outside")
        return verdict

    def _host_verdict(self, attempt: Attempt, ran: Ran) -> Verdict:
        if attempt.name == "leave a process behind":
            left = [pid for pid in _processes() if _name(pid) == ran.mark]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return ("open", f"{len(left)} left") if left else ("blocked", "ended with the sandbox")
        said = next(line for line in ran.lines if ran.mark in line)
        hidden = [c for c in said if not c.isprintable()]
        return ("open", f"{len(hidden)} characters") if hidden else ("blocked", "made plain")

    async def _run(self, column: Column, names: list[str], limits: Limits) -> Ran:
        self._stage.refresh()
        boxed = column.mode is not None
        mark = f"esc{secrets.token_hex(5)}"
        settings = {
            "names": names,
            "boxed": boxed,
            "inputs": str(self._inputs),
            "facts": self._stage.facts
            | {
                "mark": mark,
                "hold_s": 3 if boxed else 0,
                "real_network": column.mode == "no_namespaces",
                "many": 11_000 if boxed else 1_000,
                "boxed": boxed,
                "column_on_disk": column.mode in {None, "no_namespaces"} and not column.command,
                "own_pid_namespace": column.mode not in {None, "no_namespaces"} or bool(column.command),
            },
        }
        params = json.dumps(settings).encode()
        if column.mode is None:
            guard_s = _STAY_S if limits is _STAY_LIMITS else _GUARD_S
            lines, end, outside = await trio.to_thread.run_sync(self._bare, column, params, guard_s)
            return Ran(lines=lines, end=end, mark=mark, outside=outside)
        plan = Plan(
            entry=Entry(script=self._inputs / "main.py"),
            runtime=self._runtime,
            inputs=self._inputs,
            params=params,
            limits=limits,
            mode=column.mode,
            allow_fork=column.allow_fork,
            without=column.without,
        )
        lines, end = await self._boxed(plan, self._filters[column.allow_fork, column.boxed_filter])
        return Ran(lines=lines, end=end, mark=mark)

    async def _boxed(self, plan: Plan, program: bytes) -> tuple[list[str], str]:
        lines: list[str] = []

        async def emit(event: JobEvent) -> None:
            if isinstance(event, LogLine):
                lines.append(event.text)

        running = launch(plan, bwrap=find_bwrap(), seccomp=program)
        try:
            outcome = await supervise(running=running, plan=plan, emit=emit, cancel=trio.Event())
        finally:
            with trio.CancelScope(shield=True):  # off the loop, as in the product: it may take seconds
                await trio.to_thread.run_sync(running.close)
        end = f"ended: {outcome.limit}" if outcome.limit else f"ended with status {outcome.exit_code}"
        if outcome.fault is not None:
            end = f"ended: {outcome.fault[0]}"
        return lines, end

    def _bare(self, column: Column, params: bytes, guard_s: int) -> tuple[list[str], str, bool]:
        """As a child of this process in a session with a terminal, as from a user's shell."""
        leader, follower = pty.openpty()
        naive = column.command[:1] == ("bwrap",)
        cwd = Path("/tmp") if naive else self._stage.folder / "out"
        command = [word.format(python=sys.executable, here=HERE) for word in column.command]
        command += ["--chdir", "/tmp"] if naive else []
        command += [sys.executable, "-I", "-S", "-B", str(self._inputs / "main.py"), params.decode()]
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[self._stage.leaked_fd],
            cwd=cwd,
        )
        os.close(follower)
        outside = False
        try:
            raw, _ = process.communicate(timeout=guard_s)
        except subprocess.TimeoutExpired:
            outside = True
            for pid in _descendants(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.kill()
            raw, _ = process.communicate()
        os.close(leader)
        text = raw.decode("utf-8", "replace")
        return text.split("\n"), f"status {process.returncode}", outside


def _why_not(attempt: Attempt, column: Column) -> str:
    if attempt.elsewhere and not column.own_network:
        return "it would reach other machines"
    if column.outside_only and not attempt.elsewhere:
        return "shown in the column bare"
    shown = column.name in BOMB_COLUMNS and (attempt.forks or column.name != "full, may fork")
    if attempt.alone and not shown:
        return "limits are shown in the other columns"
    return ""


def _verdicts(ran: Ran) -> dict[str, Verdict]:
    verdicts: dict[str, Verdict] = {}
    trying = ""
    for line in ran.lines:
        if not line.startswith("ATTEMPT "):
            continue
        name, verdict, words = json.loads(line.removeprefix("ATTEMPT "))
        if verdict == "trying":
            trying = name
        elif verdict == "end":
            return verdicts
        else:
            verdicts[name], trying = (verdict, words), ""
    if trying:
        verdicts[trying] = ("blocked", ran.end)
    return verdicts


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found


async def run(folder: Path, wanted: list[str]) -> dict[str, dict[str, Verdict]]:
    """Every column of this user, or those that are named."""
    stage = Stage(folder=folder)
    stage.prepare()
    try:
        campaign = Campaign(stage)
        columns = [column for column in columns_here() if not wanted or column.name in wanted]
        found: dict[str, dict[str, Verdict]] = {column.name: {} for column in columns}

        async def work(column: Column) -> None:
            async with places:
                found[column.name] = await campaign.column(column)

        places = trio.Semaphore(_AT_ONCE)
        for column in columns:
            if column.mode is None:  # these share a folder
                await work(column)
        async with trio.open_nursery() as nursery:
            for column in columns:
                if column.mode is not None:
                    nursery.start_soon(work, column)
        return found
    finally:
        stage.close()


def main() -> None:
    """The command."""
    results: Any = trio.run(run, Path(sys.argv[1]), sys.argv[2:])
    print(json.dumps(results))


if __name__ == "__main__":
    main()
