"""Workload `script`: the buyer's own Python program, `script.py`, with its files beside it in /job/in.

It starts in /job/out, where it leaves the files that the order names, and may import what the workload
runtime holds. Everything it prints is the job's log.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from typing import Any

from openstall.compute_agent.workloads.channel import INPUTS, OUTPUTS, Fault, begin, run_workload

_NEXT = "Try it on your own computer first; the seconds that it ran are owed."


def main(params: dict[str, Any]) -> None:
    """Run the program as `python script.py ARGUMENTS` would."""
    os.chdir(OUTPUTS)
    sys.argv = [str(INPUTS / "script.py"), *params["arguments"]]
    begin()
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise Fault("script_failed", f"The script ended with status {end.code!s:.200}.", _NEXT) from end
    except MemoryError:
        raise
    except Exception as error:
        traceback.print_exc(limit=20)
        sys.stderr.flush()
        words = f"The script failed: {type(error).__name__}; its last log lines say where."
        raise Fault("script_failed", words, _NEXT) from error


if __name__ == "__main__":
    run_workload(main)
