"""What an order's books say of verdicts: what each evaluator signed, and what of it stands on the chain."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from openstall.app.services.orders.desk import OpenOrder
from openstall.market.orders.machine import CUSTOM
from openstall.market.requests.assessment import Statement, read_statement
from openstall.market.requests.openings import OPENED, shown_to_developer


def judged_as(attempt: int) -> str:
    """Where the order's private data keeps the chain's verdict on a try."""
    return f"judged {attempt}"


def verdict_as(attempt: int, wallet: str) -> str:
    """Where the order's private data keeps an evaluator's verdict on a try."""
    return f"verdict {attempt} {wallet}"


def replay_as(attempt: int, wallet: str) -> str:
    """Where the order's private data keeps what came of checking a verdict again."""
    return f"replay {attempt} {wallet}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A signed statement that the chain names."""

    evaluator: str
    raw: bytes
    signature: str
    statement: Statement


def evaluators_of(order: OpenOrder) -> list[str]:
    """The wallets of an order's evaluators, in their order on the chain."""
    return [wallet.lower() for wallet in order.contract.custom.evaluators]


def is_on_chain(order: OpenOrder, attempt: int, entry: dict[str, Any]) -> bool:
    """Whether the chain names the report of this verdict: its hash was there before the rows were drawn."""
    judged = order.data.get(judged_as(attempt), {})
    return bool(judged.get("reports", {}).get(str(entry["place"])) == entry["report_hash"])


def is_wanted_late(order: OpenOrder, attempt: int, entry: dict[str, Any]) -> bool:
    """Whether a report matters after evaluating ended: the chain names it, or there is no verdict at all."""
    undecided = order.state == "disputed" and judged_as(attempt) not in order.data
    return undecided or is_on_chain(order, attempt, entry)


def report_of(order: OpenOrder, wallet: str) -> Report | None:
    """An evaluator's statement on the newest try, where it is here and on the chain."""
    attempt = int(order.data.get("attempt", 0))
    entry = order.data.get(verdict_as(attempt, wallet))
    if entry is None or not is_on_chain(order, attempt, entry):
        return None
    raw = base64.b64decode(entry["statement"])
    return Report(evaluator=wallet, raw=raw, signature=str(entry["signature"]), statement=read_statement(raw))


def judges_on_chain(order: OpenOrder) -> list[str]:
    """The evaluators whose reports on the newest try the chain names."""
    judged = order.data.get(judged_as(int(order.data.get("attempt", 0))), {})
    named = evaluators_of(order)
    return [named[int(place)] for place in sorted(judged.get("reports", {}), key=int)]


def rows_for(order: OpenOrder, role: str, now: int) -> int:
    """How many opened rows of each report this party may see now; 0 where it may see none.

    The rows are the buyer's secret. Its own node and its arbiter see all that are drawn. The developer sees
    few, only of a model that missed, and only when no other can be handed in: it would fit it to them.
    """
    attempt, terms = int(order.data.get("attempt", 0)), order.contract.custom
    judged = order.data.get(judged_as(attempt))
    if judged is None or order.state in CUSTOM.final or role not in ("buyer", "seller", "arbiter"):
        return 0
    if role != "seller":
        return OPENED
    may_try_again = attempt < terms.tries and now <= terms.deliver_by and order.state == "failed"
    if judged["passed"] or may_try_again:
        return 0
    return shown_to_developer(terms.rows, len(terms.evaluators))
