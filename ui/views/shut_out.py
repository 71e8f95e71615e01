"""Shutting a peer, or a network of addresses, out of this node: what it means, for how long, and why."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtGui import QHideEvent
from PySide6.QtWidgets import QLineEdit, QWidget

from openstall.ui import words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.network import Ban
from openstall.ui.trade import Orders
from openstall.ui.widgets.inputs import Choice
from openstall.ui.widgets.layout import Facts, Panel, button, focus, row
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text

HOUR_S, DAY_S = 3600, 86_400
TIMES = (("an hour", HOUR_S), ("a day", DAY_S), ("a week", 7 * DAY_S), ("good", 0))
MOST_REASON = 200
_MEANS = (
    "Your node hangs up, and neither calls nor answers any more. What is published there still reaches you "
    "over other peers. You can undo it at any time: Network, Refused."
)
_ROLES = {
    "host": "This peer hosts your group's chain: while it is shut out you can neither pay nor be paid.",
    "arbiter": "This peer is an arbiter: your node cannot speak with it in a dispute while it is shut out.",
}


class ShutOutForm(Panel):
    """Asks first; hidden until it is asked for somebody."""

    done = Signal()
    """Somebody was shut out, or let in again."""
    closed = Signal()

    def __init__(self, desk: Desk, banner: Banner, *places: QWidget) -> None:
        """While it is open it stands in the place of these."""
        super().__init__()
        self._places = places
        self._desk, self._banner = desk, banner
        self.what, self._called = "", ""
        self._title, self._warns, self._orders = Text("", "strong"), Text("", "strong"), Text("")
        self._warns.tone("care")
        self.time = Choice(TIMES, chosen=1)
        self.reason = QLineEdit()
        self.reason.setMaxLength(MOST_REASON)
        self.reason.setPlaceholderText("only you see it")
        self.yes = button("Yes: shut it out", self._shut, icon="cancel")
        self._no = button("&Leave it", self._close, kind="primary")
        facts = Facts()
        facts.add("For", self.time)
        facts.add("Why", self.reason)
        for text in (self._title, Text(_MEANS), self._orders, self._warns):
            self.body.addWidget(text)
        self.body.addLayout(facts)
        self.body.addLayout(row(self.yes, self._no, 1))
        self.hide()

    def ask(self, what: str, called: str, *, roles: Sequence[str] = ()) -> None:
        """Ask about a peer id or a network; `called` is how it is shown."""
        self.what, self._called = what, called
        self._title.say(f"Shut out {called}?")
        self._warns.say(" ".join(_ROLES[role] for role in roles if role in _ROLES))
        self._warns.setVisible(bool(self._warns.text()))
        self._orders.hide()
        self.yes.setEnabled(True)
        for widget in self._places:
            widget.hide()
        self.show()
        focus(self._no)
        if "/" not in what and self._desk.status.trading:
            self._desk.api.get(
                "/v1/orders?open_only=true", Orders, self._show_orders, owner=self, failed=self._unknown
            )

    def forget(self) -> None:
        """Close it, if it is open."""
        if not self.isHidden():
            self._close()

    def _show_orders(self, orders: Orders) -> None:
        count = sum(1 for order in orders.items if order.other == self.what)
        if count:
            open_ = words.plural(count, "order is open", "orders are open")
            self._orders.say(f"{open_} with this peer: what is left of it can go over the chain alone.")
            self._orders.show()

    def _unknown(self, failure: Failure) -> None:
        self._orders.say(f"Whether an order is open with this peer is not known: {failure.message}")
        self._orders.show()

    def _shut(self) -> None:
        self.yes.setEnabled(False)
        self._desk.api.post(
            "/v1/peers/ban",
            {"what": self.what, "reason": self.reason.text().strip(), "for_s": self.time.currentData()},
            Ban,
            self._is_out,
            owner=self,
            failed=self._refused,
        )

    def _refused(self, failure: Failure) -> None:
        self.yes.setEnabled(True)
        self._banner.fail(failure)

    def _is_out(self, ban: Ban) -> None:
        self._banner.say(
            "good",
            f"{self._called} is shut out for {self.time.currentText()}.",
            "The list is under Network, Refused.",
            action=("Let it &in again", lambda: self.let_in(ban.what)),
        )
        self.reason.clear()
        self._close()
        self.done.emit()

    def let_in(self, what: str) -> None:
        """Take a ban back."""
        self._desk.api.post(
            "/v1/peers/unban", {"what": what}, Nothing, self._is_in, owner=self, failed=self._banner.fail
        )

    def _is_in(self, _: Nothing) -> None:
        self._banner.say("good", "It may connect again, and starts without points.")
        self.done.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        """Whoever turns to another page has not said yes."""
        super().hideEvent(event)
        if not event.spontaneous():
            self.forget()

    def _close(self) -> None:
        self.hide()
        for widget in self._places:
            widget.show()
        self.closed.emit()


def shown(what: str) -> str:
    """A network of addresses whole, a peer's id in short."""
    return words.one_line(what, 60) if "/" in what else words.short_id(what)


def time_left(ban: Ban, now: int) -> str:
    """How long it still runs, for a column."""
    if not ban.until:
        return "for good"
    left = ban.until - now
    return words.span(left - left % 60 if left >= HOUR_S else left) if left > 0 else "over"
