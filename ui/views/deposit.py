"""The one page before a deposit is put down: on what, to whom, how much, and how it comes back."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, WalletBook
from openstall.ui.people import author_of
from openstall.ui.requests import RequestBody, RequestEntry, demand_words
from openstall.ui.views.page import Page
from openstall.ui.views.prices import Bill, chain_fee_words, play_money_words
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.layout import Facts, Panel, button, clear, row
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text

_WIDTH = 720


class DepositPage(Page):
    """Asks for consent; the way back is the default, not the deposit. Heirs say what is given with it."""

    listens = frozenset({"wallet"})
    verb = ""
    """What the costly button says before the amount, such as “Seal it”."""

    def __init__(self, desk: Desk, cid: str, title: str, *, gives: Panel, leave: str) -> None:
        super().__init__(desk, title, "Nothing has been paid yet.", back="Back to the request")
        self._cid = cid
        self._entry: RequestEntry | None = None
        self._left_micro: int | None = None
        self._sending = False
        self._panel = Panel()
        self._play, self._short = Banner(closable=False), Banner(closable=False)
        self._why = Text("", "small")
        gives.body.addWidget(self._why)
        self._pay = button("", self._begin, icon="lock")
        self._leave = button(leave, desk.back.emit, kind="primary")
        buttons = QWidget()
        buttons.setLayout(row(1, self._pay, self._leave))
        for widget in (self._short, self._play, self._panel, gives, buttons):
            widget.setMaximumWidth(_WIDTH)
            self.body.addWidget(widget)
        self.body.addStretch(1)

    def rest(self, body: RequestBody) -> dict[str, str]:
        """The lines on where the deposit waits, until when, and how it comes back."""
        raise NotImplementedError

    def missing(self, body: RequestBody) -> str:
        """What keeps the reader from sending it; empty if nothing does."""
        raise NotImplementedError

    def send(self) -> None:
        """Do it."""
        raise NotImplementedError

    def load(self) -> None:
        path = f"/v1/requests/{self._cid}/record"
        self.desk.api.get(path, RequestEntry, self._show, owner=self, failed=self.fail)

    def on_event(self, name: str, data: object) -> None:  # noqa: ARG002 - only the balance can have changed
        if self._entry is not None:
            self.desk.ask_wallet(self._weigh, owner=self, failed=self.fail)

    def look(self) -> None:
        """Say what is missing, or let the reader send it."""
        entry = self._entry
        if entry is None or self._left_micro is None:
            why = "Your wallet is asked what it holds…"
        elif entry.mine:
            why = "This is your own request."
        elif self._left_micro < 0:
            why = "Your wallet does not hold enough for the deposit."
        else:
            why = self.missing(entry.body)
        self._why.say(why)
        self._why.setVisible(bool(why))
        self._pay.setEnabled(not why and not self._sending)

    def done(self) -> None:
        """It is put down: show the request."""
        self.desk.go.emit(f"request:{self._cid}")

    def refused(self, failure: Failure) -> None:
        """It was not: say why."""
        self._sending = False
        self.look()
        self.banner.fail(failure)

    def _begin(self) -> None:
        self._sending = True
        self.look()
        self.banner.hide()
        self.send()

    def _show(self, entry: RequestEntry) -> None:
        self._entry = entry
        self.caution.about(entry)
        body = entry.body
        clear(self._panel.body)
        facts = Facts()
        demand = demand_words(body.metric, body.threshold)
        facts.add("What", f"To build “{words.one_line(body.title, 120)}”: {demand}")
        facts.add("To whom", author_of(entry))
        facts.add("Their wallet", CopyId(body.wallet, what="wallet address", whole=True))
        for name, said in self.rest(body).items():
            facts.add(name, said)
        self._panel.body.addLayout(facts)
        self._panel.body.addSpacing(theme.GRID)
        bill = Bill(self.desk)
        bill.line("Your deposit, set aside now", body.deposit_micro, total=True)
        bill.note(chain_fee_words(self.desk))
        self._panel.body.addWidget(bill)
        amount = words.amount(body.deposit_micro, symbol=self.desk.symbol)
        self._pay.setText(f"&{self.verb}, and put down {amount}")
        self._pay.setAccessibleName(self._pay.text().replace("&", ""))
        if play_money_words(self.desk):
            self._play.say("care", play_money_words(self.desk))
        self.desk.ask_wallet(self._weigh, owner=self, failed=self.fail)

    def _weigh(self, wallet: WalletBook) -> None:
        if self._entry is None:
            return
        self._left_micro = wallet.balance_micro - self._entry.body.deposit_micro
        if self._left_micro < 0:
            self._short.say(
                "care",
                "Your wallet does not hold enough for the deposit.",
                f"It is short of {words.amount(-self._left_micro, symbol=self.desk.symbol)}.",
                action=("Open the wallet", lambda: self.desk.go.emit("wallet")),
            )
        else:
            self._short.hide()
        self.look()
        self.mark_loaded()
