from __future__ import annotations

import base64
import hashlib
import string
from collections.abc import Callable
from typing import Any

import base58
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

from openstall.market import canonical, ids
from openstall.market.errors import InvalidRecord
from openstall.market.records import parse_record

ORDER_OF_THE_GROUP = 2**252 + 27742317777372353535851937790883648493
_HALVES = [
    "00" * 32,
    "01" + "00" * 31,
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
]
WEAK_KEYS = [bytes.fromhex(half) for half in _HALVES] + [
    bytes.fromhex(half)[:31] + bytes([bytes.fromhex(half)[31] | 0x80]) for half in _HALVES
]
SEED = bytes(range(32))
PEER = ids.peer_id_of_seed(SEED)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidRecord) as caught:
        call()
    return caught.value.code


def refused(peer_id: str, signature: str, context: str, network: str, content: bytes) -> str:
    return code_of(lambda: ids.verify(peer_id, signature, context, network, content))


def test_a_peer_id_holds_its_key() -> None:
    key = ids.public_key_of(PEER)
    assert PEER.startswith("12D3KooW")
    assert ids.peer_id_of(key) == PEER


@pytest.mark.parametrize("key", WEAK_KEYS, ids=lambda key: key.hex()[:8])
def test_the_fourteen_small_order_and_twisted_keys(key: bytes) -> None:
    assert code_of(lambda: ids.public_key_of(ids.peer_id_of(key))) == "weak_key"


def test_a_key_outside_the_prime_order_group() -> None:
    mixed = crypto_core_ed25519_add(ids.public_key_of(PEER), WEAK_KEYS[2])
    assert code_of(lambda: ids.public_key_of(ids.peer_id_of(mixed))) == "weak_key"


def test_a_record_of_the_identity_key_which_another_library_accepts(
    plain_record: Callable[..., dict[str, Any]], now: int, network: str
) -> None:
    identity = WEAK_KEYS[1]
    scalar = (7).to_bytes(32, "little")
    forged = crypto_scalarmult_ed25519_base_noclamp(scalar) + scalar
    plain = plain_record(author=ids.peer_id_of(identity))
    content = canonical.encode(plain)
    message = b"openstall-listing-v1\0" + network.encode() + b"\0" + content
    Ed25519PublicKey.from_public_bytes(identity).verify(forged, message)
    raw = canonical.encode({"record": plain, "sig": base64.urlsafe_b64encode(forged).decode().rstrip("=")})
    assert code_of(lambda: parse_record(raw, network=network, now=now)) == "weak_key"


@pytest.mark.parametrize(
    "peer_id",
    [
        "",
        "12D3KooW",
        PEER[:-1],
        PEER + "1",
        "1" + PEER,
        PEER.lower(),
        PEER + "\n",
        " " + PEER,
        "é" * 52,
        "0" * 52,
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "1" * 10_000,
        base58.b58encode(bytes.fromhex("002408011220") + bytes([9]) * 33).decode(),
        base58.b58encode(bytes.fromhex("002408011220") + bytes([9]) * 31).decode(),
        base58.b58encode(bytes.fromhex("002408021220") + bytes(32)).decode(),
    ],
)
def test_what_is_no_ed25519_peer_id(peer_id: str) -> None:
    assert code_of(lambda: ids.public_key_of(peer_id)) == "bad_peer_id"


def test_a_signature_holds_for_one_context_network_and_text_only() -> None:
    signature = ids.sign(SEED, "listing", "a", b"{}")
    ids.verify(PEER, signature, "listing", "a", b"{}")
    for context, network, content in [
        ("offer", "a", b"{}"),
        ("listing", "b", b"{}"),
        ("listing", "a", b"[]"),
    ]:
        assert refused(PEER, signature, context, network, content) == "bad_signature"


def test_a_signature_has_one_spelling() -> None:
    letters = string.ascii_letters + string.digits + "-_+/="
    for seed in range(8):
        signature = ids.sign(bytes([seed]) * 32, "listing", "a", b"{}")
        peer = ids.peer_id_of_seed(bytes([seed]) * 32)
        swapped = signature.replace("-", "+").replace("_", "/")
        for other in {signature[:-1] + letter for letter in letters} | {swapped, signature + "=="}:
            if other != signature:
                assert refused(peer, other, "listing", "a", b"{}") == "bad_signature"


def test_a_signature_with_s_plus_l() -> None:
    raw = base64.urlsafe_b64decode(ids.sign(SEED, "listing", "a", b"{}") + "==")
    bigger = int.from_bytes(raw[32:], "little") + ORDER_OF_THE_GROUP
    twisted = base64.urlsafe_b64encode(raw[:32] + bigger.to_bytes(32, "little")).decode().rstrip("=")
    assert refused(PEER, twisted, "listing", "a", b"{}") == "bad_signature"


@pytest.mark.parametrize("signature", ["", "A" * 85, "A" * 86, "A" * 87, "é" * 86, "A" * 85 + "\n", "=" * 86])
def test_what_is_no_signature(signature: str) -> None:
    assert refused(PEER, signature, "listing", "a", b"{}") == "bad_signature"


def test_a_cid_is_the_multiformats_address_of_the_bytes() -> None:
    cid = ids.cid_of(b"{}")
    raw = base64.b32decode(cid[1:].upper() + "=" * (-len(cid[1:]) % 8))
    assert cid[0] == "b"
    assert raw == bytes([1, 0x80, 0x04, 0x12, 32]) + hashlib.sha256(b"{}").digest()


def test_the_digest_in_a_cid() -> None:
    cid = ids.cid_of(b"{}")
    assert ids.digest_in_cid(cid) == hashlib.sha256(b"{}").digest()
    raw = base64.b32decode(cid[1:].upper() + "=" * (-len(cid[1:]) % 8))

    def spelled(content: bytes) -> str:
        return "b" + base64.b32encode(content).decode().lower().rstrip("=")

    assert spelled(raw) == cid
    for wrong in (
        spelled(raw[:-1]),
        spelled(raw + b"\0"),
        spelled(raw[:2] + b"\x55" + raw[3:]),  # of another codec
        cid.upper(),
        "z" + cid[1:],
        cid[:-1] + chr(ord(cid[-1]) + 1),  # bits behind the end
        cid + "=",
        "b!" + cid[2:],
        "",
    ):
        with pytest.raises(InvalidRecord) as caught:
            ids.digest_in_cid(wrong)
        assert caught.value.code == "bad_cid", wrong


@pytest.mark.parametrize(
    "key", [bytes(32), bytes([1, *[0] * 31]), bytes.fromhex("ec" + "ff" * 30 + "7f"), bytes(31), bytes(33)]
)
def test_a_box_key_that_would_break_the_seller(key: bytes) -> None:
    assert code_of(lambda: ids.check_box_key(key.hex())) == "weak_key"
    assert code_of(lambda: ids.check_box_key("zz" * 32)) == "weak_key"


def test_a_peer_id_of_nobody_is_valid_and_follows_from_the_name() -> None:
    first, again = ids.peer_id_of_nobody("0xab"), ids.peer_id_of_nobody("0xab")
    assert first == again != ids.peer_id_of_nobody("0xac")
    assert len(ids.public_key_of(first)) == 32
