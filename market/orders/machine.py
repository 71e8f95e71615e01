"""One state machine per kind of order: tables that say what may happen, who causes it, and until when.

Every state that is not final has a deadline and a one-sided exit, so that no party can strand the
other's money by falling silent. The tables mirror the contracts: a transition marked `chain` is made
only when the chain shows it as final.

Two rules stand outside the tables, with the nodes. A buyer's node enters no final state from `agreed`
while a payment that it signed may still reach the chain. A seller's node serves an order only when it
signed the contract itself, whatever the chain holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openstall.market.errors import Conflict
from openstall.market.orders.documents import ComputeTerms, Contract, CustomTerms

Party = Literal["buyer", "seller", "arbiter", "evaluator", "anyone"]
Source = Literal["message", "chain", "clock"]
When = Literal["any", "before", "after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`event` leads from `state` to `target`; `by` may cause it, and it is learnt from `source`.

    `when` says whether it may be caused at any time, or only before or after the deadline of `state`;
    an event that the chain already shows is entered whatever our own clock says.
    """

    state: str
    event: str
    target: str
    by: Party
    source: Source
    when: When


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a party gets out of a state alone, at the latest once the deadline has passed: by this event."""

    event: str
    by: Party


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A state machine with its first state, its final states, and the timed exit of each other state."""

    kind: str
    first: str
    final: frozenset[str]
    steps: tuple[Step, ...]
    exits: dict[str, Exit]
    money_held: frozenset[str]
    """The states in which the chain holds the buyer's money."""

    def target(self, state: str, event: str) -> str:
        """The state after `event`.

        Raises:
            Conflict: the event is not possible in this state.
        """
        for step in self.steps:
            if step.state == state and step.event == event:
                return step.target
        raise Conflict("wrong_state", f"“{event}” is not possible while the order is “{state}”.")

    def allows(self, state: str, event: str) -> bool:
        """Whether `event` is possible in `state`."""
        return any(step.state == state and step.event == event for step in self.steps)

    def events(self, state: str, party: Party) -> tuple[str, ...]:
        """What a party may cause in a state, in the table's order."""
        return tuple(
            step.event for step in self.steps if step.state == state and step.by in (party, "anyone")
        )

    def open_to(self, state: str, party: Party, *, overdue: bool, arbiter: bool = True) -> tuple[str, ...]:
        """What a party may cause in a state now, in the table's order.

        Args:
            overdue: whether the deadline of the state has passed.
            arbiter: whether the order has an arbiter; without one there are no disputes.
        """
        closed = "before" if overdue else "after"
        return tuple(
            step.event
            for step in self.steps
            if step.state == state
            and step.by in (party, "anyone")
            and step.when != closed
            and (arbiter or step.event not in _CALLS)
        )


_CALLS = frozenset({"dispute", "call_buyer", "call_seller"})
"""The events that call the arbiter."""


def _steps(*rows: tuple[str, str, str, Party, Source, When]) -> tuple[Step, ...]:
    return tuple(Step(state=s, event=e, target=t, by=b, source=src, when=w) for s, e, t, b, src, w in rows)


