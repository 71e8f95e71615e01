"""Ask for a model: what it is called, what is paid, and how long each stage lasts."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit

from openstall.ui.views.publish import LICENCES
from openstall.ui.widgets.inputs import AmountField, Choice, NumberField
from openstall.ui.widgets.layout import Facts, Panel

DAY_S = 86_400
BIDS = (("1 hour", 3600), ("1 day", DAY_S), ("3 days", 3 * DAY_S), ("7 days", 7 * DAY_S))
OPENING = (("1 hour", 3600), ("12 hours", DAY_S // 2), ("1 day", DAY_S))
DELIVERY = (("1 day", DAY_S), ("7 days", 7 * DAY_S), ("14 days", 14 * DAY_S), ("60 days", 60 * DAY_S))
REVIEW = (("1 hour", 3600), ("1 day", DAY_S), ("3 days", 3 * DAY_S), ("7 days", 7 * DAY_S))


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
        self.bids, self.opening = Choice(BIDS, chosen=2), Choice(OPENING, chosen=2)
        self.delivery, self.review = Choice(DELIVERY, chosen=2), Choice(REVIEW, chosen=2)
        self.tries = NumberField(3, 1, 16)
        facts = Facts()
        facts.add("Title", self.name)
        facts.add("Summary", self.summary)
        facts.add("Budget", self.budget)
        facts.add("Deposit for a bid", self.deposit)
        facts.add("Licence", self.licence)
        facts.add("Bids for", self.bids)
        facts.add("Opening for", self.opening)
        facts.add("Delivery within", self.delivery)
        facts.add("You check for", self.review)
        facts.add("Tries", self.tries)
        self.body.addLayout(facts)
        self.name.textChanged.connect(lambda _text: self.changed.emit())
        self.summary.textChanged.connect(self.changed)
        for amount in (self.budget, self.deposit):
            amount.edited.connect(self.changed)
        for choice in (self.bids, self.opening, self.delivery, self.review):
            choice.activated.connect(lambda _at: self.changed.emit())
        self.licence.currentTextChanged.connect(lambda _text: self.changed.emit())
        self.tries.changed.connect(lambda _value: self.changed.emit())

    def missing(self) -> str:
        """What is still to be filled in."""
        if len(self.name.text().strip()) < 3:
            return "Give it a title of at least three letters."
        if not self.budget.micro:
            return self.budget.why or "Set a budget, above zero."
        if not self.deposit.micro:
            return self.deposit.why or "Set a deposit for a bid, above zero: it keeps away bids in jest."
        return ""

    def terms(self) -> dict[str, Any]:
        """As the local API takes it."""
        return {
            "title": self.name.text().strip(),
            "summary": self.summary.toPlainText().strip(),
            "licence": self.licence.currentText().strip(),
            "budget_micro": self.budget.micro or 0,
            "deposit_micro": self.deposit.micro or 0,
            "bid_s": self.bids.currentData(),
            "reveal_s": self.opening.currentData(),
            "deliver_s": self.delivery.currentData(),
            "review_s": self.review.currentData(),
            "tries": self.tries.value(),
        }
