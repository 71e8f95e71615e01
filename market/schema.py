"""From a JSON value to a typed statement: the one place where schemas are applied."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from openstall.market import canonical, text
from openstall.market.errors import InvalidOrder, InvalidRecord

T = TypeVar("T", bound=msgspec.Struct)

NONSENSE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes of a stranger; a decoder that catches less can be ended from outside."""


def prepare_for_threads(base: type[msgspec.Struct] = msgspec.Struct) -> None:
    """Have msgspec build, here and now, what it builds at the first use of each kind of struct.

    While one thread builds it, a second thread that reads the same kind crashes the process (seen with
    0.22.0: the half-built fields hold null pointers). Call it when all modules are imported, before threads
    start.
    """
    for kind in base.__subclasses__():
        if kind.__module__.startswith("openstall."):
            msgspec.json.Decoder(kind)
        prepare_for_threads(kind)


def fit(value: Any, schema: type[T], name: str) -> T:  # a JSON value
    """The value as `schema`: every field present, none unknown, no hidden characters.

    A statement has one form only: no field may be left out, also where the schema has a default, or else,
    where the schema says so (`omit_defaults`), none may be written that has its default.
    Texts are checked in what has no open field (`dict`) of its own; see `text.refuse_hidden`.

    Raises:
        InvalidRecord: `bad_schema`, with the field.
    """
    try:
        found = msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        # The library quotes the stranger's own field names, so its words are cut and cleaned.
        words = text.clean(str(error))[:200]
        raise InvalidRecord("bad_schema", f"The {name} does not fit its schema: {words}.") from error
    if msgspec.to_builtins(found) != value:
        raise InvalidRecord("bad_schema", f"The {name} leaves out a field, or names one without need.")
    return found


def from_wire(raw: bytes, schema: type[T], *, most: int) -> T:
    """What a peer has sent, in canonical bytes of a limited size.

    Raises:
        InvalidOrder: with a stable code.
    """
    try:
        return fit(canonical.decode(raw, max_bytes=most), schema, "message")
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error


def to_wire(message: msgspec.Struct) -> bytes:
    """The canonical bytes of a message."""
    return canonical.encode(msgspec.to_builtins(message))
