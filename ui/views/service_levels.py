"""Service levels: what an owner promises, what a buyer binds a provider to, and how an order kept it."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.service_levels import Level, OrderService, Promise
from openstall.ui.trade import Order
from openstall.ui.widgets.inputs import AmountField, NumberField, Tick
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.text import Text

_COMPLAINTS = {
    "open": "The oracles are asked.",
    "dismissed": "The oracles did not find that anything was broken.",
    "expired": "Too few oracles answered in time.",
}


MOST_TIMES_CAP = 10
"""A penalty is at most so many times the cap: as in market.orders.documents, which is not loaded here."""


class PromisePanel(Panel):
    """On Sell compute: what this machine's bond pays for, and what that can cost at worst."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Your promise")
        self.desk = desk
        self._found = Promise()
        self._filled = False
        self._state = Text("", "muted")
        self._start = NumberField(60, 0, 86_400, suffix=" s")
        self._uptime = NumberField(99, 0, 100, suffix=" %")
        self._penalty = AmountField("5", name="The most that one order can cost you")
        self._worst = Text("", "small")
        for field in (self._start, self._uptime):
            field.changed.connect(lambda _value: self._weigh())
        self._penalty.edited.connect(self._weigh)
        self._facts = Facts()
        self._facts.add("A paid job starts within", self._start)
        self._facts.add("Of its time, a job works", self._uptime)
        self._facts.add("One order costs at most", self._penalty)
        self._set = button("&Promise this", self._promise, icon="lock")
        self._off = button("Take it &back", self._take_back)
        self._form = QWidget()
        self._facts_box = QWidget()
        self._facts_box.setLayout(column(self._facts, self._worst, spacing=theme.GRID))
        buttons = row(1, self._off, self._set)
        self._form.setLayout(column(self._facts_box, buttons, spacing=theme.GRID))
        self.body.addWidget(self._state)
        self.body.addWidget(self._form)
        self._form.hide()

    def refresh(self) -> None:
        """Ask the node again; what the owner is writing stays."""
        if self.desk.status.trading:
            self.desk.api.get(
                "/v1/service-levels", Promise, self.show_promise, owner=self, failed=self._failed
            )
        else:
            self._state.say("Once your node trades, you can promise something here.")

    def show_promise(self, found: Promise) -> None:
        """What the node promises now."""
        self._found = found
        bonded = found.bond is not None and found.bond.state == "posted"
        self._form.setVisible(bonded or found.level is not None)
        self._facts_box.setVisible(bonded)
        self._set.setVisible(bonded)
        self._off.setVisible(found.level is not None)
        if found.level is not None and not self._filled:
            self._start.setValue(found.level.start_s)
            self._uptime.setValue(round(found.level.uptime_bps / 100))
            self._penalty.setText(words.amount(found.level.penalty_micro))
        self._filled = True
        if not bonded and found.level is not None:
            self._state.say("Your bond is being taken back: nobody can order with your promise any more.")
        elif not bonded:
            self._state.say(
                "Nothing. A promise needs a bond that pays when it is broken: "
                "“openstall compute bond post” on the command line."
            )
        else:
            self._state.say(
                f"Promised now: a job {level_words(found.level)}."
                if found.level
                else "Nothing is promised yet."
            )
        self._weigh()

    def _weigh(self) -> None:
        """The worst case in words, before the owner agrees to it."""
        bond, micro = self._found.bond, self._penalty.micro
        promises = self._start.value() > 0 or self._uptime.value() > 0
        held = bond.left_micro if bond is not None else 0
        fits = micro is not None and 0 < micro <= held
        self._set.setEnabled(fits and promises)
        if micro is None:
            self._worst.say(self._penalty.why or "Write what one order may cost.")
        elif not fits:
            self._worst.say(f"Your bond holds {words.amount(held, symbol=self.desk.symbol)}.")
        else:
            self._worst.say(
                f"At worst one order costs you {words.amount(micro, symbol=self.desk.symbol)}, all together "
                f"never more than the bond ({words.amount(held, symbol=self.desk.symbol)}, of which open "
                f"orders hold {words.amount(self._found.pledged_micro)}). Your house rules still win; the "
                "pauses that they make count."
            )
        self._worst.tone("care" if not fits else "")

    def _promise(self) -> None:
        body = {
            "start_s": self._start.value(),
            "uptime_bps": self._uptime.value() * 100,
            "penalty_micro": self._penalty.micro,
        }
        self.desk.api.post(
            "/v1/service-levels", body, Promise, self.show_promise, owner=self, failed=self._failed
        )

    def _take_back(self) -> None:
        self.desk.api.post(
            "/v1/service-levels/off", {}, Promise, self.show_promise, owner=self, failed=self._failed
        )

    def _failed(self, failure: Failure) -> None:
        self._state.say(f"{failure.message} {failure.what_next}".strip())


