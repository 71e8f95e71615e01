"""The one page before a bid: on what, to whom, the deposit, and how it comes back."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, WalletBook
from openstall.ui.requests import Auction, RequestEntry, demand_words
from openstall.ui.views.page import Page
from openstall.ui.views.prices import Bill, chain_fee_words, play_money_words
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.inputs import AmountField
from openstall.ui.widgets.layout import Facts, Panel, button, clear, row
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text

_WIDTH = 720


class BidPage(Page):
    """Asks for the amount and for consent; the way back is the default, not the bid."""

    listens = frozenset({"wallet"})

    def __init__(self, desk: Desk, cid: str) -> None:
        super().__init__(desk, "Confirm the bid", "Nothing has been paid yet.", back="Back to the request")
        self._cid = cid
        self._entry: RequestEntry | None = None
        self._left_micro: int | None = None
        self._sending = False
        self._panel = Panel()
        self._play, self._short = Banner(closable=False), Banner(closable=False)
        self.amount = AmountField("", name="Your bid in credits")
        self.amount.edited.connect(self._look)
        self._why = Text("", "small")
        self._ask = Panel("Your bid")
        self._ask.body.addLayout(row(Text("Amount in credits", wrap=False), self.amount, 1))
        self._ask.body.addWidget(
            Text(
                "The lowest bid wins and is paid the second lowest. Ask for what the work is worth to you: "
                "asking for more can only lose you the order.",
                "small",
            )
        )
        self._ask.body.addWidget(self._why)
        self._pay = button("", self._bid, icon="lock")
        self._leave = button("&Do not bid", desk.back.emit, kind="primary")
        buttons = QWidget()
        buttons.setLayout(row(1, self._pay, self._leave))
        for widget in (self._short, self._play, self._panel, self._ask, buttons):
            widget.setMaximumWidth(_WIDTH)
            self.body.addWidget(widget)
        self.body.addStretch(1)

    def load(self) -> None:
        self.desk.api.get(
            f"/v1/catalogue/{self._cid}", RequestEntry, self._show, owner=self, failed=self.fail
        )

    def on_event(self, name: str, data: object) -> None:  # noqa: ARG002 - only the balance can have changed
        if self._entry is not None:
            self.desk.ask_wallet(self._weigh, owner=self, failed=self.fail)

    def _show(self, entry: RequestEntry) -> None:
        self._entry = entry
        body = entry.body
        clear(self._panel.body)
        facts = Facts()
        demand = demand_words(body.metric, body.threshold)
        facts.add("What", f"To build “{words.one_line(body.title, 120)}”: {demand}")
        facts.add("To whom", words.one_line(entry.author_name or words.short_id(entry.author), 60))
        facts.add("Their wallet", CopyId(body.wallet, what="wallet address", whole=True))
        facts.add(
            "Where it waits",
            "Your deposit waits in the auction's contract. Your amount stays sealed: it is known on this "
            "computer only.",
        )
        facts.add(
            "Until when",
            f"Bids until {words.moment(body.commit_by)}; your node opens yours by itself until "
            f"{words.moment(body.reveal_by)}. Leave it running. If you win, deliver until "
            f"{words.moment(body.deliver_by)}.",
        )
        facts.add(
            "How it comes back",
            "The whole deposit is yours again as soon as your node has opened the bid, won or lost. "
            "A bid that is not opened in time loses its deposit to the winner.",
        )
        self._panel.body.addLayout(facts)
        self._panel.body.addSpacing(theme.GRID)
        bill = Bill(self.desk)
        bill.line("Your deposit, set aside now", body.deposit_micro, total=True)
        bill.note(chain_fee_words(self.desk))
        self._panel.body.addWidget(bill)
        self._pay.setText(
            f"&Seal it, and put down {words.amount(body.deposit_micro, symbol=self.desk.symbol)}"
        )
        self._pay.setAccessibleName(self._pay.text().replace("&", ""))
        if play_money_words(self.desk):
            self._play.say("care", play_money_words(self.desk))
        self.amount.setFocus()
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
        self._look()
        self.mark_loaded()

    def _look(self) -> None:
        entry, amount = self._entry, self.amount.micro
        budget = entry.body.budget_micro if entry is not None else 0
        if entry is None or self._left_micro is None:
            why = "Your wallet is asked what it holds…"
        elif entry.mine:
            why = "This is your own request."
        elif not amount:
            why = self.amount.why or "Say what you ask for, above zero."
        elif amount > budget:
            why = f"The budget is {words.amount(budget, symbol=self.desk.symbol)}: more is not taken."
        elif self._left_micro < 0:
            why = "Your wallet does not hold enough for the deposit."
        else:
            why = ""
        self._why.say(why)
        self._why.setVisible(bool(why))
        self._pay.setEnabled(not why and not self._sending)

    def _bid(self) -> None:
        self._sending = True
        self._look()
        self.desk.api.post(
            f"/v1/requests/{self._cid}/bid",
            {"amount_micro": self.amount.micro or 0},
            Auction,
            lambda _auction: self.desk.go.emit(f"request:{self._cid}"),
            owner=self,
            failed=self._failed,
        )

    def _failed(self, failure: Failure) -> None:
        self._sending = False
        self._look()
        self.banner.fail(failure)
