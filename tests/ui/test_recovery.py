"""“Recover this order” on the desktop: on the page of an order, and for one that the list has lost."""

from __future__ import annotations

from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.ui.documents import Failure
from openstall.ui.main_window import MainWindow
from openstall.ui.recovery import AskedPeer, FoundPaper, Recovered
from openstall.ui.views.orders import OrdersPage
from openstall.ui.views.recover import LostOrderPanel, RecoverPanel
from openstall.ui.widgets.text import Text

WAIT_MS = 60_000
TOLD = Recovered(
    order_id="ab" * 32,
    before="funded",
    state="delivered",
    state_words="The key was released.",
    asked=[
        AskedPeer(role="seller", answered=True),
        AskedPeer(role="arbiter", fault=Failure(code="peer_unreachable", message="It cannot be reached.")),
    ],
    found=[FoundPaper(what="transcript", words="what the parties told each other, signed", source="seller")],
    what_next="Nothing: the order goes on by itself.",
)


def said(widget: QWidget) -> str:
    return "\n".join(text.text() for text in widget.findChildren(Text) if not text.isHidden())


def test_what_was_missing_stands_there_with_who_had_it(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    panel = RecoverPanel(window.shell.page.desk, "ab" * 32)
    qtbot.addWidget(panel)
    assert "Nothing is signed or paid by that." in said(panel)
    panel.show_recovered(TOLD)
    words = said(panel)
    assert "The seller has answered." in words
    assert "The arbiter: It cannot be reached." in words
    assert "Was missing: what the parties told each other, signed (from: seller)." in words
    assert "Nothing: the order goes on by itself." in words
    panel.show_recovered(Recovered(order_id=TOLD.order_id, state="funded", what_next="Wait."))
    assert "Nothing was missing in your books." in said(panel)


def test_an_order_that_nobody_knows_is_asked_for_and_refused_in_words(
    qtbot: QtBot, window: MainWindow
) -> None:
    window.show_view("orders")
    shell = window.shell
    assert shell is not None
    qtbot.waitUntil(lambda: isinstance(shell.page, OrdersPage) and shell.page.is_loaded, timeout=WAIT_MS)
    page = shell.page
    (lost,) = page.findChildren(LostOrderPanel)
    assert lost.isHidden()
    (ask,) = [
        one
        for one in page.findChildren(QPushButton)
        if one.accessibleName().startswith("Recover a lost order")
    ]
    ask.click()
    assert lost.isVisible()
    assert not lost.start.isEnabled()
    lost.order.setText("ab" * 32)
    lost.peer.setText("12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB")
    assert lost.start.isEnabled()
    lost.start.click()
    qtbot.waitUntil(lambda: "Nobody who was asked has given papers" in said(lost), timeout=WAIT_MS)
    assert lost.start.isEnabled()
    assert "Nothing was missing" not in said(lost), "of an order that is not in the books at all"
    (close,) = [one for one in lost.findChildren(QPushButton) if one.accessibleName() == "Close"]
    close.click()
    assert lost.isHidden()
