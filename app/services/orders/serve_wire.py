"""Protocol `/openstall/serve/1`: questions to a job that serves a model, one stream at a time for each order.

The buyer's first frame names the order; each later one is a question (`compute_agent.serving.Question`). The
provider sends the lines of the answers. Frames are JSON, because rows and scores are fractions and nothing of
it is signed; who may ask follows from the order that both signed and from the peer key of the stream.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from openstall.compute_agent.serving import LINE_CAP_BYTES, QUESTION_CAP_BYTES
from openstall.market.errors import PeerError

PROTOCOL = "/openstall/serve/1"
MAX_FROM_BUYER = QUESTION_CAP_BYTES
MAX_FROM_PROVIDER = LINE_CAP_BYTES
_MAX_FIRST = 256


class First(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What opens a stream."""

    order: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


def read_first(raw: bytes) -> First:
    """Raises PeerError `bad_frame`."""
    try:
        if len(raw) <= _MAX_FIRST:
            return msgspec.json.decode(raw, type=First)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # told below
    raise PeerError("bad_frame", "The other peer names no order to ask about.")
