"""Contracts on a chain are ours byte for byte, but for immutables."""

from __future__ import annotations

from openstall.app.services.chain_code import is_same_code

HOLE = b"\x7f" + bytes(32)
INIT = b"\x60\x80init"
RUNTIME = b"\x01\x02" + HOLE + b"\x03" * 40 + HOLE + b"\x04"


def filled(value: bytes) -> bytes:
    return RUNTIME.replace(HOLE, b"\x7f" + value)


def test_immutables_may_differ() -> None:
    assert is_same_code(INIT + RUNTIME, filled(b"\x09" * 32))
    assert is_same_code(INIT + RUNTIME, RUNTIME)


def test_any_other_byte_may_not() -> None:
    good = filled(b"\x09" * 32)
    for at in range(len(good)):
        changed = bytearray(good)
        changed[at] ^= 0xFF
        inside = any(start < at <= start + 32 for start in (2, 2 + 33 + 40))
        assert is_same_code(INIT + RUNTIME, bytes(changed)) is inside


def test_empty_shorter_or_longer_code_is_foreign() -> None:
    assert not is_same_code(INIT + RUNTIME, b"")
    assert not is_same_code(INIT + RUNTIME, INIT + RUNTIME + b"\x00")
    assert not is_same_code(INIT + RUNTIME, RUNTIME[:-1] + b"\x05")
