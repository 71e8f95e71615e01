"""What a person is told after an order was recovered: what was missing, who had it, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openstall.app.services.orders.desk import OpenOrder
from openstall.market.errors import OpenstallError
from openstall.market.orders.words import seller_word, state_words

WHAT = {
    "contract": "the signed contract: the order was not in your books",
    "signature": "the other side's signature on the contract",
    "transcript": "what the parties told each other, signed",
    "voucher": "a higher voucher",
    "tick": "a later reading of the meter",
    "report": "the report of the job",
    "delivery": "the model that you handed in, and how its key is made",
    "shown": "what the developer handed in",
    "verdict": "an evaluator's verdict",
    "messages": "messages",
    "two_chains": "two different words in one place: that side has signed both. Yours stay as they are",
}
"""What papers may have had that was missing here, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the papers of one source had that was missing here."""

    what: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A peer that was asked, in which role, and why it gave nothing."""

    peer: str
    role: str
    fault: OpenstallError | None = None


def told(
    order_id: str,
    order: OpenOrder | None,
    *,
    before: str,
    asked: Sequence[Asked],
    found: Sequence[Found],
    chain: OpenstallError | None,
) -> dict[str, Any]:
    """The answer of the service, the same for the desktop and the command line."""
    kind = order.kind if order is not None else "sale"
    return {
        "order_id": order_id,
        "before": before,
        "state": "" if order is None else order.state,
        "state_words": "" if order is None else state_words(order.kind, order.role, order.state),
        "asked": [
            {
                "peer": one.peer,
                "role": _role(kind, one.role),
                "answered": one.fault is None,
                "fault": None if one.fault is None else one.fault.as_dict(),
            }
            for one in asked
        ],
        "found": [
            {"what": one.what, "words": WHAT[one.what], "source": _role(kind, one.source)} for one in found
        ],
        "chain": None if chain is None else chain.as_dict(),
        "what_next": _what_next(order, asked, chain),
    }


def _role(kind: str, role: str) -> str:
    return seller_word(kind) if role == "seller" else role


def _what_next(order: OpenOrder | None, asked: Sequence[Asked], chain: OpenstallError | None) -> str:
    if order is None:
        return "Nobody who was asked has given papers of that order. Ask again when they are there."
    if chain is not None:
        return "The chain could not be read. Recover the order again when it is back: it has the last word."
    if order.done:
        return "Nothing: the order is over."
    if order.state == "agreed" and order.role == "buyer" and order.kind != "custom":
        return "It is paid by itself now. Cancel it if you do not want it any more."
    if asked and all(one.fault is not None for one in asked):
        return "Nobody answered, so this is what your own books and the chain say. Ask again later."
    return "Nothing: the order goes on by itself. Its page says what you may do, and until when."
