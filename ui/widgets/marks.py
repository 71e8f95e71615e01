"""Marks that mean the same everywhere: state badges, and where a figure comes from."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QWidget

from openstall.ui import icons, theme, words
from openstall.ui.widgets.text import Text

Origin = Literal["claimed", "stated", "measured", "verified"]

_ORIGINS: dict[Origin, tuple[str, theme.Tone, str]] = {
    "claimed": ("claimed", "care", "The seller says so. Nobody has checked it."),
    "stated": ("claimed", "care", "You wrote this figure. Nothing on this machine measures it."),
    "measured": ("measured", "accent", "Measured on this machine by Openstall."),
    "verified": ("verified", "good", "Checked here against a signature, a hash or the chain."),
}

_STATES: dict[str, tuple[str, theme.Tone]] = {
    "proposed": ("pending", "muted"),
    "agreed": ("pending", "accent"),
    "funded": ("lock", "accent"),
    "running": ("play", "accent"),
    "ended": ("clock", "accent"),
    "withdrawing": ("clock", "care"),
    "submitted": ("measured", "accent"),
    "passed": ("done", "accent"),
    "delivered": ("download", "accent"),
    "disputed": ("scales", "care"),
    "completed": ("done", "good"),
    "settled": ("done", "good"),
    "refunded": ("back", "good"),
    "ruled": ("scales", "good"),
    "declined": ("error", "muted"),
    "lapsed": ("clock", "muted"),
    "done": ("done", "good"),
    "failed": ("error", "bad"),
    "cancelled": ("cancel", "muted"),
    "refused": ("error", "bad"),
    "limit": ("stop", "care"),
}


class Picture(QWidget):
    """An icon of a fixed size that follows the palette."""

    def __init__(self, name: str, tone: theme.Tone = "text", side: int = 18) -> None:
        super().__init__()
        self._name = name
        self._tone: theme.Tone = tone
        self._side = side
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_icon(self, name: str, tone: theme.Tone) -> None:
        """Show another icon."""
        self._name, self._tone = name, tone
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(self._side, self._side)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        icons.paint(painter, QRectF(0, 0, self._side, self._side), self._name, theme.colour(self._tone))
        painter.end()


class Badge(QFrame):
    """A state: an icon and a word in one rounded field."""

    def __init__(self, word: str = "", icon_name: str = "circle", tone: theme.Tone = "muted") -> None:
        super().__init__()
        self.setObjectName("badge")
        self._picture = Picture(icon_name, tone, 14)
        self._label = Text(word, "small", wrap=False)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 10, 2)
        row.setSpacing(5)
        row.addWidget(self._picture)
        row.addWidget(self._label)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.mark(word, icon_name, tone)

    def mark(self, word: str, icon_name: str, tone: theme.Tone) -> None:
        """Show another state."""
        self._label.say(words.one_line(word, 60))
        self._label.tone(tone)
        self._picture.show_icon(icon_name, tone)
        self.setAccessibleName(self._label.text())
        if self.property("tone") != tone:
            self.setProperty("tone", tone)
            self.style().unpolish(self)
            self.style().polish(self)

    def mark_state(self, state: str) -> None:
        """Show the state of an order."""
        name, tone = state_mark(state)
        self.mark(state_word(state), name, tone)


class Provenance(Badge):
    """Where a figure comes from: claimed, measured or verified."""

    def __init__(self, origin: Origin, explain: str = "") -> None:
        icon_name, tone, meaning = _ORIGINS[origin]
        word = "stated by you" if origin == "stated" else origin
        super().__init__(word, icon_name, tone)
        self.setToolTip(words.tooltip(explain or meaning))
        self.setAccessibleDescription(explain or meaning)


def state_mark(state: str) -> tuple[str, theme.Tone]:
    """Icon and tone of an order's state."""
    return _STATES.get(state, ("circle", "muted"))


def state_word(state: str) -> str:
    """The state as a word to read."""
    return {
        "funded": "money held",
        "submitted": "being measured",
        "withdrawing": "on its way back",
        "limit": "limit reached",
    }.get(state, words.one_line(state, 40)) or "—"
