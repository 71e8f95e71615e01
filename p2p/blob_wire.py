"""The frames of the blob protocol.

One stream per source. Asked: `M` + cid (the manifest), or `R` + cid + first chunk (4 bytes) + count
(2 bytes). Answered: a status frame as in `exchange`, with the manifest in it or followed by one
frame per chunk.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from openstall.market.errors import Refused

PROTOCOL = "/openstall/blob/1"
MAX_RUN = 64
MAX_QUESTION = 256
_RUN = struct.Struct(">IH")
_CID_CHARS = 59


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A decoded request; `count` 0 asks for the manifest."""

    cid: str
    first: int = 0
    count: int = 0


def manifest_request(cid: str) -> bytes:
    """The frame that asks for a manifest."""
    return b"M" + cid.encode()


def run_request(cid: str, first: int, count: int) -> bytes:
    """The frame that asks for a run of chunks."""
    return b"R" + cid.encode() + _RUN.pack(first, count)


def decode(frame: bytes) -> Question:
    """A question from anybody.

    Raises:
        Refused: `bad_request`.
    """
    kind, cid, rest = frame[:1], frame[1 : 1 + _CID_CHARS].decode("ascii", "replace"), frame[1 + _CID_CHARS :]
    if kind == b"M" and not rest:
        return Question(cid=cid)
    if kind == b"R" and len(rest) == _RUN.size:
        first, count = _RUN.unpack(rest)
        if 1 <= count <= MAX_RUN:
            return Question(cid=cid, first=first, count=count)
    raise Refused("bad_request", "The request makes no sense.")
