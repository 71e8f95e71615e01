from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from openstall.market import canonical, ids
from openstall.market.errors import InvalidRecord
from openstall.market.fields import body_as_dict
from openstall.market.records import (
    BODIES,
    MAX_CLOCK_SKEW_S,
    MAX_LIFE_S,
    Record,
    SignedRecord,
    parse_record,
    sign_record,
)

Plain = dict[str, Any]
Make = Callable[..., Plain]
Wire = Callable[..., bytes]
OTHER = "0x" + "d4" * 20


def refused(raw: bytes, network: str, now: int) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        parse_record(raw, network=network, now=now)
    return caught.value


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_a_record_of_every_type_goes_round(
    signed: Callable[..., SignedRecord], kind: str, network: str, now: int
) -> None:
    record = signed(kind)
    again = parse_record(record.raw, network=network, now=now)
    assert again == record
    assert again.cid == ids.cid_of(canonical.encode(json.loads(record.raw)["record"]))
    assert body_as_dict(again.body) == record.record.body


def with_body(**changes: Any) -> Callable[[Plain], Plain]:
    return lambda plain: plain | {"body": plain["body"] | changes}


def without(field: str) -> Callable[[Plain], Plain]:
    return lambda plain: {name: value for name, value in plain.items() if name != field}


def no_metrics(plain: Plain) -> Plain:
    card = {name: value for name, value in plain["body"]["card"].items() if name != "metrics"}
    return plain | {"body": plain["body"] | {"card": card}}


def a_file(name: str) -> Plain:
    return {"name": name, "size": 1, "sha256": "ab" * 32}


NOW = 1_790_000_000
HOSTILE: list[tuple[str, str, Callable[[Plain], Plain]]] = [
    # name, code, what the author really signed
    ("another group", "other_network", lambda plain: plain | {"network": "openstall-test-2"}),
    ("group with a newline", "bad_schema", lambda plain: plain | {"network": "openstall-test-1\n"}),
    ("future", "future", lambda plain: plain | {"issued": NOW + MAX_CLOCK_SKEW_S + 1, "expires": NOW + 9999}),
    ("far future", "future", lambda plain: plain | {"issued": 2**53 - 2, "expires": 2**53 - 1}),
    ("expired", "expired", lambda plain: plain | {"expires": NOW}),
    ("ends before it begins", "bad_life", lambda plain: plain | {"expires": plain["issued"]}),
    ("lives too long", "bad_life", lambda plain: plain | {"expires": plain["issued"] + MAX_LIFE_S + 1}),
    ("version", "bad_schema", lambda plain: plain | {"v": 2}),
    ("no version", "bad_schema", without("v")),
    ("no sequence", "bad_schema", without("seq")),
    ("sequence zero", "bad_schema", lambda plain: plain | {"seq": 0}),
    ("sequence true", "bad_schema", lambda plain: plain | {"seq": True}),
    ("sequence text", "bad_schema", lambda plain: plain | {"seq": "1"}),
    ("sequence null", "bad_schema", lambda plain: plain | {"seq": None}),
    ("unknown field", "bad_schema", lambda plain: plain | {"extra": 1}),
    ("unknown type", "unknown_type", lambda plain: plain | {"type": "review"}),
    ("type of an order", "unknown_type", lambda plain: plain | {"type": "order"}),
    ("type with a newline", "unknown_type", lambda plain: plain | {"type": "listing\n"}),
    ("body of another type", "bad_schema", lambda plain: plain | {"type": "offer"}),
    ("body is a list", "bad_schema", lambda plain: plain | {"body": []}),
    ("key with a slash", "bad_schema", lambda plain: plain | {"key": "../x"}),
    ("key with a newline", "bad_schema", lambda plain: plain | {"key": "x\n"}),
    ("prev is no cid", "bad_schema", lambda plain: plain | {"prev": "Qm"}),
    ("author is no peer", "bad_peer_id", lambda plain: plain | {"author": "somebody"}),
    ("unknown field in the body", "bad_schema", with_body(extra=1)),
    ("a default left out", "bad_schema", no_metrics),
    ("title too long", "bad_schema", with_body(title="x" * 121)),
    ("title too short", "bad_schema", with_body(title="x")),
    ("title turned round", "bad_text", with_body(title="model \u202exnno")),
    ("title with a bell", "bad_text", with_body(title="model\x07")),
    ("free of charge", "bad_schema", with_body(price_micro=0)),
    ("negative price", "bad_schema", with_body(price_micro=-1)),
    ("price beyond all money", "bad_schema", with_body(price_micro=10**15 + 1)),
    ("no files", "bad_schema", with_body(files=[])),
    ("too many files", "bad_schema", with_body(files=[a_file(f"f{n}") for n in range(65)])),
    ("pickle", "bad_schema", with_body(format="pickle")),
    ("format with a newline", "bad_schema", with_body(format="onnx\n")),
    ("twin files", "duplicate_file", with_body(files=[a_file("model.onnx"), a_file("Model.ONNX")])),
    ("path as name", "bad_schema", with_body(files=[a_file("../model.onnx")])),
    ("absolute path", "bad_schema", with_body(files=[a_file("/etc/passwd")])),
    ("backslash", "bad_schema", with_body(files=[a_file("a\\b")])),
    ("hidden file", "bad_schema", with_body(files=[a_file(".bashrc")])),
    ("device", "bad_schema", with_body(files=[a_file("NUL")])),
    ("device with an extension", "bad_schema", with_body(files=[a_file("com1.onnx")])),
    ("dot at the end", "bad_schema", with_body(files=[a_file("model.")])),
    ("newline at the end", "bad_schema", with_body(files=[a_file("model.onnx\n")])),
    ("stream of a file", "bad_schema", with_body(files=[a_file("model.onnx:evil")])),
    ("hash with a newline", "bad_schema", with_body(key_sha256="ab" * 32 + "\n")),
    ("hash in capitals", "bad_schema", with_body(key_sha256="AB" * 32)),
    ("zero wallet", "bad_schema", with_body(wallet="0x" + "0" * 40)),
    ("short wallet", "bad_schema", with_body(wallet="0x12")),
    ("zero arbiter", "bad_schema", with_body(arbiter="0x" + "0" * 40)),
    ("arbiter is the seller", "same_party", with_body(arbiter="0x" + "A1" * 20)),
    ("wallet is the escrow", "party_is_contract", with_body(escrow="0x" + "a1" * 20)),
    (
        "arbiter is the escrow",
        "party_is_contract",
        with_body(escrow=OTHER, arbiter=OTHER.upper().replace("X", "x")),
    ),
    ("review time of a second", "bad_schema", with_body(review_s=1)),
    ("review time of a year", "bad_schema", with_body(review_s=366 * 86_400)),
    ("delivery in ten years", "bad_schema", with_body(deliver_s=3660 * 86_400)),
    ("too many metrics", "bad_schema", with_body(card={"metrics": [{}] * 33})),
    (
        "size beyond all disks",
        "bad_schema",
        with_body(files=[{"name": "a", "size": 2**50 + 1, "sha256": "ab" * 32}]),
    ),
]


