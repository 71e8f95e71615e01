from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer, running_peer
from openstall.ui.main_window import MainWindow
from openstall.ui.theme import Theme

WAIT_MS = 60_000


@pytest.fixture(scope="session")
def session_theme(qapp: QApplication) -> Theme:
    return Theme(qapp, "light")


@pytest.fixture
def app_theme(session_theme: Theme) -> Iterator[Theme]:
    session_theme.choose("light")
    yield session_theme
    session_theme.choose("light")


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoPeer]:
    """A real node process with an open wallet, in a group whose chain it hosts."""
    with running_peer("Ada Byron", tmp_path_factory.mktemp("ui") / "ada") as found:
        found.operate("/v1/group/create", name="Clinics of the north")
        yield found


def _answered(window: MainWindow) -> None:
    window._asked_about_selling = True


@pytest.fixture
def open_window(qtbot: QtBot, app_theme: Theme, tmp_path: Path) -> Iterator[Callable[[Path], MainWindow]]:
    """Opens real windows on a home folder; closes them after the test."""
    windows: list[MainWindow] = []

    def open_one(home: Path) -> MainWindow:
        settings = QSettings(str(tmp_path / f"desktop-{len(windows)}.ini"), QSettings.Format.IniFormat)
        window = MainWindow(home=home, theme=app_theme, settings=settings)
        # A window that sells asks what becomes of the sale before it closes; nobody is here to answer.
        qtbot.addWidget(window, before_close_func=_answered)
        windows.append(window)
        window.show()
        window.begin()
        return window

    yield open_one
    for window in windows:
        window.api.close()
        if window.node.child is not None:
            # The home's own fixture has stopped the node by now; reap it.
            window.node.child.wait(30)


@pytest.fixture
def window(qtbot: QtBot, peer: DemoPeer, open_window: Callable[[Path], MainWindow]) -> MainWindow:
    """The window of the node in a group, with its first page loaded."""
    found = open_window(peer.home)
    qtbot.waitUntil(lambda: found.shell is not None and found.shell.page.is_loaded, timeout=WAIT_MS)
    return found
