from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from openstall.ledger.typed_data import Domain, permit_digest
from openstall.ledger.vouchers import (
    Voucher,
    channel_id_of,
    check_voucher,
    recover_voucher,
    sign_voucher,
    voucher_digest,
)
from openstall.ledger.wallet import Wallet
from openstall.market.errors import InvalidOrder

PAYER, OTHER = Wallet(b"\x01" * 32), Wallet(b"\x02" * 32)
CHAIN, CONTRACT = 7, "0x" + "ab" * 20
CHANNEL = b"\x09" * 32
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def signed(
    amount: int = 500, *, chain_id: int = CHAIN, contract: str = CONTRACT, wallet: Wallet = PAYER
) -> Voucher:
    return sign_voucher(wallet, CHANNEL, amount, chain_id=chain_id, contract=contract)


def check(voucher: Voucher, *, least: int = 0, cap: int = 1000, channel: bytes = CHANNEL) -> str:
    try:
        check_voucher(
            voucher,
            channel_id=channel,
            payer=PAYER.address,
            least_micro=least,
            cap_micro=cap,
            chain_id=CHAIN,
            contract=CONTRACT,
        )
    except InvalidOrder as error:
        return error.code
    return "ok"


def test_a_good_voucher_passes() -> None:
    assert check(signed()) == "ok"
    assert check(signed(1000), least=1000) == "ok"


def test_replay_on_another_chain_or_contract_is_refused() -> None:
    assert check(signed(chain_id=8)) == "wrong_signer"
    assert check(signed(contract="0x" + "ac" * 20)) == "wrong_signer"


def test_what_a_payee_must_not_accept() -> None:
    assert check(signed(1001)) == "over_cap"
    assert check(signed(400), least=500) == "voucher_back"
    assert check(signed(wallet=OTHER)) == "wrong_signer"
    assert check(signed(), channel=b"\x08" * 32) == "other_channel"
    assert check(replace(signed(), amount_micro=501)) == "wrong_signer"
    assert check(replace(signed(), signature=b"")) == "bad_voucher"
    assert check(replace(signed(), signature=b"\xff" * 65)) == "bad_voucher"
    assert check(replace(signed(), amount_micro=-1), least=-5) == "bad_voucher"


def test_the_mirrored_signature_is_refused() -> None:
    good = signed()
    s = _ORDER - int.from_bytes(good.signature[32:64], "big")
    mirrored = good.signature[:32] + s.to_bytes(32, "big") + bytes([55 - good.signature[64]])
    assert check(replace(good, signature=mirrored)) == "bad_voucher"


@given(
    channel=st.binary(min_size=32, max_size=32),
    amount=st.integers(0, 2**128 - 1),
    chain_id=st.integers(1, 2**64),
)
def test_the_hand_packed_digest_is_that_of_eip_712(channel: bytes, amount: int, chain_id: int) -> None:
    message = encode_typed_data(
        {
            "name": "Openstall MeteredChannel",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": CONTRACT,
        },
        {
            "Voucher": [
                {"name": "channelId", "type": "bytes32"},
                {"name": "maxClaimableAmount", "type": "uint128"},
            ]
        },
        {"channelId": channel, "maxClaimableAmount": amount},
    )
    assert voucher_digest(channel, amount, chain_id=chain_id, contract=CONTRACT) == _hash_eip191_message(
        message
    )


@given(st.binary(max_size=80))
def test_any_bytes_as_a_signature_give_a_clear_answer(signature: bytes) -> None:
    voucher = Voucher(channel_id=CHANNEL, amount_micro=5, signature=signature)
    with suppress(InvalidOrder):
        assert recover_voucher(voucher, chain_id=CHAIN, contract=CONTRACT) != PAYER.address


def test_permit_digest_is_that_of_eip_2612() -> None:
    values = {"owner": PAYER.address, "spender": OTHER.address, "value": 5, "nonce": 2, "deadline": 99}
    kinds = {
        "owner": "address",
        "spender": "address",
        "value": "uint256",
        "nonce": "uint256",
        "deadline": "uint256",
    }
    message = encode_typed_data(
        {"name": "Openstall Credit", "version": "1", "chainId": 7, "verifyingContract": CONTRACT},
        {"Permit": [{"name": name, "type": kind} for name, kind in kinds.items()]},
        values,
    )
    domain = Domain(name="Openstall Credit", chain_id=7, contract=CONTRACT)
    made = permit_digest(domain, owner=PAYER.address, spender=OTHER.address, amount=5, nonce=2, deadline=99)
    assert made == _hash_eip191_message(message)


def test_the_channel_id_commits_to_every_term() -> None:
    terms = {
        "chain_id": 7,
        "contract": CONTRACT,
        "payer": PAYER.address,
        "payee": OTHER.address,
        "token": "0x" + "cd" * 20,
        "withdraw_delay_s": 600,
        "salt": b"\x01" * 32,
    }
    other = {
        "chain_id": 8,
        "contract": "0x" + "ac" * 20,
        "payer": OTHER.address,
        "payee": PAYER.address,
        "token": CONTRACT,
        "withdraw_delay_s": 601,
        "salt": b"\x02" * 32,
    }
    ids = {channel_id_of(**terms)}  # type: ignore[arg-type]
    ids |= {channel_id_of(**(terms | {name: value})) for name, value in other.items()}  # type: ignore[arg-type]
    assert len(ids) == 8
    with pytest.raises(InvalidOrder):
        channel_id_of(**(terms | {"salt": b"short"}))  # type: ignore[arg-type]
