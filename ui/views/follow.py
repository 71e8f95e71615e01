"""A price that follows the market by itself: the switch, its limits, and every change with its working."""

from __future__ import annotations

from PySide6.QtCore import QElapsedTimer, Signal
from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.autoprice import Autoprice, PriceChange, PriceRules
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.widgets.inputs import AmountField, NumberField, Tick
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

HOUR_S = 3600
CALM_MS = 5_000
PATH = "/v1/compute/autoprice"


_WHY = {
    "suggestion": "Towards the price that would earn most",
    "rivals": "Towards the middle of credible rivals",
    "floor": "Up to electricity plus your floor",
    "ceiling": "Down towards your ceiling",
}


def _why(change: PriceChange) -> str:
    return _WHY.get(change.working.why) or words.one_line(change.working.words, 300)


def _working(change: PriceChange) -> str:
    """What a change was worked out from."""
    found = change.working
    parts = [f"heading for {words.amount(found.target_micro)}"] if found.target_micro else []
    if found.rivals:
        parts.append(f"{words.plural(found.rivals, 'rival')}, middle {words.amount(found.middle_micro)}")
    return ", ".join([*parts, f"least {words.amount(found.least_micro)}"])


COLUMNS: list[Column[PriceChange]] = [
    Column(title="When", text=lambda c: words.day(c.at), sort=lambda c: c.at, width=108),
    Column(
        title="Why the price moved",
        text=_why,
        second=_working,
        stretch=True,
        tip=lambda c: f"{words.one_line(c.working.words, 300)}\n{_working(c)}",
    ),
    Column(
        title="From",
        text=lambda c: words.amount(c.old_micro),
        sort=lambda c: c.old_micro,
        right=True,
        width=84,
        tip=lambda c: words.raw_amount(c.old_micro),
    ),
    Column(
        title="To",
        text=lambda c: words.amount(c.new_micro),
        sort=lambda c: c.new_micro,
        right=True,
        width=84,
        tip=lambda c: words.raw_amount(c.new_micro),
    ),
]


class FollowPanel(Panel):
    """The form, the state in words, and the log."""

    failed = Signal(object)

    def __init__(self, desk: Desk) -> None:
        super().__init__("Let the price follow the market")
        self._desk = desk
        self._filled = False
        self._rules: PriceRules | None = None
        self._asked = QElapsedTimer()
        self.on = Tick("Follow the &market with my price, within these limits")
        self.floor = AmountField("", name="Wanted per second on top of electricity, in credits")
        self.ceiling = AmountField("", name="Price per second at most, in credits")
        self.step = NumberField(5, 1, 25, suffix=" %")
        self.hours = NumberField(1, 1, 720, suffix=" h")
        facts = Facts()
        facts.add("At least, after electricity", self.floor)
        facts.add("At most", self.ceiling)
        facts.add("One step at most", self.step)
        facts.add("Not more often than every", self.hours)
        self._state, self._next = Text("", "muted"), Text("", "small")
        self._save = button("Sa&ve", self._send, icon="check")
        form = QWidget()
        form.setFixedWidth(376)
        form.setLayout(
            column(self.on, facts, self._state, self._next, row(1, self._save), 1, spacing=theme.GRID)
        )
        empty = EmptyState("coin", "The price has not moved by itself", "Each step gets a line here.")
        self.table = RowTable(
            "Changes of the price", COLUMNS, lambda c: f"{c.at} {c.new_micro}", empty, row_height=52
        )
        self.table.setMinimumHeight(216)
        line = row(form, self.table, spacing=3 * theme.GRID)
        line.setStretch(1, 1)
        self.body.addLayout(line)

    def load(self) -> None:
        """Ask the node, but not with every second of a running job: it looks at the bonds of all rivals."""
        if self._asked.isValid() and self._asked.elapsed() < CALM_MS:
            return
        self._asked.start()
        self._desk.api.get(PATH, Autoprice, self._show, owner=self, failed=self.failed.emit)

    def _show(self, found: Autoprice) -> None:
        if not self._filled:
            self._fill(found)
            self._filled = True
        self.table.set_rows(found.changes.items)
        electricity = words.amount(found.electricity_micro) if found.electricity_micro else "not known"
        self._next.say(
            f"A second's electricity: {electricity}. Counted are rivals who are connected and have a bond "
            "worth an hour of your work, or whose last job for you was done."
        )
        self._state.say(_state_words(found))

    def _fill(self, found: Autoprice) -> None:
        self.on.setChecked(found.on)
        rules = self._rules = found.rules
        if rules is None:
            return
        self.floor.setText(words.amount(rules.floor_micro))
        self.ceiling.setText(words.amount(rules.ceiling_micro))
        self.step.setValue(-(-rules.step_bps // 100))
        self.hours.setValue(-(-rules.pace_s // HOUR_S))

    def _send(self) -> None:
        floor, ceiling = self.floor.micro, self.ceiling.micro
        if floor is None or ceiling is None:
            self._state.say("Write what you want at least after electricity, and what you ask at most.")
            return
        before = self._rules or PriceRules(step_bps=0, pace_s=0)
        rules = PriceRules(
            floor_micro=floor,
            ceiling_micro=ceiling,
            step_bps=_exact(self.step.value(), 100, before.step_bps),
            pace_s=_exact(self.hours.value(), HOUR_S, before.pace_s),
        )
        self._save.setEnabled(False)
        body = {
            "on": self.on.isChecked(),
            "rules": {name: getattr(rules, name) for name in PriceRules.__struct_fields__},
        }
        self._desk.api.post(PATH, body, Autoprice, self._saved, owner=self, failed=self._not_saved)

    def _saved(self, found: Autoprice) -> None:
        self._save.setEnabled(True)
        self._filled = False
        self._show(found)

    def _not_saved(self, failure: Failure) -> None:
        self._save.setEnabled(True)
        self._state.say(f"{failure.message} {failure.what_next}".strip())


def _exact(shown: int, unit: int, before: int) -> int:
    """What a number of units means: the value before, to the last part, while nobody changed it."""
    return before if -(-before // unit) == shown else shown * unit


def _state_words(found: Autoprice) -> str:
    if not found.on:
        return "Off: the price stays as you set it."
    if found.price_micro is None:
        return "On, and waiting: this machine is not on offer."
    if found.chain_away or found.step is None:
        return "On, and waiting: the chain is away, and without it no rival can be believed."
    step = found.step
    if step.why in ("there", "nothing_known", "ceiling_below_floor"):
        return f"On. {words.one_line(step.words, 300)}"
    due = f" The next step may come {words.day(found.next_at)}." if found.next_at else ""
    heading = words.amount(min(max(step.target_micro or step.old_micro, step.least_micro), _most(found)))
    return f"On. Heading for {heading} a second.{due}"


def _most(found: Autoprice) -> int:
    return found.rules.ceiling_micro if found.rules else 0
