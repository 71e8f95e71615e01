"""The contract of an order, as both parties sign it.

The order id is the SHA-256 of the canonical document; both signatures are Ed25519 by the peer keys.
The same 32 bytes name the order on chain (escrow key and channel salt), so money is bound to the
exact words that were signed.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from openstall.market import canonical, ids
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.records import (
    Address,
    AddressOrNone,
    Amount,
    BlobRef,
    Body,
    Cid,
    FileEntry,
    FileName,
    Seconds,
    Sha256,
    Short,
    Size,
)

Time = Annotated[int, Meta(ge=0, le=2**40)]
PeerId = Annotated[str, Meta(min_length=40, max_length=64)]
Nonce = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
MAX_ORDER_BYTES = 64 * 1024


class InputFile(Body, frozen=True, kw_only=True):
    """An input of a job, served by the buyer's peer."""

    name: FileName
    blob: BlobRef


class Limits(Body, frozen=True, kw_only=True):
    """What the job may use; the provider's house rules may be tighter, never wider."""

    memory_bytes: Size
    disk_bytes: Size
    threads: Annotated[int, Meta(ge=1, le=4096)]
    processes: Annotated[int, Meta(ge=1, le=4096)]
    log_bytes: Size


class SaleTerms(Body, frozen=True, kw_only=True):
    """A copy of a model for a fixed price, paid through `OrderEscrow`."""

    listing: Cid
    title: Short
    files: Annotated[list[FileEntry], Meta(min_length=1, max_length=64)]
    blob: BlobRef
    key_sha256: Sha256
    box_key: Sha256
    """X25519 public key (hex) for which the seller seals the package key; the buyer made it for this order."""
    price_micro: Amount
    escrow: Address
    arbiter: AddressOrNone
    arbiter_s: Seconds
    arbiter_fee_bps: Annotated[int, Meta(ge=0, le=1000)]
    silent_buyer_bps: Annotated[int, Meta(ge=0, le=10_000)]
    fund_by: Time
    deliver_by: Time
    review_s: Seconds


class ComputeTerms(Body, frozen=True, kw_only=True):
    """A job on rented compute, paid by vouchers over a `MeteredChannel` under a hard cap."""

    offer: Cid
    title: Short
    job_kind: Annotated[str, Meta(pattern=r"^(infer|train)$")]
    params: dict[str, Any]
    inputs: Annotated[list[InputFile], Meta(min_length=1, max_length=16)]
    limits: Limits
    price_per_s_micro: Amount
    cap_micro: Amount
    max_s: Seconds
    channel: Address
    withdraw_delay_s: Seconds
    fund_by: Time
    start_by: Time
    settle_by: Time


TERMS: dict[str, type[SaleTerms | ComputeTerms]] = {"sale": SaleTerms, "compute": ComputeTerms}


class Order(Body, frozen=True, kw_only=True):
    """The document; `terms` follows the schema of `kind`."""

    v: Annotated[int, Meta(ge=1, le=1)] = 1
    kind: Annotated[str, Meta(pattern=r"^(sale|compute)$")]
    network: Annotated[str, Meta(min_length=1, max_length=80)]
    chain_id: Annotated[int, Meta(ge=1)]
    buyer: PeerId
    seller: PeerId
    buyer_wallet: Address
    seller_wallet: Address
    nonce: Nonce
    created: Time
    terms: dict[str, Any]


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was checked, with its id, its canonical bytes and its typed terms."""

    order_id: str
    order: Order
    raw: bytes

    @property
    def sale(self) -> SaleTerms:
        """The terms of a sale."""
        return msgspec.convert(self.order.terms, SaleTerms)

    @property
    def compute(self) -> ComputeTerms:
        """The terms of a job."""
        return msgspec.convert(self.order.terms, ComputeTerms)

    @property
    def order_hash(self) -> bytes:
        """The 32 bytes that name the order on chain."""
        return bytes.fromhex(self.order_id)


def write_contract(order: Order) -> Contract:
    """The contract of a new order.

    Raises:
        InvalidOrder: the document does not fit its schema, or makes no sense.
    """
    try:
        return read_contract(canonical.encode(msgspec.to_builtins(order)))
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error


def read_contract(raw: bytes) -> Contract:
    """Check the form and the inner sense of an order document from anybody.

    Raises:
        InvalidOrder: with a stable code.
    """
    try:
        value = canonical.decode(raw, max_bytes=MAX_ORDER_BYTES)
        order = msgspec.convert(value, Order)
        terms = msgspec.convert(order.terms, TERMS[order.kind])
        ids.public_key_of(order.buyer)
        ids.public_key_of(order.seller)
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    except msgspec.ValidationError as error:
        raise InvalidOrder("bad_schema", f"The order does not fit its schema: {error}.") from error
    if order.buyer == order.seller or order.buyer_wallet.lower() == order.seller_wallet.lower():
        raise InvalidOrder("same_party", "Buyer and seller of an order are the same.")
    _check_terms(order, terms)
    return Contract(order_id=hashlib.sha256(raw).hexdigest(), order=order, raw=raw)


def sign_contract(contract: Contract, seed: bytes) -> str:
    """One party's signature with its peer seed."""
    return ids.sign(seed, "order", contract.order.network, contract.raw)


def check_signature(contract: Contract, party: str, signature: str) -> None:
    """Check the signature of `buyer` or `seller`.

    Raises:
        InvalidOrder: the signature is not that party's.
    """
    peer_id = contract.order.buyer if party == "buyer" else contract.order.seller
    try:
        ids.verify(peer_id, signature, "order", contract.order.network, contract.raw)
    except InvalidRecord as error:
        raise InvalidOrder("bad_signature", f"The {party}'s signature on the order is not valid.") from error


def _check_terms(order: Order, terms: SaleTerms | ComputeTerms) -> None:
    if isinstance(terms, SaleTerms):
        times_in_order = order.created < terms.fund_by < terms.deliver_by
        names = [entry.name for entry in terms.files]
        if terms.arbiter and terms.arbiter.lower() in (order.buyer_wallet.lower(), order.seller_wallet.lower()):
            raise InvalidOrder("arbiter_is_party", "The arbiter of an order cannot be its buyer or seller.")
    else:
        times_in_order = (
            order.created < terms.fund_by < terms.start_by and terms.start_by + terms.max_s < terms.settle_by
        )
        names = [entry.name for entry in terms.inputs]
        if terms.cap_micro > terms.price_per_s_micro * terms.max_s:
            raise InvalidOrder("cap_too_high", "The cap of the job is above its price for its longest time.")
    if not times_in_order:
        raise InvalidOrder("bad_times", "The deadlines of the order are not in order.")
    if len(set(names)) != len(names):
        raise InvalidOrder("duplicate_file", "The order names one file twice.")
