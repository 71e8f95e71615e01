"""A model made to order: what was handed in, how the evaluators measured it, and handing one in."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QFileDialog

from openstall.ui import words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Operation
from openstall.ui.trade import AssessedFigure, Order, Verdict
from openstall.ui.widgets.gauge import Gauge, Limit
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge, Provenance
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.text import Text

_WITHIN_ONE = frozenset({"accuracy", "macro_f1", "auc", "robustness", "fairness"})
_AT_LEAST = frozenset({"accuracy", "macro_f1", "auc", "robustness"})
_NAMES = {
    "accuracy": "Share of right answers",
    "macro_f1": "Right answers, every class alike (macro-F1)",
    "auc": "How well it ranks (AUC)",
    "rmse": "Root of the mean squared error",
    "mae": "Mean error",
    "robustness": "Answers that stay when inputs change a little",
    "fairness": "Widest gap between groups",
    "latency": "Milliseconds for 95 of 100 answers",
    "size": "Bytes of its file",
}
_FAULT = "The model could not be measured: "


class AssessmentPanel(Panel):
    """The last try, with a bar for each figure; hidden for orders of other kinds."""

    def __init__(self, desk: Desk, order_id: str) -> None:
        super().__init__("The measurement")
        self._desk, self._id = desk, order_id
        self._shown: object = None
        self._operation = ""
        self._what = Text("", "muted")
        self._found = column()
        self._progress = ProgressRow()
        self._progress.cancelled.connect(self._cancel)
        self._banner = Banner()
        self._banner.hide()
        self._hand_in = button("Hand in a &model…", self._choose, icon="upload")
        for widget in (self._what, self._banner, self._progress):
            self.body.addWidget(widget)
        self.body.addLayout(self._found)
        self.body.addLayout(row(1, self._hand_in))
        self.hide()

    def show_order(self, order: Order) -> None:
        """Show what is known of the present try."""
        made = order.custom
        self.setVisible(made is not None)
        if made is None:
            return
        may = order.role == "seller" and order.state in ("funded", "failed") and made.attempt < made.tries
        self._hand_in.setVisible(may)
        if (made, order.terms) == self._shown:
            return
        self._shown = (made, order.terms)
        last = [verdict for verdict in made.verdicts if verdict.attempt == made.attempt]
        self._what.say(_summary(order, made.attempt, made.tries))
        clear(self._found)
        for verdict in last:
            self._found.addLayout(_verdict(verdict, order.terms))

    def hand_in(self, path: str) -> None:
        """Hand a file or folder in; it is measured by itself."""
        self._hand_in.setEnabled(False)
        self._banner.hide()
        self._progress.begin("Checking the model")
        self._desk.operations.start(
            f"/v1/orders/{self._id}/hand-in",
            {"path": path},
            owner=self,
            done=self._ended,
            failed=self._failed,
            progress=self._moved,
        )

    def _choose(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Hand in a model", "", "ONNX models (*.onnx)")
        if path:
            self.hand_in(path)

    def _cancel(self) -> None:
        if self._operation:
            self._desk.operations.cancel(self._operation)

    def _moved(self, operation: Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _ended(self, _result: dict[str, Any]) -> None:
        self._operation = ""
        self._progress.hide()
        self._hand_in.setEnabled(True)

    def _failed(self, failure: Failure) -> None:
        self._operation = ""
        self._progress.hide()
        self._hand_in.setEnabled(True)
        self._banner.fail(failure)


def _summary(order: Order, attempt: int, tries: int) -> str:
    rows = f"{int(order.terms.get('rows', 0)):,} sealed rows"
    if not attempt:
        left = "one try" if tries == 1 else f"{tries} tries"
        return f"Nothing was handed in yet. There are {left}, each measured on {rows}."
    return f"Try {attempt} of {tries}, measured on {rows} that the developer never saw."


def _verdict(verdict: Verdict, terms: dict[str, Any]) -> Any:
    badge = Badge("passed", "done", "good") if verdict.passed else Badge("missed", "error", "bad")
    lines = column(spacing=6)
    by = Text(f"by {words.short_id(verdict.evaluator)}", "small", wrap=False)
    lines.addLayout(
        row(badge, Provenance("measured", "An evaluator signed it; its sandbox had no network."), by, 1)
    )
    if verdict.fault:
        lines.addWidget(Text(_FAULT + words.one_line(verdict.fault.replace("_", " "), 80) + "."))
    limits = _limits(terms)
    for figure in verdict.figures:
        lines.addWidget(_figure(figure, limits.get(figure.name, "")))
    return lines


def _figure(figure: AssessedFigure, limit: str) -> Gauge | Text:
    """A bar from 0 to 1 with the limit as a line where the figure is a share, else words."""
    name = _NAMES.get(figure.name, words.one_line(figure.name, 40))
    side = "at least" if figure.name in _AT_LEAST else "at most"
    exact = figure.low == figure.value == figure.high
    said = figure.value if exact else f"{figure.value} ({figure.low} to {figure.high})"
    if figure.name not in _WITHIN_ONE:
        return Text(f"{name}: {said}, {side} {limit} asked for")
    gauge = Gauge(name)
    wanted = Limit(percent=_percent(limit), words=f"asked for: {side} {limit}", holds=False)
    gauge.show_value(_percent(figure.value), said, wanted)
    return gauge


def _percent(share: str) -> int:
    try:
        return max(0, min(100, round(100 * float(share))))
    except ValueError:
        return 0


def _limits(terms: dict[str, Any]) -> dict[str, str]:
    floors = terms.get("floors", [])
    found = {str(floor.get("name")): str(floor.get("limit")) for floor in floors if isinstance(floor, dict)}
    return {**found, str(terms.get("metric")): str(terms.get("threshold"))}
