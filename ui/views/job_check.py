"""Is a job's result right? It is done again on this computer, and what came of it is shown."""

from __future__ import annotations

from typing import Any

from openstall.ui import words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Operation
from openstall.ui.trade import JobCheck, Order
from openstall.ui.widgets.figures import When
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge, Provenance
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.text import Text

SHOWN = 3
_WHAT = (
    "This computer can do the job again in its sandbox and compare: all of it while you know the provider "
    "little, later a part drawn at random. It costs you nothing but time."
)
_NOT_THE_SAME = "Another result was found. Both are kept with the order."
_FOUND = {
    "same": "Found again, to the last digit",
    "within_tolerance": "Found again, as near as two machines come",
    "unclear": "It cannot be said",
    "different": "Not found again",
    "undecided": "No two found the same",
}


class JobCheckPanel(Panel):
    """One button, and the last few answers."""

    def __init__(self, desk: Desk, order_id: str) -> None:
        super().__init__("Is the result right?")
        self._desk, self._id = desk, order_id
        self._shown: list[JobCheck] | None = None
        self._what = Text(_WHAT, "muted")
        self._found = column()
        self._operation = ""
        self._progress = ProgressRow()
        self._progress.cancelled.connect(self._cancel)
        self._banner = Banner()
        self._banner.hide()
        self._check = button("C&heck this result", self._start, icon="scales")
        for widget in (self._what, self._banner, self._progress):
            self.body.addWidget(widget)
        self.body.addLayout(self._found)
        self.body.addLayout(row(1, self._check))
        self.hide()

    def show_order(self, order: Order) -> None:
        """Show what was found so far; hidden where there is nothing to check."""
        job = order.job
        self.setVisible(job is not None and (job.may_check or bool(job.checks)))
        self._check.setVisible(job is not None and job.may_check)
        if job is None or job.checks == self._shown:
            return
        self._shown = job.checks
        self._what.setVisible(not job.checks)
        clear(self._found)
        for check in list(reversed(job.checks))[:SHOWN]:
            self._found.addLayout(_answer(check))

    def _start(self) -> None:
        self._check.setEnabled(False)
        self._banner.hide()
        self._progress.begin("Doing the job again")
        self._desk.operations.start(
            f"/v1/orders/{self._id}/check",
            {},
            owner=self,
            done=self._ended,
            failed=self._failed,
            progress=self._moved,
        )

    def _cancel(self) -> None:
        if self._operation:
            self._desk.operations.cancel(self._operation)

    def _moved(self, operation: Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _ended(self, _result: Any) -> None:
        """The answer itself comes with the order."""
        self._check.setEnabled(True)
        self._progress.hide()

    def _failed(self, failure: Failure) -> None:
        self._ended(None)
        self._banner.fail(failure)


def _answer(check: JobCheck) -> Any:
    said = Text(_FOUND.get(check.outcome, "Not known"), "strong")
    if check.confirms:
        mark: Badge = Provenance("verified", "Your own computer did it again, and compared.")
    else:
        mark = Badge("not confirmed", "warning", "care" if check.outcome == "unclear" else "bad")
    odd = f" The odd one out is {words.one_line(check.odd, 60)}." if check.odd else ""
    part = words.one_line(check.part, 120)
    told = f"{part[:1].upper()}{part[1:]}: {words.plain(check.words, 600)}.{odd}"
    detail = Text(told.replace(" %", "\u00a0%"), "muted")
    lines = column(row(mark, 1, When(check.at, "small")), said, detail, spacing=2)
    if check.outcome == "different":
        lines.addWidget(Text(_NOT_THE_SAME, "muted"))
    return lines
