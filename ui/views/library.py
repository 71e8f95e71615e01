"""The models on this machine, and running one on rows of one's own, in the sandbox."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from openstall.ui import documents, theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, UnreadableAnswer
from openstall.ui.trade import FileEntry, Library, LibraryItem, RunResult
from openstall.ui.views.page import Page
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.inputs import FileDrop
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Provenance
from openstall.ui.widgets.notices import EmptyState, ProgressRow
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

PREVIEW_ROWS = 12


def _files(item: LibraryItem) -> str:
    return ", ".join(file.name if isinstance(file, FileEntry) else file for file in item.files) or "—"


COLUMNS: list[Column[LibraryItem]] = [
    Column(title="Model", text=lambda i: i.title, second=_files, stretch=True),
    Column(
        title="Since",
        text=lambda i: words.day(i.bought_at),
        sort=lambda i: i.bought_at,
        width=150,
        tip=lambda i: words.moment(i.bought_at),
    ),
]


class LibraryPage(Page):
    """Choose a model, give it rows, see what it says and how well it does."""

    listens = frozenset({"order"})

    def __init__(self, desk: Desk, chosen: str = "") -> None:
        super().__init__(desk, "Library", "The models you bought. They run on this computer, in the sandbox.")
        self._wanted = chosen
        self._operation = ""
        empty = EmptyState(
            "library",
            "No models yet",
            "A model that you buy appears here, decrypted and verified.",
            ("Open the market", lambda: desk.go.emit("market")),
        )
        self.table = RowTable("Models", COLUMNS, lambda i: i.order_id or i.listing_cid, empty, row_height=60)
        self.table.setMinimumHeight(200)
        self.table.chosen.connect(lambda _item: self._look())
        listed = Panel(margin=theme.GRID // 2)
        listed.body.addWidget(self.table)
        self._run_panel = self._make_run_panel()
        self._result = Panel("Result")
        self._result.hide()
        side = QWidget()
        side.setFixedWidth(384)
        side.setLayout(column(self._run_panel, 1))
        self.body.addLayout(
            row(column(listed, self._result, 1, spacing=2 * theme.GRID), side, spacing=2 * theme.GRID)
        )
        self.body.setStretch(0, 1)

    def _make_run_panel(self) -> Panel:
        panel = Panel("Run it on my rows")
        self._which = Text("Choose a model on the left.", "muted")
        self.rows = FileDrop("rows (CSV)", "Tables (*.csv)", suffixes=(".csv",))
        self.rows.picked.connect(lambda _path: self._look())
        self.label = QLineEdit()
        self.label.setPlaceholderText("only if the rows hold the answers")
        self._progress = ProgressRow()
        self._progress.cancelled.connect(lambda: self.desk.operations.cancel(self._operation))
        self._run = button("&Run", self.run, icon="play", kind="primary")
        facts = Facts()
        facts.setRowWrapPolicy(Facts.RowWrapPolicy.WrapAllRows)
        facts.add("Column of answers", self.label)
        panel.body.addWidget(self._which)
        panel.body.addWidget(self.rows)
        panel.body.addLayout(facts)
        panel.body.addWidget(
            Text("With the answers the run also measures how often the model is right.", "small")
        )
        panel.body.addWidget(self._progress)
        panel.body.addLayout(row(1, self._run))
        return panel

    def choose(self, key: str) -> None:
        """Choose a model by its order."""
        self._wanted = key
        self.table.choose(key)

    def load(self) -> None:
        self.desk.api.get("/v1/models/library", Library, self._show, owner=self, failed=self.fail)

    def _show(self, library: Library) -> None:
        self.table.set_rows(library.items)
        keys = [item.order_id or item.listing_cid for item in library.items]
        if keys and self.table.current_key() is None:
            self.table.choose(self._wanted if self._wanted in keys else keys[0])
        self._look()
        self.mark_loaded()

    def _look(self) -> None:
        item = self.table.current()
        self._which.say(words.one_line(item.title, 120) if item else "Choose a model on the left.")
        self._run.setEnabled(item is not None and bool(self.rows.path) and self._progress.isHidden())

    def run(self) -> None:
        """Run the chosen model on the chosen rows."""
        item = self.table.current()
        if item is None:
            return
        self.banner.hide()
        self._progress.begin("Starting the sandbox")
        self._look()
        body = {
            "order_id": item.order_id,
            "rows_path": self.rows.path,
            "label": self.label.text().strip() or None,
        }
        self.desk.operations.start(
            "/v1/models/run",
            body,
            owner=self,
            done=self._finished,
            failed=self._stopped,
            progress=self._moved,
        )

    def _moved(self, operation: documents.Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _stopped(self, failure: Failure) -> None:
        self._progress.hide()
        self.banner.fail(failure)
        self._look()

    def _finished(self, value: Any) -> None:
        self._progress.hide()
        self._look()
        try:
            result = documents.read(value, RunResult)
        except UnreadableAnswer:
            self.banner.say("bad", "The run ended, but its result cannot be read.")
            return
        clear(self._result.body)
        self._result.body.addWidget(Text("Result", "heading"))
        self._result.body.addLayout(_figures(result))
        self._result.body.addWidget(_preview(result.preview))
        where = CopyId(result.predictions_path, what="path of all predictions", head=48)
        self._result.body.addLayout(row(Text("All predictions", "muted", wrap=False), where, 1))
        self._result.show()


def _figures(result: RunResult) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(3 * theme.GRID)
    grid.setColumnStretch(3, 1)
    figures: list[tuple[str, str]] = [("rows", f"{result.rows:,}")]
    figures += [(metric.name, metric.value) for metric in result.report.metrics[:8]]
    for at, (name, value) in enumerate(figures):
        label = Text(words.one_line(value, 40), "strong", wrap=False)
        label.setAlignment(Qt.AlignmentFlag.AlignRight)
        grid.addWidget(Text(words.one_line(name, 60), wrap=False), at, 0)
        grid.addWidget(label, at, 1)
        grid.addWidget(Provenance("measured"), at, 2)
    return grid


def _preview(rows: list[list[Any]]) -> QTableWidget:
    head = [words.one_line(cell, 60) for cell in rows[0]] if rows else []
    body = rows[1 : PREVIEW_ROWS + 1]
    table = QTableWidget(len(body), len(head))
    table.setHorizontalHeaderLabels(head)
    table.setAccessibleName("The first rows of the result")
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.verticalHeader().hide()
    table.setShowGrid(False)
    table.setMinimumHeight(200)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    for at, cells in enumerate(body):
        for column_at, cell in enumerate(cells[: len(head)]):
            item = QTableWidgetItem(words.one_line(cell, 60))
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            table.setItem(at, column_at, item)
    return table
