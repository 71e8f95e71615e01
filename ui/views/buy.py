"""The one page before a model is bought: what, to whom, how much, until when, and how it comes back."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, WalletBook
from openstall.ui.trade import Entry, OrderRef
from openstall.ui.views.market import seller_of
from openstall.ui.views.page import Page
from openstall.ui.views.prices import Bill, chain_fee_words, play_money_words
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.layout import Facts, Panel, button, clear, row
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text


class BuyPage(Page):
    """Asks for consent; the way back is the default, not the purchase."""

    listens = frozenset({"wallet"})

    def __init__(self, desk: Desk, cid: str) -> None:
        super().__init__(desk, "Confirm the purchase", "Nothing has been paid yet.", back="Back to the model")
        self._cid = cid
        self._entry: Entry | None = None
        self._paying = False
        self._panel = Panel()
        self._panel.setMaximumWidth(720)
        self._pay = button("", self._buy, icon="lock")
        self._pay.setEnabled(False)
        self._leave = button("&Do not buy", desk.back.emit, kind="primary")
        self._play = Banner(closable=False)
        self._play.setMaximumWidth(720)
        self._off = Banner(closable=False)
        self._off.setMaximumWidth(720)
        self._short = Banner(closable=False)
        self._short.setMaximumWidth(720)
        self.body.addWidget(self._off)
        self.body.addWidget(self._short)
        self.body.addWidget(self._play)
        self.body.addWidget(self._panel)
        buttons = QWidget()
        buttons.setMaximumWidth(720)
        buttons.setLayout(row(1, self._pay, self._leave))
        self.body.addWidget(buttons)
        self.body.addStretch(1)

    def load(self) -> None:
        self.desk.api.get(f"/v1/catalogue/{self._cid}", Entry, self._show, owner=self, failed=self.fail)

    def on_event(self, name: str, data: object) -> None:  # noqa: ARG002 - only the balance can have changed
        if self._entry is not None:
            self._ask_balance()

    def _ask_balance(self) -> None:
        self.desk.ask_wallet(self._weigh, owner=self, failed=self.fail)

    def _show(self, entry: Entry) -> None:
        self._entry = entry
        self.caution.about(entry)
        clear(self._panel.body)
        body = entry.body
        facts = Facts()
        facts.add(
            "What",
            f"One copy of “{words.one_line(body.title, 120)}”, licence {words.one_line(body.licence, 100)}",
        )
        facts.add("To whom", seller_of(entry))
        facts.add("Their wallet", CopyId(body.wallet, what="wallet address", whole=True))
        facts.add(
            "Where it waits",
            "In escrow on the chain. Neither you nor the seller can take it alone before its time.",
        )
        facts.add(
            "Until when",
            f"The seller has {words.duration(body.deliver_s)} to deliver. "
            f"After delivery the money waits {words.duration(body.review_s)} while you check the model.",
        )
        facts.add("How it comes back", self._way_back(entry))
        if body.arbiter:
            facts.add("Arbiter's wallet", CopyId(body.arbiter, what="arbiter's wallet", whole=True))
        if entry.arbitration is not None:
            facts.add("Arbiter's fee", words.one_line(entry.arbitration.fee_words))
            facts.add("A silent arbiter", words.one_line(entry.arbitration.silence_words))
        self._panel.body.addLayout(facts)
        self._panel.body.addSpacing(theme.GRID)
        bill = Bill(self.desk)
        bill.line("Price", body.price_micro)
        bill.line("You pay into escrow", body.price_micro, total=True)
        bill.note(chain_fee_words(self.desk))
        self._panel.body.addWidget(bill)
        self._left = Text("Your wallet is asked what it holds…", "small")
        self._panel.body.addWidget(self._left)
        self._pay.setText(f"&Pay {words.amount(body.price_micro, symbol=self.desk.symbol)} into escrow")
        self._pay.setAccessibleName(self._pay.text().replace("&", ""))
        if not entry.reachable:
            self._off.say(
                "accent",
                "The seller is off now.",
                "Your order is kept, and waits up to 7 days for their answer. You pay when they have signed.",
            )
        if play_money_words(self.desk):
            self._play.say("care", play_money_words(self.desk))
        self._leave.setFocus()
        self._ask_balance()

    def _weigh(self, wallet: WalletBook) -> None:
        """Whether the wallet holds enough, now and after each of its movements."""
        if self._entry is None:
            return
        left = wallet.balance_micro - self._entry.body.price_micro
        if left >= 0:
            self._short.hide()
            self._left.say(f"Then {words.amount(left, symbol=self.desk.symbol)} are left in your wallet.")
        else:
            self._short.say(
                "care",
                "Your wallet does not hold enough for this purchase.",
                f"It is short of {words.amount(-left, symbol=self.desk.symbol)}.",
                action=("Open the wallet", lambda: self.desk.go.emit("wallet")),
            )
        self._left.setVisible(left >= 0)
        self._pay.setEnabled(left >= 0 and not self._entry.mine and not self._paying)
        self.mark_loaded()

    def _way_back(self, entry: Entry) -> str:
        body = entry.body
        first = (
            "If the seller vanishes before delivery, the whole amount returns to you after that "
            "time, without anybody's consent."
        )
        if body.arbiter:
            return (
                f"{first} If the model is not what was promised, open a dispute while you check it: "
                "the arbiter decides."
            )
        return (
            f"{first} This sale names no arbiter: once delivered, the money goes to the seller when "
            "the time ends."
        )

    def _buy(self) -> None:
        self._paying = True
        self._pay.setEnabled(False)
        self.desk.api.post(
            "/v1/orders/buy",
            {"listing_cid": self._cid},
            OrderRef,
            lambda ref: self.desk.go.emit(f"orders:{ref.order_id}"),
            owner=self,
            failed=self._failed,
        )

    def _failed(self, failure: Failure) -> None:
        self._paying = False
        self._pay.setEnabled(True)
        self.fail(failure)
