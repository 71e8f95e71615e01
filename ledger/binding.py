"""The two-way binding of a wallet and a peer: each key signs that the other is the same person.

One half alone proves nothing: anybody can claim another's wallet or peer id in its own statement.
The wallet signs EIP-712 (so a hardware wallet can show it), the peer signs the same digest with
Ed25519. The chain id keeps a binding inside its group; of two bindings the higher nonce wins.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_hash.auto import keccak
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from openstall.ledger.typed_data import Domain, address_word, digest, text_word, word
from openstall.ledger.wallet import Wallet, recover_signer
from openstall.market.errors import IdentityError, InvalidOrder, InvalidRecord
from openstall.market.ids import public_key_of

CLOCK_SKEW_S = 600
MAX_LIFE_S = 400 * 86_400
_DOMAIN_NAME = "Openstall PeerBinding"
_TYPE = keccak(b"PeerBinding(address wallet,string peerId,uint64 nonce,uint64 expires)")
_PEER_PREFIX = b"openstall-binding-v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Both halves; `wallet_sig` and `peer_sig` are `0x…` hex, `expires` is Unix seconds."""

    wallet: str
    peer_id: str
    nonce: int
    expires: int
    chain_id: int
    wallet_sig: str
    peer_sig: str


def binding_digest(*, wallet: str, peer_id: str, nonce: int, expires: int, chain_id: int) -> bytes:
    """The 32 bytes that both keys sign."""
    if not (0 <= nonce < 2**64 and 0 <= expires < 2**64 and 1 <= chain_id < 2**256):
        raise IdentityError("bad_binding", "The binding of wallet and peer has a number out of range.")
    domain = Domain(name=_DOMAIN_NAME, chain_id=chain_id)
    return digest(domain, _TYPE, address_word(wallet), text_word(peer_id), word(nonce), word(expires))


def make_binding(
    wallet: Wallet, seed: bytes, *, peer_id: str, nonce: int, expires: int, chain_id: int
) -> Binding:
    """Bind one's own wallet and peer; `seed` is the peer's Ed25519 seed."""
    content = binding_digest(
        wallet=wallet.address, peer_id=peer_id, nonce=nonce, expires=expires, chain_id=chain_id
    )
    return Binding(
        wallet=wallet.address,
        peer_id=peer_id,
        nonce=nonce,
        expires=expires,
        chain_id=chain_id,
        wallet_sig=wallet.sign_binding(peer_id, nonce, expires, chain_id),
        peer_sig="0x" + SigningKey(seed).sign(_PEER_PREFIX + content).signature.hex(),
    )


def verify_binding(binding: Binding, *, chain_id: int, now: int) -> None:
    """Check a binding from anybody.

    Args:
        chain_id: of the group in which it was received.
        now: Unix seconds.

    Raises:
        IdentityError: another chain, expired, valid for absurdly long, or either signature is wrong.
    """
    if binding.chain_id != chain_id:
        raise IdentityError("other_chain", "The binding of wallet and peer was made for another group.")
    if not now - CLOCK_SKEW_S <= binding.expires <= now + MAX_LIFE_S:
        raise IdentityError(
            "binding_expired", "The binding of wallet and peer has expired.", "Ask its owner to renew it."
        )
    try:
        content = binding_digest(
            wallet=binding.wallet,
            peer_id=binding.peer_id,
            nonce=binding.nonce,
            expires=binding.expires,
            chain_id=binding.chain_id,
        )
        peer_key = public_key_of(binding.peer_id)
        VerifyKey(peer_key).verify(_PEER_PREFIX + content, _unhex(binding.peer_sig, 64))
        signer = recover_signer(content, _unhex(binding.wallet_sig, 65))
    except (InvalidRecord, InvalidOrder) as error:
        raise IdentityError(error.code, error.message) from error
    except BadSignatureError as error:
        raise IdentityError("bad_signature", "The peer did not sign this binding.") from error
    if signer.lower() != binding.wallet.lower():
        raise IdentityError("bad_signature", "The wallet did not sign this binding.")


def _unhex(text: str, length: int) -> bytes:
    try:
        raw = bytes.fromhex(text[2:]) if text.startswith("0x") and len(text) == 2 + 2 * length else b""
    except ValueError:
        raw = b""
    if len(raw) != length:
        raise IdentityError("bad_signature", "A signature of the binding is malformed.")
    return raw
