"""Keys that follow from the peer key, so that no package or order secret is ever stored.

HKDF-SHA256 (RFC 5869) over the peer seed, with a random salt per use that may be public.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.public import PrivateKey
from nacl.signing import SigningKey, VerifyKey

from openstall.market import ids


def package_key(seed: bytes, salt: str) -> bytes:
    """The key of a package that this peer sells; `salt` is kept beside the package."""
    return _derive(seed, "openstall package key v1", salt)


def rows_key(seed: bytes, salt: str) -> bytes:
    """The key under which the rows of a request lie in the home; `salt` is kept beside the request."""
    return _derive(seed, "openstall sealed rows key v1", salt)


def rows_seed(seed: bytes, salt: str) -> bytes:
    """The seed of the salts of a request's rows."""
    return _derive(seed, "openstall sealed rows seed v1", salt)


def training_key(seed: bytes, salt: str) -> bytes:
    """The key of a request's training data, which its winner is given."""
    return _derive(seed, "openstall training data key v1", salt)


def evaluators_key(seed: bytes, salt: str) -> bytes:
    """The key of the rows of a request as its evaluators fetch them."""
    return _derive(seed, "openstall evaluators' rows key v1", salt)


def answers_seed(seed: bytes, about: str) -> bytes:
    """From which the salts of a model's answers follow, in one assessment."""
    return _derive(seed, "openstall assessment salts v1", about)


def trials_key(seed: bytes, order_id: str) -> bytes:
    """Under which an evaluator keeps the keys of what it measured for an order, until that is final."""
    return _derive(seed, "openstall evaluated trials v1", order_id)


def box_secret(seed: bytes, nonce: str) -> bytes:
    """The X25519 secret for which the seller seals the key of one order; `nonce` is the order's."""
    return _derive(seed, "openstall order box v1", nonce)


def box_public(seed: bytes, nonce: str) -> str:
    """The public half of `box_secret`, as hex."""
    return bytes(PrivateKey(box_secret(seed, nonce)).public_key).hex()


def peer_box_secret(seed: bytes) -> bytes:
    """The X25519 secret that belongs to this peer's own key: for what is sealed for the peer itself."""
    return bytes(SigningKey(seed).to_curve25519_private_key())


def peer_box_public(peer_id: str) -> str:
    """The box of another peer, as hex; it follows from its peer id, so nobody has to be asked for it."""
    return bytes(VerifyKey(ids.public_key_of(peer_id)).to_curve25519_public_key()).hex()


def _derive(seed: bytes, purpose: str, salt: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt.encode(), info=purpose.encode()).derive(seed)
