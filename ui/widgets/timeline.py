"""The course of an order: what happened, who caused it, and when; the clock that runs comes last."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from openstall.ui import theme, words
from openstall.ui.trade import Moment
from openstall.ui.widgets.figures import CopyId, When
from openstall.ui.widgets.layout import clear
from openstall.ui.widgets.marks import Picture, state_mark, state_word
from openstall.ui.widgets.text import Text

_ACTORS = {
    "you": "you",
    "other": "the other side",
    "chain": "the chain",
    "clock": "the clock",
    "auction": "the auction",
    "evaluators": "the evaluators",
}


class Timeline(QWidget):
    """Steps from the first to the latest, then the deadline that runs now."""

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(theme.GRID + 4)
        self._shown: object = None

    def show_moments(self, moments: list[Moment], other: str, deadline_at: int, deadline_words: str) -> None:
        """Show a course; drawn anew only when it changed."""
        course = (moments, other, deadline_at, deadline_words)
        if course == self._shown:
            return
        self._shown = course
        clear(self._column)
        for moment in moments:
            self._column.addWidget(_step(moment, other))
        if deadline_at:
            self._column.addWidget(_clock(deadline_at, deadline_words))


def _step(moment: Moment, other: str) -> QWidget:
    icon, tone = state_mark(moment.state)
    actor = (
        words.one_line(other, 40)
        if moment.actor == "other" and other
        else _ACTORS.get(moment.actor, moment.actor)
    )
    made = _line(icon, tone, moment.words or state_word(moment.state))
    texts, line = made
    under = QHBoxLayout()
    under.setSpacing(theme.GRID)
    under.addWidget(When(moment.at, "small"))
    under.addWidget(Text(f"by {actor}" if actor else "", "small", wrap=False))
    under.addStretch(1)
    if moment.tx:
        under.addWidget(CopyId(moment.tx, what="transaction"))
    texts.addLayout(under)
    return line


def _clock(deadline_at: int, deadline_words: str) -> QWidget:
    texts, line = _line("clock", "care", words.moment(deadline_at))
    under = QHBoxLayout()
    under.setSpacing(theme.GRID)
    under.addWidget(When(deadline_at, "small"), 0, Qt.AlignmentFlag.AlignTop)
    under.addWidget(Text(deadline_words, "small"), 1)
    texts.addLayout(under)
    return line


def _line(icon: str, tone: theme.Tone, text: str) -> tuple[QVBoxLayout, QWidget]:
    made = QWidget()
    line = QHBoxLayout(made)
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(theme.GRID + 4)
    line.addWidget(Picture(icon, tone, 20), 0, Qt.AlignmentFlag.AlignTop)
    texts = QVBoxLayout()
    texts.setSpacing(0)
    texts.addWidget(Text(text))
    line.addLayout(texts, 1)
    return texts, made
