"""Works on this node's own machine: benchmarks, chains, and checks of others' chains, all sandboxed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from openstall.app.services.checking import LocalJobs, Tell
from openstall.app.threads import Workers
from openstall.compute_agent.specs import GIB, MIB, Limits
from openstall.market.errors import SandboxError
from openstall.market.records import Work

STATES = "states.bin"
BENCHMARK_S = 600
CHECK_S = 900
_SPARE_BYTES = 16 * MIB


def silent(stage: str, done: int = 0, total: int = 0, unit: str = "") -> None:
    """A progress that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a chain left: a digest for each boundary of segments, and how long it took."""

    digests: list[str]
    elapsed_ms: int
    runtime: str


class _ProofFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digests: list[str]
    elapsed_ms: int
    runtime: str


class _VerdictFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    right: bool
    wrong: str


@dataclass(slots=True, kw_only=True)
class Testbench:
    """Runs the measuring workloads."""

    jobs: LocalJobs
    workers: Workers
    gpus: Callable[[], Awaitable[tuple[str, ...]]]
    """The graphics cards that may be measured, by the driver's ids."""

    async def benchmark(self, device: str, *, threads: int, seconds: int, progress: Tell) -> dict[str, Any]:
        """The figures of one device, as the workload writes them.

        Raises:
            SandboxError: no sandbox, no such device, or the benchmark failed.
        """
        return await self.jobs.run(
            kind="benchmark",
            params={"device": device, "seconds": seconds},
            inputs={},
            report="figures.json",
            keep=None,
            progress=progress,
            limits=_limits(BENCHMARK_S, threads=threads, disk_bytes=_SPARE_BYTES),
            gpus=await self._cards(device),
        )

    async def prove(
        self, work: Work, seed: str, *, keep: Path, within_s: float, progress: Tell = silent
    ) -> Proof:
        """Compute the chain of a work; its states go to `keep / STATES`.

        Raises:
            SandboxError: no sandbox, no such device, or longer than `within_s`.
        """
        states = work.segments * work.size**2
        report = await self.jobs.run(
            kind="challenge",
            params=_params(work, seed),
            inputs={},
            report="proof.json",
            keep=keep,
            progress=progress,
            limits=_limits(math.ceil(within_s), threads=work.threads, disk_bytes=states + _SPARE_BYTES),
            gpus=await self._cards(work.device),
        )
        found = _typed(report, _ProofFile)
        return Proof(digests=found.digests, elapsed_ms=found.elapsed_ms, runtime=found.runtime)

    async def check(
        self, work: Work, seed: str, digests: list[str], opened: list[int], states: Path, *, progress: Tell
    ) -> str:
        """What is wrong with the opened segments of a chain; empty where all is right.

        The check runs on the processor, whatever device the chain was computed on.

        Raises:
            SandboxError: no sandbox, or this machine is too slow to check it.
        """
        params = {**_params(work, seed), "device": "cpu", "digests": digests, "opened": opened}
        report = await self.jobs.run(
            kind="verify_challenge",
            params=params,
            inputs={STATES: states},
            report="verdict.json",
            keep=None,
            progress=progress,
            limits=_limits(CHECK_S, threads=1, disk_bytes=_SPARE_BYTES),
        )
        found = _typed(report, _VerdictFile)
        return "" if found.right else (found.wrong or "unknown")

    async def _cards(self, device: str) -> tuple[str, ...]:
        return () if device == "cpu" else await self.gpus()

    async def cut(self, states: Path, work: Work, opened: list[int], target: Path) -> None:
        """Copy the opened states out of a file that holds all of them."""
        await self.workers.work(_cut, states, work.size**2, opened, target)


def _cut(states: Path, size: int, opened: list[int], target: Path) -> None:
    with states.open("rb") as source, target.open("wb") as out:
        for at in opened:
            source.seek(at * size)
            out.write(source.read(size))


def _params(work: Work, seed: str) -> dict[str, Any]:
    return {
        "seed": seed,
        "size": work.size,
        "segments": work.segments,
        "rounds": work.rounds,
        "device": work.device,
    }


def _limits(wall_s: int, *, threads: int, disk_bytes: int) -> Limits:
    return Limits(
        wall_s=wall_s,
        cpu_s=wall_s * (threads + 1),
        memory_bytes=4 * GIB,
        disk_bytes=disk_bytes,
        threads=threads,
    )


def _typed(report: dict[str, Any], schema: Any) -> Any:
    try:
        return msgspec.convert(report, schema)
    except msgspec.ValidationError as error:
        raise SandboxError("bad_report", "The job wrote a report that cannot be read.") from error
