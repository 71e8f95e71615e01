"""A gauge: how much of something is used, as a bar with the figures in words beside it."""

from __future__ import annotations

from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from openstall.ui import theme
from openstall.ui.widgets.layout import row
from openstall.ui.widgets.text import Text


class Gauge(QWidget):
    """A name, a bar and the same in words."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._value = Text("", "small", wrap=False)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setRange(0, 100)
        self._bar.setAccessibleName(name)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.GRID // 2)
        column.addLayout(row(Text(name, wrap=False), 1, self._value))
        column.addWidget(self._bar)

    def show_value(self, percent: int, text: str) -> None:
        """Show how full it is (0 to 100) and the figures."""
        self._bar.setValue(max(0, min(100, percent)))
        self._value.say(text)
        self._bar.setAccessibleDescription(text)