@pytest.mark.parametrize(("code", "change"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_hostile_records_with_a_genuine_signature(
    *, plain_record: Make, wire: Wire, network: str, now: int, code: str, change: Callable[[Plain], Plain]
) -> None:
    assert refused(wire(change(plain_record())), network, now).code == code


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("offer", {"kinds": ["infer", "infer"]}, "duplicate_kind"),
        ("offer", {"kinds": ["shell"]}, "bad_schema"),
        ("offer", {"kinds": []}, "bad_schema"),
        ("offer", {"price_per_s_micro": 0}, "bad_schema"),
        ("offer", {"withdraw_delay_s": 59}, "bad_schema"),
        ("offer", {"max_s": 8 * 86_400}, "bad_schema"),
        ("offer", {"gpus": [{"name": "x", "memory_bytes": 1}] * 65}, "bad_schema"),
        ("peer", {"name": ""}, "bad_schema"),
        ("peer", {"name": "x" * 61}, "bad_schema"),
        ("peer", {"addrs": ["/ip4/1.2.3.4/tcp/1"] * 13}, "bad_schema"),
        ("peer", {"addrs": ["x" * 201]}, "bad_schema"),
        ("tombstone", {"target_type": "peer"}, "bad_schema"),
        ("tombstone", {"target_key": "a/b"}, "bad_schema"),
    ],
)
def test_hostile_bodies_of_other_types(
    *, plain_record: Make, wire: Wire, network: str, now: int, kind: str, body: Plain, code: str
) -> None:
    assert refused(wire(plain_record(kind, body)), network, now).code == code


def test_forged(plain_record: Make, wire: Wire, seeds: dict[str, bytes], network: str, now: int) -> None:
    assert refused(wire(plain_record(), seed=seeds["stranger"]), network, now).code == "bad_signature"


def test_signed_as_something_else(plain_record: Make, wire: Wire, network: str, now: int) -> None:
    for context in ("offer", "order", "tick", "job-report", "binding"):
        assert refused(wire(plain_record(), context=context), network, now).code == "bad_signature"


