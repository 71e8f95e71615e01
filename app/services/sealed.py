"""Sealed evaluation: a model meets sealed rows in this node's own sandbox, and only figures come out.

The node hands in a model that it unsealed and rows whose commitment it has checked. What the sandbox leaves
is read as if a stranger had sent it, and becomes the statement that the evaluator signs.
"""

from __future__ import annotations

import csv
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import trio
from msgspec import Meta

from openstall.app.services.capacity.testbench import silent
from openstall.app.services.checking import LocalJobs, Tell
from openstall.app.threads import Workers
from openstall.compute_agent.assess_specs import SILENT_WORDS, AssessParams
from openstall.compute_agent.fingerprint import fingerprint
from openstall.compute_agent.specs import GIB, MIB, Limits
from openstall.market.errors import SandboxError
from openstall.market.fields import Body, Sha256
from openstall.market.requests.assessment import (
    Assessment,
    Fault,
    Measured,
    has_passed,
    read_measured,
    write_statement,
)
from openstall.market.requests.demands import MOST_OPENED, MOST_ROWS
from openstall.market.requests.openings import Cells, OpenedRow, Proof, Salt, Sealed, differing
from openstall.market.schema import fit

ROWS_FILE: Final = "rows.csv"
_OF_ROWS: Final = frozenset({"bad_csv", "too_few_rows", "bad_opening"})
"""Ends that are no fault of the model: there is no verdict then."""
_FAULT_OF: Final[dict[str, Fault]] = {
    **{code: msgspec.convert(code, Fault) for code in SILENT_WORDS if code not in _OF_ROWS},
    "wall": "out_of_time",
    "cpu": "out_of_time",
    "memory": "out_of_memory",
}
BROKEN_OFF: Final = frozenset(
    {"crashed", "killed", "disk", "files", "processes", "log", "bad_report", "bad_figures", "bad_schema"}
    | {"output_unexpected", "output_missing", "output_not_plain", "output_too_large"}
)
"""Ends of a run in the sandbox that a hostile model can bring about; any other is this machine's."""
LIMITS: Final = Limits(wall_s=900, cpu_s=1800, memory_bytes=4 * GIB, disk_bytes=16 * MIB, threads=1)
"""One thread, so that a second run gives the same answers to the last bit."""


class _OpenedAnswer(Body, frozen=True, kw_only=True):
    index: Annotated[int, Meta(ge=0, lt=MOST_ROWS)]
    cells: Cells
    salt: Salt
    proof: Proof


