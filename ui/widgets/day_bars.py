"""Earnings as bars, one a day: what was left of it, what went to electricity, and a loss below the line.

Painted with QPainter: it needs nothing beyond the Qt modules that are installed. QtCharts would need the
Addons wheel and is under the GPL; matplotlib would add 75 MB of memory to a page that stays open all day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from openstall.ui import theme, words

DAYS = 30
HEIGHT = 168
_TOP, _BOTTOM, _LEFT, _RIGHT = 14, 20, 64, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """A day: earned, and what its electricity cost (None where no energy is known); micro-credits."""

    day: date
    jobs: int
    earned_micro: int
    cost_micro: int | None


class DayBars(QWidget):
    """The last thirty days; arrow keys or the mouse choose one, which is said in words."""

    chosen = Signal(str)
    """What to say: of the chosen day, or of all together."""

    def __init__(self) -> None:
        super().__init__()
        self._today = date.today()  # noqa: DTZ011 - the owner's own day
        self._bars: dict[date, DayBar] = {}
        self._at: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Earned and electricity, day by day")

    def show_days(self, bars: Sequence[DayBar], today: date) -> None:
        """Show these days; those before the last thirty are left to the table."""
        self._today = today
        self._bars = {bar.day: bar for bar in bars if 0 <= (today - bar.day).days < DAYS}
        self._tell()

    @property
    def said(self) -> str:
        """The chosen day in a sentence; without one, all together."""
        return _sum_words(list(self._bars.values())) if self._at is None else self._day_words(self._at)

    def sizeHint(self) -> QSize:
        return QSize(400, HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(240, HEIGHT)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        at = DAYS if self._at is None else self._at
        moves = {
            Qt.Key.Key_Left: at - 1,
            Qt.Key.Key_Right: at + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: DAYS - 1,
        }
        if event.key() == Qt.Key.Key_Escape and self._at is not None:
            self._choose(None)
        elif event.key() in moves:
            self._choose(max(0, min(DAYS - 1, moves[Qt.Key(event.key())])))
        else:
            super().keyPressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = self._plot()
        inside = place.left() <= event.position().x() < place.right()
        self._choose(int((event.position().x() - place.left()) / place.width() * DAYS) if inside else None)

    def leaveEvent(self, event: object) -> None:  # noqa: ARG002 - Qt's signature
        if not self.hasFocus():
            self._choose(None)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._choose(None)
        super().focusOutEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        font = theme.tabular(self.font())
        font.setPointSizeF(font.pointSizeF() * 0.9)
        painter.setFont(font)
        place, (low, high) = self._plot(), self._range()
        scale = place.height() / (high - low)
        zero = place.bottom() + low * scale
        for value in _ticks(low, high):
            self._rule(painter, place, zero - value * scale, value)
        slot = place.width() / DAYS
        for number in range(DAYS):
            left = place.left() + number * slot
            if number == self._at:
                painter.fillRect(QRectF(left, place.top(), slot, place.height()), theme.sunken_colour())
            bar = self._bars.get(self._day(number))
            if bar is not None:
                box = QRectF(left + slot * 0.15, 0, slot * 0.7, 0)
                _paint_bar(painter, bar, box, zero, scale)
        painter.setPen(QPen(theme.colour("muted"), 1))
        painter.drawLine(QPointF(place.left(), zero), QPointF(place.right(), zero))
        self._dates(painter, place)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.end()

    def _plot(self) -> QRectF:
        return QRectF(self.rect()).adjusted(_LEFT, _TOP, -_RIGHT, -_BOTTOM)

    def _range(self) -> tuple[int, int]:
        """The least and the greatest amount on the axis; the line of zero is always on it."""
        high = max((bar.earned_micro for bar in self._bars.values()), default=0)
        low = min((bar.earned_micro - (bar.cost_micro or 0) for bar in self._bars.values()), default=0)
        return min(0, low), max(1, high)

    def _rule(self, painter: QPainter, place: QRectF, y: float, value: int) -> None:
        painter.setPen(QPen(theme.line_colour(), 1))
        painter.drawLine(QPointF(place.left(), y), QPointF(place.right(), y))
        painter.setPen(theme.colour("muted"))
        box = QRectF(0, y - 9, _LEFT - 8, 18)
        painter.drawText(
            box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), words.amount(value)
        )

    def _dates(self, painter: QPainter, place: QRectF) -> None:
        painter.setPen(theme.colour("muted"))
        box = QRectF(place.left(), self.height() - _BOTTOM + 2, place.width(), _BOTTOM - 2)
        first = words.date_words(self._day(0))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), first)
        painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), "today")

    def _day(self, number: int) -> date:
        return self._today - timedelta(days=DAYS - 1 - number)

    def _choose(self, at: int | None) -> None:
        if at != self._at:
            self._at = at
            self._tell()

    def _tell(self) -> None:
        self.setAccessibleDescription(f"{self.said} The arrow keys go from day to day.")
        self.chosen.emit(self.said)
        self.update()

    def _day_words(self, number: int) -> str:
        day = self._day(number)
        bar = self._bars.get(day)
        if bar is None:
            return f"{words.date_words(day)}: no job."
        jobs, earned = words.plural(bar.jobs, "job"), words.amount(bar.earned_micro)
        said = f"{words.date_words(day)}: {jobs}, earned {earned}"
        if bar.cost_micro is None:
            return f"{said}; what the electricity cost is not known."
        net = words.amount(bar.earned_micro - bar.cost_micro, sign=True)
        return f"{said}, electricity {words.amount(bar.cost_micro)}, net {net}."


class Swatch(QWidget):
    """The key to a colour of the bars, for the legend beside its word."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part
        self.setFixedSize(12, 12)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        _fill(painter, QRectF(0.5, 0.5, 11, 11), self._part)
        painter.end()


