from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hands import push
from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QApplication, QLabel, QMessageBox, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer
from openstall.ui.instance import SingleInstance
from openstall.ui.main_window import MainWindow
from openstall.ui.shell import RAIL, Shell
from openstall.ui.views.network import NetworkPage
from openstall.ui.views.network_peers import PeersSection
from openstall.ui.views.settings import SettingsPage
from openstall.ui.views.wallet import WalletPage
from tests.support.accessibility import nameless, rich_labels

WAIT_MS = 60_000
SECTIONS = [name for name, _label, _icon in RAIL]


def show(qtbot: QtBot, window: MainWindow, spec: str) -> Shell:
    window.show_view(spec)
    shell = window.shell
    assert shell is not None
    qtbot.waitUntil(lambda: shell.page.is_loaded and not window.api.pending, timeout=WAIT_MS)
    return shell


@pytest.mark.parametrize(
    "spec", [*SECTIONS, "market:compute", "publish", "backup", "exchange", "house", "demand"]
)
def test_every_page_loads_and_can_be_read_out(qtbot: QtBot, window: MainWindow, spec: str) -> None:
    shell = show(qtbot, window, spec)
    assert shell.spec == spec
    assert shell.page.banner.message == ""
    assert nameless(window) == []
    assert rich_labels(window) == []
    empty = [
        label for label in shell.page.findChildren(QLabel) if label.isVisible() and label.text() == "None"
    ]
    assert empty == []


@pytest.mark.parametrize(
    "spec", ["", "nowhere", "model:", "buy:", "orders:" + "0" * 64, "model:bafynotthere"]
)
def test_a_view_that_is_not_there_harms_nothing(qtbot: QtBot, window: MainWindow, spec: str) -> None:
    shell = show(qtbot, window, "market")
    window.show_view(spec)
    qtbot.waitUntil(lambda: shell.page.is_loaded and not window.api.pending, timeout=WAIT_MS)
    assert shell.spec == "market" or shell.page.banner.message


def test_the_rail_is_worked_by_keyboard(qtbot: QtBot, window: MainWindow) -> None:
    shell = show(qtbot, window, "market")
    window.activateWindow()
    qtbot.waitActive(window)
    for at, section in enumerate(SECTIONS):
        qtbot.keyClick(window, Qt.Key(Qt.Key.Key_1 + at), Qt.KeyboardModifier.ControlModifier)
        qtbot.waitUntil(partial(lambda wanted: shell.spec == wanted, section), timeout=WAIT_MS)


