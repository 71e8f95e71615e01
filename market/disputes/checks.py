"""What of an evidence file holds by itself: signatures, hashes, chains of messages, arithmetic."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from openstall.market import canonical, ids
from openstall.market.disputes.evidence import CONTEXT, Evidence, SignedManifest, item_hash, messages_of
from openstall.market.disputes.messages import faults
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.orders.documents import Contract, CustomTerms, SaleTerms, check_signature
from openstall.market.orders.words import seller_word
from openstall.market.records import parse_record
from openstall.market.requests.assessment import Statement, read_statement
from openstall.market.requests.delivery import Delivery, read_delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `holds` is None where it could not be decided here."""

    what: str
    holds: bool | None
    words: str

    def as_dict(self) -> dict[str, Any]:
        """As the API tells it."""
        return {"what": self.what, "holds": self.holds, "words": self.words}


def check_alone(found: Evidence, *, arbiter_peer: str | None) -> list[Finding]:
    """All that can be checked without the chain."""
    order = found.contract.order
    authors = {order.buyer, order.seller, *([arbiter_peer] if arbiter_peer else [])}
    findings = [_signed(found, party) for party in ("buyer", "seller")]
    findings.append(_check_manifest(found, authors))
    if found.bundle.opening is not None:
        findings.append(_check_opening(found, found.bundle.opening))
    findings += [_check_messages(found, arbiter_peer), *_check_records(found)]
    return [*findings, *_check_deliveries(found), *_check_statements(found)]


def all_holds(findings: list[Finding]) -> bool:
    """Whether nothing was found that does not hold."""
    return all(one.holds is not False for one in findings)


def deliveries_of(found: Evidence) -> list[Delivery]:
    """What was handed in, as the bundle shows it.

    Raises:
        InvalidOrder: one is malformed, or belongs to another request.
    """
    return [
        read_delivery(doc, request=found.contract.custom.request, model_hash=_hash(doc))
        for doc in found.docs("delivery")
    ]


def statement_of(doc: dict[str, Any], contract: Contract) -> Statement:
    """An assessment in a bundle, if it is about this order and contradicts nothing.

    Raises:
        InvalidOrder: it is not.
    """
    try:
        statement = read_statement(canonical.encode(doc["statement"]))
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    said, terms, order = statement.predicate, contract.custom, contract.order
    same = (
        said.request == terms.request_hash.hex()
        and (said.network, said.chain_id) == (order.network, order.chain_id)
        and (said.rows, said.rows_root) == (terms.rows, terms.rows_root)
        and (said.task, said.metric, said.threshold, said.floors)
        == (terms.task, terms.metric, terms.threshold, terms.floors)
        and said.evaluator.lower() in (one.lower() for one in terms.evaluators)
    )
    if not same:
        raise InvalidOrder("other_assessment", "An assessment is about another order.", "")
    return statement


def _signed(found: Evidence, party: str) -> Finding:
    signature = {"buyer": found.bundle.buyer_signature, "seller": found.bundle.seller_signature}[party]
    side = seller_word(found.contract.order.kind) if party == "seller" else party
    what = f"signature of the {side}"
    if side == "developer" and not signature:
        words = "The developer has not signed. Its bid binds it, if the terms are those of the request."
        return Finding(what=what, holds=None, words=words)
    try:
        check_signature(found.contract, party, signature)
    except InvalidOrder as error:
        return Finding(what=what, holds=False, words=error.message)
    return Finding(what=what, holds=True, words=f"The {side} signed exactly this contract.")


def _is_signed(signed: SignedManifest, found: Evidence) -> bool:
    manifest = signed.manifest
    raw = canonical.encode(msgspec.to_builtins(manifest))
    try:
        ids.verify(manifest.author, signed.signature, CONTEXT, found.contract.order.network, raw)
    except InvalidRecord:
        return False
    return manifest.order_id == found.contract.order_id and manifest.author == found.author


def _check_manifest(found: Evidence, authors: set[str]) -> Finding:
    what, listed = "evidence as a whole", found.bundle.manifest.manifest.items
    if not _is_signed(found.bundle.manifest, found):
        return Finding(
            what=what,
            holds=False,
            words="The list of the evidence is not signed for this order by its author.",
        )
    if found.author not in authors:
        return Finding(what=what, holds=False, words="Its author is no party to the order.")
    if listed != [item_hash(item) for item in found.bundle.items]:
        return Finding(what=what, holds=False, words="The evidence is not what its author signed for.")
    count = len(listed)
    return Finding(
        what=what, holds=True, words=f"The author signed for all of it: {count} piece{'s' * (count != 1)}."
    )


