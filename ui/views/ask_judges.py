"""Ask for a model: whose nodes measure what is handed in, how many must agree, and who rules in a dispute."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QMenu, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.people import author_of
from openstall.ui.requests import PeerCatalogue
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.inputs import Choice, mark_wrong
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.text import Text

DAY_S = 86_400
MEASURING = (("1 hour", 3600), ("6 hours", DAY_S // 4), ("1 day", DAY_S), ("3 days", 3 * DAY_S))
MOST_EVALUATORS = 16
WALLET = re.compile(r"0x(?!0{40}\Z)[0-9a-fA-F]{40}")
NO_WALLET = "A wallet is 0x and 40 digits or letters from a to f."
_MINE = "Your node measures by itself. Developers see that you alone judge."
_OTHERS = (
    "Each of them sees your rows and the model. A node measures for others only where its user has agreed; "
    "those in the list have."
)
_CONTEST = (
    "They open every entry and your rows. You cannot be one of them: you would hold every model for nothing. "
)


class JudgesPanel(Panel):
    """You alone, or evaluators that are named by their wallets."""

    changed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__("Who measures")
        self._desk = desk
        self._wallets: list[str] = []
        self._names: dict[str, str] = {}
        self._willing: set[str] = set()
        self._contest = False
        self.who = Choice((("You alone", "me"), ("Others of the group", "others")))
        self.within, self.quorum = Choice(MEASURING, chosen=2), Choice()
        self.arbiter, self.wallet = QLineEdit(), QLineEdit()
        self.arbiter.setPlaceholderText("0x… (optional)")
        self.wallet.setPlaceholderText("0x… an evaluator's wallet")
        self.wallet.setAccessibleName("An evaluator's wallet")
        self._add = button("&Add", self._add_typed, icon="check")
        self._peers = QMenu(self)
        self._from = button("From the group", icon="group")
        self._from.setMenu(self._peers)
        self._hint = Text(_MINE, "small")
        self._list = column(spacing=theme.GRID // 2)
        self._others = QWidget()
        self._others.setLayout(column(self._list, row(self.wallet, self._add, self._from)))
        self._facts = Facts()
        self._facts.add("Measured by", self.who)
        self._facts.add("Must agree", self.quorum)
        self._facts.add("Measuring within", self.within)
        self._facts.add("Arbiter's wallet", self.arbiter)
        self.body.addLayout(self._facts)
        self.body.addWidget(self._others)
        self.body.addWidget(self._hint)
        self.who.activated.connect(lambda _at: self._look())
        self.wallet.textChanged.connect(lambda _text: self._look_at_typed())
        self.wallet.returnPressed.connect(self._add_typed)
        self.arbiter.textChanged.connect(lambda _text: self._look())
        for choice in (self.quorum, self.within):
            choice.activated.connect(lambda _at: self.changed.emit())
        self._look()

    def show_way(self, *, contest: bool) -> None:
        """In a contest others measure, and nobody rules."""
        self._contest = contest
        if contest:
            self.who.setCurrentIndex(1)
        self.who.setEnabled(not contest)
        for field in (self.within, self.arbiter):
            self._facts.setRowVisible(field, not contest)
        self._look()

    @property
    def evaluators(self) -> list[str]:
        """Their wallets; none where the reader measures."""
        return list(self._wallets) if self.who.currentData() == "others" else []

    def load(self) -> None:
        """Ask who is in the group, and who of them measures for others."""

        def known(page: PeerCatalogue) -> None:
            self._names = {
                peer.body.wallet.lower(): author_of(peer)
                for peer in page.items
                if not peer.mine and WALLET.fullmatch(peer.body.wallet)
            }
            self._willing = {one.body.wallet.lower() for one in page.items if one.body.evaluates}
            self._peers.clear()
            for wallet, name in sorted(self._names.items(), key=lambda pair: pair[1].lower()):
                if wallet not in self._willing:
                    continue
                action = self._peers.addAction(f"{name} ({words.short_id(wallet)})".replace("&", "&&"))
                action.triggered.connect(lambda _on=False, chosen=wallet: self.add(chosen))
            self._from.setVisible(not self._peers.isEmpty())
            self._show_list()

        def quiet(_failure: Failure) -> None:
            """Wallets can be typed all the same; the page itself says what keeps the node from answering."""

        path = "/v1/catalogue?type=peer&limit=200"
        self._desk.api.get(path, PeerCatalogue, known, owner=self, failed=quiet)

    def add(self, wallet: str) -> None:
        """Name one more evaluator, once."""
        known = [one.lower() for one in self._wallets]
        if wallet.lower() not in known and len(known) < MOST_EVALUATORS:
            self._wallets.append(wallet)
        self._look()

    def missing(self) -> str:
        """What is still to be filled in."""
        if self.who.currentData() == "others" and not self._wallets:
            return "Name an evaluator." if self._contest else "Name an evaluator, or measure yourself."
        own = self._desk.status.identity.wallet.lower()
        if self._contest:
            mine = own in [one.lower() for one in self.evaluators]
            return "You cannot measure your own contest: name others." if mine else ""
        arbiter = self.arbiter.text().strip()
        if arbiter and WALLET.fullmatch(arbiter) is None:
            return f"The arbiter's wallet cannot be read. {NO_WALLET}"
        if arbiter.lower() in [one.lower() for one in self.evaluators]:
            return "The arbiter cannot measure as well: it would judge itself."
        return ""

    def terms(self) -> dict[str, Any]:
        """As the local API takes it."""
        judges = {
            "evaluators": self.evaluators,
            "quorum": self.quorum.currentData() if self.evaluators else None,
        }
        if self._contest:
            return judges
        return judges | {
            "evaluate_s": self.within.currentData(),
            "arbiter": self.arbiter.text().strip() or None,
        }

    def _add_typed(self) -> None:
        if WALLET.fullmatch(self.wallet.text().strip()):
            typed = self.wallet.text().strip()
            self.wallet.clear()
            self.add(typed)

    def _look_at_typed(self) -> None:
        typed = self.wallet.text().strip()
        good = WALLET.fullmatch(typed) is not None
        mark_wrong(self.wallet, wrong=bool(typed) and not good, why="" if good else NO_WALLET)
        self._add.setEnabled(good)

    def _look(self) -> None:
        others = self.who.currentData() == "others"
        arbiter = self.arbiter.text().strip()
        bad = bool(arbiter) and WALLET.fullmatch(arbiter) is None
        mark_wrong(self.arbiter, wrong=bad, why=NO_WALLET if bad else "")
        self._others.setVisible(others)
        self._hint.say((_CONTEST if self._contest else "") + (_OTHERS if others else _MINE))
        self._facts.setRowVisible(self.quorum, others and len(self._wallets) > 1)
        self._look_at_typed()
        self._offer_quorum()
        self._show_list()
        self.changed.emit()

    def _offer_quorum(self) -> None:
        count = len(self._wallets)
        counts = list(range(count // 2 + 1, count + 1))
        if [self.quorum.itemData(at) for at in range(self.quorum.count())] != counts:
            self.quorum.clear()
            for number in counts:
                self.quorum.addItem("all of them" if number == count else f"{number} of {count}", number)

    def _show_list(self) -> None:
        clear(self._list)
        for wallet in self._wallets:
            name = self._names.get(wallet.lower(), "not known in this group")
            remove = button("", partial(self._remove, wallet), icon="cancel", kind="quiet")
            remove.setAccessibleName(f"Take {name} off the list")
            line = row(Text(name, "strong", wrap=False), CopyId(wallet, what="evaluator's wallet"))
            if wallet.lower() not in self._willing:
                line.addWidget(Badge("has not agreed", "warning", "care"))
            line.addStretch(1)
            line.addWidget(remove)
            self._list.addLayout(line)

    def _remove(self, wallet: str) -> None:
        self._wallets.remove(wallet)
        self._look()