def test_replayed_from_another_group(
    plain_record: Make, seeds: dict[str, bytes], network: str, now: int
) -> None:
    plain = plain_record(network="openstall-test-2")
    signature = ids.sign(seeds["seller"], "listing", "openstall-test-2", canonical.encode(plain))
    untouched = canonical.encode({"record": plain, "sig": signature})
    assert refused(untouched, network, now).code == "other_network"
    renamed = canonical.encode({"record": plain | {"network": network}, "sig": signature})
    assert refused(renamed, network, now).code == "bad_signature"


def test_a_signature_moved_to_another_record(
    signed: Callable[..., SignedRecord], network: str, now: int
) -> None:
    one, two = json.loads(signed(seq=1).raw), json.loads(signed(seq=2).raw)
    raw = canonical.encode({"record": two["record"], "sig": one["sig"]})
    assert refused(raw, network, now).code == "bad_signature"


def test_oversized(signed: Callable[..., SignedRecord], network: str, now: int) -> None:
    plain = json.loads(signed().raw)
    plain["record"]["body"]["summary"] = "x" * canonical.MAX_BYTES
    assert refused(canonical.encode(plain), network, now).code == "too_large"


def test_an_author_cannot_sign_what_is_too_large(signed: Callable[..., SignedRecord]) -> None:
    wide = {"intended_use": "💡" * 4000, "training_data": "💡" * 4000, "limits": "💡" * 4000, "metrics": []}
    with pytest.raises(InvalidRecord) as caught:
        signed(
            "listing", {"summary": "💡" * 4000, "card": wide, "files": [a_file(f"f{n}") for n in range(64)]}
        )
    assert caught.value.code == "too_large"
    assert caught.value.what_next


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda raw: raw.replace(b'"seq":1', b'"seq":1,"seq":1'), "duplicate_key"),
        (lambda raw: raw.replace(b'"seq":1', b'"seq":NaN'), "float"),
        (lambda raw: raw.replace(b'"seq":1', b'"seq":1.0'), "float"),
        (lambda raw: raw.replace(b'"seq":1', b'"seq":1e0'), "float"),
        (lambda raw: raw.replace(b'"seq":1', b'"seq":2'), "bad_signature"),
        (lambda raw: raw.replace(b'"seq":1', b'"seq":1 '), "not_canonical"),
        (lambda raw: raw + b" ", "not_canonical"),
        (lambda raw: raw[:-1], "not_json"),
        (lambda raw: raw[:-1] + b',"zzz":1}', "bad_schema"),
        (lambda raw: b"[" + raw + b"]", "bad_schema"),
        (lambda _raw: b"", "not_json"),
        (lambda _raw: b"null", "bad_schema"),
        (lambda raw: raw.replace(b"Tumour", b"T\\u0075mour"), "not_canonical"),
        (lambda raw: raw.replace(b"Tumour", b"\\ud800mour"), "not_canonical"),
    ],
)
def test_malformed(
    signed: Callable[..., SignedRecord], network: str, now: int, damage: Callable[[bytes], bytes], code: str
) -> None:
    damaged = damage(signed().raw)
    assert refused(damaged, network, now).code == code


def test_a_long_hostile_name_is_not_repeated_to_the_reader(
    plain_record: Make, wire: Wire, network: str, now: int
) -> None:
    error = refused(wire(plain_record() | {"\u202e" + "x" * 5000: 1}), network, now)
    assert error.code == "bad_schema"
    assert len(error.message) < 300
    assert "\u202e" not in error.message


def test_the_clock_may_differ_by_ten_minutes(
    signed: Callable[..., SignedRecord], network: str, now: int
) -> None:
    ahead = signed(issued=now + MAX_CLOCK_SKEW_S, expires=now + 5000)
    assert parse_record(ahead.raw, network=network, now=now).cid == ahead.cid


def test_only_the_author_can_sign(plain_record: Make, seeds: dict[str, bytes]) -> None:
    with pytest.raises(InvalidRecord) as caught:
        sign_record(msgspec.convert(plain_record(), Record), seeds["stranger"])
    assert caught.value.code == "not_the_author"


def test_the_address_does_not_depend_on_the_signature(
    signed: Callable[..., SignedRecord], network: str, now: int
) -> None:
    value = json.loads(signed().raw)
    raw = base64.urlsafe_b64decode(value["sig"] + "==")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_":
        other = value["sig"][:-1] + letter
        if other != value["sig"] and base64.urlsafe_b64decode(other + "==") == raw:
            twin = canonical.encode(value | {"sig": other})
            assert refused(twin, network, now).code == "bad_signature"
