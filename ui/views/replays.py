"""Can a report be believed? Its evaluator opens a few rows, and this computer tries them again."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLayout, QVBoxLayout, QWidget

from openstall.ui import documents, theme, words
from openstall.ui.assessments import CustomPart, Replay, ReplayAnswer
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Operation, UnreadableAnswer
from openstall.ui.widgets.figures import CopyId, When
from openstall.ui.widgets.layout import button, column, row
from openstall.ui.widgets.marks import Badge, Provenance
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.text import Text

_MARKS: dict[str, tuple[str, str, theme.Tone]] = {
    "rows_only": ("rows are right", "done", "accent"),
    "no_answer": ("not checked", "pending", "muted"),
    "nothing_to_open": ("not checked", "pending", "muted"),
}
_TRIED = "This computer let the model answer the opened rows, and compared."
_WHAT_COMES = {
    "buyer": "This computer compares them with what was committed to, and lets the model answer them again.",
    "seller": "This computer lets your model answer them again. You see so few because they are the buyer's.",
    "arbiter": "This computer compares them, and the count, with what was committed to. It does not hold the "
    "model: a party can send you the file that its own check has saved, and the model.",
}


class ReplayAsk(QWidget):
    """One button for all reports of the newest try; an arbiter can also look at what a party has saved."""

    def __init__(self, desk: Desk, order_id: str) -> None:
        super().__init__()
        self._desk, self._id = desk, order_id
        self._operation = ""
        self._what = Text("", "muted")
        self.banner = Banner()
        self._progress = ProgressRow()
        self._progress.cancelled.connect(self._cancel)
        self._check = button("&Check it again", lambda: self.check({}), icon="scales")
        self._file = button("From a &file…", self._choose, icon="folder")
        self._file.setAccessibleName("Check the file that a party has saved")
        made = QVBoxLayout(self)
        made.setContentsMargins(0, 0, 0, 0)
        made.setSpacing(theme.GRID)
        for widget in (self.banner, self._progress):
            made.addWidget(widget)
        made.addWidget(self._what)
        made.addLayout(row(1, self._file, self._check))
        self.banner.hide()
        self.hide()

    def show_part(self, part: CustomPart, role: str) -> None:
        """Hidden where this node may see no row now."""
        self.setVisible(part.may_replay)
        self._file.setVisible(role == "arbiter")
        opened = words.plural(part.rows_to_open, "sealed row")
        self._what.say(
            f"Can the report be believed? Each evaluator opens {opened} that nobody could foresee. "
            f"{_WHAT_COMES.get(role, '')}"
        )

    def check(self, body: dict[str, Any]) -> None:
        """Have the node check; without a file the evaluators are asked."""
        self._check.setEnabled(False)
        self._file.setEnabled(False)
        self.banner.hide()
        self._progress.begin("Asking for opened rows")
        self._desk.operations.start(
            f"/v1/orders/{self._id}/replay",
            body,
            owner=self,
            done=self._ended,
            failed=self._failed,
            progress=self._moved,
        )

    def _choose(self) -> None:
        proof, _ = QFileDialog.getOpenFileName(self, "The file that a party has saved", "", "*.json")
        if not proof:
            return
        title = "The model that was handed in, if a party has sent it"
        model, _ = QFileDialog.getOpenFileName(self, title, "", "ONNX models (*.onnx)")
        self.check({"proof": proof} | ({"model": model} if model else {}))

    def _cancel(self) -> None:
        if self._operation:
            self._desk.operations.cancel(self._operation)

    def _moved(self, operation: Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _rest(self) -> None:
        self._check.setEnabled(True)
        self._file.setEnabled(True)
        self._progress.hide()

    def _ended(self, result: Any) -> None:
        """What was found stands beside each report; here stands what one can do about it."""
        self._rest()
        try:
            answer = documents.read(result, ReplayAnswer)
        except UnreadableAnswer as error:
            self.banner.say("bad", "The node's answer cannot be read.", str(error))
            return
        if answer.doubted:
            self.banner.say("care", "A report cannot be believed.", answer.what_next)

    def _failed(self, failure: Failure) -> None:
        self._rest()
        self.banner.fail(failure)


def replay_lines(found: Replay) -> QLayout:
    """What came of checking one report again."""
    if found.confirms:
        mark: Badge = Provenance("verified", _TRIED)
    elif found.doubts:
        mark = Badge("not as reported", "warning", "bad")
    else:
        mark = Badge(*_MARKS.get(found.outcome, ("not known", "pending", "muted")))
    said = Text(words.plain(found.words, 600))
    head: QHBoxLayout = row(mark, Text("checked again", "muted", wrap=False), When(found.at, "small"), 1)
    if found.proof:
        head.addWidget(Text("proof", "small", wrap=False))
        head.addWidget(CopyId(found.proof, what="place of the file that proves it"))
    return column(head, said, spacing=2)
