"""Does a finished job again in this node's own sandbox, whole or in part, and compares two results there.

The results are strangers' files: nothing of them is opened outside the sandbox, and one that is far too
large is not even taken in.
"""

from __future__ import annotations

import csv
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec

from openstall.app.services.checking import LocalJobs, Tell
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.job_stretch import KEPT
from openstall.app.threads import Workers
from openstall.compute_agent.recheck_specs import CHECKPOINT, COMPARED, SHARED, Of
from openstall.compute_agent.specs import GIB, MIB, JobKind, JobSpec, Limits
from openstall.market.errors import Conflict, SandboxError
from openstall.market.mechanisms.agreement import Figures, read_figures
from openstall.market.orders.results import JobReport
from openstall.p2p.blobs import BlobStore

FILES = {
    "csv": "predictions.csv",
    "onnx": "model.onnx",
    "json": "report.json",
    "safetensors": "weights.safetensors",
}
SAMPLED_BLOCKS = 16
"""Of a long table so many blocks are done again; who made up a tenth of it goes unseen in 0.9^16 = 19 %."""
COMPARE_S = 900
TOO_LARGE = 8
"""So many times the size of an honest file is no result; a checkpoint has three times the weights."""
SLOWER = 4
"""So many times as long as at the provider a job may take on this computer."""
LONGEST_S = 7 * 86_400
_SPARE_BYTES = 16 * MIB
_LEAST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What somebody found; with `blocks` it is of these rows only, `part` of the whole."""

    of: Of
    files: dict[str, Path]
    hashes: dict[str, str]
    blocks: tuple[tuple[int, int], ...] = ()
    part: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Redone:
    """What was done again, and how it came out; `theirs` where it is not the result of the order.

    `unusable` says why what the provider gave out could not even be gone on from.
    """

    words: str
    ours: Result | None = None
    theirs: Result | None = None
    steps: int = 0
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class _Work:
    """What is run here: a kind of job, its parameters, its files by name."""

    kind: str
    params: dict[str, Any]
    inputs: dict[str, Path]


@dataclass(slots=True, kw_only=True)
class Rerun:
    """Runs parts and wholes of finished jobs, each in a folder that its caller removes."""

    jobs: LocalJobs
    blobs: BlobStore
    workers: Workers

    def signed_for(self, order: OpenOrder, report: JobReport) -> Result:
        """The result that the provider of an order signed for.

        Raises:
            Conflict: its files are not in this node's store.
        """
        blobs = {item.name: item.blob for item in report.outputs}
        missing = [name for name, blob in blobs.items() if not self.blobs.have(blob.cid)]
        if missing:
            raise Conflict(
                "no_artefacts", f"The result {missing[0]} is not here.", "Fetch the results first."
            )
        return Result(
            of=cast(Of, order.contract.compute.job_kind),
            files={name: self.blobs.path(blob.cid) for name, blob in blobs.items()},
            hashes={name: blob.sha256 for name, blob in blobs.items()},
        )

    async def whole(self, order: OpenOrder, folder: Path, progress: Tell) -> Redone:
        """The whole job again.

        Raises:
            SandboxError: there is no sandbox here, or the job failed here.
        """
        terms = order.contract.compute
        progress("Doing the job again on this computer")
        await self._run(order, _Work(terms.job_kind, terms.params, self._inputs(order)), folder, progress)
        ours = await self._result(cast(Of, terms.job_kind), folder)
        return Redone(words="the whole job", ours=ours, steps=await self.steps(order))

    async def part(self, order: OpenOrder, folder: Path, progress: Tell) -> Redone | None:
        """A part of the job again; None where there is no part that is shorter than the whole.

        Raises:
            SandboxError: there is no sandbox here, or the part failed here.
        """
        kind = order.contract.compute.job_kind
        await self.workers.work(folder.mkdir, parents=True)
        if kind == "infer":
            return await self._some_rows(order, folder, progress)
        return await self._stretch(order, folder, progress) if kind == "train" else None

    async def steps(self, order: OpenOrder, *, epochs: int | None = None) -> int:
        """How many steps a training makes in so many epochs (all, if none are named), at most; else 0."""
        if order.contract.compute.job_kind != "train":
            return 0
        recipe = _complete(order)
        rows = await self.workers.work(_count_rows, self._inputs(order)["data.csv"])
        return (int(recipe["epochs"]) if epochs is None else epochs) * -(-rows // int(recipe["batch_size"]))

    async def compare(self, order: OpenOrder, one: Result, other: Result, progress: Tell) -> Figures:
        """How near the first is to the second, both of this order's job.

        Raises:
            SandboxError: there is no sandbox here to look in.
        """
        progress("Comparing the results in the sandbox")
        inputs: dict[str, Path] = {name: self._inputs(order)[name] for name in SHARED.get(one.of, ())}
        for ending in COMPARED[one.of]:
            if other.blocks and ending == "json":
                continue
            name = FILES[ending]
            if name not in one.files or name not in other.files:
                return Figures(unreadable=f"there is no {name} among the results")
            size, honest = (result.files[name].stat().st_size for result in (one, other))
            if size > TOO_LARGE * (honest + _LEAST_BYTES) / other.part:
                return Figures(unreadable=f"{name} has {size:,} bytes, too many for a result of this job")
            inputs |= {f"one.{ending}": one.files[name], f"other.{ending}": other.files[name]}
        report = await self.jobs.run(
            kind="compare",
            params={
                "of": one.of,
                "blocks": [list(block) for block in other.blocks],
                "recipe": _complete(order) if one.of == "train" else {},
            },
            inputs=inputs,
            report="comparison.json",
            keep=None,
            progress=progress,
            limits=Limits(
                wall_s=COMPARE_S, cpu_s=COMPARE_S, memory_bytes=4 * GIB, disk_bytes=_SPARE_BYTES, threads=1
            ),
        )
        return read_figures(report)

    async def _some_rows(self, order: OpenOrder, folder: Path, progress: Tell) -> Redone | None:
        inputs = self._inputs(order)
        rows = await self.workers.work(_count_rows, inputs["rows.csv"])
        blocks = sampled(rows, _complete(order)["batch_size"])
        if not blocks:
            return None
        count = sum(count for _, count in blocks)
        words = f"{count:,} of {rows:,} rows, drawn at random"
        progress(f"Doing {words} again on this computer")
        sample = folder / "rows.csv"
        await self.workers.work(_cut_rows, inputs["rows.csv"], sample, blocks)
        work = _Work("infer", order.contract.compute.params, {**inputs, "rows.csv": sample})
        await self._run(order, work, folder / "out", progress)
        ours = await self._result("infer", folder / "out")
        return Redone(words=words, ours=replace(ours, blocks=blocks, part=count / rows))

    async def _stretch(self, order: OpenOrder, folder: Path, progress: Tell) -> Redone | None:
        """From one checkpoint to the next, or to the end."""
        stretch, recipe = order.data.get(KEPT), _complete(order)
        if not stretch:
            return None
        begin, end = stretch["begin"], stretch["end"]
        first = int(begin["done"]) if begin else 0
        last = int(end["done"]) if end else recipe["epochs"]
        words = f"epochs {first + 1:,} to {last:,} of {recipe['epochs']:,}, drawn at random"
        if not first < last <= recipe["epochs"]:
            return Redone(words=words, unusable="the provider's checkpoints do not follow each other")
        inputs = self._inputs(order)
        if begin:
            recipe = {**recipe, "resume": True}
            inputs[CHECKPOINT] = self.blobs.path(begin["blob"]["cid"])
        progress(f"Doing {words} again on this computer")
        kind, params = ("replay", {"recipe": recipe, "until": last}) if end else ("train", recipe)
        try:
            await self._run(order, _Work(kind, params, inputs), folder / "out", progress)
        except SandboxError as error:
            if error.code != "bad_checkpoint":
                raise
            return Redone(words=words, unusable="the checkpoint that the provider gave out cannot be used")
        steps = await self.steps(order, epochs=last - first)
        ours = await self._result("weights" if end else "train", folder / "out")
        theirs = None
        if end:
            theirs = Result(
                of="weights",
                files={FILES["safetensors"]: self.blobs.path(end["blob"]["cid"])},
                hashes={CHECKPOINT: end["blob"]["sha256"]},
            )
        return Redone(words=words, ours=ours, theirs=theirs, steps=steps)

    async def _run(self, order: OpenOrder, work: _Work, keep: Path, progress: Tell) -> None:
        terms = order.contract.compute
        await self.jobs.run(
            kind=cast(JobKind, work.kind),
            params=work.params,
            inputs=work.inputs,
            report="replay.json" if work.kind == "replay" else FILES["json"],
            keep=keep,
            progress=progress,
            limits=Limits(
                wall_s=min(SLOWER * terms.max_s, LONGEST_S),
                cpu_s=min(SLOWER * terms.max_s, LONGEST_S) * min(terms.limits.threads + 1, 64),
                memory_bytes=terms.limits.memory_bytes,
                disk_bytes=terms.limits.disk_bytes,
                threads=terms.limits.threads,
            ),
        )

    async def _result(self, of: Of, folder: Path) -> Result:
        files = await self.workers.work(_listed, folder)
        hashes = {name: await self.workers.work(_sha256, path) for name, path in files.items()}
        return Result(of=of, files=files, hashes=hashes)

    def _inputs(self, order: OpenOrder) -> dict[str, Path]:
        return {item.name: self.blobs.path(item.blob.cid) for item in order.contract.compute.inputs}


def sampled(rows: int, size: int) -> tuple[tuple[int, int], ...]:
    """Blocks of a table (first row, rows), drawn at random; empty where the table is no longer than that.

    A block is what the model is given at once, so that it answers as it did in the whole job.
    """
    count = -(-rows // size)
    if count <= SAMPLED_BLOCKS:
        return ()
    picked = sorted(secrets.SystemRandom().sample(range(count), SAMPLED_BLOCKS))
    return tuple((at * size, min(size, rows - at * size)) for at in picked)


def _complete(order: OpenOrder) -> dict[str, Any]:
    """The parameters of the job, with those that were left at their usual values."""
    terms = order.contract.compute
    spec = JobSpec(job_id="check", kind=cast(JobKind, terms.job_kind), params=terms.params)
    found: dict[str, Any] = msgspec.to_builtins(spec.parse_params())
    return found


def _lines(path: Path) -> Iterator[list[str]]:
    """The header of one's own table and its rows, counted as the jobs count them: empty lines are none."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from (row for row in csv.reader(file, strict=True) if row)


def _count_rows(path: Path) -> int:
    return sum(1 for _ in _lines(path)) - 1


def _cut_rows(source: Path, target: Path, blocks: tuple[tuple[int, int], ...]) -> None:
    wanted = {row for at, count in blocks for row in range(at, at + count)}
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for at, row in enumerate(_lines(source), -1):
            if at < 0 or at in wanted:
                writer.writerow(row)


def _listed(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.iterdir())}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
