"""What the window says to the reader: banners, empty states, and progress that can be cancelled."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from openstall.ui import theme, words
from openstall.ui.documents import Failure, Operation
from openstall.ui.widgets.layout import button, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.text import Text

_ICONS = {"bad": "error", "care": "warning", "good": "done", "accent": "info"}


class Banner(QFrame):
    """One message across the page, with what to do next and at most one action."""

    closed = Signal()

    def __init__(self, *, closable: bool = True) -> None:
        super().__init__()
        self.setObjectName("banner")
        self._picture = Picture("info", "accent", 20)
        self._message = Text("", "strong", select=True)
        self._next = Text("", select=True)
        self._code = Text("", "small", wrap=False)
        self._action = button("")
        self._action.clicked.connect(self._act)
        self._do: Callable[[], object] | None = None
        self._close = button("", self._shut, icon="cancel", kind="quiet", description="Close this message")
        self._close.setAccessibleName("Close this message")
        if not closable:
            self._close.hide()
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self._message)
        texts.addWidget(self._next)
        line = QHBoxLayout(self)
        line.setContentsMargins(2 * theme.GRID, theme.GRID, theme.GRID, theme.GRID)
        line.setSpacing(theme.GRID + 4)
        line.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignTop)
        line.addLayout(texts, 1)
        line.addWidget(self._code, 0, Qt.AlignmentFlag.AlignTop)
        line.addWidget(self._action)
        line.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    @property
    def message(self) -> str:
        """What it says now; empty while hidden."""
        return self._message.text() if not self.isHidden() else ""

    def say(
        self,
        tone: theme.Tone,
        message: str,
        what_next: str = "",
        *,
        code: str = "",
        action: tuple[str, Callable[[], object]] | None = None,
    ) -> None:
        """Show a message; it replaces the one before."""
        self._picture.show_icon(_ICONS.get(tone, "info"), tone)
        self._message.say(message)
        self._next.say(what_next)
        self._next.setVisible(bool(what_next))
        self._code.say(f"code {words.one_line(code, 60)}" if code else "")
        self._code.setVisible(bool(code))
        self._action.setVisible(action is not None)
        if action is not None:
            self._action.setText(action[0])
            self._action.setAccessibleName(action[0].replace("&", ""))
            self._do = action[1]
        self.setAccessibleName(f"{message} {what_next}")
        if self.property("tone") != tone:
            self.setProperty("tone", tone)
            self.style().unpolish(self)
            self.style().polish(self)
        self.show()

    def fail(self, failure: Failure) -> None:
        """Show a failure of the local API in its own words."""
        self.say("bad", failure.message, failure.what_next, code=failure.code)

    def _act(self) -> None:
        if self._do is not None:
            self._do()

    def _shut(self) -> None:
        self.hide()
        self.closed.emit()


class EmptyState(QWidget):
    """What to read where a list is empty: why, and the next action."""

    def __init__(
        self, icon: str, title: str, text: str, action: tuple[str, Callable[[], object]] | None = None
    ) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setSpacing(theme.GRID)
        column.setContentsMargins(3 * theme.GRID, 4 * theme.GRID, 3 * theme.GRID, 4 * theme.GRID)
        self.title = Text(title, "heading", wrap=True)
        self.text = Text(text, "muted")
        for label in (self.title, self.text):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(1)
        column.addWidget(Picture(icon, "muted", 40), 0, Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(self.title)
        column.addWidget(self.text)
        if action is not None:
            self.action = button(action[0], action[1])
            column.addSpacing(theme.GRID)
            column.addWidget(self.action, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(2)


class ProgressRow(QWidget):
    """A long action: its stage in words, how far it is, and a way to cancel."""

    cancelled = Signal()

    def __init__(self, *, cancel: bool = True) -> None:
        super().__init__()
        self._title = Text("", "strong")
        self._stage = Text("", "small", wrap=False)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress")
        self._cancel = button("Cancel", self.cancelled.emit, icon="cancel")
        if not cancel:
            self._cancel.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.GRID // 2)
        line = row(self._title, self._stage, self._cancel)
        line.setStretch(0, 1)
        column.addLayout(line)
        column.addWidget(self._bar)
        self.hide()

    def begin(self, title: str) -> None:
        """Show that an action was asked for, before the node says more."""
        self.step(title, "", 0, 0, "")

    def show_operation(self, operation: Operation) -> None:
        """Show how far an operation of the node is."""
        self.step(operation.title, operation.stage, operation.done, operation.total, operation.unit)

    def step(self, title: str, stage: str, done: int, total: int, unit: str) -> None:
        """Show a stage; a total of 0 means that nobody knows how long it takes."""
        self._title.say(words.one_line(title))
        self._bar.setRange(0, 100 if total > 0 else 0)
        self._bar.setValue(words.percent(done, total))
        self._stage.say(
            "  ".join(
                part for part in (words.one_line(stage, 120), progress_words(done, total, unit)) if part
            )
        )
        self._bar.setAccessibleDescription(f"{self._title.text()} {self._stage.text()}")
        self.show()


def progress_words(done: int, total: int, unit: str) -> str:
    """`3.0 MB of 12.0 MB`, `40 of 60 epochs`; empty when the total is unknown."""
    if total <= 0:
        return ""
    if unit in ("bytes", "B"):
        return f"{words.size(done)} of {words.size(total)}"
    return f"{done:,} of {total:,} {words.one_line(unit, 30)}".rstrip()
