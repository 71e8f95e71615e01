"""Sealing letters for a peer's own key, and opening them.

libsodium's sealed box, for the X25519 form of the Ed25519 key in the peer id: nobody but the recipient opens
it, not even the sender later.
"""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.signing import SigningKey, VerifyKey

from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.ids import public_key_of


def seal(padded: bytes, recipient: str) -> bytes:
    """The letter as a mailbox may see it.

    Raises:
        InvalidOrder: nothing can be sealed for that peer.
    """
    try:
        key = VerifyKey(public_key_of(recipient)).to_curve25519_public_key()
        return bytes(SealedBox(key).encrypt(padded))
    except (CryptoError, InvalidRecord, RuntimeError, ValueError) as error:
        raise InvalidOrder("bad_peer_id", "No letter can be sealed for that peer.") from error


def unseal(sealed: bytes, seed: bytes) -> bytes:
    """What is inside.

    Raises:
        InvalidOrder: it was not sealed for this peer.
    """
    try:
        return bytes(SealedBox(SigningKey(seed).to_curve25519_private_key()).decrypt(sealed))
    except (CryptoError, RuntimeError, ValueError, TypeError) as error:
        raise InvalidOrder(
            "not_for_us", "The letter does not open: it was sealed for another peer."
        ) from error
