"""One tab of the network page."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from openstall.ui import theme
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.widgets.notices import Banner


class Section(QWidget):
    """Loads when it is looked at, and on the events that it listens to while it is."""

    loaded = Signal()
    title: ClassVar[str] = ""
    name: ClassVar[str] = ""
    """In addresses of views, as `network:group`."""
    listens: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, desk: Desk, banner: Banner) -> None:
        """`banner` is the page's own."""
        super().__init__()
        self.setObjectName("page_body")
        self.desk, self.banner = desk, banner
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(0, 2 * theme.GRID, 0, 0)
        self.body.setSpacing(2 * theme.GRID)

    def load(self) -> None:
        """Ask for what the tab shows; `loaded` follows."""

    def fail(self, failure: Failure) -> None:
        """Say that something could not be had."""
        self.banner.fail(failure)
        self.loaded.emit()
