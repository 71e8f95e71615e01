"""The wallet: one secp256k1 account that follows from the 24 words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openstall.ledger.late_imports import eth_account, private_key_of
from openstall.market.errors import ChainError, IdentityError

DERIVATION_PATH = "m/44'/60'/0'/0/0"
"""BIP-44, first Ethereum account: the same words give the same address in any other wallet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTx:
    """A signed transaction. Keep `raw` before sending it; after a crash send the same bytes again."""

    raw: bytes
    tx_hash: str
    nonce: int


class Wallet:
    """Holds the private key in memory. Immutable, so any thread may use it."""

    __slots__ = ("_key", "address")

    def __init__(self, private_key: bytes) -> None:
        from eth_keys.datatypes import PrivateKey

        self._key = PrivateKey(private_key)
        self.address: str = self._key.public_key.to_checksum_address()

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Wallet:
        """The wallet of 24 words (about 25 ms).

        Raises:
            IdentityError: the words are not a valid back-up.
        """
        from openstall.ledger.keys import check_words

        check_words(words)
        return cls(private_key_of(" ".join(words), DERIVATION_PATH))

    def sign_transaction(self, tx: dict[str, Any]) -> SignedTx:
        """Sign an EIP-1559 transaction dictionary with all its fields present.

        Raises:
            ChainError: a field is missing or out of range.
        """
        try:
            signed = eth_account().sign_transaction(tx, self._key.to_bytes())
        except (TypeError, ValueError) as error:
            raise ChainError("bad_transaction", f"The transaction could not be signed: {error}.") from error
        return SignedTx(
            raw=bytes(signed.raw_transaction), tx_hash="0x" + signed.hash.hex(), nonce=int(tx["nonce"])
        )

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v (27 or 28) over a 32-byte EIP-712 digest."""
        signature = self._key.sign_msg_hash(digest)
        r, s, v = (int(part) for part in signature.vrs[1:] + signature.vrs[:1])
        return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + v])

    def sign_binding(self, peer_id: str, nonce: int, expires: int, chain_id: int) -> str:
        """The wallet's half of the binding to a peer, as `0x…` hex (see `binding`)."""
        from openstall.ledger.binding import binding_digest

        digest = binding_digest(
            wallet=self.address, peer_id=peer_id, nonce=nonce, expires=expires, chain_id=chain_id
        )
        return "0x" + self.sign_digest(digest).hex()


_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def recover_signer(digest: bytes, signature: bytes) -> str:
    """The checksum address whose key made the 65-byte signature.

    The high half of `s` is refused, as the contracts do: every signature has one form only.

    Raises:
        IdentityError: not a signature.
    """
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    if (
        len(signature) != 65
        or signature[64] not in (27, 28)
        or int.from_bytes(signature[32:64], "big") > _HALF_ORDER
    ):
        raise IdentityError("bad_signature", "The wallet signature is malformed.")
    try:
        recovered = Signature(signature[:64] + bytes([signature[64] - 27])).recover_public_key_from_msg_hash(
            digest
        )
    except (BadSignature, ValidationError, ValueError) as error:
        raise IdentityError("bad_signature", "The wallet signature is malformed.") from error
    return str(recovered.to_checksum_address())
