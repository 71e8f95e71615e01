"""The messages about an order: what was written, what is new, and a field to write in."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPlainTextEdit, QVBoxLayout, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.talk import Message, Talk
from openstall.ui.trade import Order
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge, Picture
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.people import Caution
from openstall.ui.widgets.text import Text

NEWEST = 20
"""So many messages are shown at first."""
MOST_CHARS = 2000
_UNSIGNED = frozenset({"", "proposed", "declined", "lapsed"})


class TalkPanel(Panel):
    """Hidden where nobody can write, and before both sides have signed."""

    def __init__(self, desk: Desk, order_id: str) -> None:
        super().__init__()
        self._desk, self._id = desk, order_id
        self._order, self._talk = Order(), Talk()
        self._all = False
        self._came: set[tuple[str, int]] = set()
        """What was new when this page showed it; the marks stay while the page does."""
        self._new = Badge()
        self._new.hide()
        head = row(Text("Messages", "heading"), self._new, 1)
        head.setAlignment(self._new, Qt.AlignmentFlag.AlignVCenter)
        self.body.addLayout(head)
        self.banner = Banner()
        self.body.addWidget(self.banner)
        self._lines = column(spacing=2 * theme.GRID)
        self.body.addLayout(self._lines)
        self.field = QPlainTextEdit()
        self.field.setAccessibleName("Your message")
        self.field.setTabChangesFocus(True)
        self.field.setFixedHeight(72)
        self.field.textChanged.connect(self._typed)
        self._readers = Text("", "small")
        self.send = button("&Send", self._send, icon="send")
        self._write = QWidget()
        made = QVBoxLayout(self._write)
        made.setContentsMargins(0, 0, 0, 0)
        made.setSpacing(theme.GRID)
        made.addWidget(self.field)
        foot = row(self._readers, self.send)
        foot.setStretch(0, 1)
        made.addLayout(foot)
        self.body.addWidget(self._write)
        self._typed()
        self.hide()

    def show_order(self, order: Order) -> None:
        """Ask for the messages of an order that can have some."""
        self._order = order
        can_talk = order.kind in ("sale", "custom") and order.role in ("buyer", "seller", "arbiter")
        if not can_talk or order.state in _UNSIGNED:
            self.hide()
            return
        self._desk.api.get(
            f"/v1/orders/{self._id}/talk", Talk, self.show_talk, owner=self, failed=self.banner.fail
        )

    def show_talk(self, talk: Talk) -> None:
        """Show these messages; what is in sight counts as read."""
        changed = talk.items != self._talk.items or not self._lines.count()
        fresh = {(one.by, one.seq) for one in talk.items if one.unread}
        self._came |= fresh
        self._talk = talk
        if changed:
            self._show_lines()
        self._new.setVisible(bool(self._came))
        self._new.mark(f"{len(self._came)} new", "info", "accent")
        self._write.setVisible(talk.may_write)
        others = [one for one in talk.readers if one != self._own_side()]
        self._readers.say(f"Read by the {' and the '.join(others)}." if others else "")
        self.field.setPlaceholderText(f"Write to the {' and the '.join(others)}")
        self.setVisible(talk.may_write or bool(talk.items))
        if fresh and self.isVisible():
            self._desk.api.post(
                f"/v1/orders/{self._id}/read", {}, Nothing, self._read, owner=self, failed=self.banner.fail
            )

    def _own_side(self) -> str:
        return self._order.seller_word if self._order.role == "seller" else self._order.role

    def _read(self, _done: Nothing) -> None:
        """The node knows; the marks here stay."""

    def _show_lines(self) -> None:
        clear(self._lines)
        items = self._talk.items if self._all else self._talk.items[-NEWEST:]
        hidden = len(self._talk.items) - len(items)
        if hidden:
            more = button(f"Show {words.plural(hidden, 'earlier message')}", self._show_all, kind="quiet")
            self._lines.addLayout(row(more, 1))
        for one in items:
            self._lines.addLayout(_line(one, new=(one.by, one.seq) in self._came))
        if not self._talk.items:
            self._lines.addWidget(Text("Nothing was written yet.", "muted"))

    def _show_all(self) -> None:
        self._all = True
        self._show_lines()

    def _typed(self) -> None:
        length = len(self.field.toPlainText().strip())
        self.send.setEnabled(0 < length <= MOST_CHARS)
        if length > MOST_CHARS:
            self.banner.say("care", f"A message has at most {MOST_CHARS:,} characters.", "Send it in parts.")

    def _send(self) -> None:
        self.send.setEnabled(False)
        self.banner.hide()
        self._desk.api.post(
            f"/v1/orders/{self._id}/say",
            {"text": self.field.toPlainText()},
            Nothing,
            self._sent,
            owner=self,
            failed=self._failed,
        )

    def _sent(self, _done: Nothing) -> None:
        self.field.clear()
        self._came.clear()
        self.show_order(self._order)

    def _failed(self, failure: Failure) -> None:
        self._typed()
        self.banner.fail(failure)


def _line(one: Message, *, new: bool) -> QVBoxLayout:
    """Who, when, and the words; by a side's own words only, never as markup."""
    who = "You" if one.mine else f"The {one.by}"
    head = row(
        Picture("person", "accent" if one.mine else "muted", 16),
        Text(who, "strong", wrap=False),
        Text(words.moment(one.at), "small", wrap=False),
    )
    if one.waits:
        head.addWidget(Picture("clock", "care", 14))
        head.addWidget(Text("waits until their node is online", "small", wrap=False))
    elif new:
        head.addWidget(Badge("new", "info", "accent"))
    head.addStretch(1)
    outside = Caution()
    outside.say(ways=() if one.mine else one.ways_out)
    return column(head, Text(words.plain(one.text, MOST_CHARS), select=True), outside, spacing=2)
