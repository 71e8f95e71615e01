"""Ask for a model: a table, the column to predict, when it is good enough, money and times; then sign."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QAbstractItemView,
    QLineEdit,
    QPlainTextEdit,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from openstall.ui import documents, theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, UnreadableAnswer
from openstall.ui.requests import FIGURE_WORDS, Preview
from openstall.ui.views.page import Page
from openstall.ui.views.prices import play_money_words
from openstall.ui.views.publish import LICENCES
from openstall.ui.widgets.inputs import AmountField, Choice, FileDrop, NumberField
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.text import Text

DAY_S = 86_400
BIDS = (("1 hour", 3600), ("1 day", DAY_S), ("3 days", 3 * DAY_S), ("7 days", 7 * DAY_S))
OPENING = (("1 hour", 3600), ("12 hours", DAY_S // 2), ("1 day", DAY_S))
DELIVERY = (("1 day", DAY_S), ("7 days", 7 * DAY_S), ("14 days", 14 * DAY_S), ("60 days", 60 * DAY_S))
REVIEW = (("1 hour", 3600), ("1 day", DAY_S), ("3 days", 3 * DAY_S), ("7 days", 7 * DAY_S))
METRICS = {"classification": ("accuracy", "macro_f1", "auc"), "regression": ("rmse", "mae")}
LOOK_MS = 500
_SHOWN_PROBLEMS = 6


class AskPage(Page):
    """The node looks at the table after each change; what would be signed stands beside it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "Ask for a model",
            "Your rows stay sealed on this computer: no bidder sees them. Nothing has been paid yet.",
            back="Back to the requests",
        )
        self._seen = Preview()
        self._turn = 0
        self._signing = False
        self.file = FileDrop("a CSV file with the right answers", "Tables (*.csv);;All files (*)")
        self.file.picked.connect(lambda _path: self._picked())
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(LOOK_MS)
        self._wait.timeout.connect(self._look)
        self._progress = ProgressRow(cancel=False)
        side = QWidget()
        side.setFixedWidth(392)
        side.setLayout(column(self._terms(), self._sign_panel(), 1, spacing=2 * theme.GRID))
        left = column(self._table_panel(), self._goal_panel(), 1, spacing=2 * theme.GRID)
        self.body.addLayout(row(left, side, spacing=2 * theme.GRID))
        self.body.setStretch(0, 1)
        self._check()

    def _table_panel(self) -> Panel:
        panel = Panel("Your table")
        panel.body.addWidget(self.file)
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
        panel.body.addWidget(self.rows)
        panel.body.addWidget(self._count)
        self._found = column(spacing=theme.GRID // 2)
        panel.body.addLayout(self._found)
        return panel

    def _goal_panel(self) -> Panel:
        panel = Panel("When it is good enough")
        self.target, self.measure = Choice(), Choice()
        self.threshold = QLineEdit()
        self.threshold.setPlaceholderText("for example 0.9")
        self.threshold.setMaximumWidth(160)
        self.training = FileDrop("training data for the winner (optional)", "Tables (*.csv);;All files (*)")
        facts = Facts()
        facts.add("Column to predict", self.target)
        facts.add("Measured as", self.measure)
        facts.add("Threshold", self.threshold)
        panel.body.addLayout(facts)
        panel.body.addWidget(self.training)
        panel.body.addWidget(
            Text(
                "Do not use the same rows for both: a model that has seen them is measured too well.", "small"
            )
        )
        self.training.picked.connect(lambda _path: self._changed())
        self.target.activated.connect(lambda _at: self._changed())
        self.measure.activated.connect(lambda _at: self._changed())
        self.threshold.textChanged.connect(lambda _text: self._changed())
        return panel

    def _terms(self) -> Panel:
        panel = Panel("Money and times")
        self.name = QLineEdit()
        self.name.setMaxLength(120)
        self.summary = QPlainTextEdit()
        self.summary.setPlaceholderText("What it is for, in a sentence or two.")
        self.summary.setFixedHeight(56)
        self.summary.setTabChangesFocus(True)
        self.budget = AmountField("", name="Budget in credits")
        self.deposit = AmountField("", name="Deposit for a bid in credits")
        self.licence = Choice([(name, name) for name in LICENCES])
        self.licence.let_type("Licence")
        self.bids, self.opening = Choice(BIDS, chosen=2), Choice(OPENING, chosen=2)
        self.delivery, self.review = Choice(DELIVERY, chosen=2), Choice(REVIEW, chosen=2)
        self.tries = NumberField(3, 1, 16)
        self.evaluators, self.arbiter = QLineEdit(), QLineEdit()
        self.evaluators.setPlaceholderText("0x… (none: you)")
        self.arbiter.setPlaceholderText("0x… (optional)")
        facts = Facts()
        for label, widget in (
            ("Title", self.name),
            ("Summary", self.summary),
            ("Budget", self.budget),
            ("Deposit for a bid", self.deposit),
            ("Licence", self.licence),
            ("Bids for", self.bids),
            ("Opening for", self.opening),
            ("Delivery within", self.delivery),
            ("You check for", self.review),
            ("Tries", self.tries),
            ("Evaluators' wallets", self.evaluators),
            ("Arbiter's wallet", self.arbiter),
        ):
            facts.add(label, widget)
        panel.body.addLayout(facts)
        for line in (self.name, self.evaluators, self.arbiter):
            line.textChanged.connect(lambda _text: self._changed())
        self.summary.textChanged.connect(self._changed)
        for amount in (self.budget, self.deposit):
            amount.edited.connect(self._changed)
        for choice in (self.bids, self.opening, self.delivery, self.review):
            choice.activated.connect(lambda _at: self._changed())
        self.licence.currentTextChanged.connect(lambda _text: self._changed())
        self.tries.changed.connect(lambda _value: self._changed())
        return panel

    def _sign_panel(self) -> Panel:
        panel = Panel("What you would sign")
        self._summary = column(spacing=theme.GRID // 2)
        panel.body.addLayout(self._summary)
        note = "Signing sets the budget aside at once, until a model passes or it comes back."
        panel.body.addWidget(Text(note, "small"))
        panel.body.addWidget(self._progress)
        self._why = Text("", "small")
        panel.body.addWidget(self._why)
        self._sign = button("&Sign the request", self._send, icon="lock")
        self._leave = button("&Do not ask", self.desk.back.emit, kind="primary")
        panel.body.addLayout(row(1, self._sign, self._leave))
        return panel

    def _picked(self) -> None:
        self.target.clear()
        self.measure.clear()
        self._seen = Preview()
        self._changed()

    def _changed(self) -> None:
        """Whatever was seen is of another form now: look again when the typing stops."""
        self._turn += 1
        self._seen = Preview(table=self._seen.table, file_sha256="")
        clear(self._summary)
        self._wait.start()
        self._check()

    def _terms_body(self) -> dict[str, Any]:
        evaluators = [one for one in self.evaluators.text().replace(",", " ").split() if one]
        return {
            "title": self.name.text().strip(),
            "summary": self.summary.toPlainText().strip(),
            "licence": self.licence.currentText().strip(),
            "budget_micro": self.budget.micro or 0,
            "deposit_micro": self.deposit.micro or 0,
            "bid_s": self.bids.currentData(),
            "reveal_s": self.opening.currentData(),
            "deliver_s": self.delivery.currentData(),
            "review_s": self.review.currentData(),
            "tries": self.tries.value(),
            "evaluators": evaluators,
            "arbiter": self.arbiter.text().strip() or None,
        }

    def _rows_body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"path": self.file.path, "target": self.target.currentData() or ""}
        if self.measure.currentData() and self.threshold.text().strip():
            body |= {"metric": self.measure.currentData(), "threshold": self.threshold.text().strip()}
        if self.training.path:
            body["training_path"] = self.training.path
        return body

    def _missing(self) -> str:
        """What is still to be filled in; empty if the node can say what would be signed."""
        checks = (
            (bool(self.file.path), "Drop a table first."),
            (bool(self.target.currentData()), "Choose the column to predict."),
            (bool(self.threshold.text().strip()), "Say when a model is good enough."),
            (len(self.name.text().strip()) >= 3, "Give it a title of at least three letters."),
            (bool(self.budget.micro), self.budget.why or "Set a budget, above zero."),
            (
                bool(self.deposit.micro),
                self.deposit.why or "Set a deposit for a bid, above zero: it keeps away bids in jest.",
            ),
        )
        return next((why for good, why in checks if not good), "")

    def _look(self) -> None:
        if not self.file.path or self._signing:
            return
        turn = self._turn
        body = self._rows_body()
        if not self._missing():
            body["terms"] = self._terms_body()

        def seen(result: Any) -> None:
            if turn == self._turn:
                self._show(result)

        def failed(failure: Failure) -> None:
            if turn == self._turn:
                self.banner.fail(failure)

        self.desk.operations.start("/v1/requests/preview", body, owner=self, done=seen, failed=failed)

    def _show(self, result: Any) -> None:
        self.banner.hide()
        try:
            self._seen = documents.read(result, Preview)
        except UnreadableAnswer:
            self._seen = Preview()
        seen, table = self._seen, self._seen.table
        clear(self._found)
        for problem in seen.problems[:_SHOWN_PROBLEMS]:
            where = f"Line {problem.line}: " if problem.line else ""
            self._found.addLayout(_note("error", "bad", f"{where}{problem.words} {problem.fix}"))
        if seen.problem_count > _SHOWN_PROBLEMS:
            self._found.addWidget(Text(f"{seen.problem_count - _SHOWN_PROBLEMS} more like these.", "small"))
        if table is not None:
            self._show_rows()
            for warning in table.warnings:
                self._found.addLayout(_note("warning", "care", warning))
        clear(self._summary)
        for line in seen.summary:
            self._summary.addWidget(Text(line.what, "small"))
            self._summary.addWidget(Text(line.words))
        if seen.summary and play_money_words(self.desk):
            self._summary.addWidget(Text(play_money_words(self.desk), "small"))
        self._check()
        self.mark_loaded()

    def _show_rows(self) -> None:
        table = self._seen.table
        if table is None:
            return
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
        if [self.target.itemData(at) for at in range(self.target.count())] != ["", *names]:
            self.target.clear()
            self.target.addItem("Choose…", "")
            for one in table.columns:
                self.target.addItem(f"{words.one_line(one.name, 80)} ({one.kind})", one.name)
        metrics = METRICS.get(table.task, ())
        if tuple(self.measure.itemData(at) for at in range(self.measure.count())) != metrics:
            self.measure.clear()
            for name in metrics:
                self.measure.addItem(FIGURE_WORDS[name], name)

    def _check(self) -> None:
        why = self._missing()
        if not why and self._seen.problem_count:
            why = "The table cannot be used as it is."
        elif not why and not self._seen.summary:
            why = "The node looks at it…"
        self._why.say(why)
        self._why.setVisible(bool(why))
        self._sign.setEnabled(not why and not self._signing)

    def _send(self) -> None:
        self._signing = True
        self._check()
        self._progress.begin("Sealing your rows")
        body = self._rows_body() | {"terms": self._terms_body(), "file_sha256": self._seen.file_sha256}
        self.desk.operations.start(
            "/v1/requests",
            body,
            owner=self,
            done=self._sent,
            failed=self._refused,
            progress=self._progress.show_operation,
        )

    def _sent(self, result: Any) -> None:
        cid = result.get("cid") if isinstance(result, dict) else None
        self.desk.go.emit(f"request:{cid}" if cid else "requests")

    def _refused(self, failure: Failure) -> None:
        self._signing = False
        self._progress.hide()
        self.banner.fail(failure)
        self._check()


def _note(icon: str, tone: theme.Tone, text: str) -> Any:
    picture = Picture(icon, tone)
    made = row(picture, Text(text, select=True))
    made.setStretch(1, 1)
    made.setAlignment(picture, Qt.AlignmentFlag.AlignTop)
    return made
