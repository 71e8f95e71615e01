"""The NAT matrix: every cell in namespaces of its own, as a table.

    python campaign.py [--write] [--size MIB] [CELL…]

Takes about six minutes. `--write` puts the table into docs/network.md. Ends with status 1 unless every
transfer was complete and went the expected way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from cells import CELLS, NEEDS  # noqa: E402 - a script beside this one

PAGE = HERE.parents[1] / "docs" / "network.md"
TABLE = re.compile(r"(<!-- nat table -->\n).*?(<!-- end of nat table -->)", re.DOTALL)
OWN_WORLD = [
    *("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"),
    "--mount-proc",
]
CELL_S = 600
MIB = 1 << 20


def obstacle(cell: str = "") -> str:
    """Why the cell cannot run on this machine, or nothing."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    for program in ("unshare", "ip", "nft", *NEEDS.get(cell, ())):
        if shutil.which(program, path=path) is None:
            return f"{program} is not installed"
    tried = subprocess.run([*OWN_WORLD, "true"], check=False, capture_output=True, text=True)
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


def run_cell(name: str, size: int) -> dict[str, Any]:
    """The cell's result, with `green` and, where it failed, `error`."""
    began = time.monotonic()
    command = [*OWN_WORLD, sys.executable, str(HERE / "cells.py"), name, str(size)]
    environment = {**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}
    ran = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=CELL_S, env=environment
    )
    try:
        result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        error = ran.stderr[-6000:]
        return {"cell": name, "green": False, "error": error, "whole_s": time.monotonic() - began}
    result["green"] = result["complete"] and result["path"] == CELLS[name][1]
    return result


def row(result: dict[str, Any], size: int) -> str:
    """One line of the table."""
    what, expected, _ = CELLS[result["cell"]]
    if "error" in result:
        return f"| {what} | {expected} | failed | | | no |"
    ways = ", then ".join(result["paths"])
    rate = size / MIB / result["seconds"]
    seconds = f"{result['seconds']:.1f} s ({rate:.1f} MiB/s)"
    return f"| {what} | {expected} | {ways} | {seconds} | {'yes' if result['complete'] else 'no'} |"


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description="The NAT matrix.")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--size", type=int, default=50, help="of the file, in MiB")
    parser.add_argument("cells", nargs="*", choices=[*CELLS, []], metavar="CELL")
    chosen = parser.parse_args()
    reason = obstacle()
    if reason:
        print(f"The NAT matrix cannot run: {reason}.")
        return 2
    size = chosen.size * MIB
    lines = [
        f"| {chosen.size} MiB between two peers | expected | went | took | complete |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    load = os.getloadavg()[0]
    busy = f", beside other work (load {load:.0f})" if load > 1.5 * (os.cpu_count() or 1) else ""
    green = True
    for name in chosen.cells or CELLS:
        lacking = obstacle(name)
        if lacking:
            lines.append(f"| {CELLS[name][0]} | {CELLS[name][1]} | not run: {lacking} | | |")
        else:
            result = run_cell(name, size)
            green = green and result["green"]
            lines.append(row(result, size))
            if "error" in result:
                print(result["error"], file=sys.stderr)
        print(lines[-1], flush=True)
    if chosen.write:
        text = PAGE.read_text(encoding="utf-8")
        where = f"Measured on {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}{busy}."
        table = "\n".join([where, "", *lines])
        PAGE.write_text(TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text), encoding="utf-8")
    return 0 if green else 1


if __name__ == "__main__":
    sys.exit(main())
