"""Ask for a model: a table, the column to predict, when it is good enough, money and times; then sign."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from openstall.ui import documents, theme
from openstall.ui.contests import SHARES
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, UnreadableAnswer
from openstall.ui.requests import Preview
from openstall.ui.views.ask_choosing import ChoosingPanel
from openstall.ui.views.ask_goal import GoalPanel
from openstall.ui.views.ask_judges import JudgesPanel
from openstall.ui.views.ask_money import MoneyPanel
from openstall.ui.views.ask_table import TablePanel
from openstall.ui.views.page import Page
from openstall.ui.views.prices import play_money_words
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.text import Text

LOOK_MS = 500
_BUDGET_NOTE = "Signing sets the budget aside at once, until a model passes or it comes back."
_POOL_NOTE = "Signing pays the prize pool in at once. What no model earns comes back to you."


class AskPage(Page):
    """The node looks at the table after each change; what would be signed stands beside it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "Ask for a model",
            "Your rows stay sealed on this computer: no developer sees them. Nothing has been paid yet.",
            back="Back to the requests",
        )
        self._seen = Preview()
        self._turn = 0
        self._signing = False
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(LOOK_MS)
        self._wait.timeout.connect(self._look)
        self._progress = ProgressRow(cancel=False)
        self.table, self.goal = TablePanel(), GoalPanel()
        self.choosing, self.judges, self.money = ChoosingPanel(desk), JudgesPanel(desk), MoneyPanel()
        self.choosing.changed.connect(self._another_way)
        self.money.budget.edited.connect(lambda: self.choosing.show_pool(self.money.budget.micro or 0))
        self.table.picked.connect(self._picked)
        for panel in (self.table, self.goal, self.choosing, self.judges, self.money):
            panel.changed.connect(self._changed)
        side = QWidget()
        side.setFixedWidth(392)
        side.setLayout(column(self.money, self._sign_panel(), 1, spacing=2 * theme.GRID))
        left = column(self.table, self.goal, self.choosing, self.judges, 1, spacing=2 * theme.GRID)
        self.body.addLayout(row(left, side, spacing=2 * theme.GRID))
        self.body.setStretch(0, 1)
        self._check()

    def load(self) -> None:
        self.judges.load()
        self.mark_loaded()

    def _sign_panel(self) -> Panel:
        panel = Panel("What you would sign")
        self._summary = column(spacing=theme.GRID // 2)
        panel.body.addLayout(self._summary)
        self._note = Text(_BUDGET_NOTE, "small")
        panel.body.addWidget(self._note)
        panel.body.addWidget(self._progress)
        self._why = Text("", "small")
        panel.body.addWidget(self._why)
        self._sign = button("&Sign the request", self._send, icon="lock")
        self._leave = button("&Do not ask", self.desk.back.emit, kind="primary")
        panel.body.addLayout(row(1, self._sign, self._leave))
        return panel

    def _another_way(self) -> None:
        """Bids need other terms than a contest."""
        contest = self.choosing.is_contest
        self.money.show_way(contest=contest)
        self.judges.show_way(contest=contest)
        self.goal.show_way(contest=contest)
        self._note.say(_POOL_NOTE if contest else _BUDGET_NOTE)

    def _picked(self) -> None:
        self.goal.forget()
        self._seen = Preview()
        self._changed()

    def _changed(self) -> None:
        """Whatever was seen is of another form now: look again when the typing stops."""
        self._turn += 1
        self._seen = Preview(table=self._seen.table, file_sha256="")
        clear(self._summary)
        self._wait.start()
        self._check()

    def _rows_body(self) -> dict[str, Any]:
        rows = {"path": self.table.file.path, "encoding": self.table.encoding.currentData()}
        return rows | self.goal.rows_body()

    def _terms_body(self) -> dict[str, Any]:
        return self.money.terms() | self.judges.terms() | self.choosing.terms()

    def _missing(self) -> str:
        """What is still to be filled in; empty if the node can say what would be signed."""
        if not self.table.file.path:
            return "Drop a table first."
        if self.choosing.by_share and self.goal.measure.currentData() not in (None, *SHARES):
            return "Only shares of 1 (accuracy, macro F1, AUC) can share a pool: give prizes by place."
        panels = (self.goal, self.choosing, self.judges, self.money)
        return next((why for panel in panels if (why := panel.missing())), "")

    def _look(self) -> None:
        if not self.table.file.path or self._signing:
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
        seen, turn = self._seen, self._turn
        self.table.show_preview(seen)
        if seen.table is not None:
            self.goal.show_table(seen.table)
        if turn != self._turn:
            return  # another table has other columns: what stood in the form went with the old ones
        clear(self._summary)
        for line in seen.summary:
            self._summary.addWidget(Text(line.what, "small"))
            self._summary.addWidget(Text(line.words))
        if seen.summary and play_money_words(self.desk):
            self._summary.addWidget(Text(play_money_words(self.desk), "small"))
        self._check()
        self.mark_loaded()

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
