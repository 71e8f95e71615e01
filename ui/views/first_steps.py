"""The steps of the first run, each a small form that knows when it is complete."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QLineEdit,
    QPlainTextEdit,
    QWidget,
)

from openstall.ui import documents, theme
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, NewIdentity
from openstall.ui.views.step import Step
from openstall.ui.widgets.inputs import ChoiceCard
from openstall.ui.widgets.layout import Facts, Panel, row
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.text import Text

SHORTEST_PASSPHRASE = 8


class RoleStep(Step):
    """What the reader wants to do here; several at once."""

    title = "What would you like to do?"
    text = "Choose one or more. It decides what you see first; you can do everything later."

    def __init__(self) -> None:
        super().__init__()
        self.cards = {
            "buy": ChoiceCard(
                "market",
                "Buy models or rent machines",
                "Find a model, or have one trained on somebody's computer.",
            ),
            "sell": ChoiceCard(
                "model", "Sell models", "List models that you made. They stay encrypted until they are paid."
            ),
            "rent": ChoiceCard(
                "compute",
                "Rent out my computer",
                "Earn by the second. Jobs run in a sandbox without network and files.",
            ),
        }
        for card in self.cards.values():
            card.toggled.connect(lambda _on: self.changed.emit())
            self.column.addWidget(card)
        self.column.addStretch(1)

    @property
    def chosen(self) -> list[str]:
        """The roles chosen."""
        return [role for role, card in self.cards.items() if card.isChecked()]

    @property
    def complete(self) -> bool:
        return bool(self.chosen)


class WalletStep(Step):
    """A new wallet or a restored one, and how it is kept on this computer."""

    passed = Signal(object)
    title = "Your wallet"
    text = "It signs what you buy and sell. It lies encrypted on this computer and nowhere else."
    next_words = "&Make the wallet"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._busy = False
        self.new = ChoiceCard("key", "Make a new wallet", "You get 24 words to write down.")
        self.old = ChoiceCard("refresh", "Restore a wallet", "You have 24 words from before.")
        self.pass_card = ChoiceCard("lock", "Protect it by a passphrase", "You type it when the node starts.")
        self.chain_card = ChoiceCard(
            "person", "Protect it by this computer's keychain", "It opens with your login."
        )
        for pair in ((self.new, self.old), (self.pass_card, self.chain_card)):
            _exclusive(self, pair)
            self.column.addLayout(row(*pair, spacing=2 * theme.GRID))
        self.name = QLineEdit()
        self.name.setMaxLength(60)
        self.name.setPlaceholderText("shown to others beside your offers")
        self.words = QPlainTextEdit()
        self.words.setFixedHeight(72)
        self.words.setPlaceholderText("24 words, in order, with spaces between")
        self.words.setTabChangesFocus(True)
        self.first, self.again = QLineEdit(), QLineEdit()
        for field in (self.first, self.again):
            field.setEchoMode(QLineEdit.EchoMode.Password)
            field.textChanged.connect(self._field_changed)
        self.name.textChanged.connect(self._field_changed)
        self.words.textChanged.connect(self._field_changed)
        self._facts = Facts()
        self._facts.add("Your name", self.name)
        self._facts.add("The 24 words", self.words)
        self._facts.add("Passphrase", self.first)
        self._facts.add("The same again", self.again)
        panel = Panel()
        panel.body.addLayout(self._facts)
        self._hint = Text("", "small")
        panel.body.addWidget(self._hint)
        self.column.addWidget(panel)
        self.column.addStretch(1)
        for card in (self.new, self.old, self.pass_card, self.chain_card):
            card.toggled.connect(lambda _on: self._arrange())
        self.new.setChecked(True)
        self.pass_card.setChecked(True)

    def enter(self) -> None:
        self.name.setFocus()

    def _arrange(self) -> None:
        self._facts.setRowVisible(1, self.old.isChecked())
        for at in (2, 3):
            self._facts.setRowVisible(at, self.pass_card.isChecked())
        self.next_words = "&Restore the wallet" if self.old.isChecked() else "&Make the wallet"
        self.changed.emit()

    @property
    def complete(self) -> bool:
        hint = self._missing()
        self._hint.say(hint)
        self._hint.setVisible(bool(hint))
        return not hint and not self._busy

    def _missing(self) -> str:
        if not self.name.text().strip():
            return "Give a name."
        if self.old.isChecked() and len(self._entered()) != 24:
            return f"{len(self._entered())} of 24 words."
        if self.pass_card.isChecked():
            if len(self.first.text()) < SHORTEST_PASSPHRASE:
                return (
                    f"A passphrase has at least {SHORTEST_PASSPHRASE} characters. Nobody can recover "
                    "it for you."
                )
            if self.first.text() != self.again.text():
                return "The two passphrases differ."
        return ""

    def _entered(self) -> list[str]:
        return self.words.toPlainText().lower().split()

    def proceed(self) -> None:
        body: dict[str, Any] = {
            "name": self.name.text().strip(),
            "passphrase": self.first.text() if self.pass_card.isChecked() else None,
        }
        restore = self.old.isChecked()
        if restore:
            body["words"] = self._entered()
        self._busy = True
        self.changed.emit()
        path = "/v1/identity/restore" if restore else "/v1/identity/create"
        self._desk.api.post(path, body, NewIdentity, self._made, owner=self, failed=self._refused)

    def _made(self, made: NewIdentity) -> None:
        restored = self.old.isChecked()
        self._busy = False
        for field in (self.first, self.again):
            field.clear()
        self.words.clear()
        self.passed.emit(NewIdentity(peer_id=made.peer_id, wallet=made.wallet) if restored else made)

    def _refused(self, failure: Failure) -> None:
        self._busy = False
        self.failed.emit(failure)


class GroupStep(Step):
    """Create a group with a chain of its own, or join one by its invitation."""

    passed = Signal()
    title = "Your group"
    text = (
        "People who trade with one another share a group with its own small chain. Its credits are "
        "play money."
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._operation = ""
        self._busy = False
        self.found = ChoiceCard(
            "group", "Start a group", "This computer keeps its chain. You get an invitation for others."
        )
        self.member = ChoiceCard("network", "Join a group", "Somebody sent you an invitation.")
        _exclusive(self, (self.found, self.member))
        self.column.addLayout(row(self.found, self.member, spacing=2 * theme.GRID))
        self.name = QLineEdit()
        self.name.setMaxLength(60)
        self.name.setPlaceholderText("for example Clinics of the north")
        self.invitation = QPlainTextEdit()
        self.invitation.setFixedHeight(96)
        self.invitation.setPlaceholderText("openstall:group:…")
        self.invitation.setTabChangesFocus(True)
        self._facts = Facts()
        self._facts.add("Name of the group", self.name)
        self._facts.add("Invitation", self.invitation)
        panel = Panel()
        panel.body.addLayout(self._facts)
        self._progress = ProgressRow()
        self._progress.cancelled.connect(lambda: desk.operations.cancel(self._operation))
        panel.body.addWidget(self._progress)
        self.column.addWidget(panel)
        self.column.addStretch(1)
        self.name.textChanged.connect(self._field_changed)
        self.invitation.textChanged.connect(self._field_changed)
        self.found.toggled.connect(lambda _on: self._arrange())
        self.found.setChecked(True)

    def _arrange(self) -> None:
        self._facts.setRowVisible(0, self.found.isChecked())
        self._facts.setRowVisible(1, not self.found.isChecked())
        self.next_words = "&Start the group" if self.found.isChecked() else "&Join the group"
        self.changed.emit()

    @property
    def complete(self) -> bool:
        text = self.name.text() if self.found.isChecked() else self.invitation.toPlainText()
        return bool(text.strip()) and not self._busy

    def proceed(self) -> None:
        self._busy = True
        self._progress.begin(
            "Starting the chain of the group"
            if self.found.isChecked()
            else "Looking for the host of the group"
        )
        self.changed.emit()
        if self.found.isChecked():
            path, body = "/v1/group/create", {"name": self.name.text().strip()}
        else:
            path, body = "/v1/group/join", {"invitation": "".join(self.invitation.toPlainText().split())}
        self._desk.operations.start(
            path, body, owner=self, done=self._done, failed=self._refused, progress=self._moved
        )

    def _moved(self, operation: documents.Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _done(self, _result: Any) -> None:
        self._busy = False
        self._progress.hide()
        self._desk.refresh()
        self.passed.emit()

    def _refused(self, failure: Failure) -> None:
        self._busy = False
        self._progress.hide()
        self.failed.emit(failure)


class DoneStep(Step):
    """What to do first."""

    title = "You are in"
    text = "Your wallet is open and your node is running."
    next_words = "&Open Openstall"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.first_view = "market"
        self._panel = Panel("What comes next")
        self._lines = Text("")
        self._panel.body.addWidget(self._lines)
        self.column.addWidget(self._panel)
        self.column.addStretch(1)
        self.suit([])

    def suit(self, roles: list[str]) -> None:
        """Say what comes first for these roles."""
        self.first_view = "sell" if roles == ["rent"] else "market"
        lines = ["Get play credits from the faucet: Wallet → Get 1,000 credits."]
        if "buy" in roles or not roles:
            lines.append("Look for a model or a machine: Market.")
        if "sell" in roles:
            lines.append("List a model of yours: Market → Sell a model.")
        if "rent" in roles:
            lines.append("Set a price for this computer and start: Sell compute.")
        lines.append("Invite others into the group: Network → Copy the invitation.")
        self._lines.say("\n".join(f"•  {line}" for line in lines))


def _exclusive(owner: QWidget, cards: tuple[ChoiceCard, ChoiceCard]) -> None:
    """Of two cards exactly one is chosen."""
    group = QButtonGroup(owner)
    for card in cards:
        group.addButton(card)
