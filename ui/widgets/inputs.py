"""Fields for what the reader gives: amounts, files, choices, a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAction,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QIntValidator,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QStyle,
    QStyleOptionButton,
    QVBoxLayout,
    QWidget,
)

from openstall.market.errors import MoneyError
from openstall.market.money import parse_amount
from openstall.ui import icons, theme, words
from openstall.ui.widgets.layout import button
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.text import Text

SEARCH_PAUSE_MS = 200


class AmountField(QLineEdit):
    """An amount in credits as a decimal; `micro` is None while it is not one."""

    edited = Signal()

    def __init__(self, text: str = "", *, name: str = "Amount in credits") -> None:
        super().__init__(text)
        self.setAccessibleName(name)
        self.setMaximumWidth(160)
        self.setPlaceholderText("0.00")
        self.setFont(theme.tabular(self.font()))
        self.why = ""
        self.textChanged.connect(self._check)

    @property
    def micro(self) -> int | None:
        """The amount in micro-credits."""
        if not self.text().strip():
            return None
        try:
            return parse_amount(self.text())
        except MoneyError as error:
            self.why = f"{error.message} {error.what_next}"
            return None

    def _check(self) -> None:
        wrong = bool(self.text().strip()) and self.micro is None
        mark_wrong(self, wrong=wrong, why=self.why if wrong else "")
        self.edited.emit()


class NumberField(QLineEdit):
    """A whole number between two bounds; typed, or moved by the arrow keys; its unit stands at the end."""

    changed = Signal(int)

    def __init__(self, value: int, least: int, most: int, *, suffix: str = "") -> None:
        super().__init__(str(value))
        self._least, self._most = least, most
        self._suffix = suffix.strip()
        self._valid = QIntValidator(least, min(most, 2**31 - 1), self)
        self.setValidator(self._valid)
        self.setMaximumWidth(160)
        self.setFont(theme.tabular(self.font()))
        self.textChanged.connect(self._changed)
        self.editingFinished.connect(lambda: self.setValue(self.value()))

    def value(self) -> int:
        """The number; the nearest bound while what is typed lies outside."""
        text = self.text().strip()
        typed = int(text) if text.lstrip("-").isdigit() else self._least
        return max(self._least, min(self._most, typed))

    def setValue(self, value: int) -> None:
        """Show another number, moved into the bounds."""
        text = str(max(self._least, min(self._most, value)))
        if text != self.text():
            self.setText(text)

    def setRange(self, least: int, most: int) -> None:
        """Other bounds; the number moves into them."""
        self._least, self._most = least, most
        self._valid.setRange(least, min(most, 2**31 - 1))
        self.setValue(self.value())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1, Qt.Key.Key_PageUp: 10, Qt.Key.Key_PageDown: -10}
        if event.key() in step:
            self.setValue(self.value() + step[Qt.Key(event.key())])
            return
        super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._suffix:
            painter = QPainter(self)
            painter.setPen(theme.colour("muted"))
            painter.drawText(
                self.rect().adjusted(0, 0, -12, 0),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                self._suffix,
            )
            painter.end()

    def _changed(self) -> None:
        self.changed.emit(self.value())


class Tick(QCheckBox):
    """A check box whose frame and tick can be seen in both palettes."""

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.isChecked():
            return
        option = QStyleOptionButton()
        self.initStyleOption(option)
        box = self.style().subElementRect(QStyle.SubElement.SE_CheckBoxIndicator, option, self)
        painter = QPainter(self)
        icons.paint(painter, QRectF(box).adjusted(1, 1, -1, -1), "check", theme.colour("on_accent"))
        painter.end()


class Choice(QComboBox):
    """A choice from a list, each with its value; the arrow follows the palette."""

    def __init__(self, options: Sequence[tuple[str, object]] = (), *, chosen: int = 0) -> None:
        super().__init__()
        for label, value in options:
            self.addItem(label, value)
        if options:
            self.setCurrentIndex(chosen)

    def let_type(self, name: str) -> None:
        """Take other values than those of the list too."""
        self.setEditable(True)
        field = self.lineEdit()
        if field is not None:
            field.setAccessibleName(name)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        side = 14
        place = QRectF(self.width() - side - 9, (self.height() - side) / 2, side, side)
        icons.paint(painter, place, "down", theme.colour("muted"))
        painter.end()


def mark_wrong(field: QLineEdit, *, wrong: bool, why: str = "") -> None:
    """Frame a field whose content cannot be used, and say why on hover."""
    if bool(field.property("wrong")) != wrong:
        field.setProperty("wrong", wrong)
        field.style().unpolish(field)
        field.style().polish(field)
    field.setToolTip(words.tooltip(why))
    field.setAccessibleDescription(why)


class SearchBar(QWidget):
    """A search field and facets of which one is chosen; asks again after a short pause in typing."""

    searched = Signal()

    def __init__(self, placeholder: str, facets: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(SEARCH_PAUSE_MS)
        self._pause.timeout.connect(self.searched.emit)
        self.field = QLineEdit()
        self.field.setPlaceholderText(placeholder)
        self.field.setAccessibleName(placeholder)
        self.field.setMaxLength(200)
        self.field.addAction(icons.icon("search", "muted"), QLineEdit.ActionPosition.LeadingPosition)
        self.field.textChanged.connect(self._pause.start)
        find = QAction(self)
        find.setShortcut(QKeySequence.StandardKey.Find)
        find.triggered.connect(self.field.setFocus)
        self.addAction(find)
        self._group = QButtonGroup(self)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(2 * theme.GRID)
        self._facets: dict[str, QPushButton] = {}
        for key, label in facets:
            tab = button(label, kind="tab")
            tab.setCheckable(True)
            self._group.addButton(tab)
            self._facets[key] = tab
            line.addWidget(tab)
        if facets:
            self._facets[facets[0][0]].setChecked(True)
            self._group.buttonClicked.connect(lambda _button: self.searched.emit())
        line.addStretch(1)
        self.field.setMinimumWidth(320)
        line.addWidget(self.field)

    @property
    def text(self) -> str:
        """What is searched for."""
        return self.field.text().strip()

    @property
    def facet(self) -> str:
        """The chosen facet."""
        return next((key for key, tab in self._facets.items() if tab.isChecked()), "")

    def choose(self, facet: str) -> None:
        """Choose a facet without asking again."""
        if facet in self._facets:
            self._facets[facet].setChecked(True)


class FileDrop(QFrame):
    """A field for one file: drop it here, or choose it."""

    picked = Signal(str)

    def __init__(self, what: str, patterns: str, *, suffixes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.setObjectName("drop")
        self.setAcceptDrops(True)
        self.setAccessibleName(what)
        self._what = what
        self._patterns = patterns
        self._suffixes = suffixes
        self.path = ""
        self._picture = Picture("file", "muted", 24)
        self._name = Text(f"Drop {what} here", "strong")
        self._detail = Text("or choose it from the disk", "small")
        texts = QVBoxLayout()
        texts.setSpacing(0)
        texts.addWidget(self._name)
        texts.addWidget(self._detail)
        line = QHBoxLayout(self)
        line.setContentsMargins(2 * theme.GRID, theme.GRID + 4, 2 * theme.GRID, theme.GRID + 4)
        line.setSpacing(theme.GRID + 4)
        line.addWidget(self._picture)
        line.addLayout(texts, 1)
        self.chooser = button("Choose…", self._choose, icon="folder")
        self.chooser.setAccessibleName(f"Choose {what}")
        line.addWidget(self.chooser)

    def take(self, path: str) -> None:
        """Use this file."""
        self.path = path
        file = Path(path)
        self._name.say(file.name)
        try:
            self._detail.say(f"{words.size(file.stat().st_size)} · {file.parent}")
        except OSError as error:
            self._detail.say(f"Cannot be read: {error.strerror}")
        self.picked.emit(path)

    def ask_for(self, what: str) -> None:
        """Ask for another thing."""
        self._what = what
        self.setAccessibleName(what)
        self.chooser.setAccessibleName(f"Choose {what}")
        if not self.path:
            self.empty()

    def empty(self) -> None:
        """Use no file after all."""
        self.path = ""
        self._name.say(f"Drop {self._what} here")
        self._detail.say("or choose it from the disk")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self._dropped(event):
            event.acceptProposedAction()
            self._over(over=True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._over(over=False)
        super().dragLeaveEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:
        self._over(over=False)
        path = self._dropped(event)
        if path:
            event.acceptProposedAction()
            self.take(path)

    def _dropped(self, event: QDropEvent) -> str:
        urls = event.mimeData().urls()
        if len(urls) != 1 or not urls[0].isLocalFile():
            return ""
        path = urls[0].toLocalFile()
        fits = not self._suffixes or path.lower().endswith(self._suffixes)
        return path if fits else ""

    def _over(self, *, over: bool) -> None:
        self.setProperty("over", over)
        self.style().unpolish(self)
        self.style().polish(self)

    def _choose(self) -> None:
        path, _filter = QFileDialog.getOpenFileName(
            self, f"Choose {self._what}", str(Path.home()), self._patterns
        )
        if path:
            self.take(path)


class ChoiceCard(QPushButton):
    """A large choice: an icon, a title and a sentence; may be one of several or stand alone."""

    def __init__(
        self, icon: str, title: str, text: str, *, clicked: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self.setProperty("kind", "choice")
        self.setCheckable(True)
        self.setAutoDefault(False)
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)
        self._mark = Picture("circle", "muted", 20)
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addStretch(1)
        texts.addWidget(Text(title, "strong"))
        texts.addWidget(Text(text, "muted"))
        texts.addStretch(1)
        line = QHBoxLayout(self)
        line.setContentsMargins(2 * theme.GRID, theme.GRID, 2 * theme.GRID, theme.GRID)
        line.setSpacing(2 * theme.GRID)
        line.addWidget(Picture(icon, "accent", 28))
        line.addLayout(texts, 1)
        line.addWidget(self._mark)
        self.toggled.connect(self._show_mark)
        if clicked is not None:
            self.clicked.connect(lambda: clicked())  # noqa: PLW0108 - drops Qt's argument

    def _show_mark(self, checked: bool) -> None:  # noqa: FBT001 - a slot
        self._mark.show_icon("done" if checked else "circle", "accent" if checked else "muted")
