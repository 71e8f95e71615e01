"""Run every benchmarks/bench_*.py and print one table; with --markdown also write docs/benchmarks.md.

    dev.py bench [--markdown] [--only SUBSTRING]

Exit status 1 when an aim was missed or a benchmark failed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.util
import os
import platform
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # benchmarks import `table` by its bare name

from table import Row, as_markdown, as_text  # noqa: E402  (needs the line above)


def run_one(path: Path) -> list[Row]:
    """The rows of one benchmark module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # so that child processes and dataclasses find it
    spec.loader.exec_module(module)
    return list(module.rows())


def machine() -> str:
    """Processor, cores, memory and system, for the head of the table."""
    processor = platform.processor() or platform.machine()
    memory = ""
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    if meminfo.exists():
        kibibytes = int(meminfo.read_text().split(maxsplit=2)[1])
        memory = f", {kibibytes / 2**20:.0f} GiB memory"
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = platform.system()
    if hasattr(platform, "freedesktop_os_release"):
        with contextlib.suppress(OSError):
            system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"{processor}, {count} cores{memory}, {system}, Python {platform.python_version()}"


def main() -> int:
    """Run what was asked for; the exit status says whether every aim was met."""
    parser = argparse.ArgumentParser(description="Measure Openstall against its aims.")
    parser.add_argument("--markdown", action="store_true", help="also write docs/benchmarks.md")
    parser.add_argument("--only", default="", help="run the benchmarks whose name contains this")
    options = parser.parse_args()
    rows: list[Row] = []
    failed = False
    for path in sorted(HERE.glob("bench_*.py")):
        if options.only not in path.stem:
            continue
        start = time.monotonic()
        print(f"{path.stem} …", flush=True)
        try:
            rows.extend(run_one(path))
        except Exception:  # noqa: BLE001  (one that fails must not hide the others)
            traceback.print_exc()
            failed = True
        print(f"{path.stem} {time.monotonic() - start:.0f} s", flush=True)
    print(f"\n{machine()}\n\n{as_text(rows)}" if rows else "nothing measured")
    if options.markdown and rows:
        today = dt.datetime.now(tz=dt.UTC).date().isoformat()
        target = HERE.parent / "docs" / "benchmarks.md"
        page = target.read_text("utf-8") if target.exists() else ""
        target.write_text(as_markdown(rows, today=today, machine=machine(), page=page), encoding="utf-8")
    return 1 if failed or not rows or not all(row.ok for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
