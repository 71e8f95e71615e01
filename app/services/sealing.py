"""Sealed packages: the files of a package as one encrypted blob, and back.

The encryption is libsodium's secretstream (XChaCha20-Poly1305), made for exactly this: ordered,
authenticated frames with an end mark, so a blob that is cut, reordered or altered does not open.
Files follow each other in the order of the manifest; the manifest (sizes and SHA-256) is signed in
the listing, so nothing in the blob itself has to be trusted. Memory use does not depend on file size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nacl import bindings as sodium
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from openstall.market.errors import InvalidOrder, StoreError
from openstall.market.fields import FileEntry

FRAME = 1024 * 1024
_OVERHEAD = sodium.crypto_secretstream_xchacha20poly1305_ABYTES
_HEADER = sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_FINAL = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_MESSAGE = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE

Progress = Callable[[int], None]
"""Called with the bytes done so far; may raise to cancel."""


def _silent(_done: int) -> None:
    """No progress wanted."""


def describe(path: Path) -> FileEntry:
    """The manifest entry of a file: name, size in bytes, SHA-256."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(FRAME):
            digest.update(block)
            size += len(block)
    return FileEntry(name=path.name, size=size, sha256=digest.hexdigest())


def seal(files: list[Path], target: Path, key: bytes, *, on_progress: Progress = _silent) -> None:
    """Write the encrypted blob of `files`, in that order, to `target`.

    Raises:
        StoreError: no room on the disk (`target` is removed).
    """
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    header = sodium.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    done = 0
    try:
        with target.open("wb") as out:
            out.write(header)
            frame = b""
            for block in _frames(files):
                if frame:
                    out.write(sodium.crypto_secretstream_xchacha20poly1305_push(state, frame, None, _MESSAGE))
                    done += len(frame)
                    on_progress(done)
                frame = block
            out.write(sodium.crypto_secretstream_xchacha20poly1305_push(state, frame, None, _FINAL))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        target.unlink(missing_ok=True)
        raise StoreError(
            "disk_full", f"The package could not be written: {error.strerror}.", "Make room and try again."
        ) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def unseal(
    blob: Path,
    key: bytes,
    entries: list[FileEntry],
    folder: Path,
    *,
    on_progress: Progress = _silent,
) -> list[Path]:
    """Decrypt a blob into `folder`, checking each file's size and SHA-256 against the signed manifest.

    Files appear under their names only when all of them are whole and right.

    Raises:
        InvalidOrder: the key does not open the blob, or a file is not what the seller signed.
        StoreError: no room on the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / f".{entry.name}.part" for entry in entries]
    try:
        plain = _plain(blob, key)
        rest = b""
        done = 0
        for entry, part in zip(entries, parts, strict=True):
            rest = _write_file(entry, part, rest, plain)
            done += entry.size
            on_progress(done)
        if rest or next(plain, b""):
            raise InvalidOrder("wrong_files", "The package holds more than the seller signed for.")
        targets = [folder / entry.name for entry in entries]
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)
        return targets
    except OSError as error:
        raise StoreError(
            "disk_full", f"The package could not be unpacked: {error.strerror}.", "Make room and try again."
        ) from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def seal_key(key: bytes, box_key: str) -> bytes:
    """The package key, encrypted for the buyer's one-time X25519 key (hex); 80 bytes."""
    return bytes(SealedBox(PublicKey(bytes.fromhex(box_key))).encrypt(key))


def open_key(sealed: bytes, box_secret: bytes, key_sha256: str) -> bytes:
    """The package key out of a delivery, checked against the commitment in the contract.

    Raises:
        InvalidOrder: the delivery does not hold the key that the seller signed for.
    """
    try:
        key = bytes(SealedBox(PrivateKey(box_secret)).decrypt(sealed))
    except (CryptoError, ValueError, TypeError) as error:
        raise _wrong_key() from error
    if hashlib.sha256(key).hexdigest() != key_sha256:
        raise _wrong_key()
    return key


def check_key(key: bytes, key_sha256: str) -> None:
    """Raises InvalidOrder `wrong_key` where this is not the key that was committed to."""
    if hashlib.sha256(key).hexdigest() != key_sha256:
        raise InvalidOrder("wrong_key", "The key is not the one that was committed to.")


def _wrong_key() -> InvalidOrder:
    return InvalidOrder(
        "wrong_key",
        "The seller delivered a key that is not the one in the signed contract.",
        "Your money is still in escrow: open a dispute before the review time ends.",
    )


def _frames(files: list[Path]) -> Iterator[bytes]:
    buffer = bytearray()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(FRAME):
                buffer += block
                while len(buffer) >= FRAME:
                    yield bytes(buffer[:FRAME])
                    del buffer[:FRAME]
    if buffer:
        yield bytes(buffer)


def _plain(blob: Path, key: bytes) -> Iterator[bytes]:
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    broken = InvalidOrder(
        "wrong_files", "The package does not open with the delivered key.", "Open a dispute."
    )
    with blob.open("rb") as file:
        try:
            sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, file.read(_HEADER), key)
            tag = _MESSAGE
            while block := file.read(FRAME + _OVERHEAD):
                if tag == _FINAL:
                    raise broken
                plain, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, block, None)
                if plain:
                    yield plain
        except (CryptoError, RuntimeError, TypeError, ValueError) as error:
            raise broken from error
    if tag != _FINAL:
        raise broken


def _write_file(entry: FileEntry, part: Path, rest: bytes, plain: Iterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    size = 0
    with part.open("wb") as out:
        while size < entry.size:
            block = rest or next(plain, b"")
            if not block:
                break
            taken, rest = block[: entry.size - size], block[entry.size - size :]
            out.write(taken)
            digest.update(taken)
            size += len(taken)
        out.flush()
        os.fsync(out.fileno())
    if size != entry.size or digest.hexdigest() != entry.sha256:
        raise InvalidOrder(
            "wrong_files", f"{entry.name} is not the file that the seller signed for.", "Open a dispute."
        )
    return rest
