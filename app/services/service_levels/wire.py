"""Protocol `/openstall/service/1`: one canonical JSON request and answer between parties and oracles.

`status` asks a provider how far a job is; `watch`, `complain` and `sign` ask an oracle of the bond; `ping`
asks anybody, and shows that one's own line holds.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from openstall.app.services.orders.placing import Party
from openstall.ledger.bond import Sentence
from openstall.market import canonical
from openstall.market.capacity import read_document
from openstall.market.errors import InvalidOrder, InvalidRecord, PeerError, Refused
from openstall.market.money import MAX_MICRO
from openstall.market.orders.documents import Contract, check_signature, read_contract
from openstall.market.orders.results import SignedReport, read_report
from openstall.market.records import ServiceLevel
from openstall.market.sightings import ServiceCase, Telemetry, case_hash
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate

PROTOCOL = "/openstall/service/1"
MAX_REQUEST = 256 * 1024
MAX_ANSWER = 64 * 1024
TIMEOUT_S = 15.0
RATE = Rate(per_s=4, burst=60)

_Signature = Annotated[str, Meta(max_length=90)]
_Id = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
M = TypeVar("M", bound=msgspec.Struct)


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A contract with both signatures."""

    order: dict[str, Any]
    buyer_signature: _Signature
    seller_signature: _Signature


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A complaint with what both parties signed of the job; empty where there is nothing."""

    case: dict[str, Any]
    lease: Lease
    buyer_telemetry: dict[str, Any] = {}
    provider_telemetry: dict[str, Any] = {}
    report: dict[str, Any] = {}


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request; only the fields of what it asks for are set."""

    do: Annotated[str, Meta(pattern=r"^(ping|status|watch|complain|sign)\Z")]
    order: _Id = ""
    nonce: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")] = ""
    lease: Lease | None = None
    file: File | None = None
    amount_micro: Annotated[int, Meta(ge=0, le=MAX_MICRO)] = 0


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far a job is, signed; with its report once it has ended."""

    telemetry: dict[str, Any]
    report: dict[str, Any] = {}


class Watching(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An oracle watches the job, until then at the latest."""

    until: Annotated[int, Meta(ge=0, le=2**40)]


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an oracle finds: `open` while it is too early, `guilty` with what it costs, or `cleared`."""

    state: Annotated[str, Meta(pattern=r"^(open|guilty|cleared)\Z")]
    broken_bps: Annotated[int, Meta(ge=0, le=10_000)] = 0
    amount_micro: Annotated[int, Meta(ge=0, le=MAX_MICRO)] = 0
    blamed: Annotated[str, Meta(pattern=r"^(provider|buyer|nobody)?\Z")] = ""
    words: Annotated[str, Meta(max_length=400)] = ""


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An oracle's signature on the sentence."""

    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{130}\Z")]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer to a ping."""


def decode_ask(raw: bytes) -> Ask:
    """A request from anybody.

    Raises:
        InvalidRecord: it does not fit its schema.
    """
    try:
        return msgspec.convert(canonical.decode(raw, max_bytes=MAX_REQUEST), Ask)
    except msgspec.ValidationError as error:
        raise InvalidRecord("bad_message", "The request about a service level makes no sense.") from error


async def ask(peers: PeerHost, peer_id: str, what: Ask, answer: type[M]) -> M:
    """One request.

    Raises:
        RefusedByPeer: the other peer said no.
        PeerError: it cannot be reached, or its answer makes no sense.
    """
    raw = await peers.request(peer_id, PROTOCOL, encode(what), timeout_s=TIMEOUT_S, max_response=MAX_ANSWER)
    try:
        return msgspec.convert(canonical.decode(raw, max_bytes=MAX_ANSWER), answer)
    except (InvalidRecord, msgspec.ValidationError) as error:
        raise PeerError("bad_answer", "The other peer's answer makes no sense.") from error


def encode(message: msgspec.Struct) -> bytes:
    """The frame of a message."""
    return canonical.encode(msgspec.to_builtins(message))


def open_lease(lease: Lease) -> Contract:
    """A paid job with a service level, that both have signed.

    Raises:
        InvalidOrder: it is not.
    """
    contract = read_contract(canonical.encode(lease.order))
    check_signature(contract, "buyer", lease.buyer_signature)
    check_signature(contract, "seller", lease.seller_signature)
    level_of(contract)
    return contract


def level_of(contract: Contract) -> ServiceLevel:
    """The service level of an order.

    Raises:
        InvalidOrder: it has none.
    """
    level = contract.compute.service if contract.order.kind == "compute" else None
    if level is None:
        raise InvalidOrder("no_service", "The order has no service level.")
    return level


def read_telemetry(value: dict[str, Any], contract: Contract, *, by: str) -> Telemetry:
    """What a party to the contract signed of its job.

    Raises:
        InvalidRecord: not that party's, or of another order.
    """
    found = read_document(value, Telemetry, what="telemetry", network=contract.order.network, author=by)
    if found.by != by or found.order != contract.order_id or found.network != contract.order.network:
        raise InvalidRecord("bad_telemetry", "What is said of the job belongs to another order.")
    return found


def read_signed_report(value: dict[str, Any], contract: Contract) -> SignedReport | None:
    """The provider's report, if there is one.

    Raises:
        InvalidOrder: not the provider's.
    """
    return read_report(canonical.encode(value), contract) if value else None


def open_case(file: File, me: Party) -> tuple[ServiceCase, Contract]:
    """Check a complaint from anybody: it must follow from the contract it brings.

    Raises:
        InvalidRecord, InvalidOrder: with what does not hold.
    """
    contract = open_lease(file.lease)
    order, level = contract.order, level_of(contract)
    case = read_document(file.case, ServiceCase, what="service-case", network=me.network, author=order.buyer)
    same = (
        (case.by, case.provider, case.order) == (order.buyer, order.seller, contract.order_id)
        and (case.bond, case.chain_id, case.network) == (level.bond, order.chain_id, order.network)
        and case.beneficiary.lower() == order.buyer_wallet.lower()
        and order.network == me.network
        and order.chain_id == me.chain_id
    )
    if not same:
        raise InvalidRecord("bad_case", "The complaint does not follow from the order that it brings.")
    return case, contract


def sentence(contract: Contract, amount_micro: int) -> Sentence:
    """What the oracles sign: the bond of this order pays its buyer so much."""
    level = level_of(contract)
    return Sentence(
        bond_id=bytes.fromhex(level.bond),
        case_hash=bytes.fromhex(case_hash(level.bond, contract.order_id)),
        beneficiary=contract.order.buyer_wallet,
        amount_micro=amount_micro,
    )


def refused_unknown() -> Refused:
    """For a request that lacks what it is about."""
    return Refused("bad_message", "The request lacks what it is about.")
