"""Decoders of what strangers send: hostile bytes end in a named error, never in anything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market.errors import NotFound, PeerError, Refused
from openstall.p2p import blob_manifest, blob_wire, exchange, hello
from openstall.p2p.blob_manifest import CHUNK


@given(st.binary(max_size=300))
def test_any_bytes_as_a_manifest(raw: bytes) -> None:
    with pytest.raises(PeerError):
        blob_manifest.decode(raw)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_question(raw: bytes) -> None:
    try:
        question = blob_wire.decode(raw)
    except Refused:
        return
    assert 0 <= question.count <= blob_wire.MAX_RUN


@given(st.binary(max_size=300))
def test_any_bytes_as_an_answer(raw: bytes) -> None:
    try:
        result = exchange.decode_answer(raw)
    except PeerError:
        return
    assert result == raw[1:]


@given(st.binary(max_size=300))
def test_any_bytes_as_a_greeting(raw: bytes) -> None:
    """A greeting within its bounds, or the one error; `{}` is a greeting that says nothing."""
    try:
        greeting = hello.decode(raw)
    except PeerError as error:
        assert error.code == "bad_hello"  # noqa: PT017 - most inputs raise, a few need not
        return
    assert len(greeting.name) <= hello.MAX_NAME
    assert len(greeting.addrs) <= hello.MAX_ADDRS


def test_a_greeting_is_measured_before_it_is_read() -> None:
    raw = hello.encode(hello.Hello(name="Ada"))
    assert hello.decode(raw + b" " * 100).name == "Ada"
    with pytest.raises(PeerError) as caught:
        hello.decode(raw + b" " * hello.MAX_BYTES)
    assert caught.value.code == "bad_hello"


def test_a_manifest_round_trip_and_its_lies() -> None:
    hashes = [blob_manifest.hash_chunk(b"x" * CHUNK), blob_manifest.hash_chunk(b"y")]
    manifest = blob_manifest.build(CHUNK + 1, bytes(32), hashes)
    raw = manifest.encode()
    assert blob_manifest.decode(raw) == manifest
    assert [manifest.length_of(0), manifest.length_of(1)] == [CHUNK, 1]
    assert blob_manifest.check_cid(manifest.info().cid) == blob_manifest.cid_of_manifest(raw)
    assert len(raw) == blob_manifest.manifest_bytes(CHUNK + 1)
    for lie in (raw[:-1], raw + b"x", raw[: blob_manifest.HEAD_BYTES], b"X" + raw[1:]):
        with pytest.raises(PeerError):
            blob_manifest.decode(lie)


def test_a_manifest_of_a_monstrous_size_is_refused_without_counting_it_out() -> None:
    raw = b"OSBLOB1\0" + (2**63).to_bytes(8, "big") + bytes(32)
    with pytest.raises(PeerError):
        blob_manifest.decode(raw)


@pytest.mark.parametrize(
    "cid", ["", "../../etc/passwd", "b" + "a" * 57, "B" + "a" * 58, "b" + "a" * 57 + "/"]
)
def test_only_a_blob_address_becomes_a_file_name(cid: str) -> None:
    with pytest.raises(PeerError):
        blob_manifest.check_cid(cid)


def test_a_refusal_keeps_its_code_and_words() -> None:
    frame = exchange.encode_refusal(NotFound("no_blob", "It is not here.", "Ask another."))
    with pytest.raises(exchange.RefusedByPeer) as caught:
        exchange.decode_answer(frame)
    assert (caught.value.code, caught.value.message) == ("no_blob", "It is not here.")


def test_another_peers_words_are_made_harmless() -> None:
    evil = json.dumps({"code": "x\n<b>", "message": "line\nbreak\x1b[31m" + "a" * 2000, "what_next": ""})
    with pytest.raises(exchange.RefusedByPeer) as caught:
        exchange.decode_answer(b"\1" + evil.encode())
    assert caught.value.code == "refused"
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) <= 500


def test_only_useful_addresses_are_taken_from_a_greeting() -> None:
    greeting = hello.Hello(
        addrs=["/ip4/10.1.2.3/tcp/4001", "/ip4/127.0.0.1/tcp/4001", "/ip4/0.0.0.0/tcp/1", "rubbish"]
    )
    found = hello.useful_addrs(greeting, remote="/ip4/198.51.100.9/tcp/60000")
    assert found == ["/ip4/10.1.2.3/tcp/4001", "/ip4/198.51.100.9/tcp/4001"]
    found = hello.useful_addrs(greeting, remote="/ip4/45.0.0.9/tcp/60000")
    assert found == ["/ip4/45.0.0.9/tcp/4001"], "a stranger does not send us into our own network"
