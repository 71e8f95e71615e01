"""Sell compute: one switch, the state in words and why, the machine, the checks, the jobs, the earnings."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from openstall.ui import documents, icons, theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing, UnreadableAnswer
from openstall.ui.house import Earnings, House, Saved
from openstall.ui.trade import Body, Compute, Order
from openstall.ui.views.capacity import MeasurePanel
from openstall.ui.views.earnings import EarningsPanel
from openstall.ui.views.house_strip import HouseStrip, confirm_end
from openstall.ui.views.machine import DoctorPanel, MachinePanel
from openstall.ui.views.page import Page
from openstall.ui.widgets.figures import Amount
from openstall.ui.widgets.inputs import AmountField, Choice, NumberField, Tick
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.marks import Badge, state_mark, state_word
from openstall.ui.widgets.notices import EmptyState, ProgressRow
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

GIB = 2**30
_SCRIPT_TIP = (
    "The buyer's own program, in the strongest sandbox only. The other kinds run fixed programs of Openstall "
    "on the buyer's files; this one runs what the buyer wrote. Leave it off if you are not sure."
)
POLL_MS = 5_000
LIFE_S = (("1 hour", 3600), ("8 hours", 28_800), ("1 day", 86_400), ("7 days", 604_800))
LONGEST = (("10 minutes", 600), ("1 hour", 3600), ("6 hours", 21_600))

JOB_COLUMNS: list[Column[Order]] = [
    Column(title="Job", text=lambda j: j.title or "job", stretch=True),
    Column(title="For", text=lambda j: j.other_name or words.short_id(j.other), width=96),
    Column(
        title="State",
        text=lambda j: state_word(j.state),
        icon=lambda j: state_mark(j.state),
        width=112,
        tip=lambda j: j.state_words,
    ),
    Column(title="Since", text=lambda j: words.day(j.created_at), sort=lambda j: j.created_at, width=108),
    Column(
        title="At most",
        text=lambda j: words.amount(j.amount_micro),
        sort=lambda j: j.amount_micro,
        right=True,
        width=84,
    ),
]


class SellPage(Page):
    """This machine as a seller of compute."""

    listens = frozenset({"status", "order", "wallet"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk, "Sell compute", "Rent out this computer. Jobs run in a sandbox without network and files."
        )
        self._compute = Compute()
        self._operation = ""
        self._floor_micro = 0
        self._again = QTimer(self)
        self._again.setInterval(POLL_MS)
        self._again.timeout.connect(self._poll)
        self._again.start()
        self.body.addWidget(self._switch_panel())
        self._house = HouseStrip()
        self._house.asked.connect(self._pause_or_resume)
        self._house.asked_to_end.connect(self._end_jobs)
        self._house.asked_for_rules.connect(lambda: self.desk.go.emit("house"))
        self.body.addWidget(self._house)
        self._earnings = EarningsPanel()
        self._earnings.asked_to_save.connect(self._save_earnings)
        self._machine, self._doctor, self._measure = MachinePanel(), DoctorPanel(), MeasurePanel(desk)
        self._doctor.asked_to_check.connect(self._check_again)
        self._doctor.asked_to_install.connect(self._install_runtime)
        side = QWidget()
        side.setFixedWidth(384)
        side.setLayout(column(self._offer_panel(), self._machine, self._measure, 1, spacing=2 * theme.GRID))
        left = column(self._jobs_panel(), self._earnings, self._doctor, 1, spacing=2 * theme.GRID)
        self.body.addLayout(row(left, side, spacing=2 * theme.GRID))
        self.body.setStretch(2, 1)

    def _switch_panel(self) -> Panel:
        panel = Panel()
        self._badge = Badge("off", "stop", "muted")
        self._state = Text("", "heading")
        self._why = Text("", "muted")
        self._switch = button("&Start selling", self._toggle, icon="play", kind="primary")
        self._switch.setEnabled(False)
        self._earned = Amount(0, "heading", symbol=self.desk.symbol)
        self._progress = ProgressRow()
        self._progress.cancelled.connect(lambda: self.desk.operations.cancel(self._operation))
        earned = column(Text("Earned so far", "small", wrap=False), self._earned, spacing=0)
        line = row(
            column(row(self._badge, 1), self._state, self._why, spacing=4),
            earned,
            self._switch,
            spacing=3 * theme.GRID,
        )
        line.setStretch(0, 1)
        panel.body.addLayout(line)
        panel.body.addWidget(self._progress)
        return panel

    def _offer_panel(self) -> Panel:
        panel = Panel("Your offer")
        self._price = AmountField("0.001", name="Price per second in credits")
        self._price.edited.connect(self._price_changed)
        self._per_hour = Text("", "small")
        self._threads = NumberField(1, 1, 1)
        self._memory = NumberField(1, 1, 1, suffix=" GiB")
        self._kinds = [Tick(kind) for kind in ("train", "infer", "evaluate", "script")]
        for box in self._kinds:
            box.setChecked(box.text() != "script")
            box.setAccessibleName(f"Accept {box.text()} jobs")
        self._kinds[-1].setToolTip(_SCRIPT_TIP)
        self._longest, self._life = Choice(LONGEST, chosen=1), Choice(LIFE_S, chosen=1)
        kinds = QWidget()
        kinds.setLayout(column(row(*self._kinds[:2], 1), row(*self._kinds[2:], 1), spacing=theme.GRID))
        facts = Facts()
        facts.add("Price per second", self._price)
        facts.add("", self._per_hour)
        facts.add("Kinds of job", kinds)
        facts.add("Threads for a job", self._threads)
        facts.add("Memory for a job", self._memory)
        self._at_once, self._queue = NumberField(1, 1, 64), NumberField(3, 0, 256)
        facts.add("Jobs at once", self._at_once)
        facts.add("Jobs that may wait", self._queue)
        facts.add("Longest job", self._longest)
        facts.add("Offer stands for", self._life)
        panel.body.addLayout(facts)
        self._price_changed()
        return panel

    def _jobs_panel(self) -> Panel:
        panel = Panel("Jobs on this machine", margin=2 * theme.GRID)
        empty = EmptyState(
            "compute",
            "No job has come yet",
            "While you sell, jobs of others appear here. You can stop each at any time.",
        )
        self.jobs = RowTable("Jobs", JOB_COLUMNS, lambda j: j.order_id, empty)
        self.jobs.setMinimumHeight(180)
        self.jobs.opened.connect(lambda job: self.desk.go.emit(f"orders:{job.order_id}"))
        self.jobs.chosen.connect(lambda _job: self._look_at_jobs())
        self._stop_job = button(
            "Stop this &job",
            self._cancel_job,
            icon="stop",
            description="The buyer pays only for what was useful until now.",
        )
        self._open_job = button(
            "&Open its order", lambda: self._with_job(lambda j: self.desk.go.emit(f"orders:{j.order_id}"))
        )
        panel.body.addWidget(self.jobs)
        self._job_buttons = QWidget()
        self._job_buttons.setLayout(row(self._open_job, self._stop_job))
        why = button("&Why no job?", lambda: self.desk.go.emit("demand"), icon="search", kind="quiet")
        panel.body.addLayout(row(why, 1, self._job_buttons))
        return panel

    def load(self) -> None:
        self._measure.refresh()
        self.desk.api.get("/v1/compute", Compute, self._show, owner=self, failed=self.fail)
        self.desk.api.get("/v1/compute/house", House, self._show_house, owner=self, failed=self.banner.fail)
        if self.desk.status.trading:
            self.desk.api.get(
                "/v1/compute/earnings",
                Earnings,
                lambda found: self._earnings.show_days(found.items),
                owner=self,
                failed=self.banner.fail,
            )

    def _poll(self) -> None:
        """The load of the machine moves without events; look again while the page is in view."""
        if self.isVisible() and self.desk.api.connected:
            self.load()

    def _show(self, compute: Compute) -> None:
        first = not self.is_loaded
        self._compute = compute
        self._show_state()
        self._machine.show_inventory(compute.inventory)
        self._doctor.show_checks(compute.doctor, compute.runtime)
        self.jobs.set_rows(compute.jobs)
        self._look_at_jobs()
        self._earned.show_micro(compute.earned_micro)
        if first:
            self._fill_form()
        self.mark_loaded()

    def _show_house(self, house: House) -> None:
        self._house.show_house(house)
        self._floor_micro = house.floor_price_micro or 0
        self._price_changed()
        if self.is_loaded:
            self._show_state()

    def _show_state(self) -> None:
        agent = self.desk.status.agent
        running = sum(1 for job in self._compute.jobs if job.state == "running")
        if self._compute.selling:
            self._badge.mark("selling", "play", "good")
            waiting = min(running, self._house.waiting)
            self._state.say(
                f"{words.plural(waiting, 'job')} on this machine, waiting until you let it go on."
                if waiting
                else f"{words.plural(running, 'job')} running on this machine."
                if running
                else "On sale. Waiting for a job."
            )
            self._why.say(
                "Your offer is in the market of this group. Stopping lets a running job finish its course."
            )
        elif agent.state == "refused":
            self._badge.mark("not possible", "error", "bad")
            self._state.say("This machine cannot run the jobs of strangers safely yet.")
            self._why.say(f"{agent.reason} {agent.fix}".strip())
        else:
            self._badge.mark("off", "stop", "muted")
            self._state.say("Not for rent.")
            self._why.say(
                "Set your price and press Start. Nothing runs here before that."
                if agent.state != "starting"
                else "The compute agent is starting."
            )
        selling = self._compute.selling
        stop = "&Stop after this job" if running else "&Stop selling"
        self._switch.setText(stop if selling else "&Start selling")
        self._switch.setIcon(icons.icon("stop" if selling else "play", "text" if selling else "on_accent"))
        self._switch.setProperty("kind", "" if selling else "primary")
        self._switch.style().unpolish(self._switch)
        self._switch.style().polish(self._switch)
        self._switch.setAccessibleName(self._switch.text().replace("&", ""))
        self._switch.setEnabled(self._compute.selling or agent.state in ("ready", "starting"))

    def _fill_form(self) -> None:
        inventory = self._compute.inventory
        threads, gib = max(1, inventory.cores_logical), max(1, inventory.memory_bytes // GIB)
        self._threads.setRange(1, threads)
        self._memory.setRange(1, gib)
        offer = self._offer()
        self._threads.setValue(offer.threads if offer else max(1, threads // 2))
        self._memory.setValue(offer.memory_bytes // GIB if offer else max(1, min(2, gib)))
        if offer:
            self._price.setText(words.amount(offer.price_per_s_micro))
            for box in self._kinds:
                box.setChecked(box.text() in offer.kinds)
            if self._longest.findData(offer.max_s) < 0:
                # An offer of the command line may have any length.
                self._longest.addItem(words.duration(offer.max_s), offer.max_s)
            self._longest.setCurrentIndex(self._longest.findData(offer.max_s))

    def _offer(self) -> Body | None:
        value = self._compute.offer
        if not value:
            return None
        inner = value.get("body", value)
        try:
            return documents.read(inner, Body)
        except UnreadableAnswer:
            return None

    def _price_changed(self) -> None:
        micro = self._price.micro
        below = micro is not None and micro < self._floor_micro
        self._per_hour.say(
            f"Below its electricity: {words.amount(self._floor_micro)} would pay for it."
            if below
            else f"{words.amount(micro * 3600, symbol=self.desk.symbol)} per hour"
            if micro is not None
            else self._price.why or "Write a price."
        )
        self._per_hour.tone("care" if below else "")

    def _toggle(self) -> None:
        if self._compute.selling:
            self._begin("Taking the offer back")
            self.desk.operations.start(
                "/v1/compute/stop", {}, owner=self, done=self._changed, failed=self._stopped
            )
            return
        kinds = [box.text() for box in self._kinds if box.isChecked()]
        price = self._price.micro
        if price is None or not kinds:
            self.banner.say(
                "care",
                "The offer is not complete.",
                self._price.why or "Choose at least one kind of job, and a price.",
            )
            return
        self._begin("Publishing your offer")
        self.desk.operations.start(
            "/v1/compute/sell",
            {
                "price_per_s_micro": price,
                "max_job_s": self._longest.currentData(),
                "memory_bytes": self._memory.value() * GIB,
                "threads": self._threads.value(),
                "kinds": kinds,
                "jobs_at_once": self._at_once.value(),
                "queue": self._queue.value(),
                "ttl_s": self._life.currentData(),
            },
            owner=self,
            done=self._changed,
            failed=self._stopped,
            progress=self._moved,
        )

    def _pause_or_resume(self, action: str) -> None:
        self.desk.api.post(
            f"/v1/compute/{action}",
            {},
            House,
            self._show_house,
            owner=self,
            failed=self.banner.fail,
        )

    def _end_jobs(self) -> None:
        if confirm_end(self):
            self.desk.api.post(
                "/v1/compute/stop", {"now": True}, Nothing, self._changed, owner=self, failed=self.banner.fail
            )

    def _save_earnings(self, kind: str, path: str) -> None:
        self.desk.api.post(
            "/v1/compute/earnings/save",
            {kind: path},
            Saved,
            lambda saved: self.banner.say("good", "The earnings are saved.", "\n".join(saved.items)),
            owner=self,
            failed=self.banner.fail,
        )

    def _begin(self, title: str) -> None:
        self.banner.hide()
        self._switch.setEnabled(False)
        self._progress.begin(title)

    def _moved(self, operation: documents.Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _changed(self, _result: Any) -> None:
        self._progress.hide()
        self.desk.refresh()
        self.load()

    def _stopped(self, failure: Failure) -> None:
        self._progress.hide()
        self.banner.fail(failure)
        self._show_state()

    def _check_again(self) -> None:
        self._begin("Checking this machine")
        self.desk.operations.start(
            "/v1/compute/doctor",
            {},
            owner=self,
            done=self._changed,
            failed=self._stopped,
            progress=self._moved,
        )

    def _install_runtime(self) -> None:
        self._begin("Installing the runtime for jobs")
        self.desk.operations.start(
            "/v1/runtime/install",
            {},
            owner=self,
            done=self._changed,
            failed=self._stopped,
            progress=self._moved,
        )

    def _with_job(self, act: Any) -> None:
        job = self.jobs.current()
        if job is not None:
            act(job)

    def _look_at_jobs(self) -> None:
        job = self.jobs.current()
        self._job_buttons.setVisible(bool(self._compute.jobs))
        self._open_job.setEnabled(job is not None)
        self._stop_job.setEnabled(job is not None and job.state in ("funded", "running"))

    def _cancel_job(self) -> None:
        self._with_job(
            lambda job: self.desk.api.post(
                f"/v1/orders/{job.order_id}/cancel",
                {},
                Nothing,
                lambda _: self.load(),
                owner=self,
                failed=self.banner.fail,
            )
        )
