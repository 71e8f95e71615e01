"""Two signed records of one author that cannot both be: the proof that the author has lied to somebody.

An author numbers its records and names the one before in each, so whoever signs two with one number, or names
another predecessor than it had, is caught by anybody who sees both. The two records are the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from openstall.market import canonical
from openstall.market.errors import InvalidRecord
from openstall.market.records import MAX_CLOCK_SKEW_S, MAX_LIFE_S, SignedRecord, parse_record
from openstall.market.schema import NONSENSE

SAME_SEQ = "same_seq"
"""Two records with one number."""
BROKEN_CHAIN = "broken_chain"
"""A record names another predecessor than the one that its author signed."""
WORDS = {
    SAME_SEQ: "It signed two different records with the same number.",
    BROKEN_CHAIN: "It signed a record that denies the one it had signed before.",
}
MAX_BYTES = 2 * canonical.MAX_BYTES + 16
_PREFIX = "contradiction-"
_FIRST_BYTE = 0x92
"""A MessagePack array of two; a record begins with a brace."""

_Pair = Annotated[
    list[Annotated[bytes, Meta(max_length=canonical.MAX_BYTES)]], Meta(min_length=2, max_length=2)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where a record stands in its author's sequence."""

    cid: str
    seq: int
    prev: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """A proof that was checked."""

    author: str
    kind: str
    first: SignedRecord
    second: SignedRecord
    raw: bytes

    @property
    def cid(self) -> str:
        """Under this name peers list it: the same for every proof against one author."""
        return address_of(self.author)

    @property
    def until(self) -> int:
        """How long it is kept, in Unix seconds."""
        return keep_until(self.first.record.issued, self.second.record.issued)


def address_of(author: str) -> str:
    """The name of the proof against an author."""
    return _PREFIX + author


def is_proof(raw: bytes) -> bool:
    """Whether these bytes claim to be a proof rather than a record."""
    return raw[:1] == bytes([_FIRST_BYTE])


def keep_until(*issued: int) -> int:
    """A proof outlives both records."""
    return max(issued) + MAX_LIFE_S


def kind_of(one: Link, other: Link) -> str:
    """How two records of one author contradict each other; empty where they do not."""
    if one.cid == other.cid:
        return ""
    if one.seq == other.seq:
        return SAME_SEQ
    first, second = (one, other) if one.seq < other.seq else (other, one)
    # Without a predecessor a record says nothing of what came before it.
    return BROKEN_CHAIN if second.seq == first.seq + 1 and second.prev not in ("", first.cid) else ""


def join(first: bytes, second: bytes) -> bytes:
    """The wire form of a proof: the two records as they were signed."""
    return msgspec.msgpack.encode([first, second])


def parse_proof(raw: bytes, *, network: str, now: int) -> Contradiction:
    """Check a proof from anybody: both records hold up, are one author's, and cannot both be.

    Raises:
        InvalidRecord: with a stable code that says which check failed.
    """
    if len(raw) > MAX_BYTES:
        raise InvalidRecord("too_large", "The proof is too large.")
    try:
        pair = msgspec.msgpack.decode(raw, type=_Pair)
    except NONSENSE as error:
        raise InvalidRecord("bad_proof", "The proof of a contradiction makes no sense.") from error
    if join(*pair) != raw:
        raise InvalidRecord("bad_proof", "The proof of a contradiction is not in its one form.")
    first, second = (parse_record(one, network=network, now=None) for one in pair)
    if max(first.record.issued, second.record.issued) > now + MAX_CLOCK_SKEW_S:
        raise InvalidRecord("future", "The record is dated in the future.")
    if keep_until(first.record.issued, second.record.issued) <= now:
        raise InvalidRecord("expired", "The proof is older than proofs are kept.")
    kind = kind_of(link_of(first), link_of(second))
    if first.record.author != second.record.author or not kind:
        raise InvalidRecord("no_contradiction", "The two records do not contradict each other.")
    return Contradiction(author=first.record.author, kind=kind, first=first, second=second, raw=raw)


def link_of(signed: SignedRecord) -> Link:
    """A record's place in its author's sequence."""
    return Link(cid=signed.cid, seq=signed.record.seq, prev=signed.record.prev)
