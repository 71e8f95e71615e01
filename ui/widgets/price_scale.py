"""A line of prices: what most ask, and where one's own price lies."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from openstall.ui import theme, words

HEIGHT = 96
_LINE_Y = 52
_BAND = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """All in micro-credits a second; 0 for none."""

    low: int = 0
    middle: int = 0
    high: int = 0
    mine: int = 0
    suggested: int = 0


class PriceScale(QWidget):
    """The band between the tenths, with its middle; one's own price above it, a suggested one below."""

    def __init__(self) -> None:
        super().__init__()
        self._prices = Prices()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_prices(self, prices: Prices) -> None:
        """Show other prices."""
        self._prices = prices
        said = [f"lowest tenth {words.amount(prices.low)}", f"middle {words.amount(prices.middle)}"]
        said.append(f"highest tenth {words.amount(prices.high)}")
        said += [f"you {words.amount(prices.mine)}"] if prices.mine else []
        said += [f"suggested {words.amount(prices.suggested)}"] if prices.suggested else []
        self.setAccessibleName("Prices per second: " + ", ".join(said))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(320, HEIGHT)

    def paintEvent(self, _event: QPaintEvent) -> None:
        prices = self._prices
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        muted, text = theme.colour("muted"), theme.colour("text")
        accent, care = theme.colour("accent"), theme.colour("care")
        painter.setPen(QPen(muted, 1))
        painter.drawLine(QPointF(0, _LINE_Y), QPointF(self.width(), _LINE_Y))
        left, right = self._at(prices.low), self._at(prices.high)
        band = QRectF(left - 2, _LINE_Y - _BAND / 2, right - left + 4, _BAND)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(muted)
        painter.setOpacity(0.35)
        painter.drawRoundedRect(band, 4, 4)
        painter.setOpacity(1.0)
        painter.setPen(QPen(text, 2))
        middle = self._at(prices.middle)
        painter.drawLine(QPointF(middle, _LINE_Y - _BAND), QPointF(middle, _LINE_Y + _BAND))
        if prices.mine:
            self._mark(painter, accent, prices.mine, f"you {words.amount(prices.mine)}", above=True)
        if prices.suggested:
            label = f"suggested {words.amount(prices.suggested)}"
            self._mark(painter, care, prices.suggested, label, above=False)

    def _mark(self, painter: QPainter, colour: QColor, price: int, label: str, *, above: bool) -> None:
        x = self._at(price)
        painter.setPen(QPen(colour, 2))
        painter.setBrush(colour)
        painter.drawEllipse(QPointF(x, _LINE_Y), 5, 5)
        width = painter.fontMetrics().horizontalAdvance(label)
        left = min(max(0.0, x - width / 2), max(0.0, self.width() - width))
        painter.drawText(QPointF(left, _LINE_Y - 20 if above else _LINE_Y + 34), label)

    def _at(self, price: int) -> float:
        """Where a price lies across the widget; the scale is linear, from the least to the greatest shown."""
        prices = self._prices
        shown = [one for one in (prices.low, prices.high, prices.mine, prices.suggested) if one]
        least, most = (min(shown), max(shown)) if shown else (0, 1)
        margin = 12
        if most == least:
            return self.width() / 2
        return margin + (price - least) / (most - least) * (self.width() - 2 * margin)
