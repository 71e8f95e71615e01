"""A QR picture, drawn from its modules."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from openstall.ui import theme

MARGIN = 4
"""Light modules around the picture, as its standard wants."""
MODULE = 4


class QrPicture(QWidget):
    """Dark on light in every theme: telephones read nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[str] = []
        self.setAccessibleName("QR picture")

    def show_rows(self, rows: list[str], name: str) -> None:
        """Draw these modules; `name` says what they hold."""
        self._rows = [row for row in rows if len(row) == len(rows)]
        self.setAccessibleName(f"QR picture: {name}")
        side = (len(self._rows) + 2 * MARGIN) * MODULE if self._rows else 0
        self.setFixedSize(QSize(side, side))
        self.setVisible(bool(self._rows))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: ARG002 - Qt's signature
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.QR_PAPER)
        for y, row in enumerate(self._rows):
            for x, module in enumerate(row):
                if module == "1":
                    place = QRectF((x + MARGIN) * MODULE, (y + MARGIN) * MODULE, MODULE, MODULE)
                    painter.fillRect(place, theme.QR_INK)