class Orphans(QObject):
    """Notes every window that is not the main one: a part shown before it has a parent flashes as one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
            self.seen.append(f"{type(watched).__name__} {watched.accessibleName()}")
        return False


def test_no_part_of_a_page_opens_as_a_window(qtbot: QtBot, window: MainWindow, qapp: QApplication) -> None:
    orphans = Orphans()
    qapp.installEventFilter(orphans)
    for spec in (
        *SECTIONS,
        "publish",
        "backup",
        "exchange",
        "house",
        "ask",
        "developer",
        "orders:" + "0" * 64,
    ):
        show(qtbot, window, spec)
    qapp.removeEventFilter(orphans)
    assert orphans.seen == []


def test_tab_reaches_every_control_in_view(qtbot: QtBot, window: MainWindow) -> None:
    shell = show(qtbot, window, "wallet")
    window.activateWindow()
    qtbot.waitActive(window)
    reached: set[int] = set()
    for _ in range(80):
        qtbot.keyClick(QApplication.focusWidget() or window, Qt.Key.Key_Tab)
        focus = QApplication.focusWidget()
        if focus is not None:
            reached.add(id(focus))
    wanted = [
        control
        for control in shell.page.findChildren(QPushButton)
        if control.isVisible() and control.isEnabled() and control.focusPolicy() & Qt.FocusPolicy.TabFocus
    ]
    assert [control.accessibleName() for control in wanted if id(control) not in reached] == []


def test_the_way_back_leads_where_one_came_from(qtbot: QtBot, window: MainWindow) -> None:
    shell = show(qtbot, window, "market")
    show(qtbot, window, "publish")
    push(qtbot, shell.page, "Back to the market")
    assert shell.spec == "market"


def test_credits_come_from_the_faucet_and_go_to_an_address(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer
) -> None:
    page = show(qtbot, window, "wallet").page
    assert isinstance(page, WalletPage)
    if not peer.get("/v1/wallet")["faucet_claimed"]:
        push(qtbot, page, "Get 1,000 credits")
    qtbot.waitUntil(lambda: page._wallet.balance_micro > 0, timeout=WAIT_MS)
    before = peer.balance_micro()
    page._to.setText("0x000000000000000000000000000000000000bEEF")
    page._amount.setText("12.5")
    push(qtbot, page, "Review…")
    assert QApplication.focusWidget() is None or QApplication.focusWidget().accessibleName() == "Do not send"
    assert peer.balance_micro() == before
    push(qtbot, page, "Send it now")
    qtbot.waitUntil(lambda: page._wallet.balance_micro == before - 12_500_000, timeout=WAIT_MS)
    assert peer.balance_micro() == before - 12_500_000


@pytest.mark.parametrize(
    ("to", "amount"), [("0x12", "1"), ("0x" + "a" * 40, "1e9"), ("0x" + "a" * 40, "999999999"), ("", "1")]
)
def test_a_payment_that_cannot_be_made_cannot_be_asked_for(
    qtbot: QtBot, window: MainWindow, to: str, amount: str
) -> None:
    page = show(qtbot, window, "wallet").page
    assert isinstance(page, WalletPage)
    page._to.setText(to)
    page._amount.setText(amount)
    assert not page._send.isEnabled()


def test_the_invitation_is_copied_whole(qtbot: QtBot, window: MainWindow, peer: DemoPeer) -> None:
    page = show(qtbot, window, "network").page
    assert isinstance(page, NetworkPage)
    page.choose("group")
    qtbot.waitUntil(page.section.isVisible, timeout=WAIT_MS)
    push(qtbot, page, "Copy the invitation")
    assert QGuiApplication.clipboard().text() == peer.get("/v1/group")["invitation"]


def test_an_address_that_leads_nowhere_is_told_in_words(qtbot: QtBot, window: MainWindow) -> None:
    page = show(qtbot, window, "network").page
    assert isinstance(page, NetworkPage)
    assert isinstance(page.section, PeersSection)
    page.section.addr.setText("/ip4/127.0.0.1/tcp/1/p2p/12D3KooWL3Zz4HMSFYbZdYDgs5pCDvS4bd6xviLPcTWreaLjhyo2")
    push(qtbot, page, "Connect")
    qtbot.waitUntil(lambda: page.banner.property("tone") == "bad", timeout=WAIT_MS)


def test_the_theme_changes_at_once_and_is_remembered(qtbot: QtBot, window: MainWindow) -> None:
    page = show(qtbot, window, "settings").page
    assert isinstance(page, SettingsPage)
    light = window.grab().toImage().pixelColor(600, 780).lightness()
    page._theme.setCurrentIndex(page._theme.findData("dark"))
    assert window.grab().toImage().pixelColor(600, 780).lightness() < light
    assert page._settings.value("theme") == "dark"


def test_a_second_start_shows_the_first_window(qtbot: QtBot, tmp_path: Path) -> None:
    first, second, other = (
        SingleInstance(tmp_path),
        SingleInstance(tmp_path),
        SingleInstance(tmp_path / "other"),
    )
    assert first.claim()
    with qtbot.waitSignal(first.asked_to_show):
        assert not second.claim()
    assert other.claim()
    first.release()
    other.release()


def capture(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openstall.ui.capture", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_pictures_are_taken_of_the_real_window(peer: DemoPeer, tmp_path: Path) -> None:
    to = ("--home", str(peer.home), "--out", str(tmp_path))
    done = capture(*to, "--views", "market,wallet", "--theme", "dark")
    assert done.returncode == 0, done.stderr
    for name in ("market.png", "wallet.png"):
        image = QImage(str(tmp_path / name))
        assert (image.width(), image.height()) == (1280, 800)
        assert image.pixelColor(600, 10).lightness() < 60


def test_a_picture_of_what_is_not_there_fails_with_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = capture("--home", str(tmp_path / "file"), "--out", str(tmp_path), "--views", "market")
    assert done.returncode == 1
    assert "node_not_started" in done.stderr


def answer_closing(button: str) -> None:
    """Press a button of the question that is open, as soon as it is."""
    box = QApplication.activeModalWidget()
    if not isinstance(box, QMessageBox):
        QTimer.singleShot(50, partial(answer_closing, button))
        return
    assert box.textFormat() == Qt.TextFormat.PlainText
    next(one for one in box.buttons() if one.text() == button).click()


def test_closing_while_selling_asks_what_becomes_of_the_sale(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer
) -> None:
    window.desk.take_status(msgspec.structs.replace(window.desk.status, selling=True))
    answer_closing("&Do not close")
    assert not window.close()
    assert window.isVisible()
    answer_closing("&Keep selling")
    assert window.close()
    assert peer.get("/v1/status")["identity"]["state"] == "open"
