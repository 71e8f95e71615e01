"""What is sent about an order to those who write about it, and what its arbiter asks for.

Protocol `/openstall/talk/1`: one canonical JSON request of at most 16 KiB. `say` brings a message; `evidence`
is answered with the bundle, of at most 4 MiB. Peers speak over Noise, so nobody between them reads it; it
goes to its readers only, or sealed for one of them into that peer's mailbox.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from openstall.market.fields import Body, Sha256

PROTOCOL = "/openstall/talk/1"
MAX_ASK = 16 * 1024


class Ask(Body, frozen=True, kw_only=True):
    """`say`: a message with its signature; `evidence`: what this peer shows about the order."""

    do: Literal["say", "evidence"]
    order_id: Sha256
    message: dict[str, Any]
    signature: Annotated[str, Meta(max_length=86)]
