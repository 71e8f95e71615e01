"""Runs the demo market beside this window: nodes of its own with play money, the buyer's window on top.

The demo is a process of its own with a folder of its own; nothing of it touches this home's wallet. It
holds its end of a pipe from us until the market is open: if this window goes before that, so does it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from openstall.ui.documents import Failure, UnreadableAnswer, read

if TYPE_CHECKING:
    import subprocess

POLL_MS = 150
FOLDER = "demo"
OUTPUT = "demo.jsonl"
ERRORS = "demo-errors.log"


class DemoProcess(QObject):
    """At most one demo market, and how far it is."""

    step = Signal(str)
    """What is done at the moment, in words."""
    opened = Signal()
    """The market is there, and the buyer's window is about to be."""
    ended = Signal(object)
    """None when it was closed or cancelled, else a `Failure`."""

    def __init__(self, home: Path, parent: QObject) -> None:
        super().__init__(parent)
        self._home = home
        self._child: subprocess.Popen[bytes] | None = None
        self._read_to = 0
        self._cancelled = False
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._look)

    @property
    def running(self) -> bool:
        """Whether there is one."""
        return self._child is not None

    def start(self) -> None:
        """Set a market up; `step`, `opened` and `ended` follow."""
        if self._child is not None:
            return
        import subprocess

        self._read_to, self._cancelled = 0, False
        try:
            self._log(OUTPUT).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._log(OUTPUT).open("wb") as output, self._log(ERRORS).open("wb") as errors:
                self._child = subprocess.Popen(
                    _command(self._home / FOLDER),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                )
        except OSError as error:
            self.ended.emit(_not_started(error.strerror or str(error)))
            return
        self._timer.start()

    def cancel(self) -> None:
        """Give up while it is being set up; `ended` follows when its nodes have stopped."""
        self._cancelled = True
        self._let_go()

    def _let_go(self) -> None:
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()

    def _look(self) -> None:
        child = self._child
        if child is None:
            return
        status = child.poll()
        for line in self._new_lines():
            self._take(line)
        if status is None:
            return
        self._timer.stop()
        self._let_go()
        self._child = None
        self.ended.emit(None if status == 0 or self._cancelled else self._failure())

    def _new_lines(self) -> list[bytes]:
        with self._log(OUTPUT).open("rb") as file:
            file.seek(self._read_to)
            whole = file.read().rpartition(b"\n")[0]
        self._read_to += len(whole) + 1 if whole else 0
        return whole.splitlines()

    def _take(self, line: bytes) -> None:
        said = json.loads(line)
        if "homes" in said:
            self.opened.emit()
        elif said["seconds"] is None:
            self.step.emit(str(said["step"]))

    def _failure(self) -> Failure:
        lines = self._log(ERRORS).read_text(errors="replace").strip().splitlines()
        try:
            return read(json.loads(lines[-1])["error"], Failure)
        except (IndexError, KeyError, TypeError, ValueError, UnreadableAnswer):
            return _not_started(lines[-1][:300] if lines else "it printed nothing")

    def _log(self, name: str) -> Path:
        return self._home / "log" / name


def _not_started(why: str) -> Failure:
    return Failure(
        code="demo_not_started",
        message=f"The demo market could not be set up: {why}.",
        what_next="Try again. Your own wallet and group are not touched by it.",
    )


def _command(folder: Path) -> list[str]:
    program = [sys.executable, "-P", "-m", "openstall.app.cli.main", "--json"]
    return [*program, "demo", "--try", "--leashed", "--out", os.fspath(folder)]
