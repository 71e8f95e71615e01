"""Panels, rows and buttons: the few shapes every page is made of."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from openstall.ui import icons, theme
from openstall.ui.widgets.text import Text


class Panel(QFrame):
    """A framed surface with an optional heading; content goes to `body`."""

    def __init__(self, heading: str = "", *, margin: int = 2 * theme.GRID) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(margin, margin, margin, margin)
        self.body.setSpacing(theme.GRID)
        self.heading = Text(heading, "heading")
        # Hidden, never shown, before it has a parent: a shown orphan would open as a window of its own.
        if not heading:
            self.heading.hide()
        self.body.addWidget(self.heading)


class Facts(QFormLayout):
    """Pairs of a muted name and a value, one under the other."""

    def __init__(self) -> None:
        super().__init__()
        self.setHorizontalSpacing(3 * theme.GRID)
        self.setVerticalSpacing(theme.GRID)
        self.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)

    def add(self, name: str, value: QWidget | str) -> Text:
        """Add a pair and return its name label."""
        label = Text(name, "muted", wrap=False)
        label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        field = Text(value, select=True) if isinstance(value, str) else value
        label.setBuddy(field)
        if not field.accessibleName() and not isinstance(field, QLabel):
            field.setAccessibleName(name)
        if isinstance(field, QLineEdit | QComboBox | QAbstractSpinBox | QPlainTextEdit | QPushButton):
            label.setContentsMargins(0, theme.GRID - 1, 0, 0)
        self.addRow(label, field)
        return label


def row(*items: QWidget | QLayout | int, spacing: int = theme.GRID) -> QHBoxLayout:
    """Widgets side by side; an int is a stretch of that weight."""
    made = QHBoxLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setSpacing(spacing)
    _fill(made, items)
    return made


def column(*items: QWidget | QLayout | int, spacing: int = theme.GRID) -> QVBoxLayout:
    """Widgets one under the other; an int is a stretch of that weight."""
    made = QVBoxLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setSpacing(spacing)
    _fill(made, items)
    return made


def _fill(layout: QHBoxLayout | QVBoxLayout, items: tuple[QWidget | QLayout | int, ...]) -> None:
    for item in items:
        if isinstance(item, int):
            layout.addStretch(item)
        elif isinstance(item, QWidget):
            layout.addWidget(item)
        else:
            layout.addLayout(item)


def button(
    text: str,
    clicked: Callable[[], object] | None = None,
    *,
    icon: str = "",
    kind: str = "",
    description: str = "",
) -> QPushButton:
    """A push button; `kind` primary is for the one expected next step, never for a costly one by default."""
    made = QPushButton(text)
    made.setAutoDefault(False)
    if kind:
        made.setProperty("kind", kind)
    if icon:
        made.setIcon(icons.icon(icon, "on_accent" if kind == "primary" else "text"))
        made.setIconSize(QSize(18, 18))
    made.setAccessibleName(text.replace("&", ""))
    if description:
        made.setToolTip(description)
        made.setAccessibleDescription(description)
    if clicked is not None:
        made.clicked.connect(lambda: clicked())  # noqa: PLW0108 - drops Qt's argument
    return made


def focus(widget: QWidget) -> None:
    """Move the focus to a part that was only now added; a part that is not shown yet cannot take it."""
    widget.show()
    widget.setFocus()


def rule() -> QFrame:
    """A thin line between two parts."""
    made = QFrame()
    made.setObjectName("rule")
    made.setFixedHeight(1)
    return made


def clear(layout: QLayout) -> None:
    """Take everything out of a layout and delete it."""
    while layout.count():
        item = layout.takeAt(0)
        if item is None:
            continue
        widget = item.widget()
        inner = item.layout()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
        elif inner is not None:
            clear(inner)
