"""EIP-712 digests, packed by hand: vouchers are signed by the second, and a generic encoder is slow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from eth_hash.auto import keccak

from openstall.market.errors import InvalidOrder

_PLAIN_DOMAIN = keccak(b"EIP712Domain(string name,string version,uint256 chainId)")
_CONTRACT_DOMAIN = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_PERMIT = keccak(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Where a signature counts. `contract` is empty for statements that no contract reads."""

    name: str
    version: str = "1"
    chain_id: int
    contract: str = ""


def word(value: int) -> bytes:
    """A non-negative integer as a 32-byte word."""
    return value.to_bytes(32, "big")


def address_word(address: str) -> bytes:
    """A `0x…` address as a 32-byte word.

    Raises:
        InvalidOrder: not an address.
    """
    try:
        raw = bytes.fromhex(address.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20 or not address.startswith("0x"):
        raise InvalidOrder("bad_address", f"“{address[:48]}” is not a wallet address.")
    return raw.rjust(32, b"\0")


def text_word(text: str) -> bytes:
    """A string member: the hash of its UTF-8 bytes."""
    return bytes(keccak(text.encode()))


@lru_cache(maxsize=256)
def domain_separator(domain: Domain) -> bytes:
    """The domain's hash as EIP-712 defines it."""
    head = (text_word(domain.name), text_word(domain.version), word(domain.chain_id))
    if domain.contract:
        return bytes(keccak(b"".join((_CONTRACT_DOMAIN, *head, address_word(domain.contract)))))
    return bytes(keccak(b"".join((_PLAIN_DOMAIN, *head))))


def digest(domain: Domain, type_hash: bytes, *members: bytes) -> bytes:
    """The 32 bytes that a wallet signs; `members` are 32-byte words in the type's order."""
    struct_hash = keccak(b"".join((type_hash, *members)))
    return bytes(keccak(b"\x19\x01" + domain_separator(domain) + struct_hash))


def permit_digest(
    domain: Domain, *, owner: str, spender: str, amount: int, nonce: int, deadline: int
) -> bytes:
    """The ERC-2612 digest by which `owner` lets `spender` take `amount` until `deadline` (Unix seconds)."""
    members = (address_word(owner), address_word(spender), word(amount), word(nonce), word(deadline))
    return digest(domain, _PERMIT, *members)
