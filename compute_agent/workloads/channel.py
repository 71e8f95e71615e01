"""How a workload speaks to its agent: events on descriptor 3, log lines on standard output."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

EVENTS_FD: Final = 3
INPUTS: Final = Path(os.environ.get("OPENSTALL_INPUTS", "/job/in"))
OUTPUTS: Final = Path(os.environ.get("OPENSTALL_OUTPUTS", "/job/out"))

_FAULT_STATUS: Final = 3
_MEMORY_WORDS: Final = ("bad_alloc", "bad allocation", "allocate memory", "not enough memory")
_WORDS_CAP: Final = 1500


class Fault(Exception):
    """The job cannot be done with these inputs: a stable code, what is wrong, what to do."""

    def __init__(self, code: str, words: str, what_next: str = "") -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.what_next = what_next


def begin() -> None:
    """The proper work starts now: imports and input checks are over. Metering starts here."""
    _say(t="begin")


def progress(done: int, total: int) -> None:
    """`done` of `total` steps."""
    _say(t="progress", done=done, total=total)


def checkpoint(slot: int, done: int) -> None:
    """The file `checkpoint<slot>.safetensors` is whole, and holds the state after `done` steps."""
    _say(t="checkpoint", slot=slot, done=done)


def log(text: str) -> None:
    """One line for the buyer and the provider, at once."""
    print(text, flush=True)


def decimal(value: float) -> str:
    """A metric as it stands in signed documents: a decimal string, six digits, no exponent."""
    text = f"{value:.6f}"
    return "0.000000" if text == "-0.000000" else text


def write_json(name: str, document: Mapping[str, Any]) -> None:
    """One output file."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
    (OUTPUTS / name).write_text(text, "utf-8")


def run_workload(work: Callable[[dict[str, Any]], None]) -> None:
    """Run `work` with the job's parameters and turn its failures into faults."""
    try:
        work(json.loads(sys.argv[1]))
    except Fault as fault:
        _end(fault.code, fault.words, fault.what_next)
    except MemoryError:
        _end("out_of_memory", "The job needs more memory than it may use.")
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}:
            raise
        _end("disk_full", "The job writes more than it may.")
    except Exception as error:
        if is_memory_error(error):
            _end("out_of_memory", "The job needs more memory than it may use.")
        traceback.print_exc(limit=8)
        raise SystemExit(1) from error


def is_memory_error(error: Exception) -> bool:
    """Whether a library's own exception means that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _MEMORY_WORDS)


def _end(code: str, words: str, what_next: str = "") -> None:
    _say(t="fault", code=code, words=words[:_WORDS_CAP], what_next=what_next[:_WORDS_CAP])
    raise SystemExit(_FAULT_STATUS)


def _say(**event: object) -> None:
    os.write(EVENTS_FD, json.dumps(event).encode() + b"\n")
