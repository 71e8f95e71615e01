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

from openstall.market import canonical, ids, text
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import (
    DAY_S,
    Address,
    AddressOrNone,
    Amount,
    BlobRef,
    Body,
    Cid,
    ColumnName,
    FileEntry,
    FileName,
    JobTime,
    Network,
    Price,
    Sha256,
    Short,
    Size,
    Time,
    Window,
    WithdrawDelay,
    check_parties,
    has_twins,
)
from openstall.market.job_kinds import SignedKind
from openstall.market.records import ServiceLevel, check_level
from openstall.market.requests.demands import Floor, Limit, MetricName, Task
from openstall.market.schema import fit

PeerId = Annotated[str, Meta(min_length=40, max_length=64)]
Nonce = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
MAX_ORDER_BYTES = 64 * 1024
MOST_TIMES_CAP = 10
"""A penalty is at most so many times the cap: nobody shall earn more by a broken promise than by the work."""
MAX_SPAN_S = 360 * DAY_S
"""From the date of an order to its last deadline; `OrderEscrow` refuses delivery more than 365 days ahead."""


class InputFile(Body, frozen=True, kw_only=True):
    """An input of a job, served by the buyer's peer."""

    name: FileName
    blob: BlobRef


class Limits(Body, frozen=True, kw_only=True, omit_defaults=True):
    """What the job may use; the provider's house rules may be tighter, never wider.

    What it rents no graphics card for, it does not mention: so the words of older orders stay the same.
    """

    memory_bytes: Size
    disk_bytes: Size
    threads: Annotated[int, Meta(ge=1, le=4096)]
    processes: Annotated[int, Meta(ge=1, le=4096)]
    log_bytes: Size
    gpus: Annotated[int, Meta(ge=0, le=16)] = 0
    """Whole graphics processors, for this job alone while it runs."""
    gpu_memory_bytes: Size = 0
    """What the job may use of each; 0 where it rents none."""


class SaleTerms(Body, frozen=True, kw_only=True):
    """A copy of a model for a fixed price, paid through `OrderEscrow`."""

    listing: Cid
    title: Short
    files: Annotated[list[FileEntry], Meta(min_length=1, max_length=64)]
    blob: BlobRef
    key_sha256: Sha256
    box_key: Sha256
    """X25519 public key (hex) that the buyer made for this order; the seller seals the package key for it."""
    price_micro: Price
    escrow: Address
    arbiter: AddressOrNone
    arbiter_s: Window
    arbiter_fee_bps: Annotated[int, Meta(ge=0, le=1000)]
    silent_buyer_bps: Annotated[int, Meta(ge=0, le=10_000)]
    fund_by: Time
    deliver_by: Time
    review_s: Window


class ComputeTerms(Body, frozen=True, kw_only=True, omit_defaults=True):
    """A job on rented compute, paid by vouchers over a `MeteredChannel` under a hard cap.

    A field with a default is left out of the document where it has that value.
    """

    offer: Cid
    title: Short
    job_kind: SignedKind
    params: dict[str, Any]
    inputs: Annotated[list[InputFile], Meta(min_length=1, max_length=16)]
    limits: Limits
    price_per_s_micro: Price
    priority_per_s_micro: Amount = 0
    """What of the price is on top of the offer's, for an earlier place in the line of paid jobs."""
    cap_micro: Price
    max_s: JobTime
    channel: Address
    withdraw_delay_s: WithdrawDelay
    fund_by: Time
    start_by: Time
    settle_by: Time
    service: ServiceLevel | None = None


class CustomTerms(Body, frozen=True, kw_only=True):
    """A model that is made for one buyer, paid through `ModelEscrow` once evaluators have measured it.

    Everything follows from the request and its auction, so both nodes write the same terms.
    """

    request: Cid
    """It names the money on chain: the SHA-256 inside is the request hash."""
    title: Short
    task: Task
    features: Annotated[list[ColumnName], Meta(min_length=1, max_length=1024)]
    target: ColumnName
    classes: Annotated[list[ColumnName], Meta(max_length=256)]
    """The labels of a classification, as its columns of scores follow each other."""
    metric: MetricName
    threshold: Limit
    floors: Annotated[list[Floor], Meta(max_length=4)]
    rows: Annotated[int, Meta(ge=10, le=10_000_000)]
    rows_root: Sha256
    """Merkle root over the buyer's sealed validation rows, each salted."""
    box_key: Sha256
    """X25519 public key (hex) that the buyer made for this request; the model's key is sealed for it."""
    evaluators: Annotated[list[Address], Meta(min_length=1, max_length=16)]
    quorum: Annotated[int, Meta(ge=1, le=16)]
    tries: Annotated[int, Meta(ge=1, le=16)]
    """How often a model may be handed in."""
    price_micro: Price
    escrow: Address
    arbiter: AddressOrNone
    arbiter_s: Window
    arbiter_fee_bps: Annotated[int, Meta(ge=0, le=1000)]
    deliver_by: Time
    evaluate_s: Window
    review_s: Window

    @property
    def request_hash(self) -> bytes:
        """The 32 bytes that name auction and escrow on chain."""
        return ids.digest_in_cid(self.request)


Terms = SaleTerms | ComputeTerms | CustomTerms
TERMS: dict[str, type[Terms]] = {"sale": SaleTerms, "compute": ComputeTerms, "custom": CustomTerms}


