"""Who may tell whom what in which state of an order: one table per protocol, shared by all who take part.

A handler looks a message up with `expect` and takes nothing that is not in the table. A row's states are
those of the receiver's own books, which may be behind the sender's; `NEW` stands for an order that is not in
them yet. A message that comes again, late or in another order changes nothing: what it `causes` happens only
where the state machine still allows it. When nothing comes, the clock of the state opens the way out that
`passed` names; it is that of the machine, and the chain's where money is held.
"""

from __future__ import annotations

from dataclasses import dataclass

from openstall.market.errors import Conflict, NotFound
from openstall.market.orders.machine import MACHINES

NEW = "new"
PARTIES = ("buyer", "seller")
WATCHERS = ("arbiter", "evaluator")
EVERYBODY = (*PARTIES, *WATCHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One message of a protocol; see the module."""

    message: str
    kinds: tuple[str, ...]
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    states: tuple[str, ...]
    answer: str
    causes: str = ""
    clock: str = ""
    passed: str = ""


class Unexpected(Conflict):
    """A message that is not due in the state of the order."""

    def __init__(self, protocol: str, message: str, state: str, due: tuple[str, ...]) -> None:
        now = ", ".join(due) or "nothing"
        super().__init__(
            "unexpected_message",
            f"“{message}” is not expected while the order is “{state}”; expected now: {now} ({protocol}).",
            "“openstall order recover” brings both sides of an order to one state.",
        )
        self.state = state
        self.due = due


def _all(*kinds: str) -> tuple[str, ...]:
    """Every state of these kinds, in the order of their tables."""
    found: dict[str, None] = {NEW: None}
    for kind in kinds:
        machine = MACHINES[kind]
        found |= dict.fromkeys(step.state for step in machine.steps)
        found |= dict.fromkeys(sorted(machine.final))
    return tuple(found)


_BOTH, _MODELS = ("sale", "compute"), ("sale", "custom")
_MEASURED = ("submitted", "failed", "passed", "delivered", "disputed")
_WORK = ("funded", "running", "ended", "withdrawing", "settled")

PROTOCOLS: dict[str, tuple[Row, ...]] = {
    "order": (
        Row(
            message="propose",
            kinds=_BOTH,
            senders=("buyer",),
            receivers=("seller",),
            states=_all(*_BOTH),
            answer="signature, or decline",
            causes="agree",
            clock="fund_by",
            passed="lapse",
        ),
        Row(
            message="propose",
            kinds=("custom",),
            senders=("buyer",),
            receivers=("seller",),
            states=_all("custom"),
            answer="signature",
            causes="agree",
            clock="deliver_by",
            passed="expire",
        ),
        Row(
            message="copy",
            kinds=_MODELS,
            senders=PARTIES,
            receivers=WATCHERS,
            states=_all(*_MODELS),
            answer="nothing",
            causes="agree",
        ),
        Row(
            message="withdraw",
            kinds=_BOTH,
            senders=("buyer",),
            receivers=("seller",),
            states=("proposed", "agreed", "declined", "lapsed"),
            answer="nothing",
            causes="withdraw",
            clock="fund_by",
            passed="lapse",
        ),
    ),
    "job": (
        Row(
            message="follow",
            kinds=("compute",),
            senders=("buyer",),
            receivers=("seller",),
            states=("agreed", *_WORK, "lapsed"),
            answer="start, tick, report",
        ),
        Row(
            message="start",
            kinds=("compute",),
            senders=("seller",),
            receivers=("buyer",),
            states=_WORK,
            answer="nothing",
            causes="start",
            clock="start_by",
            passed="start_withdraw",
        ),
        Row(
            message="tick",
            kinds=("compute",),
            senders=("seller",),
            receivers=("buyer",),
            states=_WORK,
            answer="voucher",
            clock="settle_by",
            passed="start_withdraw",
        ),
        Row(
            message="voucher",
            kinds=("compute",),
            senders=("buyer",),
            receivers=("seller",),
            states=("agreed", *_WORK),
            answer="nothing",
            clock="20 s of unpaid work",
            passed="end",
        ),
        Row(
            message="report",
            kinds=("compute",),
            senders=("seller",),
            receivers=("buyer",),
            states=_WORK,
            answer="voucher",
            causes="end",
            clock="settle_by",
            passed="start_withdraw",
        ),
        Row(
            message="cancel",
            kinds=("compute",),
            senders=("buyer",),
            receivers=("seller",),
            states=_WORK,
            answer="nothing",
            causes="end",
            clock="60 s after it",
            passed="start_withdraw",
        ),
    ),
    "delivery": (
        Row(
            message="training",
            kinds=("custom",),
            senders=("seller",),
            receivers=("buyer",),
            states=("agreed", "funded", *_MEASURED, "completed", "refunded", "ruled"),
            answer="key of the training data",
        ),
        Row(
            message="delivery",
            kinds=("custom",),
            senders=("buyer", "evaluator"),
            receivers=("seller",),
            states=("funded", *_MEASURED, "completed", "refunded", "ruled"),
            answer="delivery",
            clock="evaluate_s + review_s",
            passed="refund",
        ),
        Row(
            message="rows",
            kinds=("custom",),
            senders=("evaluator",),
            receivers=("buyer",),
            states=("funded", *_MEASURED),
            answer="key of the rows",
            clock="evaluate_s + review_s",
            passed="refund",
        ),
        Row(
            message="verdict",
            kinds=("custom",),
            senders=("evaluator",),
            receivers=("buyer", "seller", "arbiter"),
            states=_MEASURED,
            answer="nothing",
            clock="evaluate_s + review_s",
            passed="refund",
        ),
        Row(
            message="openings",
            kinds=("custom",),
            senders=("buyer", "seller", "arbiter"),
            receivers=("evaluator", "buyer"),
            states=(*_MEASURED, "completed", "refunded", "ruled"),
            answer="openings",
        ),
    ),
    "dispute": (
        Row(
            message="reason",
            kinds=("sale",),
            senders=("buyer",),
            receivers=("arbiter",),
            states=("agreed", "funded", "delivered", "disputed"),
            answer="nothing",
            clock="arbiter_s",
            passed="settle_silent",
        ),
        Row(
            message="reason",
            kinds=("custom",),
            senders=PARTIES,
            receivers=("arbiter",),
            states=("agreed", "funded", *_MEASURED),
            answer="nothing",
            clock="arbiter_s",
            passed="settle_silent",
        ),
        Row(
            message="say",
            kinds=_MODELS,
            senders=(*PARTIES, "arbiter"),
            receivers=PARTIES,
            states=_all(*_MODELS)[1:],
            answer="nothing",
        ),
        Row(
            message="say",
            kinds=_MODELS,
            senders=PARTIES,
            receivers=("arbiter",),
            states=("disputed",),
            answer="nothing",
            clock="arbiter_s",
            passed="settle_silent",
        ),
        Row(
            message="evidence",
            kinds=_MODELS,
            senders=("arbiter",),
            receivers=PARTIES,
            states=("disputed",),
            answer="bundle",
            clock="arbiter_s",
            passed="settle_silent",
        ),
    ),
    "recovery": (
        Row(
            message="papers",
            kinds=tuple(MACHINES),
            senders=EVERYBODY,
            receivers=EVERYBODY,
            states=_all(*MACHINES)[1:],
            answer="papers",
        ),
    ),
}


def expect(protocol: str, message: str, *, kind: str, sender: str, receiver: str, state: str) -> Row:
    """The row of a message from one role to another, in the state of the receiver's books.

    Raises:
        NotFound: `no_such_order`, this sender has no such word to that receiver: it learns no more.
        Unexpected: it is not due in this state.
    """
    rows = [row for row in PROTOCOLS[protocol] if _is_between(row, kind, sender, receiver)]
    named = [row for row in rows if row.message == message]
    if not named:
        raise NotFound("no_such_order", "There is no such order.")
    for row in named:
        if state in row.states:
            return row
    due = tuple(dict.fromkeys(row.message for row in rows if state in row.states))
    raise Unexpected(protocol, message, state, due)


def _is_between(row: Row, kind: str, sender: str, receiver: str) -> bool:
    return kind in row.kinds and sender in row.senders and receiver in row.receivers
