"""Vouchers: the payer's cumulative promise over a metered channel, signed off chain about once a second."""

from __future__ import annotations

from dataclasses import dataclass

from eth_hash.auto import keccak

from openstall.ledger.typed_data import Domain, address_word, digest, word
from openstall.ledger.wallet import Wallet, recover_signer
from openstall.market.errors import IdentityError, InvalidOrder

_TYPE = keccak(b"Voucher(bytes32 channelId,uint128 maxClaimableAmount)")
_DOMAIN_NAME = "Openstall MeteredChannel"
MAX_VOUCHER = 2**128


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """The payee may claim up to `amount_micro` in total since the channel opened."""

    channel_id: bytes
    amount_micro: int
    signature: bytes = b""


def channel_id_of(
    *, chain_id: int, contract: str, payer: str, payee: str, token: str, withdraw_delay_s: int, salt: bytes
) -> bytes:
    """The channel's identity, as the contract computes it; `salt` is the order hash."""
    members = (
        word(chain_id),
        address_word(contract),
        address_word(payer),
        address_word(payee),
        address_word(token),
        word(withdraw_delay_s),
        salt,
    )
    if len(salt) != 32:
        raise InvalidOrder("bad_order_hash", "The order hash must have 32 bytes.")
    return bytes(keccak(b"".join(members)))


def voucher_digest(channel_id: bytes, amount_micro: int, *, chain_id: int, contract: str) -> bytes:
    """The EIP-712 digest of a voucher.

    Raises:
        InvalidOrder: the channel id or the amount cannot be one.
    """
    if len(channel_id) != 32 or not 0 <= amount_micro < MAX_VOUCHER:
        raise InvalidOrder("bad_voucher", "The voucher is malformed.")
    domain = Domain(name=_DOMAIN_NAME, chain_id=chain_id, contract=contract)
    return digest(domain, _TYPE, channel_id, word(amount_micro))


def sign_voucher(
    wallet: Wallet, channel_id: bytes, amount_micro: int, *, chain_id: int, contract: str
) -> Voucher:
    """Sign a cumulative amount. The caller keeps it at or below the cap of the order."""
    content = voucher_digest(channel_id, amount_micro, chain_id=chain_id, contract=contract)
    return Voucher(channel_id=channel_id, amount_micro=amount_micro, signature=wallet.sign_digest(content))


def recover_voucher(voucher: Voucher, *, chain_id: int, contract: str) -> str:
    """The address that signed the voucher for this chain and this contract.

    Raises:
        InvalidOrder: malformed.
    """
    content = voucher_digest(voucher.channel_id, voucher.amount_micro, chain_id=chain_id, contract=contract)
    try:
        return recover_signer(content, voucher.signature)
    except IdentityError as error:
        raise InvalidOrder("bad_voucher", "The voucher's signature is malformed.") from error


def check_voucher(
    voucher: Voucher,
    *,
    channel_id: bytes,
    payer: str,
    least_micro: int,
    cap_micro: int,
    chain_id: int,
    contract: str,
) -> None:
    """What a payee checks before it works on.

    Args:
        least_micro: the amount of the voucher already held; a voucher only ever grows.
        cap_micro: the deposit of the channel.

    Raises:
        InvalidOrder: for another channel, below the last one, above the cap, or not signed by the payer.
    """
    if voucher.channel_id != channel_id:
        raise InvalidOrder("other_channel", "The voucher belongs to another channel.")
    if voucher.amount_micro < least_micro:
        raise InvalidOrder("voucher_back", "The voucher is lower than the one before.")
    if voucher.amount_micro > cap_micro:
        raise InvalidOrder("over_cap", "The voucher is above the deposit, so it could never be paid in full.")
    if recover_voucher(voucher, chain_id=chain_id, contract=contract).lower() != payer.lower():
        raise InvalidOrder("wrong_signer", "The voucher was not signed by the payer of this order.")
