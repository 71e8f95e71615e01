"""Run a bought or own model on one's own rows, in the sandbox on this machine; nothing leaves it."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from openstall.app.operations import Progress
from openstall.app.services.checking import LocalJobs
from openstall.app.threads import Workers
from openstall.compute_agent.specs import GIB, Limits
from openstall.market.errors import NotFound, Refused
from openstall.store.library import Library

PREVIEW_ROWS = 20
_LIMITS = Limits(wall_s=3600, cpu_s=3600, memory_bytes=4 * GIB, disk_bytes=GIB)


@dataclass(slots=True, kw_only=True)
class ModelRuns:
    """Uses the models of the library."""

    library: Library
    jobs: LocalJobs
    workers: Workers

    async def items(self) -> list[dict[str, Any]]:
        """The packages of the library, newest first."""
        packages = await self.workers.store(self.library.items)
        return [
            {
                "order_id": package.order_id,
                "listing_cid": package.listing_cid,
                "title": package.title,
                "path": package.path,
                "bought_at": package.bought_at,
                "files": package.files,
            }
            for package in packages
        ]

    async def run(self, package_id: str, rows: Path, label: str | None, progress: Progress) -> dict[str, Any]:
        """Predictions for a CSV file: `{predictions_path, rows, preview, report}`.

        Raises:
            NotFound: no such package or file.
            SandboxError: no sandbox, or the rows do not fit the model (with line and column).
        """
        package = await self.workers.store(self.library.get, package_id)
        folder = Path(package.path)
        model = await self.workers.store(_model_and_rows, folder, rows)
        progress("Running the model in the sandbox")
        keep = folder / "runs" / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        params = {"label": label} if label else {}
        report = await self.jobs.run(
            kind="infer",
            params=params,
            inputs={"model.onnx": model, "rows.csv": rows},
            report="report.json",
            keep=keep,
            progress=progress,
            limits=_LIMITS,
        )
        predictions = keep / "predictions.csv"
        preview = await self.workers.store(_preview, predictions)
        return {
            "predictions_path": str(predictions),
            "rows": report.get("rows"),
            "preview": preview,
            "report": report,
        }


def _model_and_rows(folder: Path, rows: Path) -> Path:
    if not rows.is_file():
        raise NotFound(
            "no_such_file", f"There is no file {rows}.", "Choose a CSV file with one row per case."
        )
    models = sorted(folder.glob("*.onnx"))
    if not models:
        raise Refused("not_runnable", "Only ONNX models can be run here; this package holds none.")
    return models[0]


def _preview(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(islice(csv.reader(file), PREVIEW_ROWS + 1))
