"""The requests by which two peers compare and exchange records, as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from openstall.market import contradictions
from openstall.market.errors import PeerError
from openstall.market.leaves import LEAVES, LEVEL, leaf_of
from openstall.market.schema import NONSENSE
from openstall.p2p.limits import Rate

MAX_BODY = contradictions.MAX_BYTES
"""A proof is two records."""
MAX_BATCH = 256
"""Records in one answer."""
MAX_ANSWER = 1024 * 1024
MAX_BRANCHES = 64
MAX_SPANS = 2_048
CIDS_AT_ONCE = 8_000
RATE = Rate(per_s=30, burst=600)

Cid = Annotated[str, Meta(min_length=8, max_length=100)]
_Leaf = Annotated[int, Meta(ge=0, lt=LEAVES)]
_Wanted = Annotated[list[Cid], Meta(max_length=MAX_BATCH)]
_Asked = tuple[
    Annotated[list[tuple[_Leaf, _Leaf]], Meta(min_length=1, max_length=MAX_SPANS)],
    Annotated[str, Meta(max_length=100)],
]
_Listed = tuple[Annotated[list[Cid], Meta(max_length=CIDS_AT_ONCE)], bool]


class RecordStore(Protocol):
    """What peers read of the local catalogue. Called from worker threads.

    An address stands for a record, or for the proof that its author has contradicted itself.
    """

    def lacking(self, cids: Sequence[str]) -> Sequence[str]:
        """Which of these are neither held, live or not, nor to be done without for now."""

    def bodies(self, cids: Sequence[str]) -> Mapping[str, bytes]:
        """The wire bytes of those that are held, at most 128 KiB each."""

    def root(self) -> bytes:
        """The digest of all live addresses (`market.leaves`)."""

    def branches(self) -> bytes:
        """The digests of the 256 branches, joined."""

    def leaves(self, branch: int) -> bytes:
        """The digests of the 256 leaves of a branch, joined."""

    def cids(self, first: int, last: int, *, after: str, limit: int) -> Sequence[str]:
        """The live addresses in a run of leaves, by leaf and address, from behind an address on."""

    def gaps(self) -> Sequence[str]:
        """Addresses that others name as their predecessors and that are not held."""


def nonsense() -> PeerError:
    """A request that cannot be read."""
    return PeerError("bad_request", "The request makes no sense.")


def read_branches(payload: bytes) -> list[int]:
    """Which branches are asked for; raises PeerError."""
    if not 0 < len(payload) <= MAX_BRANCHES:
        raise nonsense()
    return list(payload)


def write_spans(spans: Sequence[tuple[int, int]], after: str) -> bytes:
    """A request for the addresses in runs of leaves."""
    return msgspec.msgpack.encode((spans, after))


def read_spans(payload: bytes) -> tuple[list[tuple[int, int]], str]:
    """Runs of leaves, ascending and apart, and the address after which to begin; raises PeerError."""
    try:
        spans, after = msgspec.msgpack.decode(payload, type=_Asked)
    except NONSENSE as error:
        raise nonsense() from error
    ends = [end for span in spans for end in span]
    if ends != sorted(ends) or any(one[1] == other[0] for one, other in pairwise(spans)):
        raise nonsense()
    return spans, after


def write_listed(cids: Sequence[str], *, more: bool) -> bytes:
    """A page of addresses, and whether another follows."""
    return msgspec.msgpack.encode((cids, more))


def read_listed(answer: bytes, spans: Sequence[tuple[int, int]], after: str) -> tuple[list[str], bool]:
    """A page of addresses that lie where they were asked for, in order, behind `after`.

    Raises:
        ValueError: they do not, or the page cannot be read.
    """
    cids, more = _decoded(answer, _Listed)
    place = (leaf_of(after), after) if after else (-1, "")
    at = 0
    for cid in cids:
        here = (leaf_of(cid), cid)
        while at < len(spans) and here[0] > spans[at][1]:
            at += 1
        if here <= place or at == len(spans) or here[0] < spans[at][0]:
            raise ValueError
        place = here
    if more and not cids:
        raise ValueError
    return cids, more


def write_wanted(cids: Sequence[str]) -> bytes:
    """A request for records."""
    return msgspec.msgpack.encode(cids)


def read_wanted(payload: bytes) -> list[str]:
    """The addresses that are asked for; raises PeerError."""
    try:
        wanted: list[str] = msgspec.msgpack.decode(payload, type=_Wanted)
    except NONSENSE as error:
        raise nonsense() from error
    return wanted


def write_bodies(bodies: Sequence[bytes]) -> bytes:
    """An answer with records."""
    return msgspec.msgpack.encode(bodies)


def read_bodies(answer: bytes, asked: int) -> list[bytes]:
    """The records in an answer to a request for so many; raises ValueError."""
    schema = Annotated[list[Annotated[bytes, Meta(max_length=MAX_BODY)]], Meta(max_length=asked)]
    bodies: list[bytes] = _decoded(answer, schema)
    return bodies


def _decoded(answer: bytes, schema: Any) -> Any:
    try:
        return msgspec.msgpack.decode(answer, type=schema)
    except NONSENSE as error:
        raise ValueError from error


def read_level(answer: bytes, count: int) -> list[bytes]:
    """So many levels of the tree; raises ValueError."""
    if len(answer) != count * LEVEL:
        raise ValueError
    return [answer[at : at + LEVEL] for at in range(0, len(answer), LEVEL)]
