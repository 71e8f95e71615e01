"""The jobs of others on this machine: what runs first, how much it has brought, and a way to end it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMessageBox, QPushButton, QWidget

from openstall.ui import theme, words
from openstall.ui.people import about_name, called
from openstall.ui.trade import Order
from openstall.ui.widgets.layout import Panel, button, row
from openstall.ui.widgets.marks import state_mark, state_word
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable

_LIVE = ("funded", "running")

COLUMNS: list[Column[Order]] = [
    Column(
        title="Job",
        text=lambda j: j.title or "job",
        second=lambda j: f"for {called(j.other_name, j.other, j.other_marks)}, {words.day(j.created_at)}",
        icon=lambda j: ("warning", "care") if j.other_marks else None,
        sort=lambda j: j.created_at,
        stretch=True,
        tip=lambda j: f"{j.title} {about_name(j.other_marks)} {j.other}".strip(),
    ),
    Column(
        title="State",
        text=lambda j: state_word(j.mark),
        icon=lambda j: state_mark(j.mark),
        width=120,
        tip=lambda j: j.state_words,
    ),
    Column(
        title="Worked",
        text=lambda j: words.span(j.seconds) if j.seconds else "—",
        sort=lambda j: j.seconds,
        right=True,
        width=84,
    ),
    Column(
        title="So far",
        text=lambda j: words.amount(j.owed_micro),
        sort=lambda j: j.owed_micro,
        right=True,
        width=80,
        tip=lambda j: words.raw_amount(j.owed_micro),
    ),
    Column(
        title="At most",
        text=lambda j: words.amount(j.amount_micro),
        sort=lambda j: j.amount_micro,
        right=True,
        width=80,
    ),
]


class JobsPanel(Panel):
    """Live jobs on top; the running one is chosen from the start, so that one key ends it."""

    asked_for_order = Signal(str)
    asked_to_stop = Signal(str)

    def __init__(self) -> None:
        super().__init__("Jobs on this machine", margin=2 * theme.GRID)
        empty = EmptyState(
            "compute",
            "No job has come yet",
            "While you sell, jobs of others appear here. You can stop each at any time.",
        )
        self.table = RowTable("Jobs", COLUMNS, lambda j: j.order_id, empty, row_height=52)
        self.table.setMinimumHeight(206)
        self.table.opened.connect(lambda job: self.asked_for_order.emit(job.order_id))
        self.table.chosen.connect(lambda _job: self._look())
        self._stop = button(
            "Stop this &job",
            self._ask_to_stop,
            icon="stop",
            description="The buyer pays only for what was useful until now.",
        )
        self._open = button("&Open its order", self._ask_for_order)
        self._buttons = QWidget()
        self._buttons.setLayout(row(self._open, self._stop))
        self.body.addWidget(self.table)
        self.body.addLayout(row(1, self._buttons))

    def show_jobs(self, jobs: list[Order]) -> None:
        """Show what the node says."""
        self.table.set_rows(sorted(jobs, key=lambda job: job.state not in _LIVE))
        running = next((job for job in jobs if job.state == "running"), None)
        if running is not None and self.table.current() is None:
            self.table.choose(running.order_id)
        self._buttons.setVisible(bool(jobs))
        self._look()

    def _look(self) -> None:
        job = self.table.current()
        self._open.setEnabled(job is not None)
        self._stop.setEnabled(job is not None and job.state in _LIVE)

    def _ask_to_stop(self) -> None:
        job = self.table.current()
        if job is not None and (job.state == "funded" or confirm_stop(self)):
            self.asked_to_stop.emit(job.order_id)

    def _ask_for_order(self) -> None:
        job = self.table.current()
        if job is not None:
            self.asked_for_order.emit(job.order_id)


def confirm_stop(parent: QWidget) -> bool:
    """Ask before a running job is ended: the default leaves it alone."""
    box = QMessageBox(parent)
    box.setText("End this job now?")
    box.setInformativeText(
        "Its buyer pays until this second and gets no result. It counts against your reliability."
    )
    end = QPushButton("End it")
    box.addButton(end, QMessageBox.ButtonRole.DestructiveRole)
    keep = box.addButton("Let it finish", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.exec()
    return box.clickedButton() is end
