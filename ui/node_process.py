"""Finds the node of a home folder, or starts it as a process of its own that outlives the window."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from openstall.ui.api import UNREACHABLE, ApiClient, Endpoint
from openstall.ui.documents import Failure, Status

if TYPE_CHECKING:
    import subprocess

POLL_MS = 100
PATIENCE_MS = 60_000
MAX_API_FILE_BYTES = 4096
START_LOG = "desktop-start.log"


def read_endpoint(home: Path) -> Endpoint | None:
    """What `api.json` of a home folder says; None if there is none, it is not whole, or its node is gone."""
    try:
        with (home / "api.json").open("rb") as file:
            value = json.loads(file.read(MAX_API_FILE_BYTES))
        port, token, pid = int(value["port"]), str(value["token"]), int(value["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not _runs_for_us(pid):
        return None
    if not 0 < port < 65536 or not token or not token.isascii() or not token.isprintable():
        return None
    return Endpoint(port=port, token=token)


def _runs_for_us(pid: int) -> bool:
    """Whether the node that wrote `api.json` still lives and is this user's.

    A killed node leaves the file behind; whoever takes its port then must not be given the token.
    """
    if os.name != "posix":
        return True  # there a signal of 0 would end the process
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return False
    return True


class NodeProcess(QObject):
    """Attaches to a running node or starts one, and says in words what it waits for."""

    ready = Signal(object, object)
    """The `Endpoint` and the `Status` of a node that answers."""
    waiting = Signal(str)
    failed = Signal(object)
    """A `Failure`: the node ended, or did not answer in time."""

    def __init__(self, home: Path, api: ApiClient) -> None:
        super().__init__(api)
        self._home = home
        self._api = api
        self.child: subprocess.Popen[bytes] | None = None
        self._waited_ms = 0
        self._asking = False
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._look)

    def start(self) -> None:
        """Begin; `ready` or `failed` follows."""
        self._waited_ms = 0
        endpoint = read_endpoint(self._home)
        if endpoint is None:
            self._launch()
            return
        self.waiting.emit("Connecting to the node on this computer…")
        self._ask(endpoint, self._launch_after_silence)

    def endpoint(self) -> Endpoint | None:
        """Where the node listens now; after a restart this differs."""
        return read_endpoint(self._home)

    def _launch_after_silence(self, failure: Failure) -> None:
        if failure.code == UNREACHABLE.code:
            self._launch()
        else:
            self.failed.emit(failure)

    def _launch(self) -> None:
        self.waiting.emit("Starting the node on this computer…")
        import subprocess

        log = self._home / "log" / START_LOG
        try:
            log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with log.open("wb") as output:
                self.child = subprocess.Popen(
                    _command(self._home),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    creationflags=getattr(subprocess, "DETACHED_PROCESS", 0),
                )
        except OSError as error:
            self.failed.emit(
                Failure(
                    code="node_not_started",
                    message=f"The node could not be started: {error.strerror or error}.",
                    what_next=(
                        f"Check that {self._home} can be written to, and that there is room on the disk."
                    ),
                )
            )
            return
        self._timer.start()

    def _look(self) -> None:
        self._waited_ms += POLL_MS
        endpoint = read_endpoint(self._home)
        if endpoint is not None and not self._asking:
            self.waiting.emit("The node is starting: opening its store and the network…")
            self._ask(endpoint, lambda _failure: None)
        if self.child is not None and self.child.poll() is not None and not self._asking:
            self._ended(self.child.returncode)
        elif self._waited_ms > PATIENCE_MS:
            self._timer.stop()
            self.failed.emit(
                Failure(
                    code="node_silent",
                    message="The node was started but does not answer.",
                    what_next=f"Try again. What it printed is in {self._home / 'log' / START_LOG}.",
                )
            )

    def _ask(self, endpoint: Endpoint, silent: Callable[[Failure], None]) -> None:
        self._asking = True

        def answered(status: Status) -> None:
            self._asking = False
            self._timer.stop()
            self.ready.emit(endpoint, status)

        def unanswered(failure: Failure) -> None:
            self._asking = False
            silent(failure)

        self._api.probe(endpoint, answered, owner=self, failed=unanswered)

    def _ended(self, code: int) -> None:
        self._timer.stop()
        said = _last_words(self._home / "log" / START_LOG)
        self.failed.emit(
            Failure(
                code="node_ended",
                message=f"The node ended at once (exit status {code}).",
                what_next=said or "It printed nothing. Try again.",
            )
        )


def _command(home: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "openstall.app.cli.main", "--home", os.fspath(home), "node", "run"]


def _last_words(log: Path) -> str:
    try:
        lines = log.read_bytes()[-4000:].decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " ".join(line.strip() for line in lines[-3:])[:400]
