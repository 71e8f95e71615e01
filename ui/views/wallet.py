"""The wallet: what you have, what is held for you, what moved, and sending and receiving."""

from __future__ import annotations

import re
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QWidget

from openstall.ui import documents, theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Movement, WalletBook
from openstall.ui.views.page import Page
from openstall.ui.views.prices import Bill, chain_fee_words
from openstall.ui.widgets.figures import Amount, CopyId
from openstall.ui.widgets.inputs import AmountField, mark_wrong
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, focus, row
from openstall.ui.widgets.marks import Provenance
from openstall.ui.widgets.notices import Banner, EmptyState, ProgressRow
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

COLUMNS: list[Column[Movement]] = [
    Column(
        title="When",
        text=lambda m: words.day(m.at),
        sort=lambda m: m.at,
        width=152,
        tip=lambda m: words.moment(m.at),
    ),
    Column(title="What", text=lambda m: m.words or m.kind, stretch=True),
    Column(
        title="Other side",
        text=lambda m: words.short_id(m.other) if m.other else "—",
        width=124,
        tip=lambda m: m.other,
    ),
    Column(
        title="Amount",
        text=lambda m: words.amount(m.amount_micro, sign=True),
        sort=lambda m: m.amount_micro,
        right=True,
        width=104,
        tip=lambda m: words.raw_amount(m.amount_micro),
    ),
]