class _OpenedFile(Body, frozen=True, kw_only=True):
    outputs_root: Sha256
    opened: Annotated[list[_OpenedAnswer], Meta(min_length=1, max_length=MOST_OPENED)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What came out: figures, or the fault that kept the model from being measured."""

    fault: Fault
    measured: Measured | None
    code_sha256: str
    sandbox_sha256: str
    runtime_sha256: str


@dataclass(slots=True, kw_only=True)
class SealedEvaluation:
    """Runs the assessments of this node."""

    jobs: LocalJobs
    workers: Workers

    async def evaluate(
        self, model: Path, rows: Path, params: AssessParams, *, count: int, progress: Tell = silent
    ) -> Evaluated:
        """Measure `model` (an ONNX file) on the `count` rows of `rows` (a CSV with a header).

        Raises:
            SandboxError: no full sandbox here, or rows that are not as the request says: no verdict.
            InvalidRecord: `bad_figures`: what the sandbox left is not what was asked for.
        """
        marks = await self._marks()
        try:
            found = await self._run(model, rows, params, "assessment.json", progress)
        except SandboxError as error:
            if error.code not in _FAULT_OF:
                raise
            return Evaluated(fault=_FAULT_OF[error.code], measured=None, **marks)
        measured = read_measured(
            found,
            task=params.task,
            metric=params.metric,
            threshold=params.threshold,
            floors=params.floors,
            rows=count,
        )
        return Evaluated(fault="", measured=measured, **marks)

    async def open(
        self, model: Path, rows: Path, params: AssessParams, wanted: Sequence[int], *, outputs_root: str
    ) -> list[Sealed]:
        """The answers to these rows with their proofs, from doing it again with the same `params`.

        Raises:
            SandboxError: `not_reproduced` where the answers are not those that were committed to.
        """
        again = msgspec.structs.replace(params, opened=tuple(wanted))
        found = fit(await self._run(model, rows, again, "openings.json", silent), _OpenedFile, "openings")
        if found.outputs_root != outputs_root or [entry.index for entry in found.opened] != list(wanted):
            raise SandboxError(
                "not_reproduced",
                "The model answers otherwise than when it was assessed, so its answers cannot be opened.",
                "Were model, rows and seed the same, and the workload runtime of the same version?",
            )
        return [Sealed(cells=entry.cells, salt=entry.salt, proof=entry.proof) for entry in found.opened]

    async def replay(
        self, model: Path, header: Sequence[str], opened: Sequence[OpenedRow], params: AssessParams
    ) -> list[int]:
        """Have the model answer the opened rows here; the rows (by their index) whose answers were made up.

        `header` names the cells of a row in their order.

        Raises:
            SandboxError: no sandbox, or the model fails on these rows.
        """
        rows = self.jobs.folder / f"replay-{secrets.token_hex(6)}.csv"
        try:
            await self.workers.work(_write_rows, rows, header, [entry.row.cells for entry in opened])
            # Each row alone: a model could answer otherwise where as many are asked as are opened.
            again = msgspec.structs.replace(params, opened=tuple(range(len(opened))), batch_size=1)
            raw = await self._run(model, rows, again, "openings.json", silent)
        finally:
            with trio.CancelScope(shield=True):
                await self.workers.work(rows.unlink, missing_ok=True)
        found = fit(raw, _OpenedFile, "openings")
        places = differing([entry.output.cells for entry in opened], [entry.cells for entry in found.opened])
        return [opened[at].index for at in places]

    async def _run(
        self, model: Path, rows: Path, params: AssessParams, report: str, progress: Tell
    ) -> dict[str, Any]:
        return await self.jobs.run(
            kind="assess",
            params=msgspec.to_builtins(params),
            inputs={"model.onnx": model, ROWS_FILE: rows},
            report=report,
            keep=None,
            progress=progress,
            limits=LIMITS,
        )

    async def _marks(self) -> dict[str, str]:
        state = await self.jobs.agent.runtime()
        marks = await self.workers.work(fingerprint, state.packages)
        return {
            "code_sha256": marks.code,
            "sandbox_sha256": marks.sandbox,
            "runtime_sha256": marks.runtime,
        }


def statement_of(
    evaluated: Evaluated,
    params: AssessParams,
    *,
    network: str,
    chain_id: int,
    key: str,
    request: str,
    attempt: int,
    evaluator: str,
    model_sha256: str,
    rows: int,
    rows_root: str,
    at: int,
) -> bytes:
    """The canonical bytes of the statement that this evaluator signs.

    Raises:
        InvalidRecord: it contradicts itself.
    """
    measured = evaluated.measured
    figures = measured.figures if measured is not None else []
    passed = measured is not None and has_passed(params.metric, params.threshold, params.floors, figures)
    assessment = Assessment(
        network=network,
        chain_id=chain_id,
        key=key,
        request=request,
        attempt=attempt,
        evaluator=evaluator,
        task=params.task,
        metric=params.metric,
        threshold=params.threshold,
        floors=list(params.floors),
        rows=rows,
        rows_root=rows_root,
        code_sha256=evaluated.code_sha256,
        sandbox_sha256=evaluated.sandbox_sha256,
        runtime_sha256=evaluated.runtime_sha256,
        seed=params.seed,
        fault=evaluated.fault,
        outputs_root=measured.outputs_root if measured is not None else "",
        figures=figures,
        passed=passed,
        at=at,
    )
    return write_statement(model_sha256, assessment)


def _write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
