"""Which requests may travel as letters: those that may come twice, late, or never, without harm.

A letter is handled by the very handler that serves the protocol's streams. What is not in this table is
asked of peers that are on, and refused in letters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from openstall.app.services.custom import wire as custom
from openstall.app.services.disputes import wire as talk
from openstall.market import canonical
from openstall.market.errors import InvalidRecord
from openstall.market.letters import MAX_BODY

ORDER = "/openstall/order/1"
LISTED: dict[str, dict[str, str]] = {
    ORDER: {
        "propose": "Order",
        "copy": "Copy of an order for its arbiter or evaluators",
        "tell": "What was decided about an order",
    },
    talk.PROTOCOL: {"say": "Message"},
    custom.PROTOCOL: {"verdict": "Verdict of an evaluator"},
}
"""Protocol, what is asked, and what a person calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a request is about."""

    do: str
    words: str
    order_id: str
    until: int
    """When it makes no sense any more (Unix seconds); 0 where that is not known."""


def kind_of(protocol: str, payload: bytes) -> Kind | None:
    """What a request is, if it may travel as a letter."""
    listed = LISTED.get(protocol)
    if listed is None or len(payload) > MAX_BODY:
        return None
    try:
        ask = canonical.decode(payload, max_bytes=MAX_BODY)
    except InvalidRecord:
        return None
    do = ask.get("do") if isinstance(ask, dict) else None
    if not isinstance(do, str) or do not in listed or _is_job(do, ask):
        return None
    return Kind(do=do, words=listed[do], order_id=_order_id(ask), until=_until(do, ask))


def _is_job(do: str, ask: dict[str, Any]) -> bool:
    """A machine that is off is passed over; signed days later, the order would only take a place there."""
    order = ask.get("order")
    return do == "propose" and isinstance(order, dict) and order.get("kind") == "compute"


def _order_id(ask: dict[str, Any]) -> str:
    named = ask.get("order_id")
    if isinstance(named, str) and named:
        return named
    order = ask.get("order")
    return hashlib.sha256(canonical.encode(order)).hexdigest() if isinstance(order, dict) and order else ""


def _until(do: str, ask: dict[str, Any]) -> int:
    """A proposal is for nothing once the time to pay is over."""
    order = ask.get("order")
    terms = order.get("terms") if do == "propose" and isinstance(order, dict) else None
    until = terms.get("fund_by") if isinstance(terms, dict) else None
    return until if isinstance(until, int) else 0
