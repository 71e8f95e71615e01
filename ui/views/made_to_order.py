"""What an order of a model made to order shows: the hand-in, and what the evaluators measured."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from openstall.ui import theme, words
from openstall.ui.assessments import CustomPart, Figure, Verdict, statement_of
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Operation
from openstall.ui.requests import AT_MOST, FIGURE_WORDS, RequestEntry, demand_words
from openstall.ui.trade import Order
from openstall.ui.views.replays import ReplayAsk, replay_lines
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.inputs import FileDrop
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Picture, Provenance
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.text import Text
from openstall.ui.widgets.threshold_plot import Measured, ThresholdPlot, figure_words

_SHARES = frozenset({"accuracy", "macro_f1", "auc", "robustness", "fairness"})
_MEASURED = (
    "Measured by this evaluator in its own sandbox, and signed. "
    "This computer has checked signature and arithmetic."
)
_FAULTS = {
    "model_refused": "The file is no model that may be run.",
    "model_not_runnable": "The model cannot be run.",
    "model_not_tabular": "The model does not take a table.",
    "model_failed": "The model stopped with an error.",
    "columns_mismatch": "The model takes other columns than those of the request.",
    "wrong_task": "The model does another task than the one asked for.",
    "no_scores": "The model gives no scores for the classes.",
}


class MadeToOrder(QWidget):
    """Hidden for other orders."""

    def __init__(self, desk: Desk, order_id: str) -> None:
        super().__init__()
        self._desk, self._id = desk, order_id
        self._order = Order()
        self._asked = False
        self._shown: tuple[CustomPart, str] | None = None
        self.banner = Banner()
        self._progress = ProgressRow(cancel=False)
        self.drop = FileDrop("your ONNX model", "ONNX models (*.onnx)", suffixes=(".onnx",))
        self.drop.picked.connect(self.hand_in)
        self._tries = Text("", "muted")
        self._hand = Panel("Hand in a model")
        self._hand.body.addWidget(self._tries)
        self._hand.body.addWidget(self.drop)
        self._save = button("Training data: &Save…", self._choose, icon="download")
        self._save.setAccessibleName("Save the training data")
        self._training, self._training_line = Text("", "small"), QWidget()
        line = row(self._training, self._save)
        line.setStretch(0, 1)
        self._training_line.setLayout(line)
        self._hand.body.addWidget(self._training_line)
        self._result = Panel("What the evaluators measured")
        self._verdicts = column(spacing=2 * theme.GRID)
        self._result.body.addLayout(self._verdicts)
        self.again = ReplayAsk(desk, order_id)
        self._result.body.addWidget(self.again)
        made = QVBoxLayout(self)
        made.setContentsMargins(0, 0, 0, 0)
        made.setSpacing(2 * theme.GRID)
        for widget in (self.banner, self._progress, self._hand, self._result):
            made.addWidget(widget)
        self.hide()

    def show_order(self, order: Order) -> None:
        """Show what belongs to an order as it is now."""
        self._order = order
        part = order.custom
        self.setVisible(part is not None)
        if part is None:
            return
        left = part.tries - part.attempt
        may = order.role == "seller" and order.state in ("funded", "failed") and left > 0
        self._hand.setVisible(may)
        if may and not self._asked:
            self._asked = True
            self._training_line.hide()
            path = f"/v1/requests/{order.terms.get('request', '')}/record"
            self._desk.api.get(path, RequestEntry, self._know_training, owner=self, failed=self.banner.fail)
        count = len(order.terms.get("features", []))
        self._tries.say(
            f"Try {part.attempt + 1} of {part.tries}. The file takes {words.plural(count, 'column')}, in the "
            "order of the request. It is encrypted here: before it passes, only evaluators get its key."
        )
        self.again.show_part(part, order.role)
        if (part, order.state) != self._shown:
            self._shown = (part, order.state)
            self._show_verdicts(part)

    def _know_training(self, entry: RequestEntry) -> None:
        blob = entry.body.training
        self._training_line.show()
        self._save.setVisible(blob is not None)
        self._training.say(
            f"{words.size(blob.size)} of training data, encrypted; its key is for you alone."
            if blob is not None
            else "The request has no training data: bring your own."
        )

    def hand_in(self, path: str) -> None:
        """Have the node encrypt a model and hand it in."""
        self._start("hand-in", {"path": path}, "Handing in the model", self._handed_in)

    def save_training(self, folder: str) -> None:
        """Have the node fetch the training data into a folder."""
        self._start("training", {"folder": folder}, "Fetching the training data", self._saved)

    def _choose(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save the training data in")
        if folder:
            self.save_training(folder)

    def _start(self, action: str, body: dict[str, Any], title: str, done: Any) -> None:
        self.banner.hide()
        self._busy(True)
        self._progress.begin(title)
        self._desk.operations.start(
            f"/v1/orders/{self._id}/{action}",
            body,
            owner=self,
            done=done,
            failed=self._failed,
            progress=self._moved,
        )

    def _busy(self, busy: bool) -> None:  # noqa: FBT001 - one word
        self.drop.setEnabled(not busy)
        self._save.setEnabled(not busy)

    def _moved(self, operation: Operation) -> None:
        self._progress.show_operation(operation)

    def _handed_in(self, _result: Any) -> None:
        self._progress.hide()
        self._busy(False)
        self.banner.say("good", "The model is handed in.", "The evaluators measure it by themselves.")

    def _saved(self, result: Any) -> None:
        self._progress.hide()
        self._busy(False)
        path = str(result.get("path", "")) if isinstance(result, dict) else ""
        self.banner.say("good", "The training data is saved.", path)

    def _failed(self, failure: Failure) -> None:
        self._progress.hide()
        self._busy(False)
        self.banner.fail(failure)

    def _show_verdicts(self, part: CustomPart) -> None:
        clear(self._verdicts)
        terms = self._order.terms
        if not part.verdicts:
            said = "Nothing is handed in yet."
            if part.attempt:
                said = "The evaluators' figures have not reached this computer."
            if self._order.state == "submitted":
                said = (
                    "A model is handed in. Its figures appear here as soon as an evaluator has signed them."
                )
            self._verdicts.addWidget(Text(said, "muted"))
            demands = [demand_words(str(terms.get("metric", "")), str(terms.get("threshold", "0")))]
            demands += [demand_words(str(one["name"]), str(one["limit"])) for one in terms.get("floors", [])]
            self._verdicts.addWidget(Text(f"It passes if: {'; '.join(demands)}."))
        for verdict in part.verdicts:
            self._verdicts.addWidget(VerdictView(verdict, terms, part.model_hash or ""))


class VerdictView(QWidget):
    """One evaluator's verdict: passed or missed, each figure on its scale, and what was committed to."""

    def __init__(self, verdict: Verdict, terms: dict[str, Any], model_hash: str) -> None:
        super().__init__()
        body = QVBoxLayout(self)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(theme.GRID)
        body.addLayout(
            row(
                *_outcome(verdict.passed),
                Text(f"try {verdict.attempt}, by evaluator", "muted", wrap=False),
                CopyId(verdict.evaluator, what="evaluator's wallet"),
                1,
                Provenance("measured", _MEASURED),
            )
        )
        if verdict.fault:
            body.addWidget(Text(_FAULTS.get(verdict.fault, "The model could not be measured."), "strong"))
        limits = {str(one["name"]): str(one["limit"]) for one in terms.get("floors", [])}
        limits[str(terms.get("metric", ""))] = str(terms.get("threshold", "0"))
        for figure in verdict.figures:
            if figure.name in limits:
                body.addWidget(_FigureRow(figure, limits[figure.name]))
        statement = statement_of(verdict)
        facts = Facts()
        if statement is not None:
            facts.add("Measured on", f"{statement.predicate.rows:,} sealed rows of the buyer")
            facts.add(
                "Seal of the rows", CopyId(statement.predicate.rows_root, what="Merkle root of the rows")
            )
        if model_hash:
            facts.add("Model", CopyId(model_hash, what="hash of the model that was handed in"))
        facts.add("Signed report", CopyId(verdict.report_hash, what="hash of the signed report"))
        facts.add("On the chain", "yes" if verdict.on_chain else "no")
        body.addLayout(facts)
        if verdict.replay is not None:
            body.addLayout(replay_lines(verdict.replay))


