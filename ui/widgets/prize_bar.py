"""How a pool of prizes is cut: one bar, a part for each place, as long as its share."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from openstall.ui import theme, words

HEIGHT = 46
_BAR = 26
_GAP = 2
_LIGHTEST = 0.35


class PrizeBar(QWidget):
    """The place and its share stand in each part, what it is worth below, where there is room."""

    def __init__(self) -> None:
        super().__init__()
        self._weights: list[int] = []
        self._pool_micro = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_prizes(self, weights_bps: Sequence[int], pool_micro: int) -> None:
        """Show a pool that is cut so; without a pool only the shares."""
        self._weights, self._pool_micro = list(weights_bps), pool_micro
        self.setAccessibleName(f"Prizes: {prize_words(weights_bps, pool_micro)}")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(240, HEIGHT)

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self._weights:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = theme.tabular(self.font())
        font.setPointSizeF(font.pointSizeF() * 0.9)
        painter.setFont(font)
        room = self.width() - _GAP * (len(self._weights) - 1)
        left = 0.0
        for place, weight in enumerate(self._weights, 1):
            width = room * weight / sum(self._weights)
            self._part(painter, place, weight, QRectF(left, 0.5, width, _BAR))
            left += width + _GAP
        painter.end()

    def _part(self, painter: QPainter, place: int, weight: int, box: QRectF) -> None:
        # Every part is framed: the places can be told apart without their shades.
        painter.setPen(QPen(theme.colour("accent"), 1))
        painter.setBrush(theme.colour("accent"))
        painter.setOpacity(max(_LIGHTEST, 1 - 0.3 * (place - 1)) if place > 1 else 1.0)
        strong = place == 1
        if not strong:
            painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(box.adjusted(0.5, 0, -0.5, 0), 4, 4)
        painter.setOpacity(1.0)
        painter.setPen(theme.colour("on_accent" if strong else "text"))
        _write(
            painter, box, (f"{ordinal(place)}  {share_words(weight)}", share_words(weight), ordinal(place))
        )
        if self._pool_micro:
            painter.setPen(theme.colour("muted"))
            below = QRectF(box.left(), _BAR + 2, box.width(), HEIGHT - _BAR - 2)
            _write(painter, below, (words.amount(self._pool_micro * weight // sum(self._weights)),))


def _write(painter: QPainter, box: QRectF, choices: Sequence[str]) -> None:
    """The first of the texts that fits; none where there is no room for any."""
    fits = (text for text in choices if painter.fontMetrics().horizontalAdvance(text) + 8 <= box.width())
    painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), next(fits, ""))


def ordinal(place: int) -> str:
    """`1st`, `2nd`, `11th`."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{place}{'th' if 10 <= place % 100 <= 20 else ends.get(place % 10, 'th')}"


def share_words(weight_bps: int) -> str:
    """`60 %`, `33.34 %`."""
    return f"{words.figure(f'{weight_bps // 100}.{weight_bps % 100:02d}')} %"


def prize_words(weights_bps: Sequence[int], pool_micro: int) -> str:
    """All prizes in a sentence."""
    if not weights_bps:
        return "in proportion to quality, for every model that passes"
    parts = []
    for place, weight in enumerate(weights_bps, 1):
        worth = f" ({words.amount(pool_micro * weight // 10_000)})" if pool_micro else ""
        parts.append(f"{ordinal(place)} {share_words(weight)}{worth}")
    return ", ".join(parts)
