"""Ask for a model: sealed bids or a contest, with advice, and how the pool of a contest is cut."""

from __future__ import annotations

import re
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QLineEdit, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Document, Failure
from openstall.ui.widgets.inputs import Choice, ChoiceCard, NumberField, mark_wrong
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.prize_bar import PrizeBar
from openstall.ui.widgets.text import Text

AUCTION, CONTEST = "second_price", "contest"
GOALS = (
    ("One good model for the least money", "cheapest"),
    ("The single best model", "best"),
    ("Many good models", "many"),
)
BY_SHARE = "share"
PRIZES = (
    ("One prize", "100"),
    ("Two prizes", "70/30"),
    ("Three prizes", "60/30/10"),
    ("In proportion to quality", BY_SHARE),
)
MOST_PLACES = 32
MOST_DEVELOPERS = 100
WHOLE_BPS = 10_000
_BIDS = (
    "Developers name a price, sealed. The lowest wins, is paid the second lowest, and only the winner builds."
)
_CONTEST = "All who want build at once and hand in a model. The best share a prize, and you get their models."
_SHARED = (
    "Every model that passes has its part of the pool, as large as its figure beside those of the others. "
    "Who enters one model twice gains by it; prizes by place do not have that."
)
_RANKED = "The best model has the first prize, and so on. A prize that no model reached comes back to you."


class Way(Document, frozen=True, kw_only=True):
    """A way to choose who is paid."""

    mechanism: str = ""
    title: str = ""
    when: str = ""


class Advice(Document, frozen=True, kw_only=True):
    """Which way fits what one wants, and why."""

    best: Way = Way()
    weights_bps: list[int] = []  # noqa: RUF012 - msgspec makes it anew for each value
    why: str = ""


class ChoosingPanel(Panel):
    """Two large choices; a contest has its prizes, drawn."""

    changed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__("How you choose")
        self._desk = desk
        self._turn = 0
        self.bids = ChoiceCard("lock", "Sealed bids", _BIDS)
        self.contest = ChoiceCard("measured", "Contest", _CONTEST)
        self.bids.setChecked(True)
        group = QButtonGroup(self)
        for card in (self.bids, self.contest):
            group.addButton(card)
        group.buttonClicked.connect(lambda _button: self._look())
        self.body.addLayout(column(self.bids, self.contest))
        self.body.addWidget(self._prizes())
        self.body.addWidget(self._help())
        self._look()

    def _prizes(self) -> QWidget:
        self.shape = Choice(PRIZES, chosen=2)
        self.weights = QLineEdit("60/30/10")
        self.weights.setMaximumWidth(160)
        self._bar = PrizeBar()
        self._meaning = Text(_RANKED, "small")
        self._facts = Facts()
        self._facts.add("Prizes", self.shape)
        self._facts.add("Shares in %", self.weights)
        self._pool_micro = 0
        self._contest_part = QWidget()
        self._contest_part.setLayout(column(self._facts, self._bar, self._meaning))
        self.shape.activated.connect(lambda _at: self._shaped())
        self.weights.textChanged.connect(lambda _text: self._look())
        return self._contest_part

    def _help(self) -> QWidget:
        self.goal, self.developers = Choice(GOALS), NumberField(5, 1, MOST_DEVELOPERS)
        self._advice = Text("", "small")
        self._ask = button("Which &suits me?", self._open_advice, icon="info", kind="quiet")
        self._advice_part = QWidget()
        facts = Facts()
        facts.add("You want", self.goal)
        facts.add("Developers who may take part", self.developers)
        self._advice_part.setLayout(column(facts, self._advice))
        self._advice_part.hide()
        self.goal.activated.connect(lambda _at: self._advise())
        self.developers.changed.connect(lambda _value: self._advise())
        made = QWidget()
        made.setLayout(column(row(self._ask, 1), self._advice_part, spacing=theme.GRID // 2))
        return made

    @property
    def is_contest(self) -> bool:
        """Whether it is a contest."""
        return self.contest.isChecked()

    @property
    def by_share(self) -> bool:
        """Whether the pool of a contest is shared by quality."""
        return self.is_contest and self.shape.currentData() == BY_SHARE

    def show_pool(self, pool_micro: int) -> None:
        """What there is to share."""
        self._pool_micro = pool_micro
        self._draw()

    def missing(self) -> str:
        """What is still to be filled in."""
        return self._why() if self.is_contest and not self.by_share else ""

    def terms(self) -> dict[str, Any]:
        """As the local API takes it."""
        if not self.is_contest:
            return {}
        return {"mechanism": CONTEST, "weights_bps": [] if self.by_share else weights_in(self.weights.text())}

    def _why(self) -> str:
        weights = weights_in(self.weights.text())
        if not weights:
            return f"Write the shares of {MOST_PLACES} places at most in whole per cent, such as 60/30/10."
        if sum(weights) != WHOLE_BPS:
            return f"The shares add up to {sum(weights) // 100} %, not to 100 %."
        return "" if weights == sorted(weights, reverse=True) else "A worse place cannot have a larger share."

    def _shaped(self) -> None:
        if self.shape.currentData() != BY_SHARE:
            self.weights.setText(self.shape.currentData())
        self._look()

    def _look(self) -> None:
        self._contest_part.setVisible(self.is_contest)
        self._facts.setRowVisible(self.weights, not self.by_share)
        why = self.missing()
        mark_wrong(self.weights, wrong=bool(why), why=why)
        self._meaning.say(_SHARED if self.by_share else _RANKED)
        self._draw()
        self.changed.emit()

    def _draw(self) -> None:
        weights = [] if self.by_share else weights_in(self.weights.text())
        self._bar.show_prizes(weights, self._pool_micro)
        self._bar.setVisible(bool(weights))

    def _open_advice(self) -> None:
        self._advice_part.setVisible(self._advice_part.isHidden())
        if not self._advice_part.isHidden():
            self._advise()

    def _advise(self) -> None:
        self._turn += 1
        turn = self._turn
        path = f"/v1/requests/mechanisms?goal={self.goal.currentData()}&bidders={self.developers.value()}"

        def told(advice: Advice) -> None:
            if turn == self._turn:
                cut = "/".join(str(weight // 100) for weight in advice.weights_bps)
                prizes = f" Prizes: {cut} %." if len(advice.weights_bps) > 1 else ""
                self._advice.say(
                    f"{words.one_line(advice.best.title)}. {words.one_line(advice.why, 800)}{prizes}"
                )

        def failed(failure: Failure) -> None:
            self._advice.say(f"{failure.message} {failure.what_next}".strip())

        self._desk.api.get(path, Advice, told, owner=self, failed=failed)


def weights_in(text: str) -> list[int]:
    """Shares typed in whole per cent, in hundredths of one; none where they cannot be read."""
    parts = [part for part in re.split(r"[/;,\s]+", text.strip()) if part]
    if (
        not parts
        or len(parts) > MOST_PLACES
        or not all(re.fullmatch(r"[1-9][0-9]{0,2}", one) for one in parts)
    ):
        return []
    return [100 * int(part) for part in parts]
