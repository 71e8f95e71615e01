"""A real agent with real train jobs, for the tests and benchmarks that hold and release them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.sandbox.launcher import children_of
from openstall.compute_agent.specs import JobSpec, Limits

ENDLESS = {"task": "classification", "label": "y", "epochs": 10_000, "hidden": [64], "batch_size": 4}


@asynccontextmanager
async def running_agent(**options: object) -> AsyncIterator[AgentClient]:
    """An agent process of its own; its jobs end with it."""
    client = AgentClient(**options)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await client.start(nursery)
        yield client
        await client.aclose()


def table(folder: Path, rows: int = 400) -> Path:
    """The folder of a job, with a small table in it."""
    (folder / "in").mkdir(parents=True)
    lines = [f"{n % 7},{n % 5},{n % 2}" for n in range(rows)]
    (folder / "in" / "data.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    return folder


def train(job_id: str = "job", *, wall_s: int = 300, **params: object) -> JobSpec:
    """A torch job; endless if nothing else is said."""
    return JobSpec(
        job_id=job_id, kind="train", params=ENDLESS | params, limits=Limits(wall_s=wall_s, cpu_s=300)
    )


def descendants(pid: int) -> list[int]:
    """Every process below `pid`."""
    found = children_of(pid)
    return found + [deeper for child in found for deeper in descendants(child)]


def cpu_ticks(pids: list[int]) -> int:
    """Processor time that processes have used, in the kernel's ticks; the dead count nothing."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(word) for word in fields[11:13])
    return total


def states(pids: list[int]) -> set[str]:
    """The states of all tasks of the processes that are alive, as in proc(5)."""
    found = set()
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            stat = (task / "stat").read_bytes()
            found.add(stat.rpartition(b")")[2].split(maxsplit=1)[0].decode())
    return found
