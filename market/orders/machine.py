"""One state machine per kind of order: tables that say what may happen, who causes it, and until when.

Every state that is not final has a deadline and a one-sided exit, so that no party can strand the
other's money by falling silent. The tables mirror the contracts: a transition marked `chain` is made
only when the chain shows it as final.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openstall.market.errors import Conflict
from openstall.market.orders.documents import ComputeTerms, Contract

Party = Literal["buyer", "seller", "arbiter", "anyone"]
Source = Literal["message", "chain", "clock", "local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`event` leads from `state` to `target`; `by` may cause it, and it is learnt from `source`."""

    state: str
    event: str
    target: str
    by: Party
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a party gets out of a state alone once the deadline has passed: by this event."""

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
        return tuple(step.event for step in self.steps if step.state == state and step.by in (party, "anyone"))


def _steps(*rows: tuple[str, str, str, Party, Source]) -> tuple[Step, ...]:
    return tuple(Step(state=s, event=e, target=t, by=b, source=src) for s, e, t, b, src in rows)


SALE = Machine(
    kind="sale",
    first="proposed",
    final=frozenset({"declined", "lapsed", "completed", "refunded", "ruled"}),
    steps=_steps(
        ("proposed", "agree", "agreed", "seller", "message"),
        ("proposed", "decline", "declined", "seller", "message"),
        ("proposed", "lapse", "lapsed", "anyone", "clock"),
        ("agreed", "fund", "funded", "buyer", "chain"),
        ("agreed", "withdraw", "declined", "buyer", "local"),
        ("agreed", "lapse", "lapsed", "anyone", "clock"),
        ("funded", "deliver", "delivered", "seller", "chain"),
        ("funded", "cancel", "refunded", "seller", "chain"),
        ("funded", "refund", "refunded", "anyone", "chain"),
        ("delivered", "complete", "completed", "buyer", "chain"),
        ("delivered", "dispute", "disputed", "buyer", "chain"),
        ("delivered", "cancel", "refunded", "seller", "chain"),
        ("delivered", "claim", "completed", "anyone", "chain"),
        ("disputed", "rule", "ruled", "arbiter", "chain"),
        ("disputed", "complete", "completed", "buyer", "chain"),
        ("disputed", "cancel", "refunded", "seller", "chain"),
        ("disputed", "settle_silent", "ruled", "anyone", "chain"),
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
        ("proposed", "agree", "agreed", "seller", "message"),
        ("proposed", "decline", "declined", "seller", "message"),
        ("proposed", "lapse", "lapsed", "anyone", "clock"),
        ("agreed", "fund", "funded", "buyer", "chain"),
        ("agreed", "withdraw", "declined", "buyer", "local"),
        ("agreed", "lapse", "lapsed", "anyone", "clock"),
        ("funded", "start", "running", "seller", "message"),
        ("funded", "end", "ended", "seller", "message"),
        ("funded", "close", "settled", "seller", "chain"),
        ("funded", "start_withdraw", "withdrawing", "buyer", "chain"),
        ("running", "end", "ended", "seller", "message"),
        ("running", "close", "settled", "seller", "chain"),
        ("running", "start_withdraw", "withdrawing", "buyer", "chain"),
        ("ended", "close", "settled", "seller", "chain"),
        ("ended", "start_withdraw", "withdrawing", "buyer", "chain"),
        ("withdrawing", "close", "settled", "seller", "chain"),
        ("withdrawing", "withdraw", "settled", "buyer", "chain"),
    ),
    exits={
        "proposed": Exit(event="lapse", by="anyone"),
        "agreed": Exit(event="lapse", by="anyone"),
        "funded": Exit(event="start_withdraw", by="buyer"),
        "running": Exit(event="start_withdraw", by="buyer"),
        "ended": Exit(event="start_withdraw", by="buyer"),
        "withdrawing": Exit(event="withdraw", by="buyer"),
    },
    money_held=frozenset({"funded", "running", "ended", "withdrawing"}),
)

MACHINES = {machine.kind: machine for machine in (SALE, COMPUTE)}


def deadline(contract: Contract, state: str, entered_at: int) -> int | None:
    """When the timed exit of `state` opens, in Unix seconds; None in a final state.

    `entered_at` is when the state began by the chain's clock (for states learnt from the chain).
    """
    terms = contract.compute if contract.order.kind == "compute" else contract.sale
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
