"""Tables of typed rows: sorting, amounts to the right, icons beside words, and an empty state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QFont, QFontMetrics, QKeyEvent, QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStackedLayout,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from openstall.ui import icons, theme, words

R = TypeVar("R")
Index = QModelIndex | QPersistentModelIndex
SORT_ROLE = Qt.ItemDataRole.UserRole
SECOND_ROLE = Qt.ItemDataRole.UserRole + 1
ICON_ROLE = Qt.ItemDataRole.UserRole + 2
TONE_ROLE = Qt.ItemDataRole.UserRole + 3
_PAD = theme.GRID


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[R]):
    """One column: how a row is shown in it, and by what it sorts."""

    title: str
    text: Callable[[R], str]
    sort: Callable[[R], Any] | None = None
    right: bool = False
    second: Callable[[R], str] | None = None
    icon: Callable[[R], tuple[str, theme.Tone] | None] | None = None
    tip: Callable[[R], str] | None = None
    stretch: bool = False
    width: int = 0


class RowModel(QAbstractTableModel, Generic[R]):
    """Rows of one type; each has a key that stays the same while its figures change."""

    def __init__(self, columns: Sequence[Column[R]], key: Callable[[R], str]) -> None:
        super().__init__()
        self._columns = list(columns)
        self._key = key
        self._rows: list[R] = []

    def set_rows(self, rows: Sequence[R]) -> None:
        """Show these rows; the same keys in the same order change in place, so a selection stays."""
        if [self._key(row) for row in rows] == [self._key(row) for row in self._rows]:
            self._rows = list(rows)
            if self._rows:
                self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(self._columns) - 1))
            return
        self.beginResetModel()
        self._rows = list(rows)
        self.endResetModel()

    def row(self, index: int) -> R:
        """The row at a position of this model."""
        return self._rows[index]

    def find(self, key: str) -> int:
        """The position of a key, or -1."""
        return next((at for at, row in enumerate(self._rows) if self._key(row) == key), -1)

    def key_of(self, index: int) -> str:
        """The key of the row at a position."""
        return self._key(self._rows[index])

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(self._columns)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self._columns):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._columns[section].title
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(right=self._columns[section].right)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: PLR0911 - one line a role
        if not index.isValid():
            return None
        column, row = self._columns[index.column()], self._rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return words.one_line(column.text(row))
        if role == SORT_ROLE:
            return column.sort(row) if column.sort else column.text(row).lower()
        if role == SECOND_ROLE:
            return words.one_line(column.second(row), 300) if column.second else ""
        if role == ICON_ROLE:
            return column.icon(row) if column.icon else None
        if role == Qt.ItemDataRole.ToolTipRole:
            return words.tooltip(column.tip(row)) if column.tip else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(right=column.right)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{column.title}: {words.one_line(column.text(row))}"
        return None


def _alignment(*, right: bool) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


class _SortModel(QSortFilterProxyModel):
    def lessThan(self, left: Index, right: Index) -> bool:
        one, other = left.data(SORT_ROLE), right.data(SORT_ROLE)
        try:
            return bool(one < other)
        except TypeError:
            return str(one) < str(other)


class _CellPainter(QStyledItemDelegate):
    """Paints a cell: an icon, a line of text, and a muted second line where a column has one."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        metrics = QFontMetrics(option.font)
        width = metrics.horizontalAdvance(str(index.data() or "")) + 2 * _PAD
        if index.data(ICON_ROLE):
            width += 24
        return QSize(width, metrics.height() + 2 * _PAD)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        if chosen:
            painter.fillRect(option.rect, option.palette.color(QPalette.ColorRole.Highlight))
        painter.setPen(theme.line_colour())
        painter.drawLine(option.rect.bottomLeft(), option.rect.bottomRight())
        box = option.rect.adjusted(_PAD, 0, -_PAD, 0)
        mark = index.data(ICON_ROLE)
        if mark:
            side = 16
            icons.icon(mark[0], mark[1]).paint(
                painter, QRect(box.left(), box.center().y() - side // 2, side, side)
            )
            box.setLeft(box.left() + side + 6)
        self._write(painter, option, index, box)
        painter.restore()

    def _write(self, painter: QPainter, option: QStyleOptionViewItem, index: Index, box: QRect) -> None:
        alignment = index.data(Qt.ItemDataRole.TextAlignmentRole)
        second = index.data(SECOND_ROLE)
        font = theme.tabular(option.font)
        first_box = box
        if second:
            font.setWeight(QFont.Weight.DemiBold)
            first_box = QRect(box.left(), box.top() + 7, box.width(), box.height() // 2 - 6)
        painter.setFont(font)
        painter.setPen(theme.colour("text"))
        _elided(painter, first_box, alignment, str(index.data() or ""))
        if second:
            font.setWeight(QFont.Weight.Normal)
            font.setPointSizeF(font.pointSizeF() * 0.92)
            painter.setFont(font)
            painter.setPen(theme.colour("muted"))
            rest = QRect(box.left(), first_box.bottom() + 1, box.width(), box.height() // 2 - 6)
            _elided(painter, rest, alignment, str(second))


def _elided(painter: QPainter, box: QRect, alignment: Qt.AlignmentFlag, text: str) -> None:
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, box.width())
    painter.drawText(box, int(alignment) | Qt.TextFlag.TextSingleLine, shown)


class RowTable(QWidget, Generic[R]):
    """A sortable table with an empty state; Enter or a double click opens a row."""

    opened = Signal(object)
    chosen = Signal(object)

    def __init__(
        self,
        name: str,
        columns: Sequence[Column[R]],
        key: Callable[[R], str],
        empty: QWidget,
        *,
        row_height: int = 40,
    ) -> None:
        super().__init__()
        self.model = RowModel(columns, key)
        self._sorted = _SortModel(self)
        self._sorted.setSourceModel(self.model)
        self._sorted.setDynamicSortFilter(True)
        self.view = _Table(name, row_height)
        self.view.setModel(self._sorted)
        self.view.setItemDelegate(_CellPainter(self.view))
        _set_widths(self.view.horizontalHeader(), columns)
        self.view.opened.connect(self._open)
        self.view.selectionModel().currentRowChanged.connect(lambda now, _old: self._choose(now))
        self.empty = empty
        self._stack = QStackedLayout(self)
        self._stack.addWidget(empty)
        self._stack.addWidget(self.view)

    def sort_by(self, column: int, order: Qt.SortOrder) -> None:
        """Sort until the reader sorts otherwise."""
        self.view.sortByColumn(column, order)

    def set_rows(self, rows: Sequence[R]) -> None:
        """Show these rows, or the empty state; the chosen row stays chosen."""
        chosen = self.current_key()
        self.model.set_rows(rows)
        if chosen is not None:
            self.choose(chosen)
        self._stack.setCurrentWidget(self.view if rows else self.empty)

    def current_key(self) -> str | None:
        """The key of the chosen row."""
        index = self._sorted.mapToSource(self.view.currentIndex())
        return self.model.key_of(index.row()) if index.isValid() else None

    def current(self) -> R | None:
        """The chosen row."""
        index = self._sorted.mapToSource(self.view.currentIndex())
        return self.model.row(index.row()) if index.isValid() else None

    def choose(self, key: str) -> None:
        """Choose the row with a key, if it is there."""
        at = self.model.find(key)
        if at >= 0 and key != self.current_key():
            self.view.selectRow(self._sorted.mapFromSource(self.model.index(at, 0)).row())

    def _open(self, index: QModelIndex) -> None:
        self.opened.emit(self.model.row(self._sorted.mapToSource(index).row()))

    def _choose(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self.model.row(self._sorted.mapToSource(index).row()))


class _Table(QTableView):
    opened = Signal(QModelIndex)

    def __init__(self, name: str, row_height: int) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setSortingEnabled(True)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(row_height)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setAccessibleName(f"Columns of {name}")
        self.setCornerButtonEnabled(False)
        self.doubleClicked.connect(self.opened.emit)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.opened.emit(self.currentIndex())
            return
        super().keyPressEvent(event)


def _set_widths(header: QHeaderView, columns: Sequence[Column[R]]) -> None:
    header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
    for at, column in enumerate(columns):
        if column.stretch:
            header.setSectionResizeMode(at, QHeaderView.ResizeMode.Stretch)
        elif column.width:
            header.resizeSection(at, column.width)
        else:
            header.setSectionResizeMode(at, QHeaderView.ResizeMode.ResizeToContents)
