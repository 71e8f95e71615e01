"""Labels. All of them show plain text: a peer's words never become markup, links or pictures."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from openstall.ui import words

Kind = Literal["body", "figure", "title", "heading", "strong", "small", "muted"]


class Text(QLabel):
    """A plain-text label of one step of the type scale; wraps unless told otherwise."""

    def __init__(
        self,
        text: str = "",
        kind: Kind = "body",
        *,
        wrap: bool = True,
        select: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)
        if kind != "body":
            self.setProperty("kind", kind)
        if wrap:
            policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
            policy.setHeightForWidth(True)
            self.setSizePolicy(policy)
        if select:
            self.setTextInteractionFlags(
                Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
            )
        self.say(text)

    def say(self, text: str) -> None:
        """Show another text."""
        self.setText(words.plain(text))

    def tone(self, tone: str) -> None:
        """Colour it by its meaning; an icon or a word beside it must say the same."""
        if self.property("tone") != tone:
            self.setProperty("tone", tone)
            self.style().unpolish(self)
            self.style().polish(self)
