"""The owner's offer: price, kinds of job, and how much of the machine a job may use."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.trade import Body, Inventory
from openstall.ui.widgets.inputs import AmountField, Choice, NumberField, Tick
from openstall.ui.widgets.layout import Facts, Panel, column, row
from openstall.ui.widgets.text import Text

GIB = 2**30
_SCRIPT_TIP = (
    "The buyer's own program, in the strongest sandbox only. The other kinds run fixed programs of Openstall "
    "on the buyer's files; this one runs what the buyer wrote. Leave it off if you are not sure."
)
LIFE_S = (("1 hour", 3600), ("8 hours", 28_800), ("1 day", 86_400), ("7 days", 604_800))
LONGEST = (("10 minutes", 600), ("1 hour", 3600), ("6 hours", 21_600))


class OfferForm(Panel):
    """What the owner fills in before the switch is turned on."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Your offer")
        self._desk = desk
        self._floor_micro = 0
        self.price = AmountField("0.001", name="Price per second in credits")
        self.price.edited.connect(self._price_changed)
        self._per_hour = Text("", "small")
        self._threads = NumberField(1, 1, 1)
        self._memory = NumberField(1, 1, 1, suffix=" GiB")
        self._kinds = [Tick(kind) for kind in ("train", "infer", "evaluate", "serve", "federate", "script")]
        for box in self._kinds:
            box.setChecked(box.text() != "script")
            box.setAccessibleName(f"Accept {box.text()} jobs")
        self._kinds[-1].setToolTip(_SCRIPT_TIP)
        self._at_once, self._queue = NumberField(1, 1, 64), NumberField(3, 0, 256)
        self._longest, self._life = Choice(LONGEST, chosen=1), Choice(LIFE_S, chosen=1)
        kinds = QWidget()
        kinds.setLayout(column(*(row(*self._kinds[at : at + 2], 1) for at in (0, 2, 4)), spacing=theme.GRID))
        facts = Facts()
        facts.add("Price per second", self.price)
        facts.add("", self._per_hour)
        facts.add("Kinds of job", kinds)
        facts.add("Threads for a job", self._threads)
        facts.add("Memory for a job", self._memory)
        facts.add("Jobs at once", self._at_once)
        facts.add("Jobs that may wait", self._queue)
        facts.add("Longest job", self._longest)
        facts.add("Offer stands for", self._life)
        self.body.addLayout(facts)
        self._price_changed()

    def fill(self, inventory: Inventory, offer: Body | None) -> None:
        """Fit the fields to the machine, and show the offer that stands."""
        threads, gib = max(1, inventory.cores_logical), max(1, inventory.memory_bytes // GIB)
        self._threads.setRange(1, threads)
        self._memory.setRange(1, gib)
        self._threads.setValue(offer.threads if offer else max(1, threads // 2))
        self._memory.setValue(offer.memory_bytes // GIB if offer else max(1, min(2, gib)))
        if offer is None:
            return
        self.price.setText(words.amount(offer.price_per_s_micro))
        for box in self._kinds:
            box.setChecked(box.text() in offer.kinds)
        if self._longest.findData(offer.max_s) < 0:
            # An offer of the command line may have any length.
            self._longest.addItem(words.duration(offer.max_s), offer.max_s)
        self._longest.setCurrentIndex(self._longest.findData(offer.max_s))

    def show_floor(self, micro: int) -> None:
        """The price per second that pays for the electricity; 0 where it is not known."""
        self._floor_micro = micro
        self._price_changed()

    def problem(self) -> str:
        """What is missing, in words; empty if the offer is complete."""
        if self.price.micro is not None and any(box.isChecked() for box in self._kinds):
            return ""
        return self.price.why or "Choose at least one kind of job, and a price."

    def terms(self) -> dict[str, Any]:
        """The offer as the node takes it."""
        return {
            "price_per_s_micro": self.price.micro,
            "max_job_s": self._longest.currentData(),
            "memory_bytes": self._memory.value() * GIB,
            "threads": self._threads.value(),
            "kinds": [box.text() for box in self._kinds if box.isChecked()],
            "jobs_at_once": self._at_once.value(),
            "queue": self._queue.value(),
            "ttl_s": self._life.currentData(),
        }

    def _price_changed(self) -> None:
        micro = self.price.micro
        below = micro is not None and micro < self._floor_micro
        self._per_hour.say(
            f"Below its electricity: {words.amount(self._floor_micro)} would pay for it."
            if below
            else f"{words.amount(micro * 3600, symbol=self._desk.symbol)} per hour"
            if micro is not None
            else self.price.why or "Write a price."
        )
        self._per_hour.tone("care" if below else "")
