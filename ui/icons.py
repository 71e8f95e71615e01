"""Icons from our own SVG files, tinted from the palette at the moment of painting."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QByteArray, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QIconEngine, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

import openstall.resources.icons
from openstall.ui import theme

_FOLDER = Path(openstall.resources.icons.__file__ or "").parent


@lru_cache(maxsize=128)
def _source(name: str) -> str:
    return (_FOLDER / f"{name}.svg").read_text(encoding="utf-8")


def names() -> list[str]:
    """Every icon that ships."""
    return sorted(path.stem for path in _FOLDER.glob("*.svg"))


def paint(painter: QPainter, rect: QRectF, name: str, ink: QColor) -> None:
    """Draw the icon `name` in the colour `ink` inside `rect`."""
    source = _source(name).replace("currentColor", ink.name())
    QSvgRenderer(QByteArray(source.encode())).render(painter, rect)


@lru_cache(maxsize=256)
def _pixmap(name: str, ink: str, width: int, height: int) -> QPixmap:
    made = QPixmap(width, height)
    made.fill(Qt.GlobalColor.transparent)
    painter = QPainter(made)
    side = min(width, height)
    box = QRectF((width - side) / 2, (height - side) / 2, side, side)
    paint(painter, box, name, QColor(ink))
    painter.end()
    return made


def pixmap(name: str, tone: theme.Tone, side: int, ratio: float) -> QPixmap:
    """A picture of `side` device-independent pixels for a screen with `ratio` pixels to each."""
    real = round(side * ratio)
    made = QPixmap(_pixmap(name, theme.colour(tone).name(), real, real))
    made.setDevicePixelRatio(ratio)
    return made


class _TintedEngine(QIconEngine):
    """Paints one SVG in the colour its tone has now, so icons follow the palette by themselves."""

    def __init__(self, name: str, tone: theme.Tone) -> None:
        super().__init__()
        self._name = name
        self._tone: theme.Tone = tone

    def _ink(self, mode: QIcon.Mode) -> str:
        tone: theme.Tone = "muted" if mode == QIcon.Mode.Disabled else self._tone
        return theme.colour(tone).name()

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, _state: QIcon.State) -> None:
        ratio = painter.device().devicePixelRatio()
        side = round(min(rect.width(), rect.height()) * ratio)
        if side > 0:
            target = QRect(0, 0, round(side / ratio), round(side / ratio))
            target.moveCenter(rect.center())
            painter.drawPixmap(target, _pixmap(self._name, self._ink(mode), side, side))

    def pixmap(self, size: QSize, mode: QIcon.Mode, _state: QIcon.State) -> QPixmap:
        return _pixmap(self._name, self._ink(mode), size.width(), size.height())

    def clone(self) -> QIconEngine:
        return _TintedEngine(self._name, self._tone)


def icon(name: str, tone: theme.Tone = "text") -> QIcon:
    """The icon `name`; raises FileNotFoundError for one that does not ship."""
    _source(name)
    return QIcon(_TintedEngine(name, tone))
