"""“Recover this order”: one press, and then what was missing, who had it, and what to do next."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit

from openstall.ui import documents, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.recovery import AskedPeer, Recovered
from openstall.ui.widgets.layout import Panel, button, clear, column, focus, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.text import Text

_WHAT = (
    "If the two sides see different things, or your disk has lost something: all that was signed about this "
    "order is fetched again, checked, and compared with the chain. Nothing is signed or paid by that."
)
_LOST = (
    "An order that is not in this list any more comes back from the papers of the other side. Its id, and "
    "the peer id of the other side, stand on the page of the order over there."
)
_ID_CHARS, _PEER_CHARS = 64, 64
_ROLES = {"named": "The other side"}


class RecoverPanel(Panel):
    """On the page of an order."""

    def __init__(self, desk: Desk, order_id: str = "") -> None:
        super().__init__("If something is missing")
        self._desk, self._id = desk, order_id
        self._what = Text(_WHAT, "muted")
        self._banner = Banner()
        self._banner.hide()
        self._progress = ProgressRow(cancel=False)
        self._progress.hide()
        self._told = column()
        self.start = button("Reco&ver this order", self.recover, icon="refresh")
        for widget in (self._what, self._banner, self._progress):
            self.body.addWidget(widget)
        self.body.addLayout(self._told)
        self._foot = row(1, self.start)
        self.body.addLayout(self._foot)

    def recover(self) -> None:
        """Ask the node for it."""
        self.begin(self._id, [])

    def begin(self, order_id: str, peers: list[str]) -> None:
        """Recover an order, asking these peers too."""
        self.start.setEnabled(False)
        self._banner.hide()
        clear(self._told)
        self._progress.begin("Asking for papers, and reading the chain")
        self._desk.operations.start(
            f"/v1/orders/{order_id}/recover",
            {"peers": peers},
            owner=self,
            done=self._ended,
            failed=self._failed,
        )

    def _ended(self, result: Any) -> None:
        self._progress.hide()
        self.start.setEnabled(True)
        self.show_recovered(documents.read(result, Recovered))

    def show_recovered(self, told: Recovered) -> None:
        """What came of it."""
        clear(self._told)
        self._what.hide()
        for one in told.asked:
            self._told.addLayout(_line(_asked_words(one), good=one.answered))
        for paper in told.found:
            text = f"{words.plain(paper.words, 200)} (from: {words.one_line(paper.source, 40)})"
            self._told.addLayout(_line(f"Was missing: {text}.", good=True))
        if told.state and not told.found:
            self._told.addLayout(_line("Nothing was missing in your books.", good=True))
        if told.chain is not None:
            self._told.addLayout(_line(told.chain.message, good=False))
        self._told.addWidget(Text(words.plain(told.what_next, 300), "strong"))

    def _failed(self, failure: Failure) -> None:
        self._progress.hide()
        self.start.setEnabled(True)
        self._banner.fail(failure)


class LostOrderPanel(RecoverPanel):
    """Under the list of orders: for one that the books have lost altogether."""

    recovered = Signal(str)
    """The id of an order that is back."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.heading.say("An order that the list has lost")
        self._what.say(_LOST)
        self._close = button("&Close", self.hide, kind="quiet")
        self._foot.insertWidget(1, self._close)
        self.order = QLineEdit()
        self.order.setPlaceholderText("Id of the order")
        self.order.setAccessibleName("Id of the order")
        self.order.setMaxLength(_ID_CHARS)
        self.peer = QLineEdit()
        self.peer.setPlaceholderText("Peer id of the other side")
        self.peer.setAccessibleName("Peer id of the other side")
        self.peer.setMaxLength(_PEER_CHARS)
        for field in (self.order, self.peer):
            field.textChanged.connect(self._typed)
        fields = row(self.order, self.peer)
        self.body.insertLayout(2, fields)
        self._typed()
        self.hide()

    def ask(self) -> None:
        """Show the fields."""
        self.show()
        focus(self.order)

    def recover(self) -> None:
        self.begin(self.order.text().strip(), [self.peer.text().strip()])

    def show_recovered(self, told: Recovered) -> None:
        if told.state:
            self.recovered.emit(told.order_id)
            self.hide()
            return
        super().show_recovered(told)

    def _typed(self) -> None:
        full = len(self.order.text().strip()) == _ID_CHARS and bool(self.peer.text().strip())
        self.start.setEnabled(full)


def _asked_words(one: AskedPeer) -> str:
    role = words.one_line(one.role, 40)
    who = _ROLES.get(role, f"The {role}")
    if one.answered:
        return f"{who} has answered."
    return f"{who}: {one.fault.message if one.fault is not None else 'no answer.'}"


def _line(text: str, *, good: bool) -> Any:
    picture = Picture("check", "good", 16) if good else Picture("warning", "care", 16)
    line = row(picture, Text(words.plain(text, 400), "muted"))
    line.setStretch(1, 1)
    return line