class _FigureRow(QWidget):
    """A figure in words beside its plot."""

    def __init__(self, figure: Figure, limit: str) -> None:
        super().__init__()
        at_most = figure.name in AT_MOST
        value, threshold = float(figure.value), float(limit)
        passed = value <= threshold if at_most else value >= threshold
        measured = Measured(
            name=FIGURE_WORDS.get(figure.name, figure.name),
            value=value,
            low=float(figure.low),
            high=float(figure.high),
            threshold=threshold,
            passed=passed,
            ceiling=1.0 if figure.name in _SHARES else None,
        )
        count = f"{figure.hits:,} of {figure.rows:,} rows; " if figure.hits is not None else ""
        interval = f"{count}95 % interval {figure_words(measured.low)} to {figure_words(measured.high)}"
        says = column(
            Text(measured.name),
            row(*_outcome(passed), Text(figure_words(value), "strong", wrap=False), 1),
            Text(interval, "small"),
            spacing=2,
        )
        line = row(says, ThresholdPlot(measured, at_most=at_most), spacing=2 * theme.GRID)
        line.setStretch(0, 1)
        line.setStretch(1, 1)
        self.setLayout(line)
        line.setContentsMargins(0, 0, 0, 0)


def _outcome(passed: bool) -> tuple[QWidget, QWidget]:  # noqa: FBT001 - one word
    mark = Picture("done" if passed else "error", "good" if passed else "bad")
    said = Text("passed" if passed else "missed", "strong", wrap=False)
    said.tone("good" if passed else "bad")
    return mark, said