class WalletPage(Page):
    """Balance, held money, history, send, receive."""

    listens = frozenset({"wallet", "order", "status"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "Wallet", "Your keys never leave this computer.")
        self._operation = ""
        self._wallet = WalletBook()
        self.play = Banner(closable=False)
        self.backup = Banner(closable=False)
        self.body.addWidget(self.play)
        self.body.addWidget(self.backup)
        side = QWidget()
        side.setFixedWidth(392)
        side.setLayout(column(self._receive_panel(), self._send_panel(), 1, spacing=2 * theme.GRID))
        left = column(self._balance_panel(), self._history_panel(), spacing=2 * theme.GRID)
        left.setStretch(1, 1)
        self.body.addLayout(row(left, side, spacing=2 * theme.GRID))
        self.body.setStretch(2, 1)
        desk.status_changed.connect(self._show_banners)

    def _balance_panel(self) -> Panel:
        panel = Panel()
        self._balance = Amount(0, "figure", symbol=self.desk.symbol)
        self._balance.setAlignment(Qt.AlignmentFlag.AlignLeft)
        self._held = Amount(0, "heading", symbol=self.desk.symbol)
        self._held.setAlignment(Qt.AlignmentFlag.AlignLeft)
        self._faucet = button(
            "&Get 1,000 credits",
            self._claim,
            icon="coin",
            description="Once per wallet, from the group's faucet.",
        )
        self._faucet.hide()
        have = column(Text("Balance", "muted", wrap=False), self._balance, spacing=0)
        held = column(Text("Held for your orders", "muted", wrap=False), self._held, spacing=theme.GRID)
        self._figures = QWidget()
        self._figures.setLayout(row(have, held, 1, spacing=5 * theme.GRID))
        self._mark = Provenance("verified", "Read from the chain by your own node.")
        self._source = Text("", "small", wrap=False)
        panel.body.addWidget(self._figures)
        panel.body.addLayout(row(self._mark, self._source, 1, self._faucet))
        self._show_source(known=False)
        return panel

    def _show_source(self, *, known: bool) -> None:
        """A figure that nobody has read is not shown; an old one says how old it is."""
        old = self._wallet.as_of
        self._figures.setVisible(known)
        self._mark.setVisible(known and not old)
        self._source.say(
            ("read from the chain" if not old else f"as of {words.moment(old)}: the chain is away now")
            if known
            else "Your chain has not been read yet."
        )

    def _history_panel(self) -> Panel:
        panel = Panel("History", margin=2 * theme.GRID)
        empty = EmptyState(
            "wallet",
            "Nothing has moved yet",
            "Payments, refunds and earnings appear here, each with its transaction.",
        )
        self.table = RowTable("History", COLUMNS, lambda m: f"{m.tx}{m.kind}{m.amount_micro}{m.at}", empty)
        self.table.sort_by(0, Qt.SortOrder.DescendingOrder)
        self.table.setMinimumHeight(280)
        self.table.opened.connect(lambda m: self.desk.go.emit(f"orders:{m.order_id}") if m.order_id else None)
        panel.body.addWidget(self.table)
        return panel

    def _receive_panel(self) -> Panel:
        panel = Panel("Receive")
        self._address = CopyId("", what="wallet address", whole=True)
        panel.body.addWidget(Text("Give this address to whoever pays you.", "muted"))
        panel.body.addWidget(self._address)
        return panel

    def _send_panel(self) -> Panel:
        panel = Panel("Send")
        self._to = QLineEdit()
        self._to.setPlaceholderText("0x…")
        self._to.setMaxLength(64)
        self._to.textChanged.connect(lambda _text: self._look())
        self._amount = AmountField()
        self._amount.edited.connect(self._look)
        facts = Facts()
        facts.add("To", self._to)
        facts.add("Amount", self._amount)
        panel.body.addLayout(facts)
        self._why = Text("", "small")
        panel.body.addWidget(self._why)
        self._send = button("&Review…", self._review, icon="send")
        panel.body.addLayout(row(1, self._send))
        self._confirm = column()
        panel.body.addLayout(self._confirm)
        self._progress = ProgressRow()
        self._progress.cancelled.connect(lambda: self.desk.operations.cancel(self._operation))
        panel.body.addWidget(self._progress)
        self._look()
        return panel

    def load(self) -> None:
        self._show_banners()
        self.desk.api.get("/v1/wallet", WalletBook, self._show, owner=self, failed=self.fail)

    def _show(self, wallet: WalletBook) -> None:
        self._wallet = wallet
        self._balance.show_micro(wallet.balance_micro)
        self._held.show_micro(wallet.held_micro)
        self._show_source(known=True)
        self._address.show_id(wallet.address)
        self._faucet.setVisible(not wallet.faucet_claimed and self.desk.play_money)
        self.table.set_rows(wallet.history)
        self._look()
        self.mark_loaded()

    def _show_banners(self) -> None:
        status = self.desk.status
        if status.group.banner:
            self.play.say("care", status.group.banner)
        else:
            self.play.hide()
        if status.identity.state == "open" and not status.identity.backup_tested:
            self.backup.say(
                "care",
                "Your 24 words have not been tested.",
                "If this computer is lost, only they bring your money back.",
                action=("&Test them", lambda: self.desk.go.emit("backup")),
            )
        else:
            self.backup.hide()

    def _look(self) -> None:
        address, micro = self._to.text().strip(), self._amount.micro
        bad = bool(address) and _ADDRESS.fullmatch(address) is None
        mark_wrong(
            self._to, wrong=bad, why="A wallet address is 0x and 40 characters of 0-9 and a-f." if bad else ""
        )
        why = ""
        if bad:
            why = "That is not a wallet address."
        elif self._amount.text().strip() and micro is None:
            why = self._amount.why
        elif micro is not None and micro > self._wallet.balance_micro:
            why = "Your balance is smaller than that."
        self._why.say(why)
        self._why.setVisible(bool(why))
        self._send.setEnabled(not why and bool(address) and bool(micro))

    def _review(self) -> None:
        to, micro = self._to.text().strip(), self._amount.micro or 0
        clear(self._confirm)
        facts = Facts()
        facts.add("To", Text(to, select=True))
        bill = Bill(self.desk)
        bill.line("You send", micro, total=True)
        bill.note(
            f"{chain_fee_words(self.desk)} A payment cannot be taken back; only the receiver can return it."
        )
        send = button("Send it &now", lambda: self._pay(to, micro), icon="send")
        leave = button("&Do not send", lambda: clear(self._confirm), kind="primary")
        self._confirm.addLayout(facts)
        self._confirm.addWidget(bill)
        self._confirm.addLayout(row(1, send, leave))
        focus(leave)

    def _pay(self, to: str, micro: int) -> None:
        clear(self._confirm)
        self._start("Sending", "/v1/wallet/send", {"to": to, "amount_micro": micro})

    def _claim(self) -> None:
        self._faucet.setEnabled(False)
        self._start("Asking the faucet", "/v1/wallet/faucet", {})

    def _start(self, title: str, path: str, body: dict[str, Any]) -> None:
        self.banner.hide()
        self._progress.begin(title)
        self.desk.operations.start(
            path, body, owner=self, done=self._sent, failed=self._failed, progress=self._moved
        )

    def _moved(self, operation: documents.Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _sent(self, _result: Any) -> None:
        self._progress.hide()
        self._faucet.setEnabled(True)
        self._to.clear()
        self._amount.clear()
        self.load()

    def _failed(self, failure: Failure) -> None:
        self._progress.hide()
        self._faucet.setEnabled(True)
        self.banner.fail(failure)
