from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFrame, QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer
from openstall.ui.main_window import MainWindow
from openstall.ui.views.first_run import FirstRun
from openstall.ui.views.start import UnlockPage
from tests.support.accessibility import nameless, rich_labels

WAIT_MS = 60_000


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home without a node; the node that the window starts is stopped afterwards."""
    folder = tmp_path / "newcomer"
    yield folder
    stop_node(folder)


def stop_node(home: Path) -> None:
    if (home / "api.json").exists():
        with api_of(home) as api:
            api.post("/v1/node/stop", json={}).raise_for_status()


def api_of(home: Path) -> httpx.Client:
    found = json.loads((home / "api.json").read_text())
    headers = {"Authorization": f"Bearer {found['token']}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{found['port']}", headers=headers, timeout=30)


def first_run(qtbot: QtBot, window: MainWindow) -> FirstRun:
    qtbot.waitUntil(lambda: isinstance(window.view, FirstRun), timeout=WAIT_MS)
    assert isinstance(window.view, FirstRun)
    return window.view


def press_next(qtbot: QtBot, run: FirstRun) -> None:
    qtbot.waitUntil(run.next.isEnabled, timeout=WAIT_MS)
    qtbot.keyClick(run.next, Qt.Key.Key_Space)


def shown_words(run: FirstRun) -> list[str]:
    cells = run.words.findChildren(QFrame, "word")
    pairs = [[label.text() for label in cell.findChildren(QLabel)] for cell in cells]
    return [word for _, word in sorted((int(number), word) for number, word in pairs)]


def answer(run: FirstRun, words: list[str]) -> None:
    for field in run.words.findChildren(QLineEdit):
        position = int(field.accessibleName().removeprefix("Word number "))
        field.setText(words[position - 1])


def make_wallet(qtbot: QtBot, run: FirstRun) -> None:
    qtbot.keyClick(run.roles.cards["buy"], Qt.Key.Key_Space)
    press_next(qtbot, run)
    qtbot.keyClicks(run.wallet.name, "Grace")
    for field in (run.wallet.first, run.wallet.again):
        qtbot.keyClicks(field, "correct horse battery")
    press_next(qtbot, run)
    qtbot.waitUntil(lambda: len(shown_words(run)) == 24, timeout=WAIT_MS)


def test_a_newcomer_gets_from_nothing_to_the_market(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], home: Path
) -> None:
    window = open_window(home)
    run = first_run(qtbot, window)
    assert not run.next.isEnabled()
    make_wallet(qtbot, run)
    assert nameless(run) == []
    assert rich_labels(run) == []
    words = shown_words(run)
    press_next(qtbot, run)
    qtbot.waitUntil(lambda: len(run.words.findChildren(QLineEdit)) >= 3, timeout=WAIT_MS)
    answer(run, ["wrong"] * 24)
    press_next(qtbot, run)
    qtbot.waitUntil(lambda: bool(run.banner.message), timeout=WAIT_MS)
    qtbot.waitUntil(
        lambda: all(not field.text() for field in run.words.findChildren(QLineEdit)), timeout=WAIT_MS
    )
    answer(run, words)
    press_next(qtbot, run)
    qtbot.waitUntil(run.group.isVisible, timeout=WAIT_MS)
    qtbot.keyClicks(run.group.name, "Navy")
    press_next(qtbot, run)
    qtbot.waitUntil(run.done.isVisible, timeout=WAIT_MS)
    press_next(qtbot, run)
    qtbot.waitUntil(lambda: window.shell is not None and window.shell.page.is_loaded, timeout=WAIT_MS)
    assert window.shell is not None
    assert window.shell.spec == "market"
    qtbot.waitUntil(lambda: window.desk.status.identity.backup_tested, timeout=WAIT_MS)


def test_a_bad_invitation_is_refused_in_words_and_can_be_tried_again(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], home: Path
) -> None:
    run = first_run(qtbot, open_window(home))
    make_wallet(qtbot, run)
    run.go(3)
    run.group.member.setChecked(True)
    run.group.invitation.setPlainText("openstall:group:not-an-invitation")
    press_next(qtbot, run)
    qtbot.waitUntil(lambda: bool(run.banner.message), timeout=WAIT_MS)
    assert run.next.isEnabled()


def test_a_wallet_in_no_group_continues_with_the_group(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], home: Path
) -> None:
    first = open_window(home)
    make_wallet(qtbot, first_run(qtbot, first))
    first.api.close()
    run = first_run(qtbot, open_window(home))
    assert run.group.isVisible()


def test_a_wallet_is_restored_from_its_words(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], home: Path
) -> None:
    run = first_run(qtbot, open_window(home))
    qtbot.keyClick(run.roles.cards["rent"], Qt.Key.Key_Space)
    press_next(qtbot, run)
    run.wallet.old.setChecked(True)
    qtbot.keyClicks(run.wallet.name, "Grace")
    run.wallet.words.setPlainText("abandon " * 23 + "abandon")
    for field in (run.wallet.first, run.wallet.again):
        qtbot.keyClicks(field, "correct horse battery")
    press_next(qtbot, run)
    qtbot.waitUntil(lambda: bool(run.banner.message), timeout=WAIT_MS)
    run.wallet.words.setPlainText("abandon " * 23 + "art")
    press_next(qtbot, run)
    qtbot.waitUntil(run.group.isVisible, timeout=WAIT_MS)
    assert run.done.first_view == "sell"


def windows_of(run: FirstRun) -> list[psutil.Process]:
    assert run.demo.process._child is not None
    children = psutil.Process(run.demo.process._child.pid).children()
    return [one for one in children if "openstall.ui.main" in one.cmdline()]


def test_the_demo_market_is_tried_in_a_window_of_its_own(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], home: Path
) -> None:
    run = first_run(qtbot, open_window(home))
    with qtbot.waitSignal(run.demo.process.opened, timeout=3 * WAIT_MS):
        qtbot.keyClick(run.demo.start, Qt.Key.Key_Space)
        assert not run.demo.start.isEnabled()
    assert "window of its own" in run.demo.words.text()
    buyer = api_of(home / "demo" / "buyer")
    status = buyer.get("/v1/status").json()
    assert status["group"]["name"] == "Demo market"
    assert {item["type"] for item in buyer.get("/v1/catalogue").json()["items"]} >= {"listing", "offer"}
    assert buyer.get("/v1/orders").json()["total"] == 0
    buyer.close()
    qtbot.waitUntil(lambda: len(windows_of(run)) == 1, timeout=WAIT_MS)
    with qtbot.waitSignal(run.demo.process.ended, timeout=WAIT_MS) as ended:
        windows_of(run)[0].terminate()
    assert ended.args == [None]
    assert not (home / "demo" / "buyer" / "api.json").exists()
    assert run.demo.start.isEnabled()
    assert not (home / "wallet.json").exists()


def test_a_demo_market_that_is_cancelled_leaves_no_node_behind(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], home: Path
) -> None:
    run = first_run(qtbot, open_window(home))
    with qtbot.waitSignal(run.demo.process.step, timeout=WAIT_MS):
        run.demo.process.start()
    assert run.demo.process._child is not None
    demo = psutil.Process(run.demo.process._child.pid)
    qtbot.waitUntil((home / "demo" / "provider" / "log").exists, timeout=WAIT_MS)
    nodes = demo.children(recursive=True)
    with qtbot.waitSignal(run.demo.process.ended, timeout=WAIT_MS) as ended:
        run.demo.process.cancel()
    assert ended.args == [None]
    assert psutil.wait_procs(nodes, timeout=30)[1] == []


def test_a_locked_wallet_asks_for_its_passphrase(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], home: Path
) -> None:
    first = open_window(home)
    make_wallet(qtbot, first_run(qtbot, first))
    first.api.close()
    stop_node(home)
    qtbot.waitUntil(lambda: not (home / "api.json").exists(), timeout=WAIT_MS)
    window = open_window(home)
    qtbot.waitUntil(lambda: isinstance(window.view, UnlockPage), timeout=WAIT_MS)
    page = window.view
    assert isinstance(page, UnlockPage)
    qtbot.keyClicks(page.step.field, "wrong passphrase")
    qtbot.keyClick(page.step.field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: bool(page.banner.message), timeout=WAIT_MS)
    qtbot.keyClicks(page.step.field, "correct horse battery")
    qtbot.keyClick(page.step.field, Qt.Key.Key_Return)
    assert first_run(qtbot, window).group.isVisible()


def test_the_words_are_not_left_in_the_window_settings(
    qapp: QApplication, peer: DemoPeer, tmp_path: Path
) -> None:
    for path in tmp_path.rglob("*.ini"):
        assert "words" not in path.read_text()
