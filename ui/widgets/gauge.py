"""A gauge: how much of something is used, as a bar with the figures in words, and the owner's limit on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from openstall.ui import theme
from openstall.ui.widgets.layout import row
from openstall.ui.widgets.text import Text

NEAR_PERCENT = 90
"""A figure this near to a limit is marked before it reaches it."""
_HEIGHT = 18
_BAR = 8

Nearness = Literal["", "near", "at"]
_TONES: dict[Nearness, theme.Tone] = {"": "accent", "near": "care", "at": "bad"}
_WORDS: dict[Nearness, str] = {"": "", "near": "near your limit", "at": "at your limit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A line on the gauge: where (0 to 100), and in words.

    `holds` whether the figure of the gauge is what the limit is about; if not, the line only shows it.
    """

    percent: int
    words: str
    holds: bool = True


class Gauge(QWidget):
    """A name, a bar and the same in words; the limit as a line on the bar with its figure."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._value = Text("", "small", wrap=False)
        self._limit = Text("", "small")
        self._bar = _Bar()
        self._bar.setAccessibleName(name)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row(Text(name, wrap=False), 1, self._value))
        column.addWidget(self._bar)
        column.addWidget(self._limit)
        self._limit.hide()

    def show_value(self, percent: int, text: str, limit: Limit | None = None) -> None:
        """Show how full it is (0 to 100), the figures, and the limit if there is one."""
        near = nearness(percent, limit)
        self._bar.show_bar(percent, limit, _TONES[near])
        said = " · ".join(part for part in (limit.words if limit else "", _WORDS[near]) if part)
        self._value.say(text)
        self._limit.say(said)
        self._limit.tone(_TONES[near] if near else "")
        self._limit.setVisible(bool(said))
        self._bar.setAccessibleDescription(". ".join(part for part in (text, said) if part))


def nearness(percent: int, limit: Limit | None) -> Nearness:
    """How a figure stands to the limit that is about it."""
    if limit is None or not limit.holds:
        return ""
    if percent >= limit.percent:
        return "at"
    return "near" if 100 * percent >= NEAR_PERCENT * limit.percent else ""


class _Bar(QProgressBar):
    """A progress bar to those who listen, and one with a line across it to those who look."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setRange(0, 100)
        self.setObjectName("gauge")
        self._limit: Limit | None = None
        self._tone: theme.Tone = "accent"

    def show_bar(self, percent: int, limit: Limit | None, tone: theme.Tone) -> None:
        """Show other figures."""
        self._limit, self._tone = limit, tone
        self.setValue(max(0, min(100, percent)))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(160, _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(80, _HEIGHT)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top = (self.height() - _BAR) / 2
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.sunken_colour())
        painter.drawRoundedRect(QRectF(0, top, self.width(), _BAR), 4, 4)
        filled = self.width() * self.value() / 100
        if filled:
            painter.setBrush(theme.colour(self._tone))
            painter.drawRoundedRect(QRectF(0, top, max(_BAR, filled), _BAR), 4, 4)
        if self._limit is not None:
            at = min(self.width() - 1.5, max(1.5, self.width() * self._limit.percent / 100))
            painter.setPen(QPen(theme.colour("text"), 2))
            painter.drawLine(QPointF(at, 1), QPointF(at, self.height() - 1))
        painter.end()
