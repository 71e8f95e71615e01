"""The manifest of a blob: its size, the BLAKE3 hash of each 1 MiB chunk, the SHA-256 of the whole.

Wire form, big-endian: 8 bytes magic, 8 bytes size, 32 bytes SHA-256, then 32 bytes per chunk. A
blob's address is the CIDv1 (raw, blake3) of these bytes, so a chunk can be checked as it arrives.
The SHA-256 is there so that checksums published elsewhere can be compared.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from openstall.market.errors import PeerError

CHUNK = 1024 * 1024
MAX_CHUNKS = 256 * 1024
_MAGIC = b"OSBLOB1\0"
_HEAD = struct.Struct(">8sQ32s")
HASH = 32
HEAD_BYTES = _HEAD.size
_CID_PREFIX = bytes([0x01, 0x55, 0x1E, 0x20])
_CID = re.compile(r"^b[a-z2-7]{58}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """A whole blob: its address, its size in bytes, the lower-case hex SHA-256 of its content."""

    cid: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `encode` writes; `hashes` holds 32 bytes per chunk."""

    size: int
    sha256: bytes
    hashes: bytes

    @property
    def chunks(self) -> int:
        """How many chunks the blob has; an empty blob has none."""
        return len(self.hashes) // HASH

    def hash_of(self, index: int) -> bytes:
        """The BLAKE3 hash of one chunk."""
        return self.hashes[index * HASH : (index + 1) * HASH]

    def length_of(self, index: int) -> int:
        """The size of one chunk; only the last is shorter than 1 MiB."""
        return min(CHUNK, self.size - index * CHUNK)

    def encode(self) -> bytes:
        """The wire form."""
        return _HEAD.pack(_MAGIC, self.size, self.sha256) + self.hashes

    def info(self) -> BlobInfo:
        """The summary that records and orders carry."""
        return BlobInfo(cid=cid_of_manifest(self.encode()), size=self.size, sha256=self.sha256.hex())


def build(size: int, sha256: bytes, hashes: Sequence[bytes]) -> Manifest:
    """A manifest of what was just hashed."""
    return Manifest(size=size, sha256=sha256, hashes=b"".join(hashes))


def decode(raw: bytes) -> Manifest:
    """A manifest from anybody; its address must have been checked against the raw bytes before.

    Raises:
        PeerError: `bad_manifest`.
    """
    manifest = decode_head(raw)
    expected = -(-manifest.size // CHUNK)
    if expected > MAX_CHUNKS or len(raw) != HEAD_BYTES + expected * HASH:
        raise _bad()
    return Manifest(size=manifest.size, sha256=manifest.sha256, hashes=raw[HEAD_BYTES:])


def decode_head(raw: bytes) -> Manifest:
    """Size and SHA-256 only, without the chunk hashes.

    Raises:
        PeerError: `bad_manifest`.
    """
    if len(raw) < HEAD_BYTES:
        raise _bad()
    magic, size, sha256 = _HEAD.unpack(raw[:HEAD_BYTES])
    if magic != _MAGIC:
        raise _bad()
    return Manifest(size=size, sha256=sha256, hashes=b"")


def manifest_bytes(size: int) -> int:
    """How long the manifest of a blob of that size is."""
    return HEAD_BYTES + -(-size // CHUNK) * HASH


def cid_of_manifest(raw: bytes) -> str:
    """The blob's address."""
    return "b" + base64.b32encode(_CID_PREFIX + hash_chunk(raw)).decode().lower().rstrip("=")


def check_cid(cid: str) -> str:
    """The address itself when it is a blob's; it is also safe as a file name.

    Raises:
        PeerError: `bad_cid`.
    """
    if not _CID.match(cid):
        raise PeerError("bad_cid", "That is not the address of a blob.")
    return cid


def hash_chunk(data: bytes) -> bytes:
    """BLAKE3 of a chunk or manifest."""
    digest: bytes = blake3(data).digest()
    return digest


def _bad() -> PeerError:
    return PeerError("bad_manifest", "The description of the file is damaged.", "Ask another peer for it.")
