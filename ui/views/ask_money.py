"""Ask for a model: what it is called, what is paid, and how long each stage lasts."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit

from openstall.ui.views.publish import LICENCES
from openstall.ui.widgets.inputs import AmountField, Choice, NumberField
from openstall.ui.widgets.layout import Facts, Panel
from openstall.ui.widgets.text import Text

DAY_S = 86_400
BIDDING = (("1 hour", 3600), ("1 day", DAY_S), ("3 days", 3 * DAY_S), ("7 days", 7 * DAY_S))
OPENING = (("1 hour", 3600), ("12 hours", DAY_S // 2), ("1 day", DAY_S))
DELIVERY = (("1 day", DAY_S), ("7 days", 7 * DAY_S), ("14 days", 14 * DAY_S), ("60 days", 60 * DAY_S))
REVIEW = (("1 hour", 3600), ("1 day", DAY_S), ("3 days", 3 * DAY_S), ("7 days", 7 * DAY_S))
_BIDS = {
    "budget": "Budget",
    "deposit": "Deposit for a bid",
    "licence": "Licence",
    "bids": "Bids for",
    "opening": "Opening for",
    "delivery": "Delivery within",
    "review": "You check for",
    "tries": "Tries",
}
_CONTEST = {
    "budget": "Prize pool",
    "deposit": "Deposit for an entry",
    "bids": "Entries for",
    "opening": "Then, judging for",
    "review": "Claims within",
    "tries": "Tries to practise",
}
_FOR_A_BID = "a bid, above zero: it keeps away bids"


class MoneyPanel(Panel):
    """Title, money and clocks."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Money and times")
        self.name = QLineEdit()
        self.name.setMaxLength(120)
        self.summary = QPlainTextEdit()
        self.summary.setPlaceholderText("What it is for, in a sentence or two.")
        self.summary.setFixedHeight(56)
        self.summary.setTabChangesFocus(True)
        self.budget = AmountField("", name="Budget in credits")
        self.deposit = AmountField("", name="Deposit for a bid in credits")
        self.licence = Choice([(name, name) for name in LICENCES])
        self.licence.let_type("Licence")
        self.bids, self.opening = Choice(BIDDING, chosen=2), Choice(OPENING, chosen=2)
        self.delivery, self.review = Choice(DELIVERY, chosen=2), Choice(REVIEW, chosen=2)
        self.tries = NumberField(3, 1, 16)
        self._facts = Facts()
        self._labels: dict[str, Text] = {}
        self._facts.add("Title", self.name)
        self._facts.add("Summary", self.summary)
        for key, widget in (
            ("budget", self.budget),
            ("deposit", self.deposit),
            ("licence", self.licence),
            ("bids", self.bids),
            ("opening", self.opening),
            ("delivery", self.delivery),
            ("review", self.review),
            ("tries", self.tries),
        ):
            self._labels[key] = self._facts.add(_BIDS[key], widget)
        self.body.addLayout(self._facts)
        self._is_contest = False
        self.name.textChanged.connect(lambda _text: self.changed.emit())
        self.summary.textChanged.connect(self.changed)
        for amount in (self.budget, self.deposit):
            amount.edited.connect(self.changed)
        for choice in (self.bids, self.opening, self.delivery, self.review):
            choice.activated.connect(lambda _at: self.changed.emit())
        self.licence.currentTextChanged.connect(lambda _text: self.changed.emit())
        self.tries.changed.connect(lambda _value: self.changed.emit())

    def show_way(self, *, contest: bool) -> None:
        """Ask for what bids need, or for what a contest needs."""
        self._is_contest = contest
        for key, label in self._labels.items():
            label.say((_CONTEST if contest else _BIDS).get(key, _BIDS[key]))
        self._facts.setRowVisible(self.delivery, not contest)
        for field, key in ((self.budget, "budget"), (self.deposit, "deposit")):
            field.setAccessibleName(f"{self._labels[key].text()} in credits")

    def missing(self) -> str:
        """What is still to be filled in."""
        if len(self.name.text().strip()) < 3:
            return "Give it a title of at least three letters."
        if not self.budget.micro:
            return self.budget.why or f"Set a {'prize pool' if self._is_contest else 'budget'}, above zero."
        if not self.deposit.micro:
            what = "an entry, above zero: it keeps away entries" if self._is_contest else _FOR_A_BID
            return self.deposit.why or f"Set a deposit for {what} in jest."
        return ""

    def terms(self) -> dict[str, Any]:
        """As the local API takes it."""
        times = {} if self._is_contest else {"deliver_s": self.delivery.currentData()}
        return times | {
            "title": self.name.text().strip(),
            "summary": self.summary.toPlainText().strip(),
            "licence": self.licence.currentText().strip(),
            "budget_micro": self.budget.micro or 0,
            "deposit_micro": self.deposit.micro or 0,
            "bid_s": self.bids.currentData(),
            "reveal_s": self.opening.currentData(),
            "review_s": self.review.currentData(),
            "tries": self.tries.value(),
        }
