r"""Records: signed, content-addressed, immutable statements that peers pass on to each other.

The wire form is the canonical JSON of `{"record": {...}, "sig": "..."}`, at most 64 KiB. Of the
records with the same author, type and key, the one with the highest `seq` is live.

Patterns end with `\Z`, never `$`, which would let a newline pass at the end.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from openstall.market import canonical, ids, text
from openstall.market.errors import InvalidRecord
from openstall.market.fields import (
    DAY_S,
    Address,
    AddressOrNone,
    BlobRef,
    Body,
    Decimal,
    DeliverTime,
    Device,
    FileEntry,
    IpfsCid,
    JobTime,
    Key,
    Network,
    Price,
    Sha256,
    Short,
    Size,
    Text,
    WebAddress,
    Window,
    WithdrawDelay,
    check_parties,
    has_twins,
)
from openstall.market.job_kinds import KINDS, SignedKind
from openstall.market.requests.bodies import DeveloperBody, RequestBody, check_developer, check_request
from openstall.market.schema import fit

MAX_CLOCK_SKEW_S = 10 * 60
MAX_LIFE_S = 400 * 86_400
MOST_MAILBOXES = 3

LEAST_WORK_MS, MOST_WORK_MS = 2_000, 120_000
"""Shorter than that the start of a job would hide how long the work itself takes."""
MOST_SEGMENT_STEPS = 2**40
"""Multiplications in one segment of a claim: about a minute on one thread of an ordinary processor."""


class Metric(Body, frozen=True, kw_only=True):
    """A figure that the seller claims, on data that the seller names."""

    name: Short
    value: Decimal
    data: Short = ""


class Card(Body, frozen=True, kw_only=True):
    """The model card's short form."""

    intended_use: Text
    training_data: Text
    limits: Text
    metrics: Annotated[list[Metric], Meta(max_length=32)] = msgspec.field(default_factory=list)


class Listing(Body, frozen=True, kw_only=True, omit_defaults=True):
    """A model for sale: the signed manifest of its package, the encrypted blob, the terms.

    The fields with a default are left out where they have that value.
    """

    title: Annotated[str, Meta(min_length=3, max_length=120)]
    summary: Text
    licence: Annotated[str, Meta(min_length=1, max_length=100)]
    format: Annotated[str, Meta(pattern=r"^(onnx|safetensors)\Z")]
    files: Annotated[list[FileEntry], Meta(min_length=1, max_length=64)]
    blob: BlobRef
    key_sha256: Sha256
    card: Card
    price_micro: Price
    wallet: Address
    chain_id: Annotated[int, Meta(ge=1)]
    escrow: Address
    arbiter: AddressOrNone
    deliver_s: DeliverTime
    review_s: Window
    mirrors: Annotated[list[WebAddress], Meta(max_length=4)] = msgspec.field(default_factory=list)
    """Web servers that have the encrypted package too."""
    ipfs: IpfsCid = ""
    """The encrypted package's address in IPFS; nothing relies on it."""


class Gpu(Body, frozen=True, kw_only=True):
    """A graphics processor as its driver names it."""

    name: Short
    memory_bytes: Size


class Offer(Body, frozen=True, kw_only=True):
    """Compute for rent, by the second."""

    title: Annotated[str, Meta(min_length=3, max_length=120)]
    kinds: Annotated[list[SignedKind], Meta(min_length=1, max_length=len(KINDS))]
    cpu: Short
    threads: Annotated[int, Meta(ge=1, le=4096)]
    memory_bytes: Size
    disk_bytes: Size
    gpus: Annotated[list[Gpu], Meta(max_length=64)]
    price_per_s_micro: Price
    max_s: JobTime
    withdraw_delay_s: WithdrawDelay
    """How long the provider needs, at worst, to claim what it earned before a buyer takes the rest back."""
    wallet: Address
    chain_id: Annotated[int, Meta(ge=1)]
    channel: Address


class Figure(Body, frozen=True, kw_only=True):
    """What the author's own benchmark says of one device; nobody else has seen it measured."""

    name: Key
    device: Device
    value: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    unit: Short


