"""The 24 words, the seed file that holds them, and the peer key file.

The seed file is AES-256-GCM over the BIP-39 entropy. Its wrapping key lies in the OS keychain, or
follows from a passphrase by scrypt (RFC 7914). The peer key is hot (the node needs it unattended),
so it is a key of its own in a 0600 file and never touches money.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from openstall.ledger import keychain
from openstall.ledger.late_imports import mnemonic
from openstall.ledger.private_files import read_private, write_private
from openstall.market.errors import IdentityError

WORD_COUNT = 24
ENTROPY_BYTES = 32
MAX_SEED_FILE_BYTES = 4096
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**17, 8, 1
MIN_PASSPHRASE = 8
SeedFileKind = Literal["keychain", "passphrase"]


class _SeedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1]
    kind: SeedFileKind
    salt: str
    """Base64: the scrypt salt, or the name of the entry in the keychain."""
    nonce: str
    box: str


@dataclass(frozen=True, slots=True)
class PeerSeed:
    """The Ed25519 seed of the peer key."""

    secret: bytes = field(repr=False)

    @property
    def peer_id(self) -> str:
        """The libp2p peer id of this key."""
        from nacl.signing import SigningKey

        from openstall.market.ids import peer_id_of

        return peer_id_of(bytes(SigningKey(self.secret).verify_key))


def new_words() -> tuple[str, ...]:
    """24 fresh BIP-39 words from the system's randomness."""
    return _words_of(secrets.token_bytes(ENTROPY_BYTES))


def check_words(words: Sequence[str]) -> None:
    """Check a back-up that a person typed.

    Raises:
        IdentityError: `word_count`, `unknown_word` (with its position) or `checksum`.
    """
    if len(words) != WORD_COUNT:
        raise IdentityError("word_count", f"{len(words)} words were given; a back-up has {WORD_COUNT}.")
    known = set(mnemonic().wordlist)
    for position, entry in enumerate(words, start=1):
        if entry not in known:
            raise IdentityError(
                "unknown_word",
                f"Word {position} (“{entry[:20]}”) is not in the list of words.",
                "Check its spelling.",
            )
    if not mnemonic().is_mnemonic_valid(" ".join(words)):
        raise IdentityError(
            "checksum",
            "The words are all known, but they do not belong together.",
            "Check their order and each word.",
        )


def create_seed_file(path: Path, words: Sequence[str], *, passphrase: str | None) -> None:
    """Write the words encrypted; without a passphrase the key goes to the OS keychain.

    Raises:
        IdentityError: bad words, a short passphrase, no usable keychain, or a seed file exists already.
    """
    check_words(words)
    if path.exists():
        raise IdentityError(
            "exists", "This home has a wallet already.", "Use another home, or restore into an empty one."
        )
    _write(path, _entropy_of(words), passphrase)


def open_seed_file(path: Path, *, passphrase: str | None) -> tuple[str, ...]:
    """The 24 words. With scrypt this takes about half a second: call it from a worker thread.

    Raises:
        IdentityError: `wrong_passphrase`, `passphrase_needed`, `keychain_locked`, `no_wallet`
            or `damaged_wallet`.
    """
    record = _read(path)
    try:
        salt, nonce, box = (
            base64.b64decode(text, validate=True) for text in (record.salt, record.nonce, record.box)
        )
    except ValueError as error:
        raise _damaged(path) from error
    if len(salt) != 16 or len(nonce) != 12 or len(box) != ENTROPY_BYTES + 16:
        raise _damaged(path)
    try:
        entropy = AESGCM(_wrapping_key(record.kind, salt, passphrase)).decrypt(
            nonce, box, _header(record.kind, salt)
        )
    except InvalidTag as error:
        if record.kind == "keychain":
            raise _damaged(path) from error
        raise IdentityError(
            "wrong_passphrase",
            "The passphrase does not open this wallet.",
            "Try again. If it is lost, restore the wallet from the 24 words.",
        ) from error
    return _words_of(entropy)


