"""What the self-test found of a runtime's libraries, kept beside them: to load them all takes seconds.

It stands for this processor, kernel, kind of sandbox and code, and for the runtime as it is now; a
person who asks has everything tried anew.
"""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import msgspec

from openstall.compute_agent.fingerprint import fingerprint
from openstall.compute_agent.inventory import cpu_name
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox.host import Facilities

_NAME = "self-test.json"
_MOST_BYTES = 64 * 1024


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A self-test that was passed: `under` which conditions, and the libraries' versions."""

    under: dict[str, str]
    versions: dict[str, str]


def conditions(facilities: Facilities, runtime: Runtime) -> dict[str, str]:
    """On what the result depends. Blocking."""
    mark = fingerprint({})
    return {
        "processor": cpu_name(),
        "kernel": platform.release(),
        "sandbox": f"{facilities.mode} {facilities.landlock} {mark.sandbox}",
        "code": mark.code,
        "python": _state_of(runtime.python),
        "libraries": _state_of(runtime.site_packages),
    }


def kept(runtime: Runtime, under: dict[str, str]) -> dict[str, str] | None:
    """The versions that were found under the same conditions, or None. Blocking."""
    try:
        with (runtime.root / _NAME).open("rb") as file:
            proof = msgspec.json.decode(file.read(_MOST_BYTES), type=Proof)
    except (OSError, msgspec.MsgspecError):
        return None
    return proof.versions if proof.under == under else None


def keep(runtime: Runtime, under: dict[str, str], versions: dict[str, str]) -> None:
    """Remember a test that was passed. Blocking."""
    path = runtime.root / _NAME
    # a runtime that is not ours to write into is tried each time
    with contextlib.suppress(OSError):
        path.with_suffix(".new").write_bytes(msgspec.json.encode(Proof(under=under, versions=versions)))
        path.with_suffix(".new").replace(path)


def forget(runtime: Runtime) -> None:
    """The test was not passed. Blocking."""
    with contextlib.suppress(OSError):
        (runtime.root / _NAME).unlink(missing_ok=True)


def _state_of(path: Path) -> str:
    return f"{path} {path.stat().st_mtime_ns}"
