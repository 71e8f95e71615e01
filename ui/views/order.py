"""One order: its course with clocks, the money, the way back, what can be done, the job's log and files."""

from __future__ import annotations

from functools import partial
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QFileDialog, QLineEdit, QPlainTextEdit, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.trade import LogPage, Order
from openstall.ui.views.endpoint import EndpointPanel
from openstall.ui.views.evidence import EvidencePanel
from openstall.ui.views.job_check import JobCheckPanel
from openstall.ui.views.made_to_order import MadeToOrder
from openstall.ui.views.order_actions import ACTIONS
from openstall.ui.views.orders import side_words
from openstall.ui.views.page import Page
from openstall.ui.views.prices import Bill
from openstall.ui.views.recover import RecoverPanel
from openstall.ui.views.ruling import RulingForm
from openstall.ui.views.service_levels import OrderPromise
from openstall.ui.views.talk import TalkPanel
from openstall.ui.widgets.figures import CopyId, When
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, focus, row
from openstall.ui.widgets.marks import Badge, Picture, Provenance
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.text import Text
from openstall.ui.widgets.timeline import Timeline

LOG_LINES_KEPT = 5000
_KINDS = {"sale": "Model", "compute": "Job", "custom": "Model made to order"}


class OrderPage(Page):
    """The course of an order, live."""

    listens = frozenset({"order", "job_log"})

    def __init__(self, desk: Desk, order_id: str) -> None:
        super().__init__(desk, "Order", back="Back to the orders")
        self._id, self._order = order_id, Order()
        self._log_from, self._log_busy = 0, False
        self._badge = Badge()
        self.tools.addWidget(self._badge, 0, Qt.AlignmentFlag.AlignTop)
        self._progress, self._endpoint = ProgressRow(cancel=False), EndpointPanel(desk, order_id)
        self._now = Panel()
        self._state = Text("", "heading")
        self._clock = When(0, "strong")
        self._clock_words = Text("", "muted")
        self._now.body.addWidget(self._state)
        self._clock_icon = Picture("clock", "care", 16)
        clock = row(self._clock_icon, self._clock, self._clock_words)
        clock.setStretch(2, 1)
        for at in (0, 1):
            item = clock.itemAt(at)
            if item is not None:
                item.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._now.body.addLayout(clock)
        self._trouble, self._moved = Banner(closable=False), Banner(closable=False)
        for widget in (self._progress, self._trouble, self._moved):
            self._now.body.addWidget(widget)
        self._ask = column()
        self._now.body.addLayout(self._ask)
        self._buttons = row()
        self._now.body.addLayout(self._buttons)
        self._money, self._way, self._files = (
            Panel("The money"),
            Panel("If the other side vanishes"),
            Panel("Results"),
        )
        self._check = JobCheckPanel(desk, order_id)
        self._way_words = Text("")
        self._way.body.addWidget(self._way_words)
        course = Panel("What happened")
        self._timeline = Timeline()
        course.body.addWidget(self._timeline)
        self._log = QPlainTextEdit()
        self._log.setReadOnly(True)
        self._log.setFont(theme.fixed_font())
        self._log.setMaximumBlockCount(LOG_LINES_KEPT)
        self._log.setAccessibleName("Log of the job")
        self._log.setMinimumHeight(200)
        self._log_panel, self._promise = Panel("Log of the job"), OrderPromise(desk)
        self._log_panel.body.addWidget(self._log)
        self._log_panel.hide()
        side = QWidget()
        side.setFixedWidth(352)
        panels = (self._money, self._promise, self._way, self._files, self._check)
        side.setLayout(column(*panels, RecoverPanel(desk, order_id), 1, spacing=2 * theme.GRID))
        self._made, self._talk = MadeToOrder(desk, order_id), TalkPanel(desk, order_id)
        self._evidence = EvidencePanel(desk, order_id)
        heard = column(self._made, self._evidence, self._talk, self._endpoint, spacing=2 * theme.GRID)
        left = column(self._now, heard, course, self._log_panel, 1, spacing=2 * theme.GRID)
        self.body.addLayout(row(left, side, spacing=2 * theme.GRID))
        self.body.setStretch(0, 1)

    def on_event(self, name: str, data: object) -> None:
        mine = isinstance(data, dict) and self._id in (data.get("order_id"), data.get("id"))
        if not mine:
            return
        if name == "job_log":
            self._more_log()
        else:
            self.load_soon()

    def load(self) -> None:
        self.desk.api.get(f"/v1/orders/{self._id}", Order, self._show, owner=self, failed=self.fail)

    def _show(self, order: Order) -> None:
        before, self._order = self._order, order
        self.title.say(words.one_line(order.title, 120) or "Order")
        self.subtitle.say(f"{_KINDS.get(order.kind, 'Order')} {side_words(order)}")
        self.subtitle.show()
        self.caution.say(marks=order.other_marks, roles=order.other_roles)
        self._badge.mark_state(order.mark)
        self._state.say(order.state_words)
        running_clock = bool(order.deadline_at) and not order.final
        for shown in (self._clock_icon, self._clock, self._clock_words):
            shown.setVisible(running_clock)
        self._clock.show_at(order.deadline_at if running_clock else 0)
        self._clock_words.say(order.deadline_words)
        self._show_progress(order)
        self._show_trouble(order)
        self._show_moved(order)
        if order.actions != before.actions or order.final != before.final or not self.is_loaded:
            self._show_actions(order)
        self._show_money(order)
        self._promise.show_order(order)
        self._way.setVisible(bool(order.way_back))
        self._way_words.say(order.way_back)
        self._timeline.show_moments(
            order.timeline, order.other_name, order.deadline_at if running_clock else 0, order.deadline_words
        )
        self._show_files(order)
        self._check.show_order(order)
        self._endpoint.show_order(order)
        self._made.show_order(order)
        self._talk.show_order(order)
        self._evidence.show_order(order)
        if order.job is not None:
            self._log_panel.setVisible(not order.final or order.job.log_lines > 0)
            self._more_log()
        self.mark_loaded()

    def _show_trouble(self, order: Order) -> None:
        """What keeps the order from moving now; it is tried again by itself."""
        trouble = order.trouble or Failure(message="", code="")
        self._trouble.setVisible(False)
        if order.calls_arbiter:
            waits = "Your call and your evidence are kept. They go out as soon as the chain can be reached."
            self._trouble.say("care", "The arbiter is not called yet: the chain is away.", waits)
        elif order.trouble is not None:
            self._trouble.say("care", trouble.message, trouble.what_next, code=trouble.code)
        elif order.verified is False:
            self._trouble.say(
                "bad", "What was delivered is not what was signed.", order.fault or "A hash differs."
            )

    def _show_moved(self, order: Order) -> None:
        """A job that another provider goes on with is followed there."""
        if order.continued_by:
            self._moved.say(
                "accent",
                "Another provider goes on with this job.",
                "What this one did not earn comes back to you by itself.",
                action=("&Show that order", partial(self.desk.go.emit, f"orders:{order.continued_by}")),
            )
        elif order.continues:
            self._moved.say(
                "accent",
                "This order goes on with a job that another provider did not finish.",
                action=("&Show that order", partial(self.desk.go.emit, f"orders:{order.continues}")),
            )
        else:
            self._moved.hide()

    def _show_progress(self, order: Order) -> None:
        step = order.progress
        if step is None or order.final:
            self._progress.hide()
        else:
            self._progress.step(words.one_line(step.stage, 80), "", step.done, step.total, step.unit)

    def _show_money(self, order: Order) -> None:
        clear(self._money.body)
        self._money.body.addWidget(Text("The money", "heading"))
        bill = Bill(self.desk)
        job = order.job
        if order.kind == "compute" and job is not None:
            bill.line("Hard cap", job.cap_micro or order.amount_micro)
            bill.line(f"Earned for {words.plural(job.seconds, 'second')}", job.owed_micro)
            bill.line(
                "Paid so far" if order.role == "buyer" else "Received so far", order.paid_micro, total=True
            )
        else:
            bill.line("Price", order.amount_micro)
            if order.final:
                bill.line(
                    "Paid" if order.role == "buyer" else "Paid by the buyer", order.paid_micro, total=True
                )
        self._money.body.addWidget(bill)
        facts = Facts()
        facts.add("Order", CopyId(order.order_id, what="order id"))
        facts.add("Other side", CopyId(order.other, what="peer id"))
        if order.dispute_reason:
            facts.add("Dispute", words.plain(order.dispute_reason, 2000))
        if job is not None:
            facts.add("Vouchers", f"{job.vouchers:,}")
            if job.checkpoint is not None and order.role == "buyer":
                kept = f"after step {job.checkpoint.done:,}, {words.size(job.checkpoint.size)} on your disk"
                facts.add("Checkpoint", kept)
        self._money.body.addSpacing(theme.GRID)
        self._money.body.addLayout(facts)

    def _show_files(self, order: Order) -> None:
        files = order.job.artefacts if order.job is not None else []
        clear(self._files.body)
        self._files.setVisible(
            bool(files)
            or bool(order.library_path)
            or (order.job is not None and order.job.result is not None)
        )
        self._files.body.addWidget(Text("Results" if order.kind == "compute" else "Your model", "heading"))
        result = order.job.result if order.job is not None else None
        if result is not None and result.words and result.state == "done":
            self._files.body.addWidget(Text(result.words, "muted"))
        for file in files:
            self._files.body.addWidget(
                Text(f"{words.one_line(file.name, 120)} · {words.size(file.size)}", wrap=True)
            )
        if files:
            mark = Provenance("verified", "Each file has the hash that the provider signed.")
            save = button("&Save them…", self._save, icon="download")
            self._files.body.addLayout(row(mark, 1, save))
            models = [file.path for file in files if file.name.endswith(".onnx") and file.path]
            if models and order.role == "buyer":
                sell = button(
                    "Sell this &model", partial(self.desk.go.emit, f"publish:{models[0]}"), icon="upload"
                )
                self._files.body.addWidget(sell)
        elif order.library_path and order.role == "buyer":
            self._files.body.addWidget(Text("It is in your library.", "muted"))
            if order.verified:
                mark = Provenance("verified", "Every file has the hash that the seller signed.")
                self._files.body.addLayout(
                    row(mark, Text("against the signed hashes", "small", wrap=False), 1)
                )
            run = button(
                "&Run it on my rows", lambda: self.desk.go.emit(f"library:{order.order_id}"), icon="play"
            )
            self._files.body.addLayout(row(run, 1))

    def _show_actions(self, order: Order) -> None:
        clear(self._buttons)
        clear(self._ask)
        self._buttons.addStretch(1)
        for name in order.actions:
            if name == "rule":
                self._show_ruling()
            elif (order.kind, name) in ACTIONS:
                text, icon, meaning = ACTIONS[order.kind, name]
                self._buttons.addWidget(
                    button(text, partial(self._consent, name), icon=icon, description=meaning)
                )

    def _consent(self, name: str) -> None:
        """Ask once more, with what it means, before an order moves."""
        text, _icon, meaning = ACTIONS[self._order.kind, name]
        clear(self._ask)
        self._ask.addWidget(Text(meaning, "strong"))
        reason = QLineEdit()
        reason.setPlaceholderText("What is wrong? The arbiter reads this.")
        reason.setAccessibleName("Reason of the dispute")
        reason.setMaxLength(2000)
        if name == "dispute":
            self._ask.addWidget(reason)
        verb = text.replace("&", "").replace("…", "")
        go = button(
            f"Yes: {verb[0].lower()}{verb[1:]}",
            lambda: self._act(name, {"reason": reason.text().strip()} if name == "dispute" else {}),
        )
        leave = button("&Not now", lambda: clear(self._ask), kind="primary")
        self._ask.addLayout(row(1, go, leave))
        focus(reason if name == "dispute" else leave)

    def _show_ruling(self) -> None:
        form = RulingForm(self.desk, self._order)
        form.ruled.connect(lambda buyer_bps: self._act("rule", {"buyer_bps": buyer_bps}))
        self._ask.addWidget(form)

    def _act(self, name: str, body: dict[str, Any]) -> None:
        clear(self._ask)
        self.banner.hide()
        for at in range(self._buttons.count()):
            item = self._buttons.itemAt(at)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.setEnabled(False)
        self._progress.begin("Asking the chain")
        path = f"/v1/orders/{self._id}/{name}"
        self.desk.operations.start(
            path, body, owner=self, done=lambda _result: self._acted(), failed=self._refused
        )

    def _acted(self) -> None:
        self.is_loaded = False
        self.load()

    def _refused(self, failure: Failure) -> None:
        self.is_loaded = False
        self.load()
        self.banner.fail(failure)

    def _more_log(self) -> None:
        if self._log_busy:
            return
        self._log_busy = True
        path = f"/v1/orders/{self._id}/log?from={self._log_from}"
        self.desk.api.get(path, LogPage, self._add_log, owner=self, failed=self._no_log)

    def _add_log(self, page: LogPage) -> None:
        self._log_busy = False
        if page.next <= self._log_from:
            return
        bar = self._log.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        lines = "\n".join(words.plain(line.text, 4000) for line in page.lines)
        if lines:
            self._log.appendPlainText(lines)
        if at_end:
            self._log.moveCursor(QTextCursor.MoveOperation.End)
        self._log_from = page.next
        self._more_log()

    def _no_log(self, _failure: Failure) -> None:
        """The log comes with the next event; the order itself says if something is wrong."""
        self._log_busy = False

    def _save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save the results in")
        if folder:
            self.save_to(folder)

    def save_to(self, folder: str) -> None:
        """Copy the verified results into a folder."""

        def saved(_: Nothing) -> None:
            self.banner.say("good", "The results are saved.", folder)

        self.desk.api.post(
            f"/v1/orders/{self._id}/save",
            {"folder": folder},
            Nothing,
            saved,
            owner=self,
            failed=self.banner.fail,
        )
