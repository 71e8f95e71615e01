r"""Letters: requests and answers that wait for a peer that is off, sealed in someone else's mailbox.

A letter names its sender and its recipient inside its signature, so whoever opens it cannot pass it on as
written to somebody else. Before it is sealed it is padded to one of a few sizes.

Patterns end with `\Z`, never `$`, which would let a newline pass at the end.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from nacl.bindings import sodium_pad, sodium_unpad

from openstall.market import canonical, ids
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import DAY_S, Body, Network, Time
from openstall.market.orders.documents import PeerId
from openstall.market.schema import fit

CONTEXT = "letter"
MOST_LIFE_S = 30 * DAY_S
MAX_CLOCK_SKEW_S = 600
MAX_BODY = 128 * 1024
"""Of the request or answer inside."""
CLASSES = (1024, 4096, 16_384, 65_536, 196_608)
"""Sizes that letters are padded to: all that a mailbox learns of what is inside."""
LetterId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
LetterIdOrNone = Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]
Protocol = Annotated[str, Meta(pattern=r"^/openstall/[a-z-]{1,24}/[1-9]\Z")]


class Letter(Body, frozen=True, kw_only=True):
    """A request of one protocol, or the answer to one."""

    id: LetterId
    network: Network
    sender: PeerId
    recipient: PeerId
    written: Time
    expires: Time
    protocol: Protocol
    answers: LetterIdOrNone
    """The letter that this one answers; empty in a request."""
    body: Annotated[str, Meta(max_length=4 * ((MAX_BODY + 2) // 3))]
    """The bytes of the request, or of the answer's frame, in base64."""

    @property
    def content(self) -> bytes:
        """The bytes inside; they were checked when the letter was read."""
        return base64.b64decode(self.body)


class _Signed(Body, frozen=True, kw_only=True):
    letter: dict[str, Any]
    signature: Annotated[str, Meta(min_length=86, max_length=86)]


def write_letter(letter: Letter, seed: bytes) -> bytes:
    """The signed and padded bytes of one's own letter, ready to be sealed.

    Raises:
        InvalidOrder: what is inside is too large for a letter.
    """
    plain = msgspec.to_builtins(letter)
    try:
        fit(plain, Letter, "letter")
        raw = canonical.encode(plain)
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    signed = canonical.encode({"letter": plain, "signature": ids.sign(seed, CONTEXT, letter.network, raw)})
    fitting = [one for one in CLASSES if len(signed) < one]
    if not fitting:
        raise InvalidOrder("too_large", "This is too large for a letter.", "It is sent when both are online.")
    return bytes(sodium_pad(signed, fitting[0]))


def read_letter(padded: bytes, *, recipient: str, network: str, now: int) -> Letter:
    """A letter that was opened: size, schema, signature, address and dates.

    Raises:
        InvalidOrder: with the check that failed.
    """
    if len(padded) not in CLASSES:
        raise InvalidOrder("bad_size", "The letter has a size that no letter has.")
    try:
        raw = bytes(sodium_unpad(padded, len(padded)))
    except Exception as error:  # the binding raises its own kinds for a missing mark
        raise InvalidOrder("bad_padding", "The letter is not padded as letters are.") from error
    if next(one for one in CLASSES if len(raw) < one) != len(padded):
        raise InvalidOrder("bad_size", "The letter is larger than it needs to be.")
    try:
        signed = fit(canonical.decode(raw, max_bytes=CLASSES[-1]), _Signed, "letter")
        letter = fit(signed.letter, Letter, "letter")
        ids.verify(letter.sender, signed.signature, CONTEXT, letter.network, canonical.encode(signed.letter))
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    _check(letter, recipient=recipient, network=network, now=now)
    return letter


def _check(letter: Letter, *, recipient: str, network: str, now: int) -> None:
    if letter.recipient != recipient:
        raise InvalidOrder("not_the_recipient", "The letter is addressed to somebody else.")
    if letter.sender == recipient:
        raise InvalidOrder("own_letter", "The letter is one's own.")
    if letter.network != network:
        raise InvalidOrder("other_network", "The letter belongs to another group.")
    if letter.written > now + MAX_CLOCK_SKEW_S:
        raise InvalidOrder("future", "The letter is dated in the future.")
    if not letter.written < letter.expires <= letter.written + MOST_LIFE_S:
        raise InvalidOrder("bad_life", "The letter's dates make no sense.")
    if letter.expires <= now:
        raise InvalidOrder("expired", "The letter has expired.")
    try:
        content = base64.b64decode(letter.body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidOrder("bad_body", "The letter holds no bytes.") from error
    if base64.b64encode(content).decode() != letter.body or len(content) > MAX_BODY:
        raise InvalidOrder("bad_body", "The letter's bytes are not written as they must be.")
