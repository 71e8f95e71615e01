"""Workload `lint`: is this file a model that the market takes? Writes `lint.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openstall.compute_agent.workloads.channel import INPUTS, begin, log, run_workload, write_json
from openstall.compute_agent.workloads.findings import Report
from openstall.compute_agent.workloads.formats import HEAD_BYTES, recognise


def lint_file(path: Path) -> Report:
    """Look at the bytes, then at the structure. Never raises for what the file contains."""
    size = path.stat().st_size
    with path.open("rb") as file:
        kind = recognise(file.read(HEAD_BYTES), size)
    report = Report(format=kind.name, size=size)
    if kind.refusal:
        report.add("error", f"refused_{kind.name.replace('-', '_')}", f"Refused: {kind.refusal}.")
    elif kind.name == "safetensors":
        from openstall.compute_agent.workloads.lint_safetensors import lint_safetensors

        lint_safetensors(path, report)
    else:
        from openstall.compute_agent.workloads.lint_onnx import lint_onnx

        lint_onnx(path, report)
    return report


def main(params: dict[str, Any]) -> None:
    """Lint the one file named in the parameters."""
    begin()
    report = lint_file(INPUTS / params["file"])
    write_json("lint.json", report.document())
    log(f"{report.format}: {'accepted' if report.ok else report.first_error()}")


if __name__ == "__main__":
    run_workload(main)
