"""The base of every page: a title, actions, one banner, a body; loads when shown and when events say so."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from openstall.ui import theme
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.widgets.layout import button
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.people import Caution
from openstall.ui.widgets.text import Text

BURST_MS = 200


class Body(QWidget):
    """What scrolls: as high as its texts need at the width there is, so that no idle scroll bar shows."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("page_body")

    def minimumSizeHint(self) -> QSize:
        layout, parent = self.layout(), self.parentWidget()
        if layout is None or parent is None or not layout.hasHeightForWidth():
            return super().minimumSizeHint()
        return QSize(layout.minimumSize().width(), layout.minimumHeightForWidth(parent.width()))


class Page(QWidget):
    """A view of the window.

    `load` asks the node for what the page shows; it runs when the page is first shown, when the
    connection comes back, and (in bursts gathered) when an event named in `listens` arrives.
    """

    loaded = Signal()
    listens: frozenset[str] = frozenset()

    def __init__(
        self, desk: Desk, title: str, subtitle: str = "", *, scroll: bool = True, back: str = ""
    ) -> None:
        super().__init__()
        self.setObjectName("page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAccessibleName(title)
        self.desk = desk
        self.is_loaded = False
        self.banner = Banner()
        self.title = Text(title, "title")
        self.subtitle = Text(subtitle, "muted")
        self.caution = Caution()
        if not subtitle:
            self.subtitle.hide()
        self.tools = QHBoxLayout()
        self.tools.setSpacing(theme.GRID)
        self.body = QVBoxLayout()
        self.body.setSpacing(2 * theme.GRID)
        self._burst = QTimer(self)
        self._burst.setSingleShot(True)
        self._burst.setInterval(BURST_MS)
        self._burst.timeout.connect(self.load)
        self._arrange(scroll=scroll, back=back)
        desk.happened.connect(self._on_event)
        desk.api.online.connect(self.load_soon)

    def load(self) -> None:
        """Ask for what the page shows; then `mark_loaded`."""
        self.mark_loaded()

    def load_soon(self) -> None:
        """Load again, a burst of reasons at once; a page out of sight waits until it is shown."""
        if self.isVisible():
            self._burst.start()
        else:
            self.is_loaded = False

    def mark_loaded(self) -> None:
        """What the page shows is complete."""
        self.is_loaded = True
        self.loaded.emit()

    def fail(self, failure: Failure) -> None:
        """Show a failure in the page's banner; the page counts as loaded."""
        self.banner.fail(failure)
        self.mark_loaded()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self.is_loaded:
            self.load()

    def on_event(self, name: str, data: object) -> None:  # noqa: ARG002 - pages look at them
        """An event that the page listens to; by default the page loads again."""
        self.load_soon()

    def _on_event(self, name: str, data: object) -> None:
        if name in self.listens:
            self.on_event(name, data)

    def _arrange(self, *, scroll: bool, back: str) -> None:
        heads = QVBoxLayout()
        heads.setSpacing(2)
        heads.addWidget(self.title)
        heads.addWidget(self.subtitle)
        heads.addWidget(self.caution)
        top = QHBoxLayout()
        top.setSpacing(2 * theme.GRID)
        if back:
            leave = button("", self.desk.back.emit, icon="back", kind="quiet", description=back)
            leave.setAccessibleName(back)
            leave.setShortcut("Alt+Left")
            top.addWidget(leave, 0, Qt.AlignmentFlag.AlignTop)
        top.addLayout(heads, 1)
        top.addLayout(self.tools)
        inner = Body()
        column = QVBoxLayout(inner)
        column.setContentsMargins(3 * theme.GRID, 3 * theme.GRID, 3 * theme.GRID, 3 * theme.GRID)
        column.setSpacing(2 * theme.GRID)
        column.addLayout(top)
        column.addWidget(self.banner)
        column.addLayout(self.body, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        if scroll:
            area = QScrollArea()
            area.setObjectName("page_scroll")
            area.setFrameShape(QFrame.Shape.NoFrame)
            area.setWidgetResizable(True)
            area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            area.setWidget(inner)
            outer.addWidget(area)
        else:
            outer.addWidget(inner)
