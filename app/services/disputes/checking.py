"""Whether an evidence file holds: by itself, and against what the chain shows now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.disputes.facts import ChainFacts
from openstall.app.threads import Workers
from openstall.market import canonical
from openstall.market.disputes.checks import Finding, all_holds, check_alone, deliveries_of, statement_of
from openstall.market.disputes.evidence import MAX_BUNDLE, ChainEvent, Evidence, messages_of, read_bundle
from openstall.market.errors import ChainError, Conflict, InvalidOrder, NotFound
from openstall.market.orders.words import seller_word
from openstall.market.requests.assessment import statement_hash


@dataclass(slots=True, kw_only=True)
class EvidenceCheck:
    """Checks what anybody shows; where the node is in no group, without chain and catalogue."""

    facts: ChainFacts | None
    catalogue: Catalogue | None
    workers: Workers

    async def file(self, path: Path) -> dict[str, Any]:
        """What is in a file, and what of it holds.

        Raises:
            NotFound: there is no such file.
            InvalidOrder: it is no evidence at all.
        """
        found = await self.workers.work(lambda: read_bundle(_read(path)))
        return self.told(found, await self.findings(found))

    @staticmethod
    def told(found: Evidence, findings: list[Finding]) -> dict[str, Any]:
        """A checked bundle as the API tells it."""
        opening = found.bundle.opening
        return {
            "order_id": found.contract.order_id,
            "title": found.contract.terms.title,
            "author": found.author,
            "by": "buyer" if found.author == found.contract.order.buyer else "seller",
            "at": found.bundle.manifest.manifest.at,
            "reason": found.reason,
            "root": found.bundle.manifest.root.hex(),
            "opening": opening.root.hex() if opening is not None else None,
            "items": len(found.bundle.items),
            "messages": _messages(found),
            "holds": all_holds(findings),
            "findings": [one.as_dict() for one in findings],
        }

    async def findings(self, found: Evidence) -> list[Finding]:
        """Everything that was looked at, what needs no chain first."""
        contract = found.contract
        if contract.order.kind not in ("sale", "custom"):
            return [Finding(what="order", holds=False, words="There are no disputes about such an order.")]
        arbiter = None
        if contract.arbiter and self.catalogue is not None:
            arbiter = await self.catalogue.peer_of(contract.arbiter)
        alone = await self.workers.work(lambda: check_alone(found, arbiter_peer=arbiter))
        if self.facts is None:
            words = "Not compared: this node is in no group, or its wallet is locked."
            return [*alone, Finding(what="chain", holds=None, words=words)]
        try:
            return [*alone, *await self._on_chain(found, self.facts)]
        except (ChainError, Conflict) as error:
            return [*alone, Finding(what="chain", holds=None, words=f"Not compared. {error.message}")]

    async def _on_chain(self, found: Evidence, facts: ChainFacts) -> list[Finding]:
        contract = found.contract
        funded = await facts.is_funded(contract)
        words = (
            "The chain holds, or held, the price under the signed terms."
            if funded
            else "The chain does not show the price under the signed terms."
        )
        events = await facts.events(contract)
        findings = [
            Finding(what="escrow", holds=funded, words=words),
            _compare_events(found, events),
            _compare_opening(found, events),
        ]
        if contract.order.kind == "custom":
            findings += _compare_deliveries(found, events)
            findings += await self._compare_signatures(found, facts)
        return findings

    async def _compare_signatures(self, found: Evidence, facts: ChainFacts) -> list[Finding]:
        """Whether each assessment is signed by the evaluator that it names, for this very escrow."""
        docs, what = found.docs("assessment"), "signatures of the evaluators"
        try:
            for doc in docs:
                statement = statement_of(doc, found.contract)
                said = statement.predicate
                signer = await facts.signer(
                    found.contract,
                    model_sha256=statement.model_sha256,
                    attempt=said.attempt,
                    passed=said.passed,
                    report=statement_hash(canonical.encode(doc["statement"])),
                    signature=doc["signature"],
                )
                same_escrow = said.key == facts.key(found.contract).hex()
                if signer != said.evaluator.lower() or not same_escrow:
                    return [_broken(what, "An assessment is not signed by the evaluator that it names.")]
        except (InvalidOrder, ValueError):
            return [_broken(what, "An assessment is not signed by the evaluator that it names.")]
        if not docs:
            return []
        return [Finding(what=what, holds=True, words="Each assessment is signed by the evaluator it names.")]


def _messages(found: Evidence) -> list[dict[str, Any]]:
    """What was written, for whoever reads the file; nothing where a message is forged."""
    order = found.contract.order
    sides = {order.buyer: "buyer", order.seller: seller_word(order.kind)}
    try:
        signed = messages_of(found)
    except InvalidOrder:
        return []
    return [
        {
            "by": sides.get(one.message.author, "arbiter"),
            "at": one.message.at,
            "text": one.message.text,
        }
        for one in signed
    ]


def _compare_events(found: Evidence, events: list[ChainEvent]) -> Finding:
    """Whether the chain has every event that is shown, exactly so."""
    real = [msgspec.to_builtins(event) for event in events]
    shown = found.docs("event")
    invented = [doc for doc in shown if doc not in real]
    if invented:
        return _broken("chain", f"{len(invented)} of the events in the file are not on the chain.")
    later = len([event for event in real if event not in shown])
    words = f"All {len(shown)} events in the file are on the chain."
    if later:
        words += f" The chain shows {later} more."
    return Finding(what="chain", holds=True, words=words)


def _compare_opening(found: Evidence, events: list[ChainEvent]) -> Finding:
    what = "hash of the dispute"
    kept = [event.args.get("evidenceHash") for event in events if event.name == "Disputed"]
    opening = found.bundle.opening
    if not kept:
        return Finding(what=what, holds=None, words="The chain shows no dispute about this order.")
    if opening is None:
        return Finding(what=what, holds=None, words="The dispute was opened by the other side.")
    if opening.root.hex() == kept[-1]:
        return Finding(what=what, holds=True, words="The chain names exactly this evidence.")
    if not _called_by(found, events):
        return Finding(what=what, holds=None, words="The dispute was opened by the other side.")
    return _broken(what, "The chain names other evidence than this.")


def _called_by(found: Evidence, events: list[ChainEvent]) -> bool:
    """Whether the author of the file is the one that opened the dispute."""
    order = found.contract.order
    wallet = order.buyer_wallet if found.author == order.buyer else order.seller_wallet
    called = [event for event in events if event.name == "Disputed"][-1]
    by = called.args.get("by", order.buyer_wallet)  # in a sale only the buyer can
    return by.lower() == wallet.lower()


def _compare_deliveries(found: Evidence, events: list[ChainEvent]) -> list[Finding]:
    submitted = {event.args.get("modelHash") for event in events if event.name == "Submitted"}
    try:
        shown = [one.model_hash.hex() for one in deliveries_of(found)]
    except InvalidOrder:
        return []  # said already
    pending = [one for one in shown if one not in submitted]
    if pending:
        return [_broken("hand-in", "A model in the file was never handed in on the chain.")]
    if not shown:
        return []
    return [Finding(what="hand-in", holds=True, words="The chain names each model in the file.")]


def _broken(what: str, words: str) -> Finding:
    return Finding(what=what, holds=False, words=words)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BUNDLE + 1)  # one more than may be: its reader says so
    except OSError as error:
        raise NotFound("no_such_file", f"{path} cannot be read: {error.strerror}.", "") from error