SALE = Machine(
    kind="sale",
    first="proposed",
    final=frozenset({"declined", "lapsed", "completed", "refunded", "ruled"}),
    steps=_steps(
        ("proposed", "agree", "agreed", "seller", "message", "before"),
        ("proposed", "decline", "declined", "seller", "message", "any"),
        ("proposed", "withdraw", "declined", "buyer", "message", "any"),
        ("proposed", "lapse", "lapsed", "anyone", "clock", "after"),
        ("agreed", "fund", "funded", "buyer", "chain", "before"),
        ("agreed", "withdraw", "declined", "buyer", "message", "any"),
        ("agreed", "lapse", "lapsed", "anyone", "clock", "after"),
        ("funded", "deliver", "delivered", "seller", "chain", "before"),
        ("funded", "cancel", "refunded", "seller", "chain", "any"),
        ("funded", "refund", "refunded", "anyone", "chain", "after"),
        ("delivered", "complete", "completed", "buyer", "chain", "any"),
        ("delivered", "dispute", "disputed", "buyer", "chain", "before"),
        ("delivered", "cancel", "refunded", "seller", "chain", "any"),
        ("delivered", "claim", "completed", "anyone", "chain", "after"),
        ("disputed", "rule", "ruled", "arbiter", "chain", "before"),
        ("disputed", "complete", "completed", "buyer", "chain", "any"),
        ("disputed", "cancel", "refunded", "seller", "chain", "any"),
        ("disputed", "settle_silent", "ruled", "anyone", "chain", "after"),
    ),
    exits={
        "proposed": Exit(event="lapse", by="anyone"),
        "agreed": Exit(event="lapse", by="anyone"),
        "funded": Exit(event="refund", by="anyone"),
        "delivered": Exit(event="claim", by="anyone"),
        "disputed": Exit(event="settle_silent", by="anyone"),
    },
    money_held=frozenset({"funded", "delivered", "disputed"}),
)

COMPUTE = Machine(
    kind="compute",
    first="proposed",
    final=frozenset({"declined", "lapsed", "settled"}),
    steps=_steps(
        ("proposed", "agree", "agreed", "seller", "message", "before"),
        ("proposed", "decline", "declined", "seller", "message", "any"),
        ("proposed", "lapse", "lapsed", "anyone", "clock", "after"),
        ("agreed", "fund", "funded", "buyer", "chain", "before"),
        ("agreed", "withdraw", "declined", "buyer", "message", "any"),
        ("agreed", "lapse", "lapsed", "anyone", "clock", "after"),
        ("funded", "start", "running", "seller", "message", "before"),
        ("funded", "end", "ended", "seller", "message", "any"),
        ("funded", "close", "settled", "seller", "chain", "any"),
        ("funded", "start_withdraw", "withdrawing", "buyer", "chain", "any"),
        ("running", "end", "ended", "seller", "message", "any"),
        ("running", "close", "settled", "seller", "chain", "any"),
        ("running", "start_withdraw", "withdrawing", "buyer", "chain", "any"),
        ("ended", "close", "settled", "seller", "chain", "any"),
        ("ended", "start_withdraw", "withdrawing", "buyer", "chain", "any"),
        ("withdrawing", "close", "settled", "seller", "chain", "any"),
        ("withdrawing", "withdraw", "settled", "anyone", "chain", "after"),
    ),
    exits={
        "proposed": Exit(event="lapse", by="anyone"),
        "agreed": Exit(event="lapse", by="anyone"),
        "funded": Exit(event="start_withdraw", by="buyer"),
        "running": Exit(event="start_withdraw", by="buyer"),
        "ended": Exit(event="start_withdraw", by="buyer"),
        "withdrawing": Exit(event="withdraw", by="anyone"),
    },
    money_held=frozenset({"funded", "running", "ended", "withdrawing"}),
)