class BindChoice(QWidget):
    """On the page of an offer: bind the provider to what it promises."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self._cap_micro = 0
        self._found = Promise()
        self._bind = Tick("&Bind the provider to its promise")
        self._bind.toggled.connect(lambda _on: self._say())
        self._words = Text("", "small")
        self.setLayout(column(self._bind, self._words, spacing=4))
        self.hide()

    def load(self, peer_id: str) -> None:
        """Ask what that provider promises."""
        if peer_id:
            self.desk.api.get(
                f"/v1/service-levels/{peer_id}", Promise, self.show_promise, owner=self, failed=self._failed
            )

    def show_promise(self, found: Promise) -> None:
        """A promise without a bond behind it is worth nothing, and not shown."""
        self._found = found
        worth = found.level is not None and found.bond is not None
        self.setVisible(worth)
        self._bind.setChecked(worth)
        self._say()

    def price(self, cap_micro: int) -> None:
        """The hard cap of the job as it stands: the penalty has a bound that follows from it."""
        self._cap_micro = cap_micro
        self._say()

    def wanted(self) -> dict[str, Any] | None:
        """What goes into the order."""
        return {} if self._bind.isChecked() and not self.isHidden() else None

    def _say(self) -> None:
        level = self._found.level
        if level is None:
            return
        most = min(level.penalty_micro, MOST_TIMES_CAP * self._cap_micro)
        worst = words.amount(most, symbol=self.desk.symbol)
        self._words.say(
            f"The job {level_words(level)}. If the provider breaks this, you get at most {worst} from the "
            "bond: oracles look in while your job runs, and your node complains by itself."
            if self._bind.isChecked()
            else f"The job {level_words(level)}, if you bind it."
        )

    def _failed(self, _failure: Failure) -> None:
        self.hide()  # without an answer there is nothing to bind anybody to


class OrderPromise(Panel):
    """On the page of an order: what was promised, what was kept, who was to blame, what was paid."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("The provider's promise")
        self.desk = desk
        self._order_id = ""
        self._facts = Facts()
        self._said = Text("", "small")
        self._complain = button(
            "&Complain to the oracles",
            self._ask,
            icon="scales",
            description="Your node does this by itself where it saw that something was broken.",
        )
        self.body.addLayout(self._facts)
        self.body.addWidget(self._said)
        self.body.addLayout(row(1, self._complain))
        self.hide()

    def show_order(self, order: Order) -> None:
        """Nothing is shown of an order without a service level."""
        service = order.service
        self._order_id = order.order_id
        self.setVisible(service is not None)
        if service is None:
            return
        while self._facts.rowCount():
            self._facts.removeRow(0)
        mine = order.role == "buyer"
        worst = words.amount(service.worst_case_micro, symbol=self.desk.symbol)
        level = Level(
            start_s=service.start_s,
            uptime_bps=service.uptime_bps,
            steps_per_1000s=service.steps_per_1000s,
        )
        self._facts.add("Promised", f"The job {level_words(level)}.")
        self._facts.add("If it is broken", f"{'You get' if mine else 'Your bond pays'} at most {worst}.")
        if mine:
            self._facts.add("Watched by", words.plural(service.watched_by, "oracle"))
        if service.broken_bps is not None:
            self._facts.add("Kept", _kept_words(service))
            self._facts.add(
                "To blame", f"{service.blamed.capitalize()}. {words.one_line(service.words, 200)}"
            )
        self._said.say(_complaint_words(service, self.desk.symbol))
        self._said.setVisible(bool(self._said.text()))
        ended = order.job is not None and order.job.result is not None
        self._complain.setVisible(mine and ended and service.complaint is None)

    def _ask(self) -> None:
        self._complain.setEnabled(False)
        self.desk.api.post(
            "/v1/service-levels/complaints",
            {"order_id": self._order_id},
            Order,
            self.show_order,
            owner=self,
            failed=self._failed,
        )

    def _failed(self, failure: Failure) -> None:
        self._complain.setEnabled(True)
        self._said.say(f"{failure.message} {failure.what_next}".strip())
        self._said.show()


_MANY = 3


def level_words(level: Level) -> str:
    """The promises as the end of a sentence."""
    parts = []
    if level.start_s:
        parts.append(f"starts within {words.span(level.start_s)}")
    if level.uptime_bps:
        parts.append(f"works for {level.uptime_bps / 100:g}\u00a0% of its time")
    if level.steps_per_1000s:
        parts.append(f"does {level.steps_per_1000s:,} steps in 1,000 s of work")
    return " and ".join(parts) if len(parts) < _MANY else ", ".join(parts)


def _kept_words(service: OrderService) -> str:
    if not service.found_micro:
        return "Yes."
    return f"No: {(service.broken_bps or 0) / 100:g}\u00a0% of it was broken."


def _complaint_words(service: OrderService, symbol: str) -> str:
    if service.complaint is None:
        return "; ".join(words.one_line(one, 200) for one in sorted(set(service.refused.values())))
    if service.complaint.state == "paid":
        return f"The bond has paid {words.amount(service.complaint.amount_micro, symbol=symbol)}."
    return _COMPLAINTS.get(service.complaint.state, words.one_line(service.complaint.state, 40))