def _check_opening(found: Evidence, opening: SignedManifest) -> Finding:
    what = "evidence of the dispute"
    if not _is_signed(opening, found):
        return Finding(what=what, holds=False, words="Its list is not signed for this order by its author.")
    missing = set(opening.manifest.items) - {item_hash(item) for item in found.bundle.items}
    if missing:
        return Finding(
            what=what, holds=False, words=f"{len(missing)} of the pieces that the dispute named are missing."
        )
    return Finding(what=what, holds=True, words="All that the dispute named is here, unchanged.")


def _check_messages(found: Evidence, arbiter_peer: str | None) -> Finding:
    what, order = "messages", found.contract.order
    try:
        messages = messages_of(found)
    except InvalidOrder as error:
        return Finding(what=what, holds=False, words=f"A message is forged or malformed: {error.message}")
    authors = {order.buyer, order.seller}
    third = {one.message.author for one in messages} - authors
    unknown = len(third) == 1 and arbiter_peer is None and bool(found.contract.arbiter)
    authors |= third if unknown else {arbiter_peer} if arbiter_peer else set()
    wrong = faults(messages, order_id=found.contract.order_id, network=order.network, authors=authors)
    if wrong:
        return Finding(what=what, holds=False, words=" ".join(dict.fromkeys(wrong)))
    if not messages:
        return Finding(what=what, holds=True, words="Nothing was written.")
    count = len(messages)
    words = f"{count} message{'s' * (count != 1)}, each signed by its author; none is missing between them."
    if unknown:
        words += " Whether the third author is the arbiter cannot be decided here."
    return Finding(what=what, holds=None if unknown else True, words=words)


def _check_records(found: Evidence) -> list[Finding]:
    """The listing or request that the order names; without it the contract stands for itself."""
    terms = found.contract.terms
    named = terms.listing if isinstance(terms, SaleTerms) else ""
    named = terms.request if isinstance(terms, CustomTerms) else named
    findings = []
    for doc in found.docs("record"):
        try:
            issued = doc["record"].get("issued")
            now = issued if isinstance(issued, int) else 0
            record = parse_record(canonical.encode(doc), network=found.contract.order.network, now=now)
            holds = record.cid == named
            words = "It is what the order names." if holds else "It is not what the order names."
        except InvalidRecord as error:
            holds, words = False, error.message
        findings.append(Finding(what="what was offered or asked for", holds=holds, words=words))
    return findings


def _check_deliveries(found: Evidence) -> list[Finding]:
    if found.contract.order.kind != "custom" or not found.docs("delivery"):
        return _unwanted(found, "delivery")
    try:
        count = len(deliveries_of(found))
    except InvalidOrder as error:
        return [Finding(what="deliveries", holds=False, words=error.message)]
    words = f"{count} {'model was' if count == 1 else 'models were'} handed in for this request."
    return [Finding(what="deliveries", holds=True, words=words)]


def _check_statements(found: Evidence) -> list[Finding]:
    if found.contract.order.kind != "custom" or not found.docs("assessment"):
        return _unwanted(found, "assessment")
    try:
        statements = [statement_of(doc, found.contract) for doc in found.docs("assessment")]
    except InvalidOrder as error:
        return [Finding(what="assessments", holds=False, words=error.message)]
    return [Finding(what="assessments", holds=True, words=" ".join(_told(one) for one in statements))]


def _told(statement: Statement) -> str:
    """What an evaluator measured, in one sentence."""
    said = statement.predicate
    figures = ", ".join(f"{figure.name} {figure.value}" for figure in said.figures)
    outcome = "passed" if said.passed else "missed"
    return f"Try {said.attempt} {outcome}: {figures or said.fault.replace('_', ' ')}."


def _unwanted(found: Evidence, kind: Any) -> list[Finding]:
    if found.docs(kind):
        return [Finding(what=kind, holds=False, words="An order of this kind has nothing of that sort.")]
    return []


def _hash(doc: dict[str, Any]) -> bytes:
    return hashlib.sha256(canonical.encode(doc)).digest()
