"""Signed objects in a file, or in a text that fits into a QR picture: from hand to hand, without a network.

A file has a canonical JSON object a line: first the head, then one object each. Nothing in it is believed
because it is in the file: each object goes through the door that it would go through from the network.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from openstall.market import canonical
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import Body, Network, Sha256, Time
from openstall.market.letters import CLASSES
from openstall.market.orders.papers import MAX_PAPERS
from openstall.market.schema import fit

MAX_FILE = 16 * 1024 * 1024
MAX_LINE = 288 * 1024
"""Of an object; papers may have as many bytes as over the network."""
MOST_OBJECTS = 2_000
PREFIX = "openstall:exchange:"
MAX_TEXT = 8_192
MAX_QR = 2_000
"""Characters in a QR picture that a telephone still reads."""

Signature = Annotated[str, Meta(min_length=86, max_length=86)]
_SEALED = max(CLASSES) + 48


class Head(Body, frozen=True, kw_only=True):
    """The first line: how many objects follow, and of which group."""

    format: Literal["openstall-exchange-1"]
    network: Network
    objects: Annotated[int, Meta(ge=1, le=MOST_OBJECTS)]


class RecordItem(Body, frozen=True, kw_only=True, tag_field="kind", tag="record"):
    """A record of the catalogue, as peers pass it on."""

    record: dict[str, Any]
    sig: Signature

    @property
    def raw(self) -> bytes:
        """The wire form."""
        return canonical.encode({"record": self.record, "sig": self.sig})


class OrderItem(Body, frozen=True, kw_only=True, tag_field="kind", tag="order"):
    """The document of an order; `seller_signature` is empty in a proposal."""

    order: dict[str, Any]
    buyer_signature: Signature
    seller_signature: Annotated[str, Meta(pattern=r"^([A-Za-z0-9_-]{86})?\Z")]


class AcceptanceItem(Body, frozen=True, kw_only=True, tag_field="kind", tag="acceptance"):
    """The seller's signature on an order that its buyer has: small enough for a picture."""

    network: Network
    order_id: Sha256
    signature: Signature


class MessageItem(Body, frozen=True, kw_only=True, tag_field="kind", tag="message"):
    """A message about an order."""

    message: dict[str, Any]
    signature: Signature


class LetterItem(Body, frozen=True, kw_only=True, tag_field="kind", tag="letter"):
    """A sealed letter, as a mailbox keeps it."""

    to: Annotated[str, Meta(max_length=64)]
    expires: Time
    letter: Annotated[str, Meta(max_length=4 * ((_SEALED + 2) // 3))]


class PapersItem(Body, frozen=True, kw_only=True, tag_field="kind", tag="papers"):
    """All that a party holds of an order (`orders.papers`); its messages are objects of their own."""

    papers: dict[str, Any]


Item = RecordItem | OrderItem | AcceptanceItem | MessageItem | LetterItem | PapersItem
_KINDS: dict[str, type[Item]] = {
    "record": RecordItem,
    "order": OrderItem,
    "acceptance": AcceptanceItem,
    "message": MessageItem,
    "letter": LetterItem,
    "papers": PapersItem,
}
_PAPERS = b'{"kind":"papers","papers":'
"""How an object with papers begins: in the canonical form, that is the only way."""


def record_item(raw: bytes) -> RecordItem:
    """A record from its wire form."""
    value = canonical.decode(raw)
    return RecordItem(record=value["record"], sig=value["sig"])


def write_file(network: str, items: Sequence[Item]) -> bytes:
    """The bytes of a file.

    Raises:
        InvalidOrder: there is nothing to write, or too much.
    """
    if not 1 <= len(items) <= MOST_OBJECTS:
        raise InvalidOrder(
            "nothing_to_export" if not items else "too_large",
            "There is nothing to put into the file." if not items else "That is too much for one file.",
            f"A file holds 1 to {MOST_OBJECTS:,} objects.",
        )
    head = Head(format="openstall-exchange-1", network=network, objects=len(items))
    raw = b"".join(canonical.encode(msgspec.to_builtins(one)) + b"\n" for one in (head, *items))
    if len(raw) > MAX_FILE:
        raise InvalidOrder(
            "too_large",
            "That is too much for one file.",
            "Export it in parts: some of the objects at a time.",
        )
    return raw


def read_file(raw: bytes, *, network: str) -> list[Item | InvalidOrder]:
    """The objects of a file from anybody; in the place of one that makes no sense, why.

    Raises:
        InvalidOrder: it is no such file, was cut, or belongs to another group.
    """
    if len(raw) > MAX_FILE:
        raise InvalidOrder("too_large", f"The file is larger than {MAX_FILE // 2**20} MiB.")
    lines = raw.split(b"\n", MOST_OBJECTS + 1)
    try:
        head = fit(canonical.decode(lines[0], max_bytes=1024), Head, "file")
    except InvalidRecord as error:
        raise InvalidOrder(
            "not_an_exchange", "That is not a file of signed objects from Openstall."
        ) from error
    if head.network != network:
        raise InvalidOrder("other_network", "The file belongs to another group.")
    if len(lines) != head.objects + 2 or lines[-1]:
        raise InvalidOrder("cut", "The file was cut or changed on its way.", "Have it sent again.")
    return [_read_item(line) for line in lines[1:-1]]


def _read_item(line: bytes) -> Item | InvalidOrder:
    try:
        papers = line.startswith(_PAPERS)
        value = canonical.decode(line, max_bytes=len(_PAPERS) + MAX_PAPERS + 1 if papers else MAX_LINE)
        kind = value.get("kind") if isinstance(value, dict) else None
        schema = _KINDS.get(kind) if isinstance(kind, str) else None
        if schema is None:
            return InvalidOrder("unknown_kind", "An object of a kind that this version does not know.")
        item: Item = fit(value, schema, "object")
        return item
    except InvalidRecord as error:
        return InvalidOrder(error.code, error.message, error.what_next)


def write_text(item: Item) -> str:
    """One object as a text to paste, or to be shown as a picture."""
    raw = canonical.encode(msgspec.to_builtins(item))
    return PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_text(text: str) -> Item:
    """The object in a pasted text; white space is ignored.

    Raises:
        InvalidOrder: it is none.
    """
    bad = InvalidOrder("bad_text", "That text holds no signed object, or was cut.", "Copy all of it.")
    text = "".join(text.split()) if len(text) <= 2 * MAX_TEXT else ""
    if len(text) > MAX_TEXT or not text.startswith(PREFIX):
        raise bad
    encoded = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad from error
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != encoded:
        raise bad
    found = _read_item(raw)
    if isinstance(found, InvalidOrder):
        raise found
    return found
