"""Protocol `/openstall/challenge/1`: one stream per challenge, canonical JSON frames.

Challenger: the signed challenge. Provider: its signed commitment (or a refusal). Challenger: the secret
behind the hash in the challenge. Provider: where the opened states are. Closing the stream ends it all.
"""

from __future__ import annotations

from typing import Any

import msgspec

from openstall.market import canonical
from openstall.market.capacity import MAX_DOCUMENT
from openstall.market.errors import InvalidRecord, PeerError
from openstall.p2p.limits import Rate

PROTOCOL = "/openstall/challenge/1"
MAX_FRAME = MAX_DOCUMENT
RATE = Rate(per_s=0.5, burst=20)
FIRST_FRAME_S = 15.0
SECRET_S = 30.0
"""How long the provider waits for the secret after it has committed."""
OPENING_S = 120.0
FETCH_S = 600.0
"""How long the opened states can be fetched."""
PAUSED = "house_paused"
"""The house rules of the provider hold everything back: like being away, and no fault."""
PASSING = frozenset(
    {
        "challenge_busy",
        "too_many_challenges",
        "too_many_requests",
        "busy",
        "internal",
        "stream_cut",
        "no_oracle_record",
    }
)
"""Refusals that say nothing yet: the challenge is tried again for a while."""


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The challenger's secret; the segments to open follow from it and the digests."""

    secret: str


def encode(value: Any) -> bytes:
    """A frame."""
    return canonical.encode(value)


def decode(raw: bytes | None) -> Any:
    """The JSON value of a frame.

    Raises:
        PeerError: there was no frame, or it makes no sense.
    """
    if raw is None:
        raise PeerError("stream_cut", "The other peer ended the challenge early.", "Try again.")
    try:
        return canonical.decode(raw, max_bytes=MAX_FRAME)
    except InvalidRecord as error:
        raise PeerError("bad_frame", "The other peer sent something that makes no sense.") from error
