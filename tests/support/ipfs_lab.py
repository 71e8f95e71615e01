"""IPFS itself, as processes on loopback: a gateway of helia's packages, the RPC of the JavaScript node."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

INTEROP = Path(__file__).parents[1] / "interop"
NODE = Path(sys.executable).with_name("node")
PATIENCE_S = 60.0


@contextmanager
def _running(script: Path, words: Sequence[str | Path]) -> Iterator[list[str]]:
    process = subprocess.Popen(
        [NODE, script, *words],
        cwd=script.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _first_line(process)
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> list[str]:
    """What it says when it listens; it is ended if it says nothing for long."""
    assert process.stdout is not None
    late = Timer(PATIENCE_S, process.kill)
    late.start()
    try:
        line = process.stdout.readline().split()
    finally:
        late.cancel()
    assert line, f"it ended, or said nothing for {PATIENCE_S:.0f} s"
    return line


@contextmanager
def helia_gateway(*files: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a gateway that has these files, and their addresses in IPFS."""
    with _running(INTEROP / "ipfs" / "gateway.mjs", files) as (base, *addresses):
        yield base, addresses


@contextmanager
def rpc_server(folder: Path) -> Iterator[str]:
    """The address of an IPFS node's RPC; its repository is in a new folder."""
    with _running(INTEROP / "ipfs_rpc" / "server.mjs", [folder]) as (base,):
        yield base