class Order(Body, frozen=True, kw_only=True):
    """The document; `terms` follows the schema of `kind`."""

    v: Annotated[int, Meta(ge=1, le=1)] = 1
    kind: Annotated[str, Meta(pattern=r"^(sale|compute|custom)\Z")]
    network: Network
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
    def custom(self) -> CustomTerms:
        """The terms of a model that is made for the buyer."""
        return msgspec.convert(self.order.terms, CustomTerms)

    @property
    def terms(self) -> Terms:
        """The terms, of whichever kind."""
        return msgspec.convert(self.order.terms, TERMS[self.order.kind])

    @property
    def amount_micro(self) -> int:
        """What the buyer pays at most."""
        terms = self.terms
        return terms.cap_micro if isinstance(terms, ComputeTerms) else terms.price_micro

    @property
    def arbiter(self) -> str:
        """The wallet that rules in a dispute; empty where there is none."""
        terms = self.terms
        return "" if isinstance(terms, ComputeTerms) else terms.arbiter

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
        order = fit(canonical.decode(raw, max_bytes=MAX_ORDER_BYTES), Order, "order")
        terms = fit(order.terms, TERMS[order.kind], "order")
        text.refuse_hidden(terms)
        ids.public_key_of(order.buyer)
        ids.public_key_of(order.seller)
        if isinstance(terms, SaleTerms | CustomTerms):
            ids.check_box_key(terms.box_key)
            check_parties(terms.escrow, order.buyer_wallet, order.seller_wallet, terms.arbiter)
            if isinstance(terms, CustomTerms):
                ids.digest_in_cid(terms.request)
        else:
            check_parties(terms.channel, order.buyer_wallet, order.seller_wallet)
            if terms.service is not None:
                check_level(terms.service)
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    if order.buyer == order.seller:
        raise InvalidOrder("same_party", "Buyer and seller of an order are the same.")
    _check_times(order, terms)
    if isinstance(terms, ComputeTerms):
        _check_cap(terms)
    if isinstance(terms, CustomTerms):
        _check_evaluators(order, terms)
        return Contract(order_id=hashlib.sha256(raw).hexdigest(), order=order, raw=raw)
    files = terms.files if isinstance(terms, SaleTerms) else terms.inputs
    if has_twins([entry.name for entry in files]):
        raise InvalidOrder("duplicate_file", "The order names one file twice.")
    return Contract(order_id=hashlib.sha256(raw).hexdigest(), order=order, raw=raw)


def sign_contract(contract: Contract, seed: bytes) -> str:
    """One party's signature with its peer seed."""
    return ids.sign(seed, "order", contract.order.network, contract.raw)


def check_signature(contract: Contract, party: str, signature: str) -> None:
    """Check the signature of `buyer` or `seller`.

    Raises:
        InvalidOrder: the signature is not that party's.
    """
    peer_id = {"buyer": contract.order.buyer, "seller": contract.order.seller}[party]
    try:
        ids.verify(peer_id, signature, "order", contract.order.network, contract.raw)
    except InvalidRecord as error:
        raise InvalidOrder("bad_signature", f"The {party}'s signature on the order is not valid.") from error


def _check_evaluators(order: Order, terms: CustomTerms) -> None:
    """In ascending order, so that none is named twice; the developer is no judge of its own model."""
    named = [wallet.lower() for wallet in terms.evaluators]
    if named != sorted(set(named)) or terms.quorum > len(named):
        raise InvalidOrder("bad_evaluators", "The evaluators of the order are not in order, or too few.")
    if order.seller_wallet.lower() in named:
        raise InvalidOrder("bad_evaluators", "The developer cannot evaluate its own model.")


def _check_times(order: Order, terms: Terms) -> None:
    if isinstance(terms, CustomTerms):
        in_order, last = order.created < terms.deliver_by, terms.deliver_by
    elif isinstance(terms, SaleTerms):
        in_order = order.created < terms.fund_by < terms.deliver_by
        last = terms.deliver_by
    else:
        in_order = (
            order.created < terms.fund_by < terms.start_by and terms.start_by + terms.max_s < terms.settle_by
        )
        last = terms.settle_by
    if not in_order:
        raise InvalidOrder("bad_times", "The deadlines of the order are not in order.")
    if last > order.created + MAX_SPAN_S:
        raise InvalidOrder(
            "too_long", "The last deadline of the order is too far away.", "Choose a shorter time."
        )


def _check_cap(terms: ComputeTerms) -> None:
    if terms.priority_per_s_micro >= terms.price_per_s_micro:
        raise InvalidOrder("bad_priority", "What is offered on top is all of the price.")
    if terms.cap_micro > terms.price_per_s_micro * terms.max_s:
        raise InvalidOrder("cap_too_high", "The cap of the job is above its price for its longest time.")
    if terms.cap_micro < terms.price_per_s_micro:
        raise InvalidOrder("cap_too_low", "The cap of the job does not pay for one second.", "Raise the cap.")
    if terms.service is not None and terms.service.penalty_micro > MOST_TIMES_CAP * terms.cap_micro:
        raise InvalidOrder(
            "penalty_too_high", f"The penalty is above {MOST_TIMES_CAP} times the cap of the job."
        )
