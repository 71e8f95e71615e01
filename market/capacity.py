"""What is said when a machine is put to the test: the question, the answer, the outcome, and the case.

A challenge has two rounds. The provider commits to the digests of all segments, and only then learns
which ones it must open: they follow from the digests and from a secret that the challenger had sealed
in its question by a hash. So neither side can choose them, and anybody can check them afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from openstall.market import canonical, ids, text
from openstall.market.errors import InvalidRecord
from openstall.market.fields import Time
from openstall.market.orders.documents import PeerId
from openstall.market.records import (
    Address,
    BlobRef,
    Body,
    Capacity,
    Cid,
    Network,
    Price,
    Sha256,
    Short,
    Work,
)
from openstall.market.schema import fit

SLACK = 3
"""The time of an answer may be this many times the claimed one: other jobs run beside it."""
START_MS = 10_000
"""Allowed beyond that, for starting the sandboxes."""
MOST_RTT_MS = 2_000
"""More of a round trip is not forgiven: the other side could stretch it."""
OPENED = 3
"""Segments that are opened of each work."""
MAX_DOCUMENT = 128 * 1024

Context = Literal["challenge", "commitment", "verdict", "case", "telemetry", "service-case"]
CONTEXTS: tuple[str, ...] = get_args(Context)
"""What a signature of this module is over; the same words as on docs/protocol.md."""
OrderOrNone = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
B = TypeVar("B", bound=Body)


class Challenge(Body, frozen=True, kw_only=True):
    """The question: do the works of this claim now, from a fresh seed. `order` is the lease, or empty."""

    network: Network
    claim: Cid
    provider: PeerId
    challenger: PeerId
    order: OrderOrNone
    seed: Sha256
    secret_sha256: Sha256
    at: Time


class Commitment(Body, frozen=True, kw_only=True):
    """The answer, before its author knows what to open: the digests of each work, in the claim's order."""

    challenge: Sha256
    digests: Annotated[
        list[Annotated[list[Sha256], Meta(min_length=5, max_length=257)]], Meta(min_length=1, max_length=4)
    ]


class Opening(Body, frozen=True, kw_only=True):
    """Where the opened states of each work can be fetched."""

    states: Annotated[list[BlobRef], Meta(min_length=1, max_length=4)]


class Verdict(Body, frozen=True, kw_only=True):
    """What a challenger saw, by its own clock; `code` is the provider's own where it refused."""

    network: Network
    challenge: Sha256
    claim: Cid
    provider: PeerId
    challenger: PeerId
    order: OrderOrNone
    outcome: Annotated[str, Meta(pattern=r"^(passed|wrong|too_slow|refused|silent)\Z")]
    code: Short
    elapsed_ms: Annotated[int, Meta(ge=0)]
    allowed_ms: Annotated[int, Meta(ge=0)]
    at: Time


class Case(Body, frozen=True, kw_only=True):
    """A complaint to the oracles of a bond: this provider failed, and the bond shall pay that beneficiary."""

    network: Network
    chain_id: Annotated[int, Meta(ge=1)]
    bond: Sha256
    claim: Cid
    provider: PeerId
    by: PeerId
    order: OrderOrNone
    beneficiary: Address
    amount_micro: Price
    verdict: Sha256
    at: Time


def work_seed(seed: str, at: int) -> str:
    """The seed of the work at that place of a claim."""
    return hashlib.sha256(f"{seed}:{at}".encode()).hexdigest()


def claim_seed(network: str, peer_id: str, measured_at: int) -> str:
    """The seed of a claim's own run: a proof is of one peer and one moment, and of no use to another."""
    return hashlib.sha256(f"openstall-claim-v1:{network}:{peer_id}:{measured_at}".encode()).hexdigest()


def opened_segments(secret: str, digests: Sequence[str], count: int = OPENED) -> list[int]:
    """Which segments must be shown, ascending: drawn from the digests and the challenger's secret."""
    segments = len(digests) - 1
    root = hashlib.sha256(":".join((secret, *digests)).encode()).digest()
    found: set[int] = set()
    draw = 0
    while len(found) < min(count, segments):
        raw = hashlib.sha256(root + draw.to_bytes(4, "big")).digest()
        found.add(int.from_bytes(raw[:8], "big") % segments)
        draw += 1
    return sorted(found)


def allowed_ms(claim: Capacity, *, rtt_ms: int) -> int:
    """How long the answer to a challenge may take at the challenger's clock."""
    slowest = max(work.ms for work in claim.works)
    return START_MS + SLACK * slowest + min(rtt_ms, MOST_RTT_MS)


def fits(work: Work, digests: Sequence[str]) -> bool:
    """Whether an answer has as many digests as the work has."""
    return len(digests) == work.segments + 1


def costs_the_bond(verdict: Verdict) -> bool:
    """Whether a verdict speaks against the claim. A peer that is away is not guilty of anything.

    One that is there and refuses is, if somebody pays it for being there.
    """
    return verdict.outcome in ("wrong", "too_slow") or (verdict.outcome == "refused" and bool(verdict.order))


def sha256_of(document: Body) -> str:
    """The name of a document: SHA-256 of its canonical bytes."""
    return hashlib.sha256(canonical.encode(msgspec.to_builtins(document))).hexdigest()


def sign_document(document: Body, *, what: Context, network: str, seed: bytes) -> dict[str, Any]:
    """`{"doc", "sig"}`, signed by a peer under a context of its own (`what`)."""
    plain = msgspec.to_builtins(document)
    return {"doc": plain, "sig": ids.sign(seed, what, network, canonical.encode(plain))}


def read_document(value: Any, schema: type[B], *, what: Context, network: str, author: str) -> B:
    """Check a signed document from anybody.

    Raises:
        InvalidRecord: it does not fit its schema, or is not its author's.
    """
    signed = fit(value, _Signed, what)
    document = fit(signed.doc, schema, what)
    text.refuse_hidden(document)
    ids.verify(author, signed.sig, what, network, canonical.encode(signed.doc))
    return document


def check_case(case: Case, verdict: Verdict) -> None:
    """Whether a complaint follows from the verdict that it rests on.

    Raises:
        InvalidRecord: `bad_case`.
    """
    same = (
        verdict.challenger == case.by
        and verdict.provider == case.provider
        and verdict.claim == case.claim
        and verdict.order == case.order
        and verdict.network == case.network
        and sha256_of(verdict) == case.verdict
    )
    if not same or not costs_the_bond(verdict):
        raise InvalidRecord("bad_case", "The complaint does not follow from the challenge that it names.")


class _Signed(Body, frozen=True, kw_only=True):
    doc: dict[str, Any]
    sig: Annotated[str, Meta(max_length=86)]
