"""What comes of opened rows: whether they were drawn, and answer as reported; in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from openstall.app.services.custom.judged import Report
from openstall.app.services.orders.desk import OpenOrder
from openstall.market.errors import InvalidRecord, NotFound, OpenstallError, PeerError, SandboxError
from openstall.market.orders.documents import CustomTerms
from openstall.market.orders.machine import CUSTOM
from openstall.market.requests.bodies import columns_of
from openstall.market.requests.openings import (
    OpenedRow,
    check_openings,
    plausible,
    read_openings,
    right_answers,
)
from openstall.market.requests.replays import DOUBTS
from openstall.p2p.exchange import RefusedByPeer

UNLIKELY: Final = Fraction(1, 1_000)
"""A count that would be seen so seldom counts as made up."""
SHOWN_ROWS: Final = 10
COMES: Final = frozenset({"no_block_yet", "being_opened", "too_many_requests", "busy", "too_slow"})
"""Refusals after which one asks again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One report, checked again: `wrong` are the rows, counted from 0, that answer otherwise here."""

    outcome: str
    words: str
    opened: int = 0
    wrong: tuple[int, ...] = ()
    proof: str = ""

    @property
    def is_doubt(self) -> bool:
        """Whether it speaks against the evaluator."""
        return self.outcome in DOUBTS

    def with_proof(self, path: str) -> Finding:
        """The same, with the file that proves it."""
        return replace(self, proof=path)

    def as_dict(self, at: int) -> dict[str, Any]:
        """As the order's private data keeps it."""
        return {
            "at": at,
            "outcome": self.outcome,
            "words": self.words,
            "opened": self.opened,
            "wrong": list(self.wrong),
            "proof": self.proof,
        }


def unanswered(why: str) -> Finding:
    """Nobody can say."""
    return Finding("no_answer", f"{why} So it was not checked.")


def nothing_shown(error: OpenstallError) -> Finding:
    """No row could be looked at, for this reason; where it is no peer's doing, the error is raised again."""
    if error.code in COMES:
        return unanswered("The evaluator has not opened its rows in time.")
    if error.code == "not_reproduced":
        return Finding("not_shown", "The evaluator cannot bring the answers again that it had reported.")
    match error:
        case RefusedByPeer() | SandboxError():
            return Finding("not_shown", f"The evaluator opens no rows: {error.message}")
        case InvalidRecord():
            return Finding("not_committed", error.message)
        case PeerError() | NotFound():
            return unanswered(error.message)
        case _:
            raise error


def check_shown(
    raw: bytes, report: Report, block_hash: str, counts: Sequence[int], terms: CustomTerms
) -> list[OpenedRow]:
    """Whether exactly the drawn rows were opened, and each as committed; anybody may have sent them.

    Args:
        counts: how many of them the asker may see.

    Raises:
        InvalidRecord: with the check that failed.
    """
    told = read_openings(raw)
    if told.block_hash != block_hash:
        raise InvalidRecord("bad_opening", "The opened rows were not drawn by the block of the verdict.")
    drawn = [min(count, terms.rows) for count in counts]
    count = len(told.opened) if len(told.opened) in drawn else drawn[0]
    check_openings(told, report.raw, report.statement, count)
    width = len(columns_of(terms))
    if any(len(entry.row.cells) != width for entry in told.opened):
        raise InvalidRecord("bad_opening", "The opened rows have other columns than the request.")
    return told.opened


def conclude(opened: list[OpenedRow], report: Report, terms: CustomTerms, wrong: list[int] | None) -> Finding:
    """What opened rows say of a report; `wrong` is None where the model is not here."""
    count = len(opened)
    if wrong:
        numbers = ", ".join(f"{at + 1:,}" for at in wrong[:SHOWN_ROWS])
        more = f" and {len(wrong) - SHOWN_ROWS} more" if len(wrong) > SHOWN_ROWS else ""
        said = f"{len(wrong)} of {count} opened rows answer otherwise than reported: {numbers}{more}."
        return Finding("differs", said, count, tuple(wrong))
    target = columns_of(terms).index(terms.target)
    chance = plausible(opened, report.statement, target)
    right = right_answers(opened, target) if terms.metric == "accuracy" else None
    if chance < UNLIKELY:
        side = "few" if report.statement.predicate.passed else "many"
        said = (
            f"Of {count} opened answers {right} are right. If the report counted honestly, so {side} would "
            f"be seen once in {_times(chance)} times."
        )
        return Finding("unlikely", said, count)
    counted = f" {right} of these answers are right." if right is not None else ""
    if wrong is None:
        said = (
            f"{count} rows were opened, and are the ones that were drawn and committed to.{counted} "
            "The model is not here, so its answers were not tried."
        )
        return Finding("rows_only", said, count)
    return Finding("as_reported", f"{count} of {count} opened rows answer as reported.{counted}", count)


def next_words(order: OpenOrder, now: int) -> str:
    """What a party can do about a report that it does not believe."""
    if not order.contract.arbiter:
        return "This order has no arbiter. Name other evaluators next time, and more than one."
    if order.role == "arbiter":
        return "Take it into account when you rule." if order.state == "disputed" else ""
    overdue = order.deadline_at is not None and now > order.deadline_at
    if f"call_{order.role}" in CUSTOM.open_to(order.state, order.role, overdue=overdue):
        return "Call the arbiter before the review time is over, and send it the file with the proof."
    if order.state == "disputed":
        return "The arbiter is called: send it the file with the proof."
    if order.state == "passed":
        return "Nothing is paid before the key is here. Then call the arbiter before the review time is over."
    return ""


def _times(chance: Fraction) -> str:
    most = 1_000_000
    return f"{most:,}" if chance * most <= 1 else f"{int(1 / chance):,}"
