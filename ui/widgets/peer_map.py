"""The connected peers on a picture: this node in the middle, each peer the further out the longer its way.

What a colour says is also said by the shape of a line, an icon or a word; the table beside it holds it all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from openstall.ui import icons, theme, words

RINGS_MS = (5, 25, 100)
"""Where the rings lie: what is slower, or not measured yet, is outside the last."""
RIM_MS = 400
NAMED = 14
"""More peers than this are dots without names; the table has them."""
MOST = 250
_DOT, _OWN = 9.0, 13.0
_LINES = {"direct": Qt.PenStyle.SolidLine, "punched": Qt.PenStyle.DashLine, "relayed": Qt.PenStyle.DotLine}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One peer: `path` is direct, punched or relayed; `icon` says what else is to be known of it."""

    peer_id: str
    name: str
    delay_ms: float | None
    path: str = "direct"
    icon: str = "person"
    tone: theme.Tone = "accent"
    words: str = ""


class PeerMap(QWidget):
    """A click on a peer says which; the whole is read out as one sentence."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._spots: list[Spot] = []
        self._places: list[tuple[QPointF, Spot]] = []
        self.setMinimumHeight(240)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.show_peers([])

    def show_peers(self, spots: Sequence[Spot]) -> None:
        """Show these; the order stays, so that a peer keeps its place while others come and go near it."""
        self._spots = sorted(spots, key=lambda one: one.peer_id[::-1])[:MOST]
        self._places = []
        self.setAccessibleName(map_words(self._spots))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(460, 300)

    def place_of(self, peer_id: str) -> QPointF | None:
        """Where a peer is drawn."""
        return next((place for place, spot in self._lay_out() if spot.peer_id == peer_id), None)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(font.pointSizeF() * 0.9)
        painter.setFont(font)
        self._paint_rings(painter)
        places = self._lay_out()
        for place, spot in places:
            style = _LINES.get(spot.path, Qt.PenStyle.SolidLine)
            tone: theme.Tone = "care" if spot.path == "relayed" else "muted"
            painter.setPen(QPen(theme.colour(tone), 1.4, style))
            painter.drawLine(self._middle(), place)
        for place, spot in places:
            self._paint_spot(painter, place, spot, named=len(places) <= NAMED)
        self._paint_own(painter)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        spot = self._spot_at(event.position())
        if spot is not None:
            self.chosen.emit(spot.peer_id)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            spot = self._spot_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), words.tooltip(spot_words(spot)) if spot else "", self)
            return True
        return super().event(event)

    # Where things are

    def _middle(self) -> QPointF:
        return QPointF(self.width() / 2, self.height() / 2)

    def _radius(self) -> float:
        """How far out the outermost place lies; the names need room at both sides."""
        return max(60.0, min(self.width() / 2 - 60, self.height() / 2 - 24))

    def _lay_out(self) -> list[tuple[QPointF, Spot]]:
        middle, radius = self._middle(), self._radius()
        found = []
        for at, spot in enumerate(self._spots):
            angle = 2 * math.pi * at / max(1, len(self._spots)) - math.pi / 2 + 0.35
            out = radius * distance(spot.delay_ms)
            found.append((middle + QPointF(math.cos(angle) * out, math.sin(angle) * out), spot))
        self._places = found
        return found

    def _spot_at(self, point: QPointF) -> Spot | None:
        near = [
            (math.hypot(place.x() - point.x(), place.y() - point.y()), spot) for place, spot in self._places
        ]
        reached = [one for one in near if one[0] <= 2 * _DOT]
        return min(reached, key=lambda one: one[0])[1] if reached else None

    # Painting

    def _paint_rings(self, painter: QPainter) -> None:
        for ms in RINGS_MS:
            out = self._radius() * distance(ms)
            painter.setPen(QPen(theme.colour("muted"), 0.6, Qt.PenStyle.DotLine))
            painter.setOpacity(0.55)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(self._middle(), out, out)
            painter.setOpacity(1.0)
            painter.setPen(theme.colour("muted"))
            label = QRectF(self._middle().x() - 40, self._middle().y() - out + 1, 80, 16)
            painter.drawText(label, int(Qt.AlignmentFlag.AlignHCenter), f"{ms} ms")

    def _paint_spot(self, painter: QPainter, place: QPointF, spot: Spot, *, named: bool) -> None:
        painter.setPen(QPen(theme.colour(spot.tone), 1.4))
        painter.setBrush(self.palette().base())
        painter.drawEllipse(place, _DOT, _DOT)
        inner = QRectF(place.x() - 6, place.y() - 6, 12, 12)
        icons.paint(painter, inner, spot.icon, theme.colour(spot.tone))
        if named:
            self._write_name(painter, place, spot.name)

    def _write_name(self, painter: QPainter, place: QPointF, name: str) -> None:
        """Outside of the peer, where no line runs."""
        right = place.x() >= self._middle().x()
        start = place.x() + _DOT + 4
        room = (self.width() - start if right else place.x() - _DOT - 4) - 4
        text = QFontMetricsF(painter.font()).elidedText(name, Qt.TextElideMode.ElideRight, min(170.0, room))
        painter.setPen(theme.colour("text"))
        side = Qt.AlignmentFlag.AlignLeft if right else Qt.AlignmentFlag.AlignRight
        box = QRectF(start if right else 4, place.y() - 9, room, 18)
        painter.drawText(box, int(side | Qt.AlignmentFlag.AlignVCenter), text)

    def _paint_own(self, painter: QPainter) -> None:
        middle = self._middle()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("accent"))
        painter.drawEllipse(middle, _OWN, _OWN)
        box = QRectF(middle.x() - 8, middle.y() - 8, 16, 16)
        icons.paint(painter, box, "network", theme.colour("on_accent"))


def distance(delay_ms: float | None) -> float:
    """How far out a delay lies, as a part of the whole way: near for neighbours, the rim for the far."""
    if delay_ms is None:
        return 1.0
    return 0.3 + 0.7 * min(1.0, math.log10(1 + max(0.0, delay_ms)) / math.log10(1 + RIM_MS))


def delay_words(delay_ms: float | None) -> str:
    """The delay of a peer."""
    return "delay not measured yet" if delay_ms is None else f"{delay_text(delay_ms)} away"


def delay_text(delay_ms: float) -> str:
    """`46 ms`, `3.5 s`."""
    return f"{delay_ms:.0f} ms" if delay_ms < 1000 else f"{delay_ms / 1000:.1f} s"


def spot_words(spot: Spot) -> str:
    """One peer in words."""
    way = {"direct": "direct", "punched": "direct, through a hole in the router", "relayed": "over a relay"}
    said = f"{spot.name}: {delay_words(spot.delay_ms)}, {way.get(spot.path, spot.path)}."
    return f"{said} {spot.words}".strip()


def map_words(spots: Sequence[Spot]) -> str:
    """The picture in a sentence."""
    if not spots:
        return "Picture of the connected peers: nobody is connected."
    relayed = sum(1 for one in spots if one.path == "relayed")
    over = f", {words.plural(relayed, 'of them over a relay', 'of them over a relay')}" if relayed else ""
    return f"Picture of the connected peers: {words.plural(len(spots), 'peer')}{over}. The table lists them."