class Work(Body, frozen=True, kw_only=True):
    """A claim that can be put to the test: `segments` times `rounds` rounds of a chain in `ms` milliseconds.

    `seed` and `digests` are those of the author's own run; `proof` holds the states to check it by.
    """

    device: Device
    threads: Annotated[int, Meta(ge=1, le=256)]
    size: Annotated[int, Meta(ge=64, le=4096, multiple_of=64)]
    segments: Annotated[int, Meta(ge=4, le=256)]
    rounds: Annotated[int, Meta(ge=1, le=1_000_000)]
    ms: Annotated[int, Meta(ge=LEAST_WORK_MS, le=MOST_WORK_MS)]
    seed: Sha256
    digests: Annotated[list[Sha256], Meta(min_length=5, max_length=257)]
    proof: BlobRef


class Capacity(Body, frozen=True, kw_only=True):
    """What the author claims of the machine that its offer of the same key rents out.

    The works run at once, on all devices: what is sold twice is too slow.
    """

    measured_at: Annotated[int, Meta(ge=0)]
    runtime: Short
    figures: Annotated[list[Figure], Meta(max_length=64)]
    works: Annotated[list[Work], Meta(min_length=1, max_length=4)]
    bond: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
    """The id of a bond on the group's chain, or empty; look there before you believe in it."""
    chain_id: Annotated[int, Meta(ge=1)]


class ServiceLevel(Body, frozen=True, kw_only=True):
    """What is promised about a job, and what breaking it can cost at most; 0 where nothing is promised."""

    start_s: Annotated[int, Meta(ge=0, le=DAY_S)]
    """The first useful output comes within so many seconds of the payment, and of the inputs."""
    uptime_bps: Annotated[int, Meta(ge=0, le=10_000)]
    """Share of the time between the first useful output and the end in which the job works."""
    steps_per_1000s: Annotated[int, Meta(ge=0, le=10**9)]
    """Steps in a thousand seconds of work."""
    bond: Sha256
    """The bond that pays."""
    penalty_micro: Price
    """The most that all violations of one order together cost."""


class Service(Body, frozen=True, kw_only=True):
    """Up to which service level the author of an offer lets itself be bound, for each order."""

    level: ServiceLevel
    chain_id: Annotated[int, Meta(ge=1)]


class Binding(Body, frozen=True, kw_only=True):
    """Two-way proof that a wallet and a peer belong together; the higher nonce wins."""

    nonce: Annotated[int, Meta(ge=0)]
    expires: Annotated[int, Meta(ge=0)]
    wallet_signature: Annotated[str, Meta(pattern=r"^0x[0-9a-f]{130}\Z")]
    peer_signature: Annotated[str, Meta(pattern=r"^0x[0-9a-f]{128}\Z")]


