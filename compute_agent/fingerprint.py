"""Which code measured: hashes of the program's own files, the same wherever one version runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openstall.compute_agent.sandbox.plan import SHARED, WORKLOADS
from openstall.market import canonical

_SANDBOX = Path(__file__).parent / "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """`code` is what runs inside the sandbox, `sandbox` what makes it, `runtime` the libraries' versions."""

    code: str
    sandbox: str
    runtime: str


def fingerprint(packages: Mapping[str, str]) -> Fingerprint:
    """Of this program and these packages (`RuntimeState.packages`). Reads some hundred KiB from the disk."""
    return Fingerprint(
        code=_hash_of([*WORKLOADS.glob("*.py"), *SHARED]),
        sandbox=_hash_of(_SANDBOX.rglob("*.py")),
        runtime=_digest(dict(packages)),
    )


def _hash_of(paths: Iterable[Path]) -> str:
    """By folder, name and content; line ends as they are on the disk of a Linux checkout."""
    files = {
        f"{path.parent.name}/{path.name}": hashlib.sha256(
            path.read_bytes().replace(b"\r\n", b"\n")
        ).hexdigest()
        for path in paths
    }
    return _digest(files)


def _digest(entries: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical.encode(dict(entries))).hexdigest()
