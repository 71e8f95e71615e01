"""What waits to be sent, and signed objects by file and picture, in a real window on a real node."""

from __future__ import annotations

import json
from pathlib import Path

import segno
from hands import push, said
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer
from openstall.ui.main_window import MainWindow
from openstall.ui.views.exchange import ExchangePage
from openstall.ui.views.network import NetworkPage
from openstall.ui.views.network_kept import LettersSection
from openstall.ui.views.page import Page
from openstall.ui.widgets.qr import MARGIN, MODULE

WAIT_MS = 60_000


def show(qtbot: QtBot, window: MainWindow, spec: str) -> Page:
    window.show_view(spec)
    shell = window.shell
    assert shell is not None
    qtbot.waitUntil(lambda: shell.page.is_loaded and not window.api.pending, timeout=WAIT_MS)
    return shell.page


def test_a_record_that_nobody_has_waits_in_sight(qtbot: QtBot, window: MainWindow, peer: DemoPeer) -> None:
    page = show(qtbot, window, "network")
    assert isinstance(page, NetworkPage)
    page.choose(LettersSection.name)
    section = page.section
    assert isinstance(section, LettersSection)
    panel = section.outbox
    for evaluates in (True, False):  # its record says so: whoever had the one before has not this one
        peer.post("/v1/evaluator", on=evaluates)
    qtbot.waitUntil(lambda: panel.table.model.rowCount() == 1, timeout=WAIT_MS)
    panel.table.choose(panel.table.model.key_of(0))
    row = panel.table.current()
    assert row is not None
    assert (row.what, row.to_name) == ("Peer “Ada Byron”", "everybody")
    assert "Kept here until" in row.state_words
    assert not panel._drop.isEnabled()  # it says who one is
    assert peer.get("/v1/mailbox")["serves"] is True  # it hosts the group
    for said_now, serves in (("You keep no letters", False), ("You keep letters for members", True)):
        push(qtbot, panel, "Keep no more" if not serves else "Keep letters for others")
        qtbot.waitUntil(lambda wanted=said_now: wanted in said(panel), timeout=WAIT_MS)
        assert peer.get("/v1/mailbox")["serves"] is serves
    push(qtbot, panel, "Exchange by file…")
    assert window.shell is not None
    assert window.shell.spec == "exchange"


def test_a_file_is_written_and_dropped_in_again(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    page = show(qtbot, window, "exchange")
    assert isinstance(page, ExchangePage)
    page.what.setCurrentIndex(page.what.findData("records"))
    written = tmp_path / "mine.exchange"
    page.save_to(str(written))
    qtbot.waitUntil(lambda: page.banner.message == "Written: 1 record.", timeout=WAIT_MS)
    lines = written.read_text().splitlines()
    assert json.loads(lines[1])["kind"] == "record"
    forged = json.loads(lines[1])
    forged["record"]["body"]["name"] = "Somebody else"
    written.write_text(
        "\n".join(
            [
                lines[0].replace(":1}", ":2}").replace('"objects":1', '"objects":2'),
                lines[1],
                json.dumps(forged, separators=(",", ":"), sort_keys=True, ensure_ascii=False),
            ]
        )
        + "\n"
    )
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(written))])
    drop = QDropEvent(
        QPointF(QPoint(5, 5)),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    page.file.dropEvent(drop)
    qtbot.waitUntil(lambda: page.banner.message == "1 taken in, 1 refused.", timeout=WAIT_MS)
    for words in ("The signature does not match the author.", "Known already"):
        qtbot.waitUntil(lambda wanted=words: wanted in said(page), timeout=WAIT_MS)
    page.take_in(str(tmp_path))
    qtbot.waitUntil(lambda: page.banner.property("tone") == "bad", timeout=WAIT_MS)


def test_an_address_is_shown_as_a_picture(qtbot: QtBot, window: MainWindow, peer: DemoPeer) -> None:
    page = show(qtbot, window, "exchange")
    assert isinstance(page, ExchangePage)
    page.shown.setCurrentIndex(page.shown.findData("address"))
    push(qtbot, page, "Show")
    qtbot.waitUntil(page.picture.isVisible, timeout=WAIT_MS)
    text = peer.get("/v1/peers")["self"]["addrs"][0]
    push(qtbot, page, "Copy the text")
    assert QGuiApplication.clipboard().text() == text
    image = page.picture.grab().toImage()
    wanted = segno.make(text, error="L", micro=False)
    side = len(wanted.matrix)
    assert image.width() == (side + 2 * MARGIN) * MODULE * image.devicePixelRatio()
    scale = MODULE * image.devicePixelRatio()
    for y, line in enumerate(wanted.matrix):
        for x, dark in enumerate(line):
            at = QPointF((x + MARGIN + 0.5) * scale, (y + MARGIN + 0.5) * scale).toPoint()
            assert (image.pixelColor(at).lightness() < 128) is bool(dark), (x, y)
