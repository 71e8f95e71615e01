"""macOS: the Seatbelt profile of one job. Written after its rules, and NOT RUN BY ANYONE YET.

Nothing here runs a job: `host.require_platform` keeps macOS closed, and `untried` only tries the profile
out where a person asks for that. Still missing before it could be more: limits (Seatbelt has none, and
macOS enforces no RLIMIT_AS), and a supervisor that looks at the footprint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from openstall.market.errors import SandboxError

SANDBOX_EXEC = Path("/usr/bin/sandbox-exec")
SYSTEM = (
    Path("/usr/lib"),
    Path("/System/Library"),
    # where the loader's shared cache lies since macOS 13
    Path("/System/Cryptexes"),
    Path("/System/Volumes/Preboot/Cryptexes"),
)
"""What every program reads of the system; nothing of it is the owner's."""
_DEVICES = (Path("/dev/null"), Path("/dev/random"), Path("/dev/urandom"))
_OPENMP = (
    "(allow ipc-posix-shm-read-data ipc-posix-shm-write-create ipc-posix-shm-write-unlink "
    '(ipc-posix-name-regex #"^/__KMP_REGISTERED_LIB_[0-9]+$"))'
)
"""PyTorch's thread library registers itself under such a name in shared memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What one sandbox may see, all paths absolute and without links (macOS judges by the real path)."""

    python: Path
    read: tuple[Path, ...]
    write: tuple[Path, ...]


def profile(ground: Ground) -> str:
    """The profile: everything is denied, then a list is allowed. No network, no new process, no services.

    Raises:
        SandboxError: a path could be read as something else than a path.
    """
    read = (*SYSTEM, *ground.read, *ground.write)
    rules = [
        "(version 1)",
        "(deny default)",
        f"(allow file-read* {_subpaths(read)} {_literals(_DEVICES)})",
        f"(allow file-map-executable {_subpaths((*SYSTEM, *ground.read))})",
        # to open a path, each folder above it is looked at; that tells no content
        f"(allow file-read-metadata {_literals(_above((*read, ground.python)))})",
        f"(allow file-write* {_subpaths(ground.write)} {_literals(_DEVICES[:1])})",
        f"(allow process-exec {_literals((ground.python,))})",
        "(allow sysctl-read)",
        _OPENMP,
        "(deny process-fork)",
        "(deny network*)",
        "(deny mach-lookup)",
        "(deny signal)",
    ]
    return "\n".join(rules) + "\n"


def command(ground: Ground, script: Path, params: dict[str, object]) -> list[str]:
    """How a script of our own is started under the profile."""
    python = [str(ground.python), "-I", "-S", "-B", str(script), json.dumps(params)]
    return [str(SANDBOX_EXEC), "-p", profile(ground), *python]


def _subpaths(paths: Iterable[Path]) -> str:
    return " ".join(f"(subpath {_quoted(path)})" for path in paths)


def _literals(paths: Iterable[Path]) -> str:
    return " ".join(f"(literal {_quoted(path)})" for path in paths)


def _above(paths: Iterable[Path]) -> list[Path]:
    return sorted({parent for path in paths for parent in path.parents})


def _quoted(path: Path) -> str:
    """A string of the profile's language."""
    text = str(path)
    if not path.is_absolute() or ".." in path.parts or not text.isprintable():
        raise SandboxError("bad_path", f"The path {text!r} cannot stand in a sandbox profile.", "Rename it.")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
