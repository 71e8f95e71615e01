"""Pictures of the window for a support case or a manual: `python -m openstall.ui.capture`.

Opens the real window on the node of a home folder, waits for each view until it is complete, saves it
as PNG, and ends. Prints one path per line. Exit status 0 if every view was saved, 1 if one was not.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from PySide6.QtCore import QObject, QSettings, QSize, QTimer, Signal
from PySide6.QtWidgets import QApplication

from openstall.ui.documents import Failure
from openstall.ui.main import default_home
from openstall.ui.main_window import HEIGHT, WIDTH, MainWindow
from openstall.ui.theme import Theme

PATIENCE_MS = 60_000
QUIET_TURNS = 5
"""Turns of the event loop for layouts to settle: a wrapped text inside a panel takes one for each level."""
NOW = "now"
"""The name of whatever the window shows by itself: the first run, the lock, a failure."""


class Photographer(QObject):
    """Shows one view after another and saves each when it has settled."""

    finished = Signal(int)

    def __init__(self, window: MainWindow, views: list[str], folder: Path, prefix: str) -> None:
        super().__init__(window)
        self._window = window
        self._views = list(views)
        self._folder = folder
        self._prefix = prefix
        self._current = ""
        self._turns = 0
        self._limit = QTimer(self)
        self._limit.setSingleShot(True)
        self._limit.setInterval(PATIENCE_MS)
        self._limit.timeout.connect(self._too_late)
        self._calm = QTimer(self)
        self._calm.setSingleShot(True)
        self._calm.setInterval(0)
        self._calm.timeout.connect(self._save)
        window.settled.connect(self._settled)
        window.arrived.connect(self._settled)
        window.node.failed.connect(self._failed)

    def begin(self) -> None:
        """Open the window; `finished` follows with the exit status."""
        self._current = self._views.pop(0)
        if self._current != NOW:
            self._window.show_view(self._current)
        self._limit.start()
        self._window.show()
        self._window.begin()

    def _settled(self) -> None:
        shell = self._window.shell
        there = shell is not None and self._window.view is shell and shell.spec == self._current
        if there or (self._current == NOW and self._window.view is not self._window.start_page):
            self._turns = 0
            self._calm.start()

    def _save(self) -> None:
        # A page may ask for more once it knows more: then it settles again.
        if self._window.api.pending:
            return
        if self._turns < QUIET_TURNS:
            self._turns += 1
            self._calm.start()
            return
        name, _, about = self._current.partition(":")
        path = self._folder / f"{self._prefix}{name}{'-' + about[-8:] if about else ''}.png"
        focus = QApplication.focusWidget()
        if focus is not None:
            focus.clearFocus()
        if not self._window.grab().save(str(path)):
            print(f"cannot write {path}", file=sys.stderr)  # noqa: T201 - a command line tool
            self.finished.emit(1)
            return
        print(path, flush=True)  # noqa: T201 - a command line tool
        if not self._views:
            self.finished.emit(0)
            return
        self._current = self._views.pop(0)
        self._limit.start()
        self._window.show_view(self._current)
        self._settled_if_quiet()

    def _settled_if_quiet(self) -> None:
        if not self._window.api.pending:
            self._settled()

    def _failed(self, failure: Failure) -> None:
        print(f"{failure.code}: {failure.message} {failure.what_next}", file=sys.stderr)  # noqa: T201
        self.finished.emit(1)

    def _too_late(self) -> None:
        print(f"“{self._current}” was not complete in {PATIENCE_MS // 1000} s", file=sys.stderr)  # noqa: T201
        self.finished.emit(1)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m openstall.ui.capture", description="Save pictures of the window."
    )
    made.add_argument("--home", type=Path)
    made.add_argument("--out", type=Path, required=True, help="folder for the pictures; made if needed")
    made.add_argument(
        "--views",
        required=True,
        help="comma-separated, as market,orders:ID; “now” is what the window shows by itself",
    )
    made.add_argument("--theme", choices=("light", "dark"), default="light")
    made.add_argument("--prefix", default="", help="put before each file name")
    made.add_argument("--size", default=f"{WIDTH}x{HEIGHT}")
    return made


def main(argv: list[str] | None = None) -> int:
    """Save the pictures; returns the exit status."""
    options = parser().parse_args(argv)
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QApplication(sys.argv[:1])
    app.setApplicationName("Openstall")
    theme = Theme(app, options.theme)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        # Settings of its own: the reader's window keeps its size and theme.
        settings = QSettings(str(Path(scratch) / "desktop.ini"), QSettings.Format.IniFormat)
        window = MainWindow(home=options.home or default_home(), theme=theme, settings=settings)
        width, _, height = options.size.partition("x")
        window.resize(QSize(int(width), int(height)))
        views = [view.strip() for view in options.views.split(",") if view.strip()]
        photographer = Photographer(window, views, options.out, options.prefix)
        photographer.finished.connect(app.exit)
        QTimer.singleShot(0, photographer.begin)
        status = app.exec()
        window.api.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
