from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from nacl.bindings import sodium_pad

from openstall.market import canonical, ids
from openstall.market.errors import InvalidOrder
from openstall.market.letters import CLASSES, CONTEXT, MAX_BODY, Letter, read_letter, write_letter

NOW = 1_790_000_000
NETWORK = "openstall-test-1"
SEED = bytes([1]) * 32
SENDER, RECIPIENT, STRANGER = (ids.peer_id_of_seed(bytes([n]) * 32) for n in (1, 2, 3))


def letter(content: bytes = b"hello", **changes: Any) -> Letter:
    fields: dict[str, Any] = {
        "id": "ab" * 16,
        "network": NETWORK,
        "sender": SENDER,
        "recipient": RECIPIENT,
        "written": NOW - 60,
        "expires": NOW + 86_400,
        "protocol": "/openstall/talk/1",
        "answers": "",
        "body": base64.b64encode(content).decode(),
    }
    return Letter(**{**fields, **changes})


def read(padded: bytes, **changes: Any) -> Letter:
    return read_letter(padded, **{"recipient": RECIPIENT, "network": NETWORK, "now": NOW, **changes})


def code_of(padded: bytes, **changes: Any) -> str:
    with pytest.raises(InvalidOrder) as caught:
        read(padded, **changes)
    return caught.value.code


def forged(plain: Any, *, seed: bytes = SEED, size: int = 1024) -> bytes:
    """What a modified client may seal: any document, signed and padded."""
    signature = ids.sign(seed, CONTEXT, NETWORK, canonical.encode(plain))
    return bytes(sodium_pad(canonical.encode({"letter": plain, "signature": signature}), size))


@pytest.mark.parametrize(("content", "size"), [(1, 1024), (300, 1024), (700, 4096), (MAX_BODY, CLASSES[-1])])
def test_a_letter_is_read_as_it_was_written_and_shows_its_size_class_only(content: int, size: int) -> None:
    padded = write_letter(letter(b"x" * content), SEED)
    assert len(padded) == size
    assert read(padded).content == b"x" * content


def test_what_does_not_fit_into_a_letter_is_not_written() -> None:
    with pytest.raises(InvalidOrder):
        write_letter(letter(b"x" * (MAX_BODY + 3)), SEED)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("future", {"written": NOW + 601, "expires": NOW + 700}),
        ("expired", {"expires": NOW}),
        ("bad_life", {"written": NOW - 60, "expires": NOW - 60 + 31 * 86_400}),
        ("bad_life", {"written": NOW + 10, "expires": NOW + 10}),
        ("own_letter", {"sender": RECIPIENT}),
        ("not_the_recipient", {"recipient": STRANGER}),
        ("bad_body", {"body": "no base64"}),
        ("bad_body", {"body": "aGVsbG9="}),  # not how those bytes are written
    ],
)
def test_a_letter_that_must_not_be_taken(code: str, changes: dict[str, Any]) -> None:
    seed = bytes([2]) * 32 if changes.get("sender") == RECIPIENT else SEED
    assert code_of(forged(msgspec.to_builtins(letter(**changes)), seed=seed)) == code


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "AB" * 16),
        ("id", 7),
        ("protocol", "/openstall/<b>/1"),
        ("protocol", "/ipfs/kad/1.0.0"),
        ("answers", "x"),
        ("sender", "nobody"),
        ("network", ""),
        ("written", -1),
        ("extra", 1),
        ("body", None),
        ("body", ["a"]),
        ("body", "A" * (2 * MAX_BODY)),
    ],
)
def test_a_letter_that_fits_no_schema(field: str, value: Any) -> None:
    plain = msgspec.to_builtins(letter()) | {field: value}
    size = CLASSES[-1] if field == "body" else 1024
    try:
        padded = forged(plain, size=size)
    except ValueError:
        padded = b""
    with pytest.raises(InvalidOrder):
        read(padded)


def test_nobody_else_can_have_signed_it() -> None:
    plain = msgspec.to_builtins(letter())
    assert code_of(forged(plain, seed=bytes([3]) * 32)) == "bad_signature"
    assert code_of(forged(plain), network="openstall-test-2") == "other_network"
    weak = plain | {"sender": ids.peer_id_of(bytes(32))}
    assert code_of(forged(weak)) in ("weak_key", "bad_signature")


def test_padding_that_hides_or_leaks_something() -> None:
    good = write_letter(letter(), SEED)
    plain = canonical.encode({"a": 1})
    assert code_of(good[:-1]) == "bad_size"
    assert code_of(b"") == "bad_size"
    assert code_of(bytes(1024)) == "bad_padding"
    assert code_of(sodium_pad(good.rstrip(b"\0")[:-1], 4096)) == "bad_size"  # larger than it needs to be
    assert code_of(sodium_pad(plain, 1024)) == "bad_schema"
    assert code_of(sodium_pad(b"\xff{", 1024)) == "not_json"
