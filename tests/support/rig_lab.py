"""A rig as a process of its own, with a home of its own, as its owner runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstall.app.demo.peers import PROGRAM, DemoPeer, wait_for

PATIENCE_S = 60


def rig_command(home: Path, *words: str, typed: str = "") -> Any:
    """What a verb of `openstall rig` prints; AssertionError with its words where it fails."""
    done = run_verb(home, *words, typed=typed)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def run_verb(home: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """The same, however it ends."""
    command = [*PROGRAM, "--json", "--home", str(home), "rig", *words]
    return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=90, check=False)


@dataclass(slots=True)
class RigProcess:
    """One `openstall rig run`."""

    home: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """What it printed."""
        return (self.home / "rig-output.log").read_text()


def start_rig(home: Path) -> RigProcess:
    """Run the rig of a home."""
    with (home / "rig-output.log").open("ab") as log:
        process = subprocess.Popen(
            [*PROGRAM, "--json", "--home", str(home), "rig", "run"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return RigProcess(home, process)


@contextmanager
def running_rig(home: Path, node: DemoPeer, name: str, *, jobs_at_once: int = 1) -> Iterator[RigProcess]:
    """A rig that is paired with a node by code, and connected to it; without rules of its house."""
    home.mkdir(parents=True, mode=0o700)
    code = node.post("/v1/compute/rigs/pair")["code"]
    rig_command(home, "pair", "--name", name, "--code-file", "-", typed=code)
    rig_command(home, "rules", "--file", "-", typed="{}")
    rig_command(home, "set", "--jobs-at-once", str(jobs_at_once))
    rig = start_rig(home)
    try:
        wait_ready(node, name, rig)
        yield rig
    finally:
        if rig.process.poll() is None:
            rig.process.terminate()
            rig.process.wait(20)


def machine(node: DemoPeer, name: str) -> dict[str, Any]:
    """How the node shows one of its machines."""
    found = node.get("/v1/compute/machines")["items"]
    return next(one for one in found if one["name"] == name)


def wait_ready(node: DemoPeer, name: str, rig: RigProcess | None = None) -> dict[str, Any]:
    """Wait until a rig is connected and takes jobs."""

    def look() -> dict[str, Any] | None:
        assert rig is None or rig.process.poll() is None, rig.said if rig else ""
        one = machine(node, name)
        return one if one["connected"] and one["places"] and one["state"] == "open" else None

    found: dict[str, Any] = wait_for(look, PATIENCE_S, f"rig {name} is ready")
    return found
