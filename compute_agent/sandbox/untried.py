"""Sandboxes that are written but that nobody has run: closed to jobs, and open to be tried out by a person.

A trial changes nothing: whatever it finds, no job runs on these systems. It tells whoever has such a
machine, and us, what is still wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from openstall.compute_agent.sandbox import appcontainer, probe_any, seatbelt
from openstall.compute_agent.specs import MIB, Limits
from openstall.market.errors import Conflict, SandboxError

PROBE = Path(probe_any.__file__)
Start = Callable[[Path, dict[str, str]], None]
"""Starts the probe in its folder with what it is told, and waits for its end."""
_LIMITS = Limits(wall_s=60, cpu_s=30, memory_bytes=512 * MIB, disk_bytes=MIB)
_MECHANISMS: Final = {
    "darwin": "Seatbelt",
    "win32": "AppContainer and job objects",
}


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the probe wrote: the attempts, and those that worked."""

    open: list[str]
    tried: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The same attempts without a sandbox and in it; `inside` is None where the probe came to no end."""

    mechanism: str
    bare: Report
    inside: Report | None
    words: str


def mechanism(system: str) -> str:
    """What a sandbox of this system is made of, where one is written that nobody has run; else empty."""
    return _MECHANISMS.get(system, "")


def closed(system: str) -> SandboxError:
    """Why such a system takes no jobs."""
    return SandboxError(
        "untried_sandbox",
        f"The sandbox for this system ({mechanism(system)}) is written, but nobody has run it yet. "
        "It stays closed: this computer takes no jobs.",
        "You can buy and sell models here, and rent compute from a Linux machine. To help: run "
        "“openstall doctor --untried” and send us what it prints.",
    )


def trial() -> Trial:
    """Try the doors bare and in this system's untried sandbox; blocks for some seconds.

    Raises:
        Conflict: there is no such sandbox for this system.
        SandboxError: the probe does not even run bare.
    """
    named = mechanism(sys.platform)
    if not named:
        raise Conflict("nothing_untried", "This system has no sandbox that nobody has run.")
    bare = attempt(start_bare)
    if bare is None or bare.open != bare.tried:
        raise SandboxError("probe_failed", "The probe does not work here, even without a sandbox.")
    try:
        inside, words = attempt(_start_boxed), ""
    except (SandboxError, OSError, subprocess.SubprocessError) as error:
        inside, words = None, str(error)[:500]
    return Trial(mechanism=named, bare=bare, inside=inside, words=words)


def attempt(start: Start) -> Report | None:
    """One run of the probe, with things of its own to find; None where it left no report."""
    with (
        tempfile.TemporaryDirectory(prefix="openstall-owner-") as owner,
        tempfile.TemporaryDirectory(prefix="openstall-job-") as job,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        outside, place = Path(owner).resolve(), Path(job).resolve()
        (outside / "secret").write_bytes(b"secret")
        shutil.copyfile(PROBE, place / "probe.py")
        report = place / "report.json"
        told = {
            "secret": str(outside / "secret"),
            "outside": str(outside),
            "port": str(listener.getsockname()[1]),
            "report": str(report),
        }
        start(place, told)
        return msgspec.json.decode(report.read_bytes(), type=Report) if report.exists() else None


def start_bare(place: Path, told: dict[str, str]) -> None:
    """The probe as a child like any other."""
    command = [str(_python()), "-I", "-S", str(place / "probe.py"), json.dumps(told)]
    environment = {**os.environ, probe_any.VARIABLE: "secret"}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=_LIMITS.wall_s)


def _start_boxed(place: Path, told: dict[str, str]) -> None:
    """The probe in the sandbox that is written for this system."""
    python, prefix, script = _python(), Path(sys.base_prefix).resolve(), place / "probe.py"
    if sys.platform == "darwin":
        ground = seatbelt.Ground(python=python, read=(prefix,), write=(place,))
        command = seatbelt.command(ground, script, dict(told))
        subprocess.run(command, env={}, check=True, capture_output=True, timeout=_LIMITS.wall_s)
    elif sys.platform == "win32":
        words = [str(python), "-I", "-S", "-B", str(script), json.dumps(told)]
        ended = appcontainer.run(
            words, limits=_LIMITS, cores=os.cpu_count() or 1, read=(prefix,), write=(place,)
        )
        if ended.status != 0:
            raise SandboxError("sandbox_start_failed", f"The probe ended with status {ended.status}.")


def _python() -> Path:
    """The interpreter itself: that of a virtual environment may be a program which only starts it."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()
