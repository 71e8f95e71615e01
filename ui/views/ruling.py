"""The arbiter's desk: disputes that wait for a ruling, and how the money is split."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSlider, QVBoxLayout, QWidget

from openstall.market.money import ALL_BPS
from openstall.market.orders.words import seller_word
from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.trade import Order
from openstall.ui.views.prices import Bill
from openstall.ui.widgets.figures import When
from openstall.ui.widgets.inputs import NumberField
from openstall.ui.widgets.layout import Panel, button, clear, column, focus, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.text import Text


def split(amount_micro: int, fee_bps: int, buyer_bps: int) -> tuple[int, int, int]:
    """Shares of buyer, seller and arbiter, as the escrow reckons them: parts are rounded down."""
    fee = amount_micro * fee_bps // ALL_BPS
    buyer = (amount_micro - fee) * buyer_bps // ALL_BPS
    return buyer, amount_micro - fee - buyer, fee


class RulingForm(QWidget):
    """A slider and a number for the buyer's share, what each side would have, and one question more."""

    ruled = Signal(int)
    """The buyer's share in hundredths of a percent."""

    def __init__(self, desk: Desk, order: Order) -> None:
        super().__init__()
        self._desk, self._order = desk, order
        self._fee_bps = int(order.terms.get("arbiter_fee_bps", 0) or 0)
        self._seller = seller_word(order.kind)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setPageStep(10)
        self.slider.setAccessibleName("Share of the buyer in percent, as a slider")
        self.share = NumberField(50, 0, 100, suffix="% to the buyer")
        self.share.setAccessibleName("Share of the buyer in percent")
        self._shares = column()
        self._ask = column()
        self.slider.valueChanged.connect(self.share.setValue)
        self.share.changed.connect(self._moved)
        self.slider.setValue(50)
        self._rule = button("&Rule…", self._consent, icon="scales")
        made = QVBoxLayout(self)
        made.setContentsMargins(0, 0, 0, 0)
        made.setSpacing(theme.GRID)
        made.addWidget(Text("Your ruling is final. It splits the escrow at once.", "strong"))
        ends = row(Text(f"all to the {self._seller}", "small", wrap=False), self.slider)
        ends.addWidget(Text("all to the buyer", "small", wrap=False))
        ends.setStretch(1, 1)
        made.addLayout(ends)
        made.addLayout(self._shares)
        made.addLayout(row(self.share, 1, self._rule))
        made.addLayout(self._ask)
        self._moved(50)

    def _moved(self, percent: int) -> None:
        self.slider.setValue(percent)
        buyer, seller, fee = split(self._order.amount_micro, self._fee_bps, percent * 100)
        clear(self._shares)
        clear(self._ask)
        bill = Bill(self._desk)
        bill.line("To the buyer", buyer)
        bill.line(f"To the {self._seller}", seller)
        bill.line(f"Your fee ({words.figure(f'{self._fee_bps / 100:.2f}')} %)", fee)
        self._shares.addWidget(bill)

    def _consent(self) -> None:
        """Ask once more, with both shares in words, before the escrow is split for good."""
        percent = self.share.value()
        clear(self._ask)
        shares = f"{percent} % to the buyer, {100 - percent} % to the {self._seller}"
        said = f"{shares}, after your fee. This is final."
        self._ask.addWidget(Text(said, "strong"))
        go = button("&Rule so", lambda: self.ruled.emit(percent * 100), icon="scales")
        leave = button("&Not now", lambda: clear(self._ask), kind="primary")
        self._ask.addLayout(row(1, go, leave))
        focus(leave)


class DisputesPanel(Panel):
    """Every dispute that waits for this wallet's ruling, the most urgent first; hidden without one."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Waiting for your ruling")
        self._desk = desk
        self._lines = column()
        self.body.addLayout(self._lines)
        self.hide()

    def show_orders(self, orders: list[Order]) -> None:
        """Show those of these orders that this wallet decides."""
        waiting = [one for one in orders if one.role == "arbiter" and one.state == "disputed"]
        clear(self._lines)
        for order in sorted(waiting, key=lambda one: one.deadline_at):
            title = words.one_line(order.title, 80) or words.short_id(order.order_id)
            line = row(
                Picture("scales", "care"),
                Text(f"{title} · {words.amount(order.amount_micro, symbol=self._desk.symbol)}", "strong"),
                Picture("clock", "care", 16),
                When(order.deadline_at, "strong"),
                Text(order.deadline_words, "small"),
            )
            line.setStretch(1, 1)
            line.setStretch(4, 1)
            decide = button("Decide…", partial(self._desk.go.emit, f"orders:{order.order_id}"))
            decide.setAccessibleName(f"Decide about {title}")
            line.addWidget(decide)
            self._lines.addLayout(line)
        self.setVisible(bool(waiting))
