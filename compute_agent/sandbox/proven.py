"""What the self-test found of a runtime's libraries, kept beside them: to load them all takes seconds.

It stands for this processor, system, kind of sandbox and code, and for the runtime's libraries by the size
and time of their files; a person who asks has everything tried anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
from pathlib import Path

import msgspec

from openstall.compute_agent.fingerprint import fingerprint
from openstall.compute_agent.inventory import cpu_flags, cpu_name
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox.host import Facilities

_NAME = "self-test.json"
_LOADED = (
    "*.dist-info/RECORD",
    "torch/lib/*.so*",
    "*.libs/*.so*",
    "onnxruntime/capi/*.so",
    "numpy/_core/*.so",
    "onnx/*.so",
    "safetensors/*.so",
)
"""What the libraries are made of that a damaged disk or a half-done update would change."""
_MOST_BYTES = 64 * 1024


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A self-test that was passed: `under` which conditions, and the libraries' versions."""

    under: dict[str, str]
    versions: dict[str, str]


def conditions(facilities: Facilities, runtime: Runtime) -> dict[str, str]:
    """On what the result depends; empty where that cannot be read, and nothing is kept. Blocking."""
    site = runtime.site_packages
    try:
        mark = fingerprint({})
        loaded = sorted(path for pattern in _LOADED for path in site.glob(pattern))
        return {
            "processor": f"{cpu_name()} {_digest(cpu_flags())}",
            "system": f"{platform.release()} {' '.join(platform.libc_ver())}",
            "sandbox": f"{facilities.mode} {facilities.landlock} {facilities.scope.manager} {mark.sandbox}",
            "code": mark.code,
            "python": _state_of(runtime.python),
            "libraries": _digest("\n".join(map(_state_of, [site, *loaded]))),
        }
    except OSError:
        return {}


def kept(runtime: Runtime, under: dict[str, str]) -> dict[str, str] | None:
    """The versions that were found under the same conditions, or None. Blocking."""
    if not under:
        return None
    try:
        with (runtime.root / _NAME).open("rb") as file:
            proof = msgspec.json.decode(file.read(_MOST_BYTES), type=Proof)
    except (OSError, msgspec.MsgspecError):
        return None
    return proof.versions if proof.under == under else None


def keep(runtime: Runtime, under: dict[str, str], versions: dict[str, str]) -> None:
    """Remember a test that was passed. Blocking."""
    if not under:
        return
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
    found = path.stat()
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