def _paint_bar(painter: QPainter, bar: DayBar, box: QRectF, zero: float, scale: float) -> None:
    def part(name: str, bottom: int, top: int) -> None:
        if top > bottom:
            height = max(1.0, (top - bottom) * scale)
            _fill(painter, QRectF(box.left(), zero - top * scale, box.width(), height), name)

    if bar.cost_micro is None:
        part("unknown", 0, bar.earned_micro)
        painter.setPen(theme.colour("muted"))
        mark = QRectF(box.left() - 6, zero - bar.earned_micro * scale - 15, box.width() + 12, 14)
        painter.drawText(mark, int(Qt.AlignmentFlag.AlignCenter), "?")
        return
    part("electricity", 0, min(bar.cost_micro, bar.earned_micro))
    part("left", bar.cost_micro, bar.earned_micro)
    part("loss", bar.earned_micro - bar.cost_micro, 0)


def _fill(painter: QPainter, box: QRectF, part: str) -> None:
    """Parts differ by pattern too, not by colour alone."""
    colour, pattern = _PARTS[part]
    ink: QColor = theme.colour(colour)
    painter.setPen(QPen(ink, 1))
    painter.setBrush(QBrush(ink, pattern))
    painter.drawRect(box)


_PARTS: dict[str, tuple[theme.Tone, Qt.BrushStyle]] = {
    "left": ("accent", Qt.BrushStyle.SolidPattern),
    "electricity": ("care", Qt.BrushStyle.BDiagPattern),
    "loss": ("bad", Qt.BrushStyle.DiagCrossPattern),
    "unknown": ("muted", Qt.BrushStyle.NoBrush),
}


def _sum_words(bars: list[DayBar]) -> str:
    if not bars:
        return f"No job in the last {DAYS} days."
    known = [bar for bar in bars if bar.cost_micro is not None]
    said = f"Last {DAYS} days: earned {words.amount(sum(bar.earned_micro for bar in bars))}"
    if not known:
        return f"{said}; what the electricity cost is not known."
    cost = sum(bar.cost_micro or 0 for bar in known)
    net = words.amount(sum(bar.earned_micro for bar in known) - cost, sign=True)
    rest = len(bars) - len(known)
    on = f" (without {words.plural(rest, 'day')} whose energy is not known)" if rest else ""
    return f"{said}, electricity {words.amount(cost)}, net {net}{on}."


def _ticks(low: int, high: int) -> list[int]:
    """Round amounts on the axis, about four of them, zero among them."""
    rough = max(1, (high - low) // 4)
    size = 10 ** (len(str(rough)) - 1)
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    return list(range(-(-low // step) * step, high + 1, step))
