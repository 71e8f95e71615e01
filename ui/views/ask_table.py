"""Ask for a model: the table with the right answers, its first rows, and what is wrong with it."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QWidget

from openstall.ui import theme, words
from openstall.ui.requests import Preview, TableLook
from openstall.ui.widgets.inputs import Choice, FileDrop
from openstall.ui.widgets.layout import Panel, clear, column, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.text import Text

ENCODINGS = (
    ("UTF-8", ""),
    ("UTF-16", "utf-16"),
    ("Windows, Western Europe", "windows-1252"),
    ("Windows, Central Europe", "windows-1250"),
    ("Windows, Turkish", "windows-1254"),
    ("ISO 8859-9, Turkish", "iso-8859-9"),
)
_SHOWN_PROBLEMS = 6


class TablePanel(Panel):
    """Takes the file, and shows what the node saw in it."""

    picked = Signal()
    """Another file."""
    changed = Signal()
    """The same file, to be read in another way."""

    def __init__(self) -> None:
        super().__init__("Your table")
        self.file = FileDrop("a CSV file with the right answers", "Tables (*.csv);;All files (*)")
        self.file.picked.connect(lambda _path: self._picked())
        self.rows = QTableWidget()
        self.rows.setAccessibleName("First rows of the table")
        self.rows.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.rows.setTabKeyNavigation(False)
        self.rows.verticalHeader().hide()
        self.rows.setFixedHeight(208)
        self.rows.hide()
        self._count = Text(
            "One row a case, numbers in the columns, one column with the right answers.", "small"
        )
        self.encoding = Choice(ENCODINGS)
        self.encoding.setAccessibleName("Letters of the file")
        self.encoding.activated.connect(lambda _at: self.changed.emit())
        self._letters = QWidget()
        self._letters.setLayout(row(Text("Letters of the file", "muted", wrap=False), self.encoding, 1))
        self._letters.hide()
        self._found = column(spacing=theme.GRID // 2)
        for widget in (self.file, self.rows, self._count):
            self.body.addWidget(widget)
        self.body.addLayout(self._found)
        self.body.addWidget(self._letters)

    def show_preview(self, seen: Preview) -> None:
        """What the node found."""
        clear(self._found)
        for problem in seen.problems[:_SHOWN_PROBLEMS]:
            where = f"Line {problem.line}: " if problem.line else ""
            self._found.addLayout(_note("error", "bad", f"{where}{problem.words} {problem.fix}"))
        if seen.problem_count > _SHOWN_PROBLEMS:
            self._found.addWidget(Text(f"{seen.problem_count - _SHOWN_PROBLEMS} more like these.", "small"))
        unread = seen.table is None and bool(seen.problem_count)
        self._letters.setVisible(unread or bool(self.encoding.currentData()))
        if seen.table is not None:
            self._show_rows(seen.table)
            for warning in seen.table.warnings:
                self._found.addLayout(_note("warning", "care", warning))

    def _picked(self) -> None:
        self.encoding.setCurrentIndex(0)
        self._letters.hide()
        clear(self._found)
        self.rows.hide()
        self.picked.emit()

    def _show_rows(self, table: TableLook) -> None:
        names = [one.name for one in table.columns]
        self.rows.setColumnCount(len(names))
        self.rows.setHorizontalHeaderLabels([words.one_line(name, 40) for name in names])
        self.rows.setRowCount(len(table.first_rows))
        for at, cells in enumerate(table.first_rows):
            for place, cell in enumerate(cells):
                self.rows.setItem(at, place, QTableWidgetItem(words.one_line(cell, 60)))
        self.rows.resizeColumnsToContents()
        self.rows.show()
        said = (
            f"{words.plural(table.rows, 'row')}, {words.plural(len(names), 'column')}; the first are shown."
        )
        if table.classes:
            parts = ", ".join(f"{words.one_line(one.name, 40)} ({one.rows:,})" for one in table.classes[:8])
            said += f" Answers: {parts}."
        self._count.say(said)


def _note(icon: str, tone: theme.Tone, text: str) -> Any:
    picture = Picture(icon, tone)
    made = row(picture, Text(text, select=True))
    made.setStretch(1, 1)
    made.setAlignment(picture, Qt.AlignmentFlag.AlignTop)
    return made
