"""The frames of the blob protocol.

One stream or several per source. Asked, each with the cid behind it: `M` the manifest; `R` + first
chunk (4 bytes) + count (2 bytes) a run of chunks; `H` what of it the peer has; `A` “I have it too, and
give it to others”; `S` who said so. Answered: a status frame as in `exchange`, with the result in it
(`M`, `H`, `S`), empty (`A`), or followed by one frame per chunk (`R`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from openstall.market.errors import PeerError, Refused
from openstall.p2p.blob_manifest import CHUNK, MAX_CHUNKS
from openstall.p2p.identity import check_peer_id

PROTOCOL = "/openstall/blob/1"
MAX_RUN = 64
MAX_QUESTION = 256
_RUN = struct.Struct(">IH")
_CID_CHARS = 59
CHUNK_BYTES = CHUNK
MAX_NAMED = 16
MAX_ANSWER = 1 + MAX_CHUNKS // 8
_WHOLE, _PART = b"W", b"P"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a peer says that it has of a blob: all of it, or a part as one bit per chunk, lowest bit first."""

    whole: bool = True
    bits: bytes = b""

    def __contains__(self, index: int) -> bool:
        if self.whole:
            return True
        byte, bit = divmod(index, 8)
        return byte < len(self.bits) and bool(self.bits[byte] >> bit & 1)

    def part(self) -> list[int]:
        """The chunks of a part."""
        return [] if self.whole else [index for index in range(8 * len(self.bits)) if index in self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A decoded request; `first` and `count` are for a run only."""

    kind: str
    cid: str
    first: int = 0
    count: int = 0


def manifest_request(cid: str) -> bytes:
    """The frame that asks for a manifest."""
    return short_request(b"M", cid)


def run_request(cid: str, first: int, count: int) -> bytes:
    """The frame that asks for a run of chunks."""
    return b"R" + cid.encode() + _RUN.pack(first, count)


def short_request(kind: bytes, cid: str) -> bytes:
    """The frame of a question without more to it: `M`, `H`, `A` or `S`."""
    return kind + cid.encode()


def decode(frame: bytes) -> Question:
    """A question from anybody.

    Raises:
        Refused: `bad_request`.
    """
    kind, cid, rest = frame[:1], frame[1 : 1 + _CID_CHARS].decode("ascii", "replace"), frame[1 + _CID_CHARS :]
    if kind in (b"M", b"H", b"A", b"S") and not rest:
        return Question(kind=kind.decode(), cid=cid)
    if kind == b"R" and len(rest) == _RUN.size:
        first, count = _RUN.unpack(rest)
        if 1 <= count <= MAX_RUN:
            return Question(kind="R", cid=cid, first=first, count=count)
    raise Refused("bad_request", "The request makes no sense.")


def encode_holding(holding: Holding) -> bytes:
    """The result of `H`."""
    return _WHOLE if holding.whole else _PART + holding.bits


def decode_holding(result: bytes) -> Holding:
    """What a peer claims to have; bits of chunks that the blob does not have are never asked for.

    Raises:
        PeerError: `bad_answer`.
    """
    if result == _WHOLE:
        return Holding()
    if result[:1] == _PART and len(result) <= MAX_ANSWER:
        return Holding(whole=False, bits=result[1:])
    raise PeerError("bad_answer", "The other peer's answer makes no sense.", "It may be outdated.")


def encode_names(peer_ids: list[str]) -> bytes:
    """The result of `S`: peer ids, one a line."""
    return "\n".join(peer_ids[:MAX_NAMED]).encode()


def decode_names(result: bytes) -> list[str]:
    """Peers that are said to have a blob.

    Raises:
        PeerError: not peer ids, or too many.
    """
    names = result.decode("ascii", "replace").split("\n") if result else []
    if len(names) > MAX_NAMED:
        raise PeerError("bad_answer", "The other peer's answer makes no sense.", "It may be outdated.")
    return [check_peer_id(name) for name in names]