def seed_file_kind(path: Path) -> SeedFileKind:
    """How the seed file is locked.

    Raises:
        IdentityError: there is none, or it is damaged.
    """
    return _read(path).kind


def change_passphrase(path: Path, *, old: str | None, new: str | None) -> None:
    """Lock the same words under another passphrase, or (None) under the keychain. Atomic.

    Raises:
        IdentityError: as `open_seed_file` and `create_seed_file`.
    """
    record, words = _read(path), open_seed_file(path, passphrase=old)
    _write(path, _entropy_of(words), new)
    if record.kind == "keychain":
        keychain.delete(base64.b64decode(record.salt).hex())


def load_peer_seed(path: Path) -> PeerSeed:
    """The peer key of this home, made on the first call.

    Raises:
        IdentityError: the file is damaged; it is never replaced silently.
    """
    if not path.exists():
        write_private(path, secrets.token_bytes(32))
    raw = read_private(path, max_bytes=64)
    if len(raw) != 32:
        raise IdentityError(
            "damaged_peer_key", f"The peer key file {path.name} is damaged.", "Restore it from a back-up."
        )
    return PeerSeed(raw)


def _write(path: Path, entropy: bytes, passphrase: str | None) -> None:
    kind: SeedFileKind = "keychain" if passphrase is None else "passphrase"
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    if passphrase is None:
        key = secrets.token_bytes(32)
        keychain.store(salt.hex(), key)
    else:
        if len(passphrase) < MIN_PASSPHRASE:
            raise IdentityError(
                "short_passphrase", f"The passphrase needs at least {MIN_PASSPHRASE} characters."
            )
        key = _scrypt(passphrase, salt)
    box = AESGCM(key).encrypt(nonce, entropy, _header(kind, salt))
    encoded = {
        name: base64.b64encode(raw).decode() for name, raw in (("salt", salt), ("nonce", nonce), ("box", box))
    }
    write_private(path, json.dumps({"v": 1, "kind": kind, **encoded}, indent=1).encode() + b"\n")


def _read(path: Path) -> _SeedFile:
    if not path.exists():
        raise IdentityError(
            "no_wallet", "This home has no wallet yet.", "Create one, or restore one from 24 words."
        )
    try:
        return msgspec.json.decode(read_private(path, max_bytes=MAX_SEED_FILE_BYTES), type=_SeedFile)
    except msgspec.DecodeError as error:
        raise _damaged(path) from error


def _wrapping_key(kind: SeedFileKind, salt: bytes, passphrase: str | None) -> bytes:
    if kind == "keychain":
        return keychain.load(salt.hex())
    if passphrase is None:
        raise IdentityError("passphrase_needed", "The wallet is locked.", "Give its passphrase.")
    return _scrypt(passphrase, salt)


def _scrypt(passphrase: str, salt: bytes) -> bytes:
    kdf = Scrypt(salt=salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
    return kdf.derive(passphrase.encode("utf-8", "surrogatepass"))


def _header(kind: str, salt: bytes) -> bytes:
    """Bound into the encryption, so that the plain fields cannot be swapped."""
    return b"openstall-seed-v1\0" + kind.encode() + b"\0" + salt


def _damaged(path: Path) -> IdentityError:
    return IdentityError(
        "damaged_wallet", f"The wallet file {path.name} is damaged.", "Restore the wallet from its 24 words."
    )


def _words_of(entropy: bytes) -> tuple[str, ...]:
    return tuple(mnemonic().to_mnemonic(entropy).split())


def _entropy_of(words: Sequence[str]) -> bytes:
    """The 256 bits of checked words: 11 bits a word, the last 8 are the checksum."""
    index: Mapping[str, int] = {entry: number for number, entry in enumerate(mnemonic().wordlist)}
    bits = 0
    for entry in words:
        bits = bits << 11 | index[entry]
    return (bits >> 8).to_bytes(ENTROPY_BYTES, "big")