CUSTOM = Machine(
    kind="custom",
    first="proposed",
    final=frozenset({"completed", "refunded", "ruled"}),
    steps=_steps(
        # The money is there before the contract: the auction holds it, and anybody may have it moved.
        ("proposed", "agree", "agreed", "seller", "message", "any"),
        ("proposed", "fund", "funded", "anyone", "chain", "before"),
        ("proposed", "expire", "refunded", "anyone", "chain", "after"),
        ("agreed", "fund", "funded", "anyone", "chain", "before"),
        ("agreed", "expire", "refunded", "anyone", "chain", "after"),
        ("funded", "submit", "submitted", "seller", "chain", "before"),
        ("funded", "cancel", "refunded", "seller", "chain", "any"),
        ("funded", "refund", "refunded", "anyone", "chain", "after"),
        ("submitted", "pass", "passed", "evaluator", "chain", "any"),
        ("submitted", "fail", "failed", "evaluator", "chain", "any"),
        ("submitted", "call_buyer", "disputed", "buyer", "chain", "any"),
        ("submitted", "call_seller", "disputed", "seller", "chain", "any"),
        ("submitted", "cancel", "refunded", "seller", "chain", "any"),
        ("submitted", "refund", "refunded", "anyone", "chain", "after"),
        ("failed", "submit", "submitted", "seller", "chain", "before"),
        ("failed", "call_seller", "disputed", "seller", "chain", "before"),
        ("failed", "cancel", "refunded", "seller", "chain", "any"),
        ("failed", "refund", "refunded", "anyone", "chain", "after"),
        ("passed", "hand_over", "delivered", "seller", "chain", "before"),
        ("passed", "cancel", "refunded", "seller", "chain", "any"),
        ("passed", "refund", "refunded", "anyone", "chain", "after"),
        ("delivered", "complete", "completed", "buyer", "chain", "any"),
        ("delivered", "call_buyer", "disputed", "buyer", "chain", "before"),
        ("delivered", "cancel", "refunded", "seller", "chain", "any"),
        ("delivered", "claim", "completed", "anyone", "chain", "after"),
        ("disputed", "rule", "ruled", "arbiter", "chain", "before"),
        ("disputed", "complete", "completed", "buyer", "chain", "any"),
        ("disputed", "cancel", "refunded", "seller", "chain", "any"),
        ("disputed", "settle_silent", "ruled", "anyone", "chain", "after"),
    ),
    exits={
        "proposed": Exit(event="expire", by="anyone"),
        "agreed": Exit(event="expire", by="anyone"),
        "funded": Exit(event="refund", by="anyone"),
        "submitted": Exit(event="refund", by="anyone"),
        "failed": Exit(event="refund", by="anyone"),
        "passed": Exit(event="refund", by="anyone"),
        "delivered": Exit(event="claim", by="anyone"),
        "disputed": Exit(event="settle_silent", by="anyone"),
    },
    money_held=frozenset(
        {"proposed", "agreed", "funded", "submitted", "failed", "passed", "delivered", "disputed"}
    ),
)

UNPAID = frozenset({"declined", "lapsed"})
"""The final states of orders that never held money."""
MACHINES = {machine.kind: machine for machine in (SALE, COMPUTE, CUSTOM)}


def deadline(contract: Contract, state: str, entered_at: int, *, attempt: int = 0) -> int | None:
    """When the timed exit of `state` opens, in Unix seconds; None in a final state.

    Args:
        entered_at: when the state began by the chain's clock (for states learnt from the chain).
        attempt: how many models were handed in so far, where models are made to order.
    """
    terms = contract.terms
    if isinstance(terms, CustomTerms):
        return _custom_deadline(terms, state, entered_at, attempt)
    if state in ("proposed", "agreed"):
        return terms.fund_by
    if isinstance(terms, ComputeTerms):
        return {
            "funded": terms.start_by,
            "running": terms.settle_by,
            "ended": terms.settle_by,
            "withdrawing": entered_at + terms.withdraw_delay_s,
        }.get(state)
    return {
        "funded": terms.deliver_by,
        "delivered": entered_at + terms.review_s,
        "disputed": entered_at + terms.arbiter_s,
    }.get(state)


def _custom_deadline(terms: CustomTerms, state: str, entered_at: int, attempt: int) -> int | None:
    last_word = entered_at + terms.review_s
    return {
        "proposed": terms.deliver_by,
        "agreed": terms.deliver_by,
        "funded": terms.deliver_by,
        "submitted": entered_at + terms.evaluate_s + terms.review_s,
        "failed": max(last_word, terms.deliver_by) if attempt < terms.tries else last_word,
        "passed": last_word,
        "delivered": last_word,
        "disputed": entered_at + terms.arbiter_s,
    }.get(state)
