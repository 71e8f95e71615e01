"""Peer keys: a 32-byte Ed25519 seed names a peer."""

from __future__ import annotations

from nacl.signing import SigningKey

from openstall.market.errors import InvalidRecord, PeerError
from openstall.market.ids import peer_id_of, public_key_of

SEED_BYTES = 32


def peer_id_from_seed(seed: bytes) -> str:
    """The peer id (`12D3KooW…`) of a seed.

    Raises:
        ValueError: the seed is not 32 bytes.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a peer seed has {SEED_BYTES} bytes, not {len(seed)}")
    return peer_id_of(SigningKey(seed).verify_key.encode())


def check_peer_id(peer_id: str) -> str:
    """The peer id itself when it is one.

    Raises:
        PeerError: it is not the id of an Ed25519 key.
    """
    try:
        public_key_of(peer_id)
    except InvalidRecord as error:
        raise PeerError(
            "bad_peer_id", f"“{peer_id[:80]}” is not a peer id.", "Copy the address again."
        ) from error
    return peer_id
