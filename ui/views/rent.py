"""Rent a machine: which job, on which files, for how long at most, and what it can cost at most."""

from __future__ import annotations

from PySide6.QtWidgets import QStackedWidget, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, WalletBook
from openstall.ui.served import BatchRef
from openstall.ui.trade import Entry, OrderRef
from openstall.ui.views.capacity import ClaimPanel
from openstall.ui.views.job_forms import BatchForm, JobForm, RecipeForm, RowsForm, ScriptForm, ServeForm
from openstall.ui.views.market import seller_of
from openstall.ui.views.page import Page
from openstall.ui.views.prices import Bill, chain_fee_words, play_money_words
from openstall.ui.views.reliability import ExperiencePanel
from openstall.ui.views.service_levels import BindChoice
from openstall.ui.widgets.contradicted import ContradictedPanel
from openstall.ui.widgets.inputs import AmountField, Choice, NumberField, Tick
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.text import Text

BATCH = "batch"
"""No kind of job: many infer jobs, here and at others."""
DEFAULT_MAX_S = 600
TRIES = 3
"""How many providers are tried, where the reader wants another one tried at all."""
_GPU_KINDS = ("train", "script")
"""Kinds that can use a graphics card."""
_KIND_WORDS = {
    "train": "Train a model on my table",
    "infer": "Run a model on my rows",
    "evaluate": "Measure a model on my rows",
    "script": "Run my own program",
    "serve": "Have a model answer my questions",
    BATCH: "Run a model on a large table, in parts",
}


def by_hand_words(kinds: list[str]) -> str:
    """What this page does not order, and how to order it; empty where it orders all that the offer takes."""
    if "federate" not in kinds:
        return ""
    only = all(kind not in _KIND_WORDS for kind in kinds)
    return (
        f"This machine {'takes only' if only else 'also takes'} federate jobs: several machines train one "
        "model together, each on its own table. One round is several orders with one shared recipe, so it is "
        "ordered by command and not on this page: “openstall job submit --kind federate” for each machine, "
        "then “openstall job average” to add up what came back."
    )


