"""The one page before a model is entered in a contest."""

from __future__ import annotations

from openstall.ui import words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.requests import RequestBody
from openstall.ui.views.deposit import DepositPage
from openstall.ui.widgets.inputs import FileDrop
from openstall.ui.widgets.layout import Panel
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.text import Text


class EnterPage(DepositPage):
    """Asks for the model."""

    verb = "Enter it"

    def __init__(self, desk: Desk, cid: str) -> None:
        self.drop = FileDrop("your ONNX model", "ONNX models (*.onnx)", suffixes=(".onnx",))
        self._progress = ProgressRow(cancel=False)
        gives = Panel("Your model")
        gives.body.addWidget(self.drop)
        gives.body.addWidget(
            Text("It cannot be exchanged later: if tries are left, try it on the sealed rows first.", "small")
        )
        gives.body.addWidget(self._progress)
        super().__init__(desk, cid, "Enter a model", gives=gives, leave="&Do not enter")
        self.drop.picked.connect(lambda _path: self.look())

    def rest(self, body: RequestBody) -> dict[str, str]:
        return {
            "Who sees it": f"{words.plural(len(body.evaluators), 'evaluator')}, to measure it. The requester "
            "has it only against a prize.",
            "Until when": f"Entries until {words.moment(body.commit_by)}; judged until "
            f"{words.moment(body.reveal_by)}. Then your node claims by itself. Leave it running.",
            "How it comes back": "The whole deposit is yours again when your node claims, with a prize or "
            "without, and when there is no result. A winner who keeps its model back loses the deposit.",
        }

    def missing(self, body: RequestBody) -> str:  # noqa: ARG002 - any model may be entered
        return "" if self.drop.path else "Drop your model first."

    def send(self) -> None:
        self.drop.setEnabled(False)
        self._progress.begin("Entering the model")
        self.desk.operations.start(
            f"/v1/contests/{self._cid}/enter",
            {"path": self.drop.path},
            owner=self,
            done=lambda _result: self.done(),
            failed=self.refused,
            progress=self._progress.show_operation,
        )

    def refused(self, failure: Failure) -> None:
        self._progress.hide()
        self.drop.setEnabled(True)
        super().refused(failure)
