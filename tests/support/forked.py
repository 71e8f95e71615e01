"""Starts nodes as forks of one process that has their modules in memory: most of a start are imports.

Each is still a process of its own, with its own home, ports and chain, and dies like one. Those tests
that are about the start itself run the program as a user does.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO

from openstall.ledger.late_imports import RECURSION_LIMIT

MODULES = [
    "openstall.app.cli.main",
    "openstall.app.cli.node",
    "openstall.app.process",
    "openstall.app.services.custom.wiring",
    "forked",
    "eth_account",
    "eth_account.hdaccount.mnemonic",
]
FRESH = frozenset({"late_node.py"})
"""Programs that change something before our modules are imported, and so start as any program does."""
_MODULE = ("-P", "-m")


class Forked:
    """What a test wants of `subprocess.Popen`."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        """The exit status, as `subprocess.Popen` gives it."""
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        """The exit status."""
        return self.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout)
        return status

    def send_signal(self, number: int) -> None:
        """To a process that has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def launch(
    command: Sequence[str], log: IO[bytes], environment: Mapping[str, str] | None = None
) -> Forked | subprocess.Popen[bytes]:
    """Run `[python, -P, -m, module, …]` or `[python, script, …]`; what it prints goes into `log`."""
    assert command[0] == sys.executable
    everything = {**os.environ, **(environment or {})}
    if Path(command[1]).name in FRESH:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=everything
        )
    several = multiprocessing.get_context("forkserver")
    several.set_forkserver_preload(MODULES)
    process = several.Process(
        target=_run, args=(list(command[1:]), log.name, everything, str(Path.cwd())), daemon=False
    )
    process.start()
    return Forked(process)


def _run(arguments: list[str], log: str, environment: dict[str, str], folder: str) -> None:
    """In the fork: become what a new interpreter would be."""
    sys.setrecursionlimit(RECURSION_LIMIT)  # py_ecc, under eth-account, raises it beyond what the stack holds
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - the three of this process
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    module = tuple(arguments[:2]) == _MODULE
    name, rest = (arguments[2], arguments[3:]) if module else (arguments[0], arguments[1:])
    sys.argv = [name, *rest]
    if module:
        sys.modules.pop(name, None)  # it runs as the main module, not as what was imported
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(name, run_name="__main__")
