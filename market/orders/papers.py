"""Everything signed that one party holds of an order, in one document: the other's books come from it again.

It proves itself: whoever brings it, each piece bears its author's signature, and is checked as a stranger's.
No secret is in it: no key, no row, no wallet's transaction.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from openstall.market import canonical
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import Amount, Body
from openstall.market.orders.documents import Contract, check_signature, read_contract
from openstall.market.orders.machine import UNPAID, Machine
from openstall.market.orders.transcript import MOST_ENTRIES
from openstall.market.schema import fit

MAX_PAPERS = 4 * 1024 * 1024
MOST_MESSAGES = 300
Signature = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_-]{86})?\Z")]
Hex65 = Annotated[str, Meta(pattern=r"^([0-9a-f]{130})?\Z")]
Attempt = Annotated[int, Meta(ge=1, le=16)]


class DeliveryPaper(Body, frozen=True, kw_only=True):
    """What was handed in for a try, and the public salt from which its developer makes its key again."""

    attempt: Attempt
    doc: dict[str, Any]
    salt: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]


class VerdictPaper(Body, frozen=True, kw_only=True):
    """An evaluator's statement on a try, in base64, with the signature of its wallet."""

    attempt: Attempt
    statement: Annotated[str, Meta(max_length=32 * 1024)]
    signature: Hex65


class Papers(Body, frozen=True, kw_only=True):
    """The document; what its author does not hold is empty."""

    v: Annotated[int, Meta(ge=1, le=1)] = 1
    order: dict[str, Any]
    buyer_signature: Signature
    seller_signature: Signature
    buyer_entries: Annotated[list[dict[str, Any]], Meta(max_length=MOST_ENTRIES)]
    seller_entries: Annotated[list[dict[str, Any]], Meta(max_length=MOST_ENTRIES)]
    tick: dict[str, Any]
    """The newest tick of the meter, with its signature."""
    report: dict[str, Any]
    voucher_micro: Amount
    voucher_signature: Hex65
    deliveries: Annotated[list[DeliveryPaper], Meta(max_length=16)]
    verdicts: Annotated[list[VerdictPaper], Meta(max_length=16)]
    messages: Annotated[list[dict[str, Any]], Meta(max_length=MOST_MESSAGES)]


def write_papers(papers: Papers) -> bytes:
    """The bytes of the document. Messages are left out where it would be too large: they move no order."""
    raw = canonical.encode(msgspec.to_builtins(papers))
    if len(raw) > MAX_PAPERS:
        raw = canonical.encode(msgspec.to_builtins(msgspec.structs.replace(papers, messages=[])))
    return raw


def read_papers(raw: bytes) -> tuple[Papers, Contract]:
    """A document from anybody: size, schema, the order in it, and the parties' signatures that are there.

    Raises:
        InvalidOrder: with what is wrong; nothing of it is to be used then.
    """
    try:
        papers = fit(canonical.decode(raw, max_bytes=MAX_PAPERS), Papers, "papers")
        contract = read_contract(canonical.encode(papers.order))
    except InvalidRecord as error:
        raise InvalidOrder("bad_papers", f"Those are no papers of an order: {error.message}") from error
    for party, signature in (("buyer", papers.buyer_signature), ("seller", papers.seller_signature)):
        if signature:
            check_signature(contract, party, signature)
    return papers, contract


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What signed objects say has happened to an order, beside what the chain shows."""

    signed: bool = False
    """By the seller."""
    declined: bool = False
    withdrawn: bool = False
    started: bool = False
    ended: bool = False


def due(machine: Machine, state: str, known: Known, *, unpaid_too_long: bool = False) -> str:
    """The next event that signed objects or the clock show and the books lack; empty where there is none.

    To be asked after the chain: an order that holds money is past signing and stepping back.

    Args:
        unpaid_too_long: no payment that was signed in time can still reach the chain.
    """
    happened = {
        "agree": known.signed,
        "decline": known.declined and not known.signed,
        "withdraw": known.withdrawn,
        "start": known.started,
        "end": known.ended,
        "lapse": unpaid_too_long,
    }
    for event, there in happened.items():
        if there and machine.allows(state, event) and state in _OFF_CHAIN:
            return event
    return ""


def ended_too_soon(state: str, *, money: bool) -> bool:
    """Whether books say that an order was never paid, of which the chain shows the money."""
    return money and state in UNPAID


_OFF_CHAIN = frozenset({"proposed", "agreed", "funded", "running"})
