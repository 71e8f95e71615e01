"""Amounts, times and ids: the figures of the application, each with its exact value on hover."""

from __future__ import annotations

import time

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from openstall.ui import icons, theme, words
from openstall.ui.widgets.text import Kind, Text

TICK_MS = 1000


class Amount(Text):
    """An amount of money, right-aligned, digits of one width, the raw units on hover."""

    def __init__(
        self, micro: int = 0, kind: Kind = "body", *, symbol: str = "credits", sign: bool = False
    ) -> None:
        super().__init__("", kind, wrap=False)
        self._symbol = symbol
        self._sign = sign
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setFont(theme.tabular(self.font()))
        self.show_micro(micro)

    def show_micro(self, micro: int) -> None:
        """Show another amount in micro-credits."""
        self.say(words.amount(micro, sign=self._sign, symbol=self._symbol))
        self.setToolTip(words.tooltip(words.raw_amount(micro)))


class When(Text):
    """A time relative to now that keeps itself current; the absolute time on hover."""

    def __init__(self, at: int = 0, kind: Kind = "muted", *, prefix: str = "") -> None:
        super().__init__("", kind, wrap=False)
        self._at = at
        self._prefix = prefix
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        self.show_at(at)

    def show_at(self, at: int) -> None:
        """Show another time (Unix seconds, 0 for none)."""
        self._at = at
        self.setToolTip(words.tooltip(words.moment(at)))
        self._tick()
        if at:
            self._timer.start()
        else:
            self._timer.stop()

    def _tick(self) -> None:
        text = f"{self._prefix}{words.ago(self._at, int(time.time()))}"
        if text != self.text():
            self.say(text)


class CopyId(QWidget):
    """A long id, shown short, with a button that copies it whole."""

    def __init__(self, text: str = "", *, what: str = "id", whole: bool = False, head: int = 6) -> None:
        super().__init__()
        self._full = ""
        self._what = what
        self._whole = whole
        self._head = head
        self._label = Text("", select=True, wrap=False)
        self._label.setFont(theme.fixed_font())
        self._button = QPushButton()
        self._button.setProperty("kind", "tiny")
        self._button.setIcon(icons.icon("copy", "muted"))
        self._button.setAccessibleName(f"Copy {what}")
        self._button.setToolTip(f"Copy {what}")
        self._button.clicked.connect(self._copy)
        self._back = QTimer(self)
        self._back.setSingleShot(True)
        self._back.setInterval(1500)
        self._back.timeout.connect(self._not_copied)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.GRID // 2)
        row.addWidget(self._label)
        row.addWidget(self._button)
        row.addStretch(1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.show_id(text)

    def show_id(self, text: str) -> None:
        """Show another id; an empty one hides the copy button."""
        self._full = words.one_line(text, 4000)
        self._label.setText((self._full if self._whole else words.short_id(self._full, self._head)) or "—")
        self._label.setToolTip(words.tooltip(self._full))
        self._label.setAccessibleName(f"{self._what} {self._full}")
        self._button.setVisible(bool(self._full))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._full)
        self._button.setIcon(icons.icon("check", "good"))
        self._button.setToolTip("Copied")
        self._back.start()

    def _not_copied(self) -> None:
        self._button.setIcon(icons.icon("copy", "muted"))
        self._button.setToolTip(f"Copy {self._what}")
