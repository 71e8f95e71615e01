from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import canonical
from openstall.market.errors import InvalidRecord

MAX = 2**53 - 1
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX, MAX) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: depth_of(value) <= canonical.MAX_DEPTH)


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    raw = canonical.encode(value)
    assert canonical.decode(raw) == value
    assert json.loads(raw) == value


@given(values)
def test_the_bytes_are_those_of_rfc_8785(value: Any) -> None:
    assert canonical.encode(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        # Keys are ordered by UTF-16 code units: the surrogate pair of U+1F600 sorts before U+FB33.
        (
            {"\ufb33": 1, "\U0001f600": 2, "ö": 3, "1": 4, "\r": 5, "€": 6, "\x80": 7},
            '{"\\r":5,"1":4,"\x80":7,"ö":3,"€":6,"\U0001f600":2,"\ufb33":1}'.encode(),
        ),
        ({"b": 1, "a": {"d": [], "c": {}}}, b'{"a":{"c":{},"d":[]},"b":1}'),
        ('\x00\x1f"\\/\x7f', b'"\\u0000\\u001f\\"\\\\/\x7f"'),
        ([True, False, None, 0, -1, MAX, -MAX], f"[true,false,null,0,-1,{MAX},-{MAX}]".encode()),
    ],
)
def test_canonical_bytes(value: Any, raw: bytes) -> None:
    assert canonical.encode(value) == raw
    assert canonical.decode(raw) == value


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"a":1}\n', "not_canonical"),
        (b' {"a":1}', "not_canonical"),
        (b'{"b":1,"a":2}', "not_canonical"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":{"b":1,"b":2}}', "duplicate_key"),
        (b'{"a":1.0}', "float"),
        (b'{"a":1e2}', "float"),
        (b'{"a":NaN}', "float"),
        (b'{"a":-Infinity}', "float"),
        (b'{"a":-0}', "not_canonical"),
        (b'{"a":01}', "not_json"),
        (b'{"a":9007199254740992}', "number_too_large"),
        (b'{"a":-9007199254740992}', "number_too_large"),
        (b'{"a":' + b"9" * 5000 + b"}", "number_too_large"),
        (b'{"a":"\\ud800"}', "not_canonical"),
        (b'{"\\udfff":1}', "not_canonical"),
        (b'{"a":"\xed\xa0\x80"}', "not_canonical"),
        (b'{"a":"\\u0041"}', "not_canonical"),
        (b'{"a":"\x01"}', "not_json"),
        ('{"a":1}'.encode("utf-16"), "not_canonical"),
        ('{"a":1}'.encode("utf-8-sig"), "not_canonical"),
        (b"[" * 60_000, "not_json"),
        (b"[" * 60 + b"]" * 60, "too_deep"),
        (b'{"a":' * 5_000, "not_json"),
        (b'"' + b"a" * canonical.MAX_BYTES + b'"', "too_large"),
    ],
)
def test_hostile_bytes(raw: bytes, code: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        canonical.decode(raw)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (1.0, "float"),
        (float("nan"), "float"),
        (b"bytes", "bad_value"),
        ({"a": {1, 2}}, "bad_value"),
        ({1: "a"}, "bad_key"),
        (MAX + 1, "number_too_large"),
        ("\ud800", "not_canonical"),
        ({"\ud800": 1}, "not_canonical"),
    ],
)
def test_values_that_cannot_be_signed(value: Any, code: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        canonical.encode(value)
    assert caught.value.code == code


def test_depth_is_bounded_on_both_ways() -> None:
    deepest = canonical.encode(nested(canonical.MAX_DEPTH))
    assert canonical.decode(deepest) == nested(canonical.MAX_DEPTH)
    with pytest.raises(InvalidRecord, match="deeply"):
        canonical.encode(nested(canonical.MAX_DEPTH + 1))


def test_the_size_is_checked_before_anything_is_parsed() -> None:
    with pytest.raises(InvalidRecord) as caught:
        canonical.decode(b"[1,2]", max_bytes=4)
    assert caught.value.code == "too_large"


@given(st.binary(max_size=200))
def test_bytes_are_refused_or_are_their_own_canonical_form(raw: bytes) -> None:
    try:
        value = canonical.decode(raw)
    except InvalidRecord:
        return
    assert canonical.encode(value) == raw
