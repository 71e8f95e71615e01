"""Model files from anybody are looked at, and run, only inside the sandbox on this machine."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import trio

from openstall.app.threads import Workers
from openstall.compute_agent import specs
from openstall.compute_agent.client import AgentClient
from openstall.market.errors import SandboxError

MAX_REPORT_BYTES = 1024 * 1024
_LINT_LIMITS = specs.Limits(wall_s=120, cpu_s=120, memory_bytes=4 * specs.GIB)


class Tell(Protocol):
    """How far something is; `Progress` of an operation is one."""

    def __call__(self, stage: str, done: int = 0, total: int = 0, unit: str = "") -> None:
        """Take the stage in words and, where it can be counted, `done` of `total` `unit`s."""


@dataclass(slots=True, kw_only=True)
class LocalJobs:
    """Runs short jobs for this node's own user in the sandbox, in a folder that is removed afterwards."""

    agent: AgentClient
    folder: Path
    workers: Workers

    async def run(
        self,
        *,
        kind: specs.JobKind,
        params: dict[str, Any],
        inputs: dict[str, Path],
        report: str,
        keep: Path | None,
        progress: Tell,
        limits: specs.Limits,
        gpus: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Run a job on copies of `inputs`; its files go to `keep`, the JSON file `report` is returned.

        `gpus` are the graphics cards that it may use, by the driver's ids.

        Raises:
            SandboxError: no sandbox, or the job failed, with the job's own words.
        """
        job_id = f"local-{secrets.token_hex(6)}"
        place = self.folder / job_id

        async def on_event(event: specs.JobEvent) -> None:
            if isinstance(event, specs.Progress):
                progress("Running in the sandbox", event.done, event.total, "steps")

        try:
            await self.workers.work(_copy_in, inputs, place / "in")
            spec = specs.JobSpec(job_id=job_id, kind=kind, params=params, limits=limits)
            result = await self.agent.run(spec, place / "in", place / "out", on_event, gpus=gpus)
            if result.state != "done":
                raise SandboxError(result.reason, result.words, result.what_next)
            found = await self.workers.work(_read_report, place / "out" / report)
            if keep is not None:
                names = [item.name for item in result.outputs]
                await self.workers.work(_move_out, names, place / "out", keep)
            return found
        finally:
            with trio.CancelScope(shield=True):
                await self.workers.work(shutil.rmtree, place, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class ModelCheck:
    """What is inside a model file, and whether it may be sold or run here."""

    jobs: LocalJobs

    async def run(self, path: Path, progress: Tell) -> dict[str, Any]:
        """The findings of the check: `{ok, format, size, findings, inputs, outputs, features, classes}`.

        Raises:
            SandboxError: there is no sandbox to look in.
        """
        name = path.name if specs.is_plain_file_name(path.name) else f"model{path.suffix.lower()}"
        return await self.jobs.run(
            kind="lint",
            params={"file": name},
            inputs={name: path},
            report="lint.json",
            keep=None,
            progress=progress,
            limits=_LINT_LIMITS,
        )


def _copy_in(inputs: dict[str, Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, source in inputs.items():
        shutil.copyfile(source, folder / name)


def _move_out(names: list[str], source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.move(source / name, target / name)


def _read_report(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_REPORT_BYTES:
        raise SandboxError("bad_report", "The job wrote a report that is too large.")
    try:
        report = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SandboxError("bad_report", "The job wrote a report that cannot be read.") from error
    if not isinstance(report, dict):
        raise SandboxError("bad_report", "The job wrote a report that cannot be read.")
    return report
