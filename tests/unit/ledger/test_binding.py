from __future__ import annotations

from dataclasses import replace

import base58
import pytest
from nacl.signing import SigningKey

from openstall.ledger.binding import MAX_LIFE_S, Binding, make_binding, verify_binding
from openstall.ledger.wallet import Wallet
from openstall.market.errors import IdentityError
from openstall.market.ids import peer_id_of

NOW, CHAIN = 1_800_000_000, 77
SEED = bytes(range(32))
PEER = peer_id_of(bytes(SigningKey(SEED).verify_key))
WALLET = Wallet(b"\x05" * 32)


def bound(**change: object) -> Binding:
    terms = {"peer_id": PEER, "nonce": 3, "expires": NOW + 1000, "chain_id": CHAIN} | change
    return make_binding(WALLET, SEED, **terms)  # type: ignore[arg-type]  # changed by name in each test


def refused(binding: Binding) -> str:
    with pytest.raises(IdentityError) as error:
        verify_binding(binding, chain_id=CHAIN, now=NOW)
    return error.value.code


def test_both_halves_verify() -> None:
    verify_binding(bound(), chain_id=CHAIN, now=NOW)


def test_other_chain_and_time() -> None:
    assert refused(bound(chain_id=78)) == "other_chain"
    assert refused(bound(expires=NOW - 601)) == "binding_expired"
    assert refused(bound(expires=NOW + MAX_LIFE_S + 1)) == "binding_expired"


def test_moving_a_binding_to_another_chain_breaks_it() -> None:
    assert refused(replace(bound(chain_id=78), chain_id=CHAIN)) == "bad_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"wallet": Wallet(b"\x06" * 32).address},
        {"peer_id": peer_id_of(bytes(SigningKey(b"\x01" * 32).verify_key))},
        {"nonce": 4},
        {"expires": NOW + 999},
        {"wallet_sig": "0x" + "00" * 65},
        {"wallet_sig": "0x"},
        {"wallet_sig": "0x" + "zz" * 65},
        {"peer_sig": "0x" + "00" * 64},
        {"peer_sig": "0x00"},
    ],
)
def test_any_change_is_noticed(change: dict[str, object]) -> None:
    assert refused(replace(bound(), **change)) == "bad_signature"  # type: ignore[arg-type]


def test_numbers_out_of_range() -> None:
    assert refused(replace(bound(), nonce=2**64)) == "bad_binding"
    assert refused(replace(bound(), wallet="0x1234")) == "bad_address"


# All Ed25519 points of small order, and non-canonical forms of them: with such a "key" anybody can sign.
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_peer_keys_that_prove_nothing_are_refused(key: str) -> None:
    weak = base58.b58encode(bytes.fromhex("002408011220" + key)).decode()
    assert refused(replace(bound(), peer_id=weak)) == "weak_key"