class RentPage(Page):
    """One offer, one job, one hard cap."""

    listens = frozenset({"wallet"})

    def __init__(self, desk: Desk, cid: str) -> None:
        super().__init__(desk, "Rent a machine", "Nothing has been paid yet.", back="Back to the market")
        self._cid = cid
        self._entry = Entry()
        self._balance_micro: int | None = None
        self._renting = False
        self._kind = Choice()
        self._kind.setAccessibleName("Kind of job")
        self._kind.currentIndexChanged.connect(self._kind_changed)
        self._train, self._infer, self._batch = RecipeForm(), RowsForm(answers=False), BatchForm()
        self._by_kind: dict[str, JobForm] = {
            "train": self._train,
            "infer": self._infer,
            "evaluate": RowsForm(answers=True),
            "script": ScriptForm(),
            "serve": ServeForm(),
            BATCH: self._batch,
        }
        self._forms = QStackedWidget()
        for form in self._by_kind.values():
            self._forms.addWidget(form)
            form.changed.connect(self._check)
        self._by_hand = Text("", "small")
        self._by_hand.hide()
        job = Panel("The job")
        job.body.addWidget(self._by_hand)
        job.body.addWidget(self._kind)
        job.body.addSpacing(theme.GRID)
        job.body.addWidget(self._forms)
        job.body.addStretch(1)
        side = QWidget()
        side.setFixedWidth(384)
        self._machine = Panel("The machine")
        self._facts = Facts()
        self._machine.body.addLayout(self._facts)
        self._claim, self._experience = ClaimPanel(desk), ExperiencePanel(desk)
        self._warning = ContradictedPanel("provider")
        panels = (self._warning, self._machine, self._cost_panel(), self._experience, self._claim)
        side.setLayout(column(*panels, 1, spacing=2 * theme.GRID))
        self.body.addLayout(row(column(job, 1), side, spacing=2 * theme.GRID))
        self.body.setStretch(0, 1)

    def _cost_panel(self) -> Panel:
        panel = Panel("What it can cost")
        self._max_s = NumberField(DEFAULT_MAX_S, 1, 86_400, suffix=" s")
        self._max_s.setAccessibleName("Longest time in seconds")
        self._max_s.changed.connect(self._price)
        bill = Bill(self.desk)
        self._rate = bill.line("Per second of useful work", 0)
        self._cap = bill.line("Hard cap, set aside now", 0, total=True)
        bill.note(chain_fee_words(self.desk))
        self._top = AmountField("0", name="On top of the price per second, in credits")
        self._top.setToolTip(
            "Counts as if you had paid earlier: the price once more is ten minutes, and more is no more."
        )
        self._top.edited.connect(self._price)
        self._top.setMaximumWidth(120)
        panel.body.addLayout(row(Text("Stop the job after", wrap=False), 1, self._max_s))
        panel.body.addLayout(row(Text("On top per second, to start earlier", wrap=False), 1, self._top))
        panel.body.addWidget(bill)
        panel.body.addWidget(
            Text(
                "You pay only for begun seconds after the first useful output. What is not used comes "
                "back when the "
                "provider settles. If the provider vanishes, you take it back after the deadline and a "
                "short delay.",
                "small",
            )
        )
        self._again = Tick("If this provider fails, go on with &another")
        self._again.setChecked(True)
        self._again.setToolTip("From the last checkpoint, at this price or less, and within the same cap.")
        panel.body.addWidget(self._again)
        self._gpu = Tick("Use a &graphics card")
        self._gpu.setToolTip("It is this job's alone while it runs; the price is the same.")
        panel.body.addWidget(self._gpu)
        self._test = Tick("C&hallenge the machine while the job runs")
        self._test.setToolTip("Your node checks samples of its answer: some seconds of your processor.")
        panel.body.addWidget(self._test)
        self._bind = BindChoice(self.desk)
        panel.body.addWidget(self._bind)
        self._play = Text("", "small")
        self._play.tone("care")
        panel.body.addWidget(self._play)
        self._why = Text("", "small")
        panel.body.addWidget(self._why)
        self._go = button("", self._rent, icon="lock")
        self._leave = button("&Do not rent", self.desk.back.emit, kind="primary")
        panel.body.addLayout(row(1, self._go, self._leave))
        return panel

    def load(self) -> None:
        self.desk.api.get(f"/v1/catalogue/{self._cid}", Entry, self._show, owner=self, failed=self.fail)

    def on_event(self, name: str, data: object) -> None:  # noqa: ARG002 - only the balance can have changed
        self._ask_balance()

    def _ask_balance(self) -> None:
        self.desk.ask_wallet(self._weigh, owner=self, failed=self.fail)

    def _weigh(self, wallet: WalletBook) -> None:
        self._balance_micro = wallet.balance_micro
        self._check()
        self.mark_loaded()

    def _show(self, entry: Entry) -> None:
        self._entry = entry
        self.caution.about(entry)
        body = entry.body
        self.title.say(f"Rent “{words.one_line(body.title, 80)}”")
        while self._facts.rowCount():
            self._facts.removeRow(0)
        self._warning.tell(entry.contradicted)
        self._facts.add("Provider", seller_of(entry))
        self._facts.add("Processor", words.one_line(body.cpu, 80) or "not stated")
        self._facts.add(
            "For your job",
            f"{words.plural(body.threads, 'thread')}, {words.memory(body.memory_bytes)} memory",
        )
        self._facts.add("Graphics", ", ".join(words.one_line(gpu.name, 60) for gpu in body.gpus) or "none")
        self._facts.add("Longest job", words.span(body.max_s))
        self._max_s.setRange(1, max(1, body.max_s))
        if not self._kind.count():
            kinds = [
                kind
                for kind in _KIND_WORDS
                if kind in body.kinds or (kind == BATCH and "infer" in body.kinds)
            ]
            for kind in kinds:
                self._kind.addItem(_KIND_WORDS[kind], kind)
        self._by_hand.say(by_hand_words(body.kinds))
        self._by_hand.setVisible(bool(self._by_hand.text()))
        for part in (self._kind, self._forms):
            part.setVisible(bool(self._kind.count()))
        self._kind_changed()
        self._claim.load(entry.author)
        self._experience.load(entry.author)
        self._bind.load(entry.author)
        self._play.say(play_money_words(self.desk))
        self._play.setVisible(bool(self._play.text()))
        self._price()
        self._ask_balance()

    @property
    def _form(self) -> JobForm:
        return self._by_kind.get(self._kind.currentData(), self._train)

    @property
    def cap_micro(self) -> int:
        """The most that the job can cost."""
        return (self._entry.body.price_per_s_micro + self._on_top_micro) * self._max_s.value()

    @property
    def _on_top_micro(self) -> int:
        """What is offered on top of the price per second."""
        return 0 if self._kind.currentData() == BATCH else (self._top.micro or 0)

    def _kind_changed(self) -> None:
        self._forms.setCurrentWidget(self._form)
        self._gpu.setVisible(bool(self._entry.body.gpus) and self._kind.currentData() in _GPU_KINDS)
        for field in (self._top, self._again, self._test, self._bind):
            field.setEnabled(self._kind.currentData() != BATCH)
        self._price()

    def _price(self) -> None:
        self._rate.show_micro(self._entry.body.price_per_s_micro + self._on_top_micro)
        self._cap.show_micro(self.cap_micro)
        self._bind.price(self.cap_micro)
        self._go.setText(f"&Set aside {words.amount(self.cap_micro)} and start")
        self._go.setAccessibleName(self._go.text().replace("&", ""))
        self._check()

    def _problem(self) -> str:
        """Why the job cannot be ordered as it stands; empty if it can."""
        if self._entry.mine:
            return "This is your own machine."
        if why := self._job_problem():
            return why
        if self._top.text().strip() and self._top.micro is None:
            return self._top.why
        if self._balance_micro is None:
            return "Your wallet is asked what it holds…"
        if self.cap_micro > self._balance_micro:
            held = words.amount(self._balance_micro, symbol=self.desk.symbol)
            return f"Your wallet holds {held}: less than the cap."
        return ""

    def _job_problem(self) -> str:
        if self._entry.body.kinds and not self._kind.count():
            return "This offer takes no kind of job that can be ordered on this page."
        return self._form.problem()

    def _check(self) -> None:
        why = self._problem()
        self._why.say(why)
        self._why.setVisible(bool(why))
        self._go.setEnabled(not why and not self._renting)

    def _rent(self) -> None:
        self._renting = True
        self._go.setEnabled(False)
        if self._kind.currentData() == BATCH:
            self._start_batch()
            return
        self.desk.api.post(
            "/v1/orders/job",
            {
                "offer_cid": self._cid,
                "kind": self._kind.currentData(),
                "inputs": self._form.inputs(),
                "params": self._form.params(),
                "max_s": self._max_s.value(),
                "cap_micro": self.cap_micro,
                "tries": TRIES if self._again.isChecked() else 1,
                "gpus": int(self._gpu.isVisibleTo(self) and self._gpu.isChecked()),
                "challenge": self._test.isChecked(),
                "service": self._bind.wanted(),
                "priority_per_s_micro": self._on_top_micro,
            },
            OrderRef,
            lambda ref: self.desk.go.emit(f"orders:{ref.order_id}"),
            owner=self,
            failed=self._failed,
        )

    def _start_batch(self) -> None:
        limits = {
            "cap_micro": self.cap_micro,
            "max_s": self._max_s.value(),
            "max_price_micro": self._entry.body.price_per_s_micro,
        }
        self.desk.api.post(
            "/v1/batches",
            {**self._batch.batch(), **limits},
            BatchRef,
            lambda _ref: self.desk.go.emit("orders"),
            owner=self,
            failed=self._failed,
        )

    def _failed(self, failure: Failure) -> None:
        self._renting = False
        self._check()
        self.fail(failure)
