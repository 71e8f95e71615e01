"""Letters for peers that are off: what a peer asks of a mailbox, and what it answers.

Protocol `/openstall/mailbox/1`: one canonical JSON request of at most 288 KiB. `put` leaves a sealed letter
for a peer (also with that peer itself), `fetch` is answered with the asker's own letters, `done` has them
deleted, `terms` is answered with what is kept here; by `news` a mailbox says that it has something. Who asks
is known by its peer id; a letter is given to nobody but its recipient.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from openstall.market.errors import InvalidOrder, PeerError
from openstall.market.fields import Body, Sha256, Time
from openstall.market.letters import CLASSES
from openstall.market.schema import from_wire, to_wire
from openstall.p2p.asking import Peers
from openstall.p2p.limits import Rate

PROTOCOL = "/openstall/mailbox/1"
SEAL_BYTES = 48
"""What sealing adds to a letter."""
SEALED = frozenset(size + SEAL_BYTES for size in CLASSES)
MAX_ASK = 288 * 1024
MAX_ANSWER = 1024 * 1024
MOST_FETCHED = 512 * 1024
"""Bytes of sealed letters in one answer."""
MOST_AT_ONCE = 128
TIMEOUT_S = 20.0
RATE = Rate(per_s=2, burst=60)

Peer = Annotated[str, Meta(max_length=64)]
A = TypeVar("A", bound=Body)
Sealed = Annotated[str, Meta(max_length=4 * ((max(SEALED) + 2) // 3))]


class Ask(Body, frozen=True, kw_only=True):
    """A request to a mailbox; only the fields of what it asks for are set."""

    do: Literal["put", "fetch", "done", "terms", "news"]
    to: Peer = ""
    expires: Time = 0
    letter: Sealed = ""
    ids: Annotated[list[Sha256], Meta(max_length=MOST_AT_ONCE)] = msgspec.field(default_factory=list)


class Waiting(Body, frozen=True, kw_only=True):
    """A letter for the asker; its id is the SHA-256 of its bytes."""

    id: Sha256
    expires: Time
    letter: Sealed


class Fetched(Body, frozen=True, kw_only=True):
    """The oldest letters; `more` says that there are others."""

    letters: Annotated[list[Waiting], Meta(max_length=MOST_AT_ONCE)]
    more: bool


class Terms(Body, frozen=True, kw_only=True):
    """Whether letters are kept here, and how many from one sender and for one recipient."""

    serves: bool
    letters_of_sender: int
    letters_for_recipient: int
    most_life_s: int


def letter_bytes(text: str) -> bytes:
    """The sealed bytes in a message.

    Raises:
        InvalidOrder: they are none, or of a size that no letter has.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidOrder("bad_letter", "That is no letter.") from error
    if len(raw) not in SEALED or base64.b64encode(raw).decode() != text:
        raise InvalidOrder("bad_letter", "That is no letter.")
    return raw


def letter_text(raw: bytes) -> str:
    """Sealed bytes as they stand in a message."""
    return base64.b64encode(raw).decode()


def address_of(sealed: bytes) -> str:
    """The id under which a mailbox keeps a letter."""
    return hashlib.sha256(sealed).hexdigest()


async def put(peers: Peers, mailbox: str, *, to: str, expires: int, sealed: bytes) -> None:
    """Leave a letter with a mailbox, or with its recipient.

    Raises:
        PeerError: it cannot be reached, or does not take it.
    """
    await _ask(peers, mailbox, Ask(do="put", to=to, expires=expires, letter=letter_text(sealed)), 2)


async def fetch(peers: Peers, mailbox: str) -> Fetched:
    """This peer's letters in a mailbox.

    Raises:
        PeerError: it cannot be reached, or its answer makes no sense.
    """
    return _answer(await _ask(peers, mailbox, Ask(do="fetch"), MAX_ANSWER), Fetched)


async def done(peers: Peers, mailbox: str, ids: list[str]) -> None:
    """Have letters deleted that this peer has.

    Raises:
        PeerError: it cannot be reached.
    """
    await _ask(peers, mailbox, Ask(do="done", ids=ids), 2)


async def news(peers: Peers, recipient: str) -> None:
    """Tell a peer that there is a letter for it here.

    Raises:
        PeerError: it cannot be reached.
    """
    await _ask(peers, recipient, Ask(do="news"), 2)


async def terms(peers: Peers, mailbox: str) -> Terms:
    """What a peer keeps for others.

    Raises:
        PeerError: it cannot be reached, or its answer makes no sense.
    """
    return _answer(await _ask(peers, mailbox, Ask(do="terms"), 1024), Terms)


async def _ask(peers: Peers, mailbox: str, ask: Ask, most: int) -> bytes:
    return await peers.request(mailbox, PROTOCOL, to_wire(ask), timeout_s=TIMEOUT_S, max_response=most)


def _answer(raw: bytes, kind: type[A]) -> A:
    try:
        return from_wire(raw, kind, most=MAX_ANSWER)
    except InvalidOrder as error:
        raise PeerError(
            "bad_answer", "The mailbox's answer makes no sense.", "It may be outdated."
        ) from error
