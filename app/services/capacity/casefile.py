"""The file of a case as it goes from the complainer to the oracles: everything that can be checked alone."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from openstall.app.services.capacity.claims import claim_of
from openstall.app.services.door import as_ledger_binding
from openstall.ledger.binding import verify_binding
from openstall.ledger.bond import SINK, Sentence
from openstall.market import canonical
from openstall.market.capacity import Case, Verdict, check_case, read_document, sha256_of
from openstall.market.errors import IdentityError, InvalidOrder, InvalidRecord
from openstall.market.orders.documents import Contract, check_signature, read_contract
from openstall.market.records import Capacity, Peer, SignedRecord, parse_record

PROTOCOL = "/openstall/case/1"
MAX_REQUEST = 256 * 1024
MAX_ANSWER = 2048


class CaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`case` and `verdict` are signed by the complainer; `claim` is the record (base64) that failed.

    `peer` is the provider's own record (base64) that binds its wallet, as it was then. `order` with both
    signatures is the lease; without one they are empty.
    """

    case: dict[str, Any]
    verdict: dict[str, Any]
    claim: Annotated[str, Meta(max_length=96 * 1024)]
    peer: Annotated[str, Meta(max_length=96 * 1024)]
    order: dict[str, Any] = {}
    buyer_signature: Annotated[str, Meta(max_length=90)] = ""
    seller_signature: Annotated[str, Meta(max_length=90)] = ""


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request to an oracle: `complain` with a file, or `verdict` for the hash of a case."""

    do: Annotated[str, Meta(max_length=20)]
    file: CaseFile | None = None
    case: Annotated[str, Meta(max_length=64)] = ""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an oracle says of a case: `open`, `guilty` with its signature, `cleared` or `undecided`."""

    state: Annotated[str, Meta(pattern=r"^(open|guilty|cleared|undecided)\Z")]
    signature: Annotated[str, Meta(pattern=r"^([0-9a-f]{130})?\Z")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file whose signatures and inner sense were checked; the chain was not asked yet."""

    case_hash: str
    case: Case
    verdict: Verdict
    record: SignedRecord
    claim: Capacity
    wallet: str
    """The wallet that was bound to the provider."""
    contract: Contract | None

    @property
    def sentence(self) -> Sentence:
        """What the oracles sign if they find the same."""
        return Sentence(
            bond_id=bytes.fromhex(self.case.bond),
            case_hash=bytes.fromhex(self.case_hash),
            beneficiary=self.case.beneficiary,
            amount_micro=self.case.amount_micro,
        )


def open_file(file: CaseFile, *, network: str) -> Opened:
    """Check a file from anybody.

    Raises:
        InvalidRecord, InvalidOrder, NotFound: with the first thing that does not hold.
    """
    by = _author_of(file.case)
    case = read_document(file.case, Case, what="case", network=network, author=by)
    verdict = read_document(file.verdict, Verdict, what="verdict", network=network, author=by)
    check_case(case, verdict)
    contract = _contract(file) if case.order else None
    held_at = contract.order.created if contract is not None else verdict.at
    record = _record(file.claim, network=network, at=held_at)
    claim = claim_of(record)
    same = record.cid == case.claim and record.record.author == case.provider
    if not same or claim.bond != case.bond or claim.chain_id != case.chain_id:
        raise InvalidRecord("bad_case", "The complaint names another claim than the one it brings.")
    _check_beneficiary(case, contract)
    return Opened(
        case_hash=sha256_of(case),
        case=case,
        verdict=verdict,
        record=record,
        claim=claim,
        wallet=_bound_wallet(_record(file.peer, network=network, at=held_at), case, at=held_at),
        contract=contract,
    )


def _record(text: str, *, network: str, at: int) -> SignedRecord:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRecord("bad_case", "A record in the file is malformed.") from error
    return parse_record(raw, network=network, now=at)


def _bound_wallet(record: SignedRecord, case: Case, *, at: int) -> str:
    """The wallet of the provider, by a binding that both its keys have signed."""
    if not isinstance(record.body, Peer) or record.record.author != case.provider:
        raise InvalidRecord("bad_case", "The complaint does not show whose wallet the provider has.")
    try:
        verify_binding(as_ledger_binding(record.body, case.provider), chain_id=case.chain_id, now=at)
    except IdentityError as error:
        raise InvalidRecord("bad_binding", error.message) from error
    return record.body.wallet.lower()


def _author_of(signed: dict[str, Any]) -> str:
    document = signed.get("doc")
    by = document.get("by") if isinstance(document, dict) else None
    if not isinstance(by, str):
        raise InvalidRecord("bad_case", "The complaint names no complainer.")
    return by


def _contract(file: CaseFile) -> Contract:
    contract = read_contract(canonical.encode(file.order))
    check_signature(contract, "buyer", file.buyer_signature)
    check_signature(contract, "seller", file.seller_signature)
    if contract.order.kind != "compute":
        raise InvalidOrder("wrong_kind", "The order of the complaint is not for compute.")
    return contract


def _check_beneficiary(case: Case, contract: Contract | None) -> None:
    """The buyer of the lease, or nobody at all: neither provider nor oracle chooses who gets the money."""
    if contract is None:
        if case.beneficiary.lower() != SINK:
            raise InvalidRecord("bad_beneficiary", "Without a lease, what a bond pays belongs to nobody.")
        return
    order = contract.order
    mine = (order.buyer, order.seller) == (case.by, case.provider) and contract.order_id == case.order
    if not mine or order.buyer_wallet.lower() != case.beneficiary.lower():
        raise InvalidRecord("bad_beneficiary", "The money of a bond goes to the buyer of the lease only.")
    if not order.created <= case.at <= contract.compute.settle_by:
        raise InvalidRecord("bad_case", "The complaint is not from the time of the lease.")


def decode_ask(raw: bytes) -> Ask:
    """A checked request.

    Raises:
        InvalidRecord: it does not fit its schema.
    """
    try:
        return msgspec.convert(canonical.decode(raw, max_bytes=MAX_REQUEST), Ask)
    except msgspec.ValidationError as error:
        raise InvalidRecord("bad_message", "The message about a case does not fit its schema.") from error


def as_file(value: dict[str, Any]) -> CaseFile:
    """The file as the store kept it."""
    return msgspec.convert(value, CaseFile)
