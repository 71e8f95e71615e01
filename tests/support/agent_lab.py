"""A compute agent as the node starts it, and what a job of it is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.sandbox.launcher import children_of


@asynccontextmanager
async def agent(**options: object) -> AsyncIterator[AgentClient]:
    client = AgentClient(**options)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await client.start(nursery)
        yield client
        await client.aclose()


def job_folder(folder: Path, rows: int = 400) -> Path:
    (folder / "in").mkdir(parents=True)
    lines = [f"{n % 7},{n % 5},{n % 2}" for n in range(rows)]
    (folder / "in" / "data.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    return folder


def descendants(pid: int) -> list[int]:
    found = children_of(pid)
    return found + [deeper for child in found for deeper in descendants(child)]
