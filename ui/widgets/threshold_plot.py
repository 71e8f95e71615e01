"""One measured figure against what was asked for: its interval, its value, the threshold as a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from openstall.ui import theme, words

HEIGHT = 52
_MARGIN = 10
_LINE_Y = 18
_BAND = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure; `ceiling` is the end of its scale where it has one (a share ends at 1)."""

    name: str
    value: float
    low: float
    high: float
    threshold: float
    passed: bool
    ceiling: float | None = None


class ThresholdPlot(QWidget):
    """The good side of the threshold is drawn thick, so that it can be told without colours."""

    def __init__(self, measured: Measured, *, at_most: bool, span: tuple[float, float] | None = None) -> None:
        super().__init__()
        self._of, self._at_most = measured, at_most
        self._from, self._to = span or span_of([measured])
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        one = measured
        self.setAccessibleName(
            f"{one.name}: {figure_words(one.value)}, between {figure_words(one.low)} and "
            f"{figure_words(one.high)}; asked for {'at most' if at_most else 'at least'} "
            f"{figure_words(one.threshold)}: {'passed' if one.passed else 'missed'}"
        )

    def sizeHint(self) -> QSize:
        return QSize(280, HEIGHT)

    def paintEvent(self, _event: QPaintEvent) -> None:
        one = self._of
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        muted, text = theme.colour("muted"), theme.colour("text")
        ink = theme.colour("good" if one.passed else "bad")
        left, right, at = _MARGIN, self.width() - _MARGIN, self._at(one.threshold)
        painter.setPen(QPen(muted, 1))
        painter.drawLine(QPointF(left, _LINE_Y), QPointF(right, _LINE_Y))
        painter.setPen(QPen(muted, 4, c=Qt.PenCapStyle.FlatCap))
        good = (left, at) if self._at_most else (at, right)
        painter.drawLine(QPointF(good[0], _LINE_Y), QPointF(good[1], _LINE_Y))
        low, high = self._at(one.low), self._at(one.high)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        painter.setOpacity(0.35)
        painter.drawRoundedRect(QRectF(low - 1, _LINE_Y - _BAND / 2, max(2.0, high - low + 2), _BAND), 3, 3)
        painter.setOpacity(1.0)
        painter.setPen(QPen(text, 2))
        painter.drawLine(QPointF(at, _LINE_Y - 14), QPointF(at, _LINE_Y + 14))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        x = self._at(one.value)
        diamond = [
            QPointF(x, _LINE_Y - 6),
            QPointF(x + 6, _LINE_Y),
            QPointF(x, _LINE_Y + 6),
            QPointF(x - 6, _LINE_Y),
        ]
        painter.drawPolygon(QPolygonF(diamond))
        painter.setPen(muted)
        self._label(painter, at, f"asked {figure_words(one.threshold)}")
        painter.end()

    def _label(self, painter: QPainter, x: float, text: str) -> None:
        width = painter.fontMetrics().horizontalAdvance(text)
        left = min(max(0.0, x - width / 2), max(0.0, self.width() - width))
        painter.drawText(QPointF(left, HEIGHT - 6), text)

    def _at(self, value: float) -> float:
        share = (value - self._from) / (self._to - self._from)
        return _MARGIN + min(1.0, max(0.0, share)) * (self.width() - 2 * _MARGIN)


def figure_words(value: float) -> str:
    """At most four decimals; whole numbers with their thousands apart."""
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 2 else words.figure(f"{value:.4f}")


def span_of(figures: Sequence[Measured]) -> tuple[float, float]:
    """One scale for figures of a kind: from a little under the least to a little over the greatest."""
    values = [value for one in figures for value in (one.value, one.low, one.high, one.threshold)]
    room = (max(values) - min(values)) * 0.25 or max(abs(values[-1]), 1.0) * 0.05
    most, ceiling = max(values) + room, figures[0].ceiling
    return max(0.0, min(values) - room), min(most, ceiling) if ceiling is not None else most
