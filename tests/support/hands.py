"""What a person does at the window, for the tests: press a button by its name, read what stands there."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.ui.widgets.text import Text

WAIT_MS = 120_000


def push(qtbot: QtBot, inside: QWidget, name: str, *, begins: bool = False) -> None:
    """Press the one button of that name, or whose name begins so, as soon as it can be seen and pressed."""

    def ready() -> list[QPushButton]:
        return [
            one
            for one in inside.findChildren(QPushButton)
            if (one.accessibleName() == name or (begins and one.accessibleName().startswith(name)))
            and one.isVisible()
            and one.isEnabled()
        ]

    def one_is_ready() -> None:
        assert len(ready()) == 1, (name, said(inside))

    qtbot.waitUntil(one_is_ready, timeout=WAIT_MS)
    qtbot.keyClick(ready()[0], Qt.Key.Key_Space)


def said(inside: QWidget) -> str:
    """The texts that can be seen."""
    return "\n".join(text.text() for text in inside.findChildren(Text) if text.isVisible())
