"""The campaign's attacker, a process of its own: case after case, against one node after the other.

python bad_campaign.py SETTINGS.json

The settings hold `network`, `chain_id`, `contracts`, `invitation`, `targets` (see `bad_peer.Target`),
`listing` and `offer` (cids), `live` (a file), `rounds`, `quick`, `only` and `alone`. One JSON line for each
case says what was thrown at whom, what it was told, and whether it was refused as it must be.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import bad_chain
import bad_files
import bad_letters
import bad_orders
import bad_records
import bad_wire
import trio
from bad_peer import CASES, Bad, Case, NotRefused, Plain, targets

MODULES = (bad_wire, bad_records, bad_orders, bad_files, bad_letters, bad_chain)
CASE_S = 300.0


def chosen(settings: Plain) -> list[Case]:
    """The cases of this run."""
    only = settings.get("only")
    return [
        one
        for one in CASES.values()
        if (not only or one.name in only) and (one.quick or not settings["quick"])
    ]


async def run_one(settings: Plain, one: Case, number: int) -> None:
    """Throw one case at the node whose turn it is, and print what became of it."""
    wanted = [settings["alone"]] if settings.get("alone") else one.against
    fitting = [it for it in targets(settings) if not wanted or it.name in wanted]
    bad = Bad(settings, fitting[number % len(fitting)])
    began, fault = time.monotonic(), "it never came to an end"
    with trio.move_on_after(CASE_S):
        try:
            await one.run(bad)
            fault = ""
        except NotRefused as error:
            fault = str(error)
        except Exception as error:
            inner = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            fault = f"{type(inner).__name__}: {inner}"
            if os.environ.get("BAD_TRACE"):
                raise
    line = {
        "case": one.name,
        "against": bad.target.name,
        "thrown": sum(bad.told.values()),
        "told": dict(bad.told.most_common(12)),
        "shut_out": bad.shut_out,
        "blamed": bad.blamed,
        "seconds": round(time.monotonic() - began, 1),
        "fault": fault,
    }
    print(json.dumps(line), flush=True)


async def main(settings: Plain) -> None:
    """All rounds."""
    for turn in range(settings["rounds"]):
        for place, one in enumerate(chosen(settings)):
            await run_one(settings, one, turn + place)


if __name__ == "__main__":
    trio.run(main, json.loads(Path(sys.argv[1]).read_text()))
