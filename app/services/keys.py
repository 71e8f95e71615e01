"""Keys that follow from the peer key, so that no package or order secret is ever stored.

HKDF-SHA256 (RFC 5869) over the peer seed, with a random salt per use that may be public.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.public import PrivateKey


def package_key(seed: bytes, salt: str) -> bytes:
    """The key of a package that this peer sells; `salt` is kept beside the package."""
    return _derive(seed, "openstall package key v1", salt)


def rows_key(seed: bytes, salt: str) -> bytes:
    """The key of the sealed rows of a request; `salt` is kept beside it."""
    return _derive(seed, "openstall request rows v1", salt)


def rows_seed(seed: bytes, salt: str) -> bytes:
    """From which the salts of those rows follow."""
    return _derive(seed, "openstall request salts v1", salt)


def training_key(seed: bytes, salt: str) -> bytes:
    """The key of the training data of a request."""
    return _derive(seed, "openstall request training v1", salt)


def answers_seed(seed: bytes, about: str) -> bytes:
    """From which the salts of a model's answers follow, in one assessment."""
    return _derive(seed, "openstall assessment salts v1", about)


def box_secret(seed: bytes, nonce: str) -> bytes:
    """The X25519 secret for which the seller seals the key of one order; `nonce` is the order's."""
    return _derive(seed, "openstall order box v1", nonce)


def box_public(seed: bytes, nonce: str) -> str:
    """The public half of `box_secret`, as hex."""
    return bytes(PrivateKey(box_secret(seed, nonce)).public_key).hex()


def _derive(seed: bytes, purpose: str, salt: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt.encode(), info=purpose.encode()).derive(seed)
