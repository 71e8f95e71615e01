"""An evaluator for tests: a real agent, real models that were trained on wine, digits and diabetes."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_lab import running_agent

from openstall.app.services.checking import LocalJobs
from openstall.app.services.sealed import SealedEvaluation
from openstall.app.threads import Workers
from openstall.compute_agent.assess_specs import AssessParams
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.runtime import Runtime, find_runtime
from openstall.market.requests.demands import Floor

SEED = bytes(range(32))
"""From it come the salts of the rows; the salts of the answers come from `SALT_SEED`."""
SALT_SEED = "5a" * 32
_RUN = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), None, '__main__')"
)


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """What `evaluator` gives: the service, and the agent below it."""

    service: SealedEvaluation
    agent: AgentClient


@asynccontextmanager
async def evaluator(folder: Path) -> AsyncIterator[Evaluator]:
    """A node's part that evaluates, with an agent process of its own."""
    async with running_agent() as agent:
        workers = Workers()
        jobs = LocalJobs(agent=agent, folder=folder, workers=workers)
        yield Evaluator(service=SealedEvaluation(jobs=jobs, workers=workers), agent=agent)


def make_models(folder: Path) -> Runtime:
    """Train and write every model and its rows; a second or two."""
    runtime = find_runtime()
    script = Path(__file__).with_name("make_sealed.py")
    run_in_runtime(runtime, script, str(folder))
    return runtime


def run_in_runtime(runtime: Runtime, script: Path, *arguments: str) -> str:
    """Run a script with the libraries of the workload runtime; what it printed."""
    command = [
        str(runtime.python),
        "-I",
        "-S",
        "-c",
        _RUN,
        str(runtime.site_packages),
        str(script),
        *arguments,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def params(name: str, folder: Path, **changes: Any) -> AssessParams:
    """What is asked of a model of that data set."""
    header, rows = table(folder / f"{name}.csv")
    task = "regression" if name == "diabetes" else "classification"
    asked: dict[str, Any] = {
        "task": task,
        "features": tuple(header[:-1]),
        "target": "target",
        "classes": tuple(sorted({row[-1] for row in rows})) if task == "classification" else (),
        "metric": "accuracy" if task == "classification" else "rmse",
        "threshold": "0.9" if task == "classification" else "60",
        "seed": 7,
        "salt_seed": SALT_SEED,
    }
    return AssessParams(**{**asked, **changes})


def floor(name: Any, limit: str, group: str = "") -> Floor:
    """A second demand."""
    return Floor(name=name, limit=limit, group=group)