class Peer(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Who a peer says it is, where it is reached, who keeps its letters, whether it measures for others."""

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    wallet: Address
    chain_id: Annotated[int, Meta(ge=1)]
    binding: Binding
    addrs: Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(max_length=12)]
    mailboxes: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=MOST_MAILBOXES)] = (
        msgspec.field(default_factory=list)
    )
    """Peer ids; left out where there are none."""
    evaluates: bool = False


class Tombstone(Body, frozen=True, kw_only=True):
    """Takes back the author's own record of a type and key."""

    target_type: Annotated[str, Meta(pattern=r"^(listing|offer|capacity|service|request|developer)\Z")]
    target_key: Key


BODIES: dict[str, type[Body]] = {
    "listing": Listing,
    "offer": Offer,
    "capacity": Capacity,
    "service": Service,
    "request": RequestBody,
    "developer": DeveloperBody,
    "peer": Peer,
    "tombstone": Tombstone,
}


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A statement as it is signed. Times in Unix seconds; `prev` is the author's previous cid, or empty."""

    v: Annotated[int, Meta(ge=1, le=1)] = 1
    type: Annotated[str, Meta(max_length=20)]
    network: Network
    author: Annotated[str, Meta(max_length=64)]
    key: Key
    seq: Annotated[int, Meta(ge=1)]
    prev: Annotated[str, Meta(pattern=r"^(b[a-z2-7]{50,70})?\Z")]
    issued: Annotated[int, Meta(ge=0)]
    expires: Annotated[int, Meta(ge=0)]
    body: dict[str, Any]


class SignedRecord(Struct, frozen=True, kw_only=True):
    """A record that was checked: its address, its wire bytes and its typed body."""

    cid: str
    record: Record
    body: Body
    raw: bytes


class _Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    record: Record
    sig: Annotated[str, Meta(max_length=90)]


def sign_record(record: Record, seed: bytes) -> SignedRecord:
    """Sign a record with its author's peer seed (32 bytes); the result passes `parse_record`.

    Raises:
        InvalidRecord: the record does not fit its schema, or the seed is not the author's.
    """
    plain = msgspec.to_builtins(record)
    record = fit(plain, Record, "record")
    body = _body(record)
    if record.author != ids.peer_id_of_seed(seed):
        raise InvalidRecord("not_the_author", "The record names another author than the one who signs it.")
    content = canonical.encode(plain)
    signature = ids.sign(seed, record.type, record.network, content)
    raw = canonical.encode({"record": plain, "sig": signature})
    if len(raw) > canonical.MAX_BYTES:
        raise InvalidRecord("too_large", "The record is too large to be passed on.", "Shorten its texts.")
    return SignedRecord(cid=ids.cid_of(content), record=record, body=body, raw=raw)


def parse_record(raw: bytes, *, network: str, now: int | None) -> SignedRecord:
    """Check a record from anybody: form, schema, network, clock and signature, in that order.

    Without a moment it is read as of its own date: what has been signed stays signed when it has expired.

    Raises:
        InvalidRecord: with a stable code that says which check failed.
    """
    value = canonical.decode(raw)
    envelope = fit(value, _Envelope, "record")
    record = envelope.record
    if record.network != network:
        raise InvalidRecord("other_network", "The record belongs to another group.")
    if now is None:
        now = record.issued
    if record.issued > now + MAX_CLOCK_SKEW_S:
        raise InvalidRecord("future", "The record is dated in the future.")
    if not record.issued < record.expires <= record.issued + MAX_LIFE_S:
        raise InvalidRecord("bad_life", "The record's dates make no sense.")
    if record.expires <= now:
        raise InvalidRecord("expired", "The record has expired.")
    body = _body(record)
    content = canonical.encode(value["record"])
    ids.verify(record.author, envelope.sig, record.type, network, content)
    return SignedRecord(cid=ids.cid_of(content), record=record, body=body, raw=raw)


def _body(record: Record) -> Body:
    schema = BODIES.get(record.type)
    if schema is None:
        raise InvalidRecord("unknown_type", "The record is of a type that this version does not know.")
    body = fit(record.body, schema, record.type)
    text.refuse_hidden(body)
    if isinstance(body, Listing):
        _check_listing(body)
    elif isinstance(body, Offer) and len(set(body.kinds)) != len(body.kinds):
        raise InvalidRecord("duplicate_kind", "The offer names one kind of job twice.")
    elif isinstance(body, Capacity):
        _check_capacity(body)
    elif isinstance(body, Service):
        check_level(body.level)
    elif isinstance(body, RequestBody):
        check_request(body, issued=record.issued)
    elif isinstance(body, DeveloperBody):
        check_developer(body)
    elif isinstance(body, Peer):
        _check_mailboxes(body.mailboxes)
    return body


def _check_mailboxes(mailboxes: list[str]) -> None:
    if len(set(mailboxes)) != len(mailboxes):
        raise InvalidRecord("duplicate_mailbox", "The peer names one mailbox twice.")
    for peer_id in mailboxes:
        ids.public_key_of(peer_id)


def _check_listing(listing: Listing) -> None:
    if has_twins([entry.name for entry in listing.files]):
        raise InvalidRecord("duplicate_file", "The listing names one file twice.")
    if len(set(listing.mirrors)) != len(listing.mirrors):
        raise InvalidRecord("duplicate_mirror", "The listing names one web address twice.")
    check_parties(listing.escrow, listing.wallet, listing.arbiter)


def _check_capacity(capacity: Capacity) -> None:
    if len({work.device for work in capacity.works}) != len(capacity.works):
        raise InvalidRecord("duplicate_device", "The claim names one device twice.")
    if any(len(work.digests) != work.segments + 1 for work in capacity.works):
        raise InvalidRecord("bad_work", "The claim's digests do not fit its segments.")
    if any(work.rounds * work.size**3 > MOST_SEGMENT_STEPS for work in capacity.works):
        raise InvalidRecord("bad_work", "A segment of the claim is too long to be checked by others.")


def check_level(level: ServiceLevel) -> None:
    """Raises InvalidRecord `empty_service` where nothing is promised."""
    if not (level.start_s or level.uptime_bps or level.steps_per_1000s):
        raise InvalidRecord("empty_service", "The service level promises nothing.")
