"""The base of a step of the first run."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from openstall.ui import theme


class Step(QWidget):
    """One step: its heading, whether it is complete, and what Next does."""

    changed = Signal()
    failed = Signal(object)
    title = ""
    text = ""
    next_words = "&Next"

    def __init__(self) -> None:
        super().__init__()
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(2 * theme.GRID)

    @property
    def complete(self) -> bool:
        """Whether Next may be pressed."""
        return True

    def enter(self) -> None:
        """The step comes into view."""

    def proceed(self) -> None:
        """Next was pressed."""

    def _field_changed(self, _text: str = "") -> None:
        self.changed.emit()
