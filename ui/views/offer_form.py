"""The owner's offer: price, kinds of job, and how much of the machine a job may use."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.autoprice import Autoprice
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
_GPU_SCRIPT_TIP = (
    "The driver of a graphics card is a larger door into the system than all else that a job can reach. "
    "The fixed programs of Openstall use it as they always do; a buyer's program may look for its faults."
)
LIFE_S = (("1 hour", 3600), ("8 hours", 28_800), ("1 day", 86_400), ("7 days", 604_800))
LONGEST = (("10 minutes", 600), ("1 hour", 3600), ("6 hours", 21_600))


class OfferForm(Panel):
    """What the owner fills in before the switch is turned on."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Your offer")
        self._desk = desk
        self._floor_micro = 0
        self._most = (1, 1)
        self.price = AmountField("0.001", name="Price per second in credits")
        self.price.edited.connect(self._price_changed)
        self._per_hour, self._follows = Text("", "small"), Text("", "small")
        self._follows.tone("accent")
        self._follows.hide()
        self._threads = NumberField(1, 1, 1)
        self._memory = NumberField(1, 1, 1, suffix=" GiB")
        self._kinds = [Tick(kind) for kind in ("train", "infer", "evaluate", "serve", "federate", "script")]
        for box in self._kinds:
            box.setChecked(box.text() != "script")
            box.setAccessibleName(f"Accept {box.text()} jobs")
        self._kinds[-1].setToolTip(_SCRIPT_TIP)
        self._gpus, self._gpu_scripts = Tick("Rent them out"), Tick("to scripts too")
        self._gpu_scripts.setToolTip(_GPU_SCRIPT_TIP)
        self._gpus.toggled.connect(self._gpu_scripts.setEnabled)
        self._gpu_scripts.setEnabled(False)
        self._gpu_memory = NumberField(1, 1, 1, suffix=" GiB")
        self._graphics = QWidget()
        self._graphics.setLayout(column(self._gpus, self._gpu_scripts, spacing=theme.GRID))
        self._at_once, self._queue = NumberField(1, 1, 64), NumberField(3, 0, 256)
        self._longest, self._life = Choice(LONGEST, chosen=1), Choice(LIFE_S, chosen=1)
        kinds = QWidget()
        kinds.setLayout(column(*(row(*self._kinds[at : at + 2], 1) for at in (0, 2, 4)), spacing=theme.GRID))
        facts = Facts()
        facts.add("Price per second", self.price)
        said = QWidget()
        said.setLayout(column(self._per_hour, self._follows, spacing=0))
        facts.add("", said)
        facts.add("Kinds of job", kinds)
        facts.add("Threads for a job", self._threads)
        facts.add("Memory for a job", self._memory)
        facts.add("Graphics cards", self._graphics)
        facts.add("Memory of each", self._gpu_memory)
        facts.add("Jobs at once", self._at_once)
        facts.add("Jobs that may wait", self._queue)
        facts.add("Longest job", self._longest)
        facts.add("Offer stands for", self._life)
        self._facts = facts
        self.body.addLayout(facts)
        self._price_changed()

    def fill(
        self, inventory: Inventory, offer: Body | None, other_threads: int = 0, other_memory_bytes: int = 0
    ) -> None:
        """Fit the fields to this machine and the largest other one, and show the offer that stands."""
        threads, gib = max(1, inventory.cores_logical), max(1, inventory.memory_bytes // GIB)
        self._most = threads, gib
        self.widen(other_threads, other_memory_bytes)
        self._threads.setValue(offer.threads if offer else max(1, threads // 2))
        self._memory.setValue(offer.memory_bytes // GIB if offer else max(1, min(2, gib)))
        cards = [gpu.memory_bytes // GIB for gpu in inventory.gpus if gpu.passed is not False]
        for widget in (self._graphics, self._gpu_memory):
            self._facts.setRowVisible(widget, bool(cards))
        self._gpu_memory.setRange(1, max(1, *cards) if cards else 1)
        self._gpu_memory.setValue(max(cards, default=1))
        if offer is None:
            return
        self._gpus.setChecked(bool(cards and offer.gpus))
        if offer.gpus:
            self._gpu_memory.setValue(max(gpu.memory_bytes // GIB for gpu in offer.gpus))
        self.price.setText(words.amount(offer.price_per_s_micro))
        for box in self._kinds:
            box.setChecked(box.text() in offer.kinds)
        if self._longest.findData(offer.max_s) < 0:
            # An offer of the command line may have any length.
            self._longest.addItem(words.duration(offer.max_s), offer.max_s)
        self._longest.setCurrentIndex(self._longest.findData(offer.max_s))

    def show_gpu_scripts(self, allowed: bool) -> None:  # noqa: FBT001 - the state of a tick
        """Whether programs of buyers may use the cards: a house rule that the offer does not carry."""
        self._gpu_scripts.setChecked(self._gpus.isChecked() and allowed)

    def show_following(self, found: Autoprice) -> None:
        """Whether the price moves by itself; then the field shows where it stands."""
        self._follows.setVisible(found.on and found.rules is not None)
        if not found.on or found.rules is None:
            return
        limits = words.amount(found.rules.floor_micro), words.amount(found.rules.ceiling_micro)
        self._follows.say(f"Follows the market: {limits[0]} after electricity to {limits[1]}.")
        if found.price_micro and not self.price.hasFocus():
            self.price.setText(words.amount(found.price_micro))

    def widen(self, threads: int, memory_bytes: int) -> None:
        """Let the offer be as large as another machine of the owner allows, or this one if that is larger."""
        self._threads.setRange(1, max(self._most[0], threads))
        self._memory.setRange(1, max(self._most[1], memory_bytes // GIB))

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
            "gpus": self._gpus.isChecked(),
            "gpu_memory_bytes": self._gpu_memory.value() * GIB if self._gpus.isChecked() else 0,
            "gpu_scripts": self._gpus.isChecked() and self._gpu_scripts.isChecked(),
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
