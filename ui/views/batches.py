"""The batches above the list of orders: how far each is, and what it has cost so far."""

from __future__ import annotations

from functools import partial

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.served import Batch, BatchList
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.text import Text

SHOWN = 4
_STATES = {
    "running": "running",
    "cancelling": "being stopped",
    "cancelled": "stopped",
    "ended": "done",
}


class BatchesPanel(Panel):
    """Hidden where there are none."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Batches")
        self._desk = desk
        self._lines = column(spacing=theme.GRID // 2)
        self.body.addLayout(self._lines)
        self.hide()

    def load(self) -> None:
        """Ask the node."""
        self._desk.api.get("/v1/batches", BatchList, self._show, owner=self, failed=self._quiet)

    def _show(self, found: BatchList) -> None:
        clear(self._lines)
        for batch in found.items[:SHOWN]:
            line = Text(_words(batch), wrap=False)
            line.setToolTip(f"Results: {words.one_line(batch.folder, 200)}")
            if batch.state == "running":
                stop = button("Stop", partial(self._cancel, batch), icon="stop", kind="tiny")
                stop.setAccessibleName(f"Stop the batch {batch.batch_id[:6]}")
                self._lines.addLayout(row(line, 1, stop))
            else:
                self._lines.addLayout(row(line, 1))
        self.setVisible(bool(found.items))

    def _cancel(self, batch: Batch) -> None:
        path = f"/v1/batches/{batch.batch_id}/cancel"
        self._desk.api.post(path, {}, Batch, lambda _batch: self.load(), owner=self, failed=self._quiet)

    def _quiet(self, _failure: Failure) -> None:
        """The list below says what is wrong with the node."""


def _words(batch: Batch) -> str:
    failed = f", {batch.failed} failed" if batch.failed else ""
    cost = f"{words.amount(batch.spent_micro)} of at most {words.amount(batch.cap_micro)}"
    parts = f"{batch.done} of {words.plural(batch.total, 'part')} done{failed}"
    return f"{words.one_line(batch.model, 40)}: {parts} · {_STATES.get(batch.state, batch.state)} · {cost}"
