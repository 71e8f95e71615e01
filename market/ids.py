"""Addresses of peers and of statements, and the signatures that tie them together.

Peer ids are those of libp2p for Ed25519 keys (identity multihash of the protobuf public key);
a statement's address is a CIDv1 (codec json, sha2-256) of its canonical bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import lru_cache

import base58
from nacl.bindings import (
    crypto_core_ed25519_from_uniform,
    crypto_core_ed25519_is_valid_point,
    crypto_scalarmult,
)
from nacl.exceptions import BadSignatureError
from nacl.exceptions import RuntimeError as SodiumRuntimeError
from nacl.signing import SigningKey, VerifyKey

from openstall.market.errors import InvalidRecord

_PEER_PREFIX = bytes.fromhex("002408011220")
_SIGNATURE_CHARS = 86
_JSON_SHA256 = bytes([0x01, 0x80, 0x04, 0x12, 0x20])


def peer_id_of(public_key: bytes) -> str:
    """The libp2p peer id (`12D3KooW…`) of a 32-byte Ed25519 public key."""
    return base58.b58encode(_PEER_PREFIX + public_key).decode()


def peer_id_of_seed(seed: bytes) -> str:
    """The peer id of a 32-byte Ed25519 seed."""
    return peer_id_of(bytes(SigningKey(seed).verify_key))


def peer_id_of_nobody(name: str) -> str:
    """A peer id that belongs to nobody: its key is drawn from a name, so that no secret of it is known."""
    return peer_id_of(crypto_core_ed25519_from_uniform(hashlib.sha256(b"nobody\0" + name.encode()).digest()))


@lru_cache(maxsize=8192)
def public_key_of(peer_id: str) -> bytes:
    """The 32-byte public key inside a peer id.

    Small-order and non-canonical keys are refused: with them anybody can make a valid signature.

    Raises:
        InvalidRecord: not an Ed25519 peer id, or a key that proves nothing.
    """
    try:
        raw = base58.b58decode(peer_id) if len(peer_id) <= 64 else b""
    except ValueError:
        raw = b""
    if len(raw) != 38 or not raw.startswith(_PEER_PREFIX) or base58.b58encode(raw).decode() != peer_id:
        raise InvalidRecord("bad_peer_id", "The author is not a valid peer id.")
    key = raw[6:]
    if not crypto_core_ed25519_is_valid_point(key):
        raise InvalidRecord("weak_key", "The author's key is one that anybody could sign with.")
    return key


def digest_in_cid(cid: str) -> bytes:
    """The SHA-256 inside the address of a statement.

    Raises:
        InvalidRecord: not an address as `cid_of` makes them.
    """
    padded = cid[1:].upper() + "=" * (-len(cid[1:]) % 8)
    try:
        raw = base64.b32decode(padded)
    except binascii.Error:
        raw = b""
    if cid_of_digest(raw[-32:]) != cid:  # another codec, length, alphabet or spelling
        raise InvalidRecord("bad_cid", "That is not the address of a statement.")
    return raw[-32:]


def cid_of_digest(digest: bytes) -> str:
    """The address of the statement with this SHA-256."""
    return "b" + base64.b32encode(_JSON_SHA256 + digest).decode().lower().rstrip("=")


def cid_of(canonical: bytes) -> str:
    """CIDv1 (json, sha2-256, base32) of canonical bytes."""
    return cid_of_digest(hashlib.sha256(canonical).digest())


def sign(seed: bytes, context: str, network: str, canonical: bytes) -> str:
    """URL-safe base64 Ed25519 signature of canonical bytes under a context (what) and a network (where)."""
    signature = SigningKey(seed).sign(_message(context, network, canonical)).signature
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


def verify(peer_id: str, signature: str, context: str, network: str, canonical: bytes) -> None:
    """Check that `peer_id` signed the bytes.

    Raises:
        InvalidRecord: wrong or malformed signature, or a key that proves nothing.
    """
    key = public_key_of(peer_id)
    try:
        VerifyKey(key).verify(_message(context, network, canonical), _signature_bytes(signature))
    except (BadSignatureError, ValueError, TypeError) as error:
        raise InvalidRecord("bad_signature", "The signature does not match the author.") from error


def _signature_bytes(signature: str) -> bytes:
    if len(signature) != _SIGNATURE_CHARS:
        raise ValueError
    raw = base64.b64decode(signature + "==", altchars=b"-_", validate=True)
    # The last letter has four unused bits, and the decoder also takes "+" for "-": one spelling only.
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != signature:
        raise ValueError
    return raw


def check_box_key(box_key: str) -> None:
    """Check an X25519 public key (hex): one of small order would make the seller's sealing fail.

    Raises:
        InvalidRecord: no usable key.
    """
    try:
        crypto_scalarmult(bytes([64]) * 32, bytes.fromhex(box_key))
    except (ValueError, TypeError, SodiumRuntimeError) as error:
        raise InvalidRecord(
            "weak_key", "Nothing can be sealed with the buyer's key for this order."
        ) from error


def _message(context: str, network: str, canonical: bytes) -> bytes:
    return f"openstall-{context}-v1".encode() + b"\0" + network.encode() + b"\0" + canonical
