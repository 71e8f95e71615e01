"""Every order of this identity, bought and sold, with its state and the clock that runs."""

from __future__ import annotations

import time

from PySide6.QtCore import QTimer

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.people import about_name, called
from openstall.ui.trade import Order, Orders
from openstall.ui.views.batches import BatchesPanel
from openstall.ui.views.page import Page
from openstall.ui.views.recover import LostOrderPanel
from openstall.ui.views.ruling import DisputesPanel
from openstall.ui.widgets.inputs import SearchBar
from openstall.ui.widgets.layout import Panel, button
from openstall.ui.widgets.marks import state_mark, state_word
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable

CLOCK_MS = 10_000
FACETS = (
    ("", "All"),
    ("buyer", "Bought"),
    ("seller", "Sold"),
    ("arbiter", "To decide"),
    ("evaluator", "To measure"),
)


def side_words(order: Order) -> str:
    """Who is on the other side, and in which role the reader is."""
    other = called(order.other_name, order.other, order.other_marks, 40)
    return {"buyer": f"from {other}", "seller": f"to {other}"}.get(order.role, f"bought by {other}")


def price_text(order: Order) -> str:
    """The price of a sale; of a job the cap, which it cannot exceed."""
    return f"{'at most ' if order.kind == 'compute' else ''}{words.amount(order.amount_micro)}"


def deadline_text(order: Order) -> str:
    """The clock of an order that is not over."""
    return words.ago(order.deadline_at, int(time.time())) if order.deadline_at and not order.final else "—"


def second_line(order: Order) -> str:
    """How it stands, after what was written and not read yet."""
    if not order.unread:
        return order.state_words
    return f"{words.plural(order.unread, 'new message')} · {order.state_words}"


COLUMNS: list[Column[Order]] = [
    Column(
        title="Order",
        text=lambda o: o.title or words.short_id(o.order_id),
        second=second_line,
        stretch=True,
    ),
    Column(
        title="Kind",
        text=lambda o: {"sale": "model", "compute": "job", "custom": "made to order"}.get(o.kind, o.kind),
        width=112,
    ),
    Column(
        title="With",
        text=side_words,
        width=150,
        tip=lambda o: f"{about_name(o.other_marks)} {o.other}".strip(),
    ),
    Column(title="State", text=lambda o: state_word(o.mark), icon=lambda o: state_mark(o.mark), width=132),
    Column(
        title="Clock",
        text=deadline_text,
        sort=lambda o: o.deadline_at if not o.final else 2**60,
        width=132,
        tip=lambda o: f"{words.moment(o.deadline_at)}: {o.deadline_words}" if o.deadline_at else "",
    ),
    Column(
        title="Price",
        text=price_text,
        sort=lambda o: o.amount_micro,
        right=True,
        width=128,
        tip=lambda o: words.raw_amount(o.amount_micro),
    ),
]


class OrdersPage(Page):
    """The list; Enter opens the course of an order."""

    listens = frozenset({"order", "batch"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "Orders",
            "Each order holds its money in escrow, and each has a clock and a way back.",
            scroll=False,
        )
        self.search = SearchBar("Search orders", FACETS)
        self.search.searched.connect(self._filter)
        self._orders: list[Order] = []
        self._empty = EmptyState(
            "orders",
            "No orders yet",
            "Buy a model or rent a machine in the market; both appear here.",
            ("Open the market", lambda: desk.go.emit("market")),
        )
        self.table = RowTable("Orders", COLUMNS, lambda o: o.order_id, self._empty, row_height=60)
        self.table.opened.connect(lambda order: desk.go.emit(f"orders:{order.order_id}"))
        panel = Panel(margin=theme.GRID // 2)
        panel.body.addWidget(self.table)
        self._batches, self._disputes = BatchesPanel(desk), DisputesPanel(desk)
        self.body.addWidget(self._disputes)
        self.body.addWidget(self._batches)
        self.body.addWidget(self.search)
        self._lost = LostOrderPanel(desk)
        self._lost.recovered.connect(lambda order_id: desk.go.emit(f"orders:{order_id}"))
        self.body.addWidget(panel, 1)
        self.body.addWidget(self._lost)
        self.tools.addWidget(button("Recover a los&t order…", self._lost.ask, icon="refresh"))
        self._clock = QTimer(self)
        self._clock.setInterval(CLOCK_MS)
        self._clock.timeout.connect(self._filter)
        self._clock.start()

    def load(self) -> None:
        self._batches.load()
        self.desk.api.get("/v1/orders", Orders, self._show, owner=self, failed=self.fail)

    def _show(self, orders: Orders) -> None:
        self._orders = orders.items
        self._disputes.show_orders(orders.items)
        self._filter()
        self.mark_loaded()

    def _filter(self) -> None:
        text, role = self.search.text.lower(), self.search.facet
        rows = [
            order
            for order in self._orders
            if (not role or order.role == role)
            and (
                not text
                or text in f"{order.title} {order.other_name} {order.mark} {order.state_words}".lower()
            )
        ]
        narrowed = bool(self._orders) and not rows
        self._empty.title.say("No order matches" if narrowed else "No orders yet")
        self.table.set_rows(rows)
