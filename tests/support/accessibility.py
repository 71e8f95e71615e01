"""Walks the accessibility tree of a widget as a screen reader does."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtGui import QAccessible, QAccessibleInterface
from PySide6.QtWidgets import QLabel, QWidget


def tree(widget: QWidget) -> Iterator[QAccessibleInterface]:
    """Every visible thing that a screen reader reaches."""
    root = QAccessible.queryAccessibleInterface(widget)
    waiting = [root] if root is not None else []
    while waiting:
        item = waiting.pop()
        if not item.isValid() or item.state().invisible:
            continue
        yield item
        waiting += [child for at in range(item.childCount()) if (child := item.child(at)) is not None]


def nameless(widget: QWidget) -> list[str]:
    """Controls that take the focus but have no name to read out."""
    found = []
    for item in tree(widget):
        if item.state().focusable and not item.text(QAccessible.Text.Name).strip():
            thing = item.object()
            found.append(
                f"{item.role()} {type(thing).__name__} in {type(thing.parent()).__name__ if thing else '?'}"
            )
    return found


def rich_labels(widget: QWidget) -> list[str]:
    """Labels that could show markup."""
    from PySide6.QtCore import Qt

    return [
        label.text() for label in widget.findChildren(QLabel) if label.textFormat() != Qt.TextFormat.PlainText
    ]
