"""Sell compute: one switch, the state in words and why, the machine, the jobs, the earnings, the figure."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from openstall.ui import documents, icons, theme, words
from openstall.ui.autoprice import Autoprice
from openstall.ui.demand import Demand
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing, UnreadableAnswer
from openstall.ui.house import Earnings, House, Saved
from openstall.ui.reliability import Reliability
from openstall.ui.trade import Body, Compute
from openstall.ui.views.capacity import MeasurePanel
from openstall.ui.views.earnings import EarningsPanel
from openstall.ui.views.house_strip import HouseStrip, confirm_end
from openstall.ui.views.jobs_panel import JobsPanel
from openstall.ui.views.lost_panel import LostPanel
from openstall.ui.views.machine import DoctorPanel, MachinePanel
from openstall.ui.views.machines import MachinesPanel
from openstall.ui.views.offer_form import OfferForm
from openstall.ui.views.page import Page
from openstall.ui.views.reliability import ReliabilityPanel
from openstall.ui.views.service_levels import PromisePanel
from openstall.ui.widgets.figures import Amount
from openstall.ui.widgets.layout import Panel, button, column, row
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.text import Text

POLL_MS = 5_000


class SellPage(Page):
    """This machine as a seller of compute."""

    listens = frozenset({"status", "order", "wallet"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk, "Sell compute", "Rent out this computer. Jobs run in a sandbox without network and files."
        )
        self._compute = Compute()
        self._house_seen = House()
        self._books_of: tuple[tuple[str, str | int], ...] | None = None
        self._operation = ""
        self._form = OfferForm(desk)
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
        self._reliability, self._lost = ReliabilityPanel(), LostPanel()
        self._reliability.asked_for_order.connect(lambda order_id: self.desk.go.emit(f"orders:{order_id}"))
        self._lost.asked_for_all.connect(lambda: self.desk.go.emit("demand"))
        self._machine, self._doctor, self._measure = MachinePanel(), DoctorPanel(), MeasurePanel(desk)
        self._doctor.asked_to_check.connect(self._check_again)
        self._doctor.asked_to_install.connect(self._install_runtime)
        side = QWidget()
        side.setFixedWidth(384)
        self._promise = PromisePanel(desk)
        beside = (self._form, self._promise, self._doctor, self._machine, self._measure)
        self._side = column(*beside, 1, spacing=2 * theme.GRID)
        side.setLayout(self._side)
        self.jobs = JobsPanel()
        self.jobs.asked_to_stop.connect(self._stop_job)
        self.jobs.asked_for_order.connect(lambda order_id: self.desk.go.emit(f"orders:{order_id}"))
        self._machines = MachinesPanel(desk)
        self._machines.changed.connect(self._machines_changed)
        panels = (self.jobs, self._machines, self._earnings, self._lost, self._reliability)
        left = column(*panels, 1, spacing=2 * theme.GRID)
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

    def load(self) -> None:
        self._measure.refresh()
        self._promise.refresh()
        self._machines.refresh()
        self._look()

    def _look(self) -> None:
        self.desk.api.get("/v1/compute", Compute, self._show, owner=self, failed=self.fail)
        self.desk.api.get("/v1/compute/house", House, self._show_house, owner=self, failed=self.banner.fail)

    def _poll(self) -> None:
        """The load of the machine moves without events; look again while the page is in view."""
        if self.isVisible() and self.desk.api.connected:
            self._look()

    def _load_books(self) -> None:
        """What is worked out from the order book: asked for when a job has moved on, not with every tick."""
        offer = self._offer()
        moved: tuple[tuple[str, str | int], ...] = (
            ("price", offer.price_per_s_micro if offer else 0),
            *((job.order_id, job.state) for job in self._compute.jobs),
        )
        if not self.desk.status.trading or moved == self._books_of:
            return
        self._books_of = moved

        def ask(path: str, document: Any, show: Any) -> None:
            self.desk.api.get(path, document, show, owner=self, failed=self.banner.fail)

        ask("/v1/compute/earnings", Earnings, lambda found: self._earnings.show_days(found.items))
        ask("/v1/compute/reliability", Reliability, self._reliability.show_reliability)
        ask("/v1/compute/demand", Demand, self._lost.show_demand)
        ask("/v1/compute/autoprice", Autoprice, self._form.show_following)

    def _show(self, compute: Compute) -> None:
        first = not self.is_loaded
        self._compute = compute
        self._show_state()
        self._show_machine()
        self._arrange_side()
        self._doctor.show_checks(compute.doctor, compute.runtime)
        self.jobs.show_jobs(compute.jobs)
        self._load_books()
        self._earned.show_micro(compute.earned_micro)
        if first:
            self._form.fill(compute.inventory, self._offer(), *self._machines.largest)
            self._form.show_gpu_scripts(compute.gpu_scripts)
        self.mark_loaded()

    def _arrange_side(self) -> None:
        """While it sells the gauges are what one looks at; before that, the offer and the checks."""
        unfit = any(check.severity == "error" and not check.ok for check in self._compute.doctor)
        order: list[QWidget] = [self._form, self._promise, self._doctor, self._machine, self._measure]
        if self._compute.selling:
            order = [self._machine, self._form, self._promise, self._measure, self._doctor]
        if unfit:
            order.sort(key=lambda panel: panel is not self._doctor)
        for at, panel in enumerate(order):
            item = self._side.itemAt(at)
            if item is None or item.widget() is not panel:
                self._side.insertWidget(at, panel)

    def _show_machine(self) -> None:
        self._machine.show_machine(
            self._compute.inventory, self._house_seen, self._compute.network_today_bytes
        )

    def _machines_changed(self) -> None:
        self._form.widen(*self._machines.largest)
        if self.is_loaded:
            self._show_state()

    def _show_house(self, house: House) -> None:
        self._house_seen = house
        self._house.show_house(house)
        self._form.show_floor(house.floor_price_micro or 0)
        if self.is_loaded:
            self._show_machine()
            self._show_state()

    def _show_state(self) -> None:
        agent = self.desk.status.agent
        running = sum(1 for job in self._compute.jobs if job.state == "running")
        where = "your machines" if self._machines.has_rigs else "this machine"
        if self._compute.selling:
            self._badge.mark("selling", "play", "good")
            waiting = min(running, self._house.waiting)
            self._state.say(
                f"{words.plural(waiting, 'job')} on this machine, waiting until you let it go on."
                if waiting
                else f"{words.plural(running, 'job')} running on {where}."
                if running
                else "On sale. Waiting for a job."
            )
            self._why.say(
                "Your offer is in the market of this group. Stopping lets a running job finish its course."
            )
        elif agent.state == "refused" and not self._machines.rig_ready:
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
        self.jobs.heading.say(f"Jobs on {where}")
        selling = self._compute.selling
        stop = "&Stop after this job" if running else "&Stop selling"
        self._switch.setText(stop if selling else "&Start selling")
        self._switch.setIcon(icons.icon("stop" if selling else "play", "text" if selling else "on_accent"))
        self._switch.setProperty("kind", "" if selling else "primary")
        self._switch.style().unpolish(self._switch)
        self._switch.style().polish(self._switch)
        self._switch.setAccessibleName(self._switch.text().replace("&", ""))
        fit = agent.state in ("ready", "starting") or self._machines.rig_ready
        self._switch.setEnabled(self._compute.selling or fit)

    def _offer(self) -> Body | None:
        value = self._compute.offer
        if not value:
            return None
        inner = value.get("body", value)
        try:
            return documents.read(inner, Body)
        except UnreadableAnswer:
            return None

    def _toggle(self) -> None:
        if self._compute.selling:
            self._begin("Taking the offer back")
            self.desk.operations.start(
                "/v1/compute/stop", {}, owner=self, done=self._changed, failed=self._stopped
            )
            return
        problem = self._form.problem()
        if problem:
            self.banner.say("care", "The offer is not complete.", problem)
            return
        self._begin("Publishing your offer")
        self.desk.operations.start(
            "/v1/compute/sell",
            self._form.terms(),
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

    def _install_runtime(self, gpu: bool) -> None:  # noqa: FBT001 - the argument of a signal
        self._begin("Installing the runtime for jobs")
        self.desk.operations.start(
            "/v1/runtime/install",
            {"gpu": gpu},
            owner=self,
            done=self._changed,
            failed=self._stopped,
            progress=self._moved,
        )

    def _stop_job(self, order_id: str) -> None:
        self.desk.api.post(
            f"/v1/orders/{order_id}/cancel",
            {},
            Nothing,
            lambda _: self.load(),
            owner=self,
            failed=self.banner.fail,
        )
