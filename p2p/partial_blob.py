"""A blob while it is being fetched: preallocated data, and a journal of the chunks that are verified.

The journal (`.have`) holds one byte per chunk, written after the chunk's data. It survives the
process; because a power cut may keep the journal and lose the data, every chunk that it names is
hashed again when the fetch is resumed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import trio

from openstall.market.errors import PeerError
from openstall.p2p import blob_manifest
from openstall.p2p.blob_manifest import CHUNK, Manifest

_EARLY = 6
_NO_PREALLOCATION = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class PartialBlob:
    """The files of one fetch. `write` is called from several worker threads, on different chunks."""

    def __init__(self, folder: Path, cid: str, manifest: Manifest) -> None:
        """Open or create; hashes what was kept. Blocking.

        Raises:
            OSError: the disk is full or broken; nothing that was fetched before is lost.
        """
        self.cid = cid
        self.manifest = manifest
        self._data_path, self._have_path, manifest_path = _paths(folder, cid)
        manifest_path.write_bytes(manifest.encode())
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._data = os.open(self._data_path, flags, 0o600)
        try:
            self._have_file = os.open(self._have_path, flags, 0o600)
        except OSError:
            os.close(self._data)
            raise
        self._open = True
        self._lock = threading.Lock()
        self._sha = hashlib.sha256()
        self._hashed = 0
        self._early: dict[int, bytes] = {}
        try:
            _allocate(self._data, manifest.size)
            self.have = bytearray(self._kept())
        except BaseException:
            self.close()
            raise

    def _kept(self) -> bytes:
        marks = os.pread(self._have_file, self.manifest.chunks, 0).ljust(self.manifest.chunks, b"\0")
        kept = bytearray(self.manifest.chunks)
        for index, mark in enumerate(marks):
            if mark != 1:
                continue
            trio.from_thread.check_cancelled()
            data = os.pread(self._data, self.manifest.length_of(index), index * CHUNK)
            kept[index] = blob_manifest.hash_chunk(data) == self.manifest.hash_of(index)
        return bytes(kept)

    def missing(self) -> list[int]:
        """The chunks still to fetch, in order."""
        return [index for index, mark in enumerate(self.have) if not mark]

    def done_bytes(self) -> int:
        """Bytes of verified chunks."""
        return sum(self.manifest.length_of(index) for index, mark in enumerate(self.have) if mark)

    def write(self, index: int, data: bytes) -> bool:
        """Verify a chunk and keep it; False, and nothing written, when it is a wrong one. Blocking.

        Raises:
            OSError: the disk is full or broken.
        """
        if blob_manifest.hash_chunk(data) != self.manifest.hash_of(index):
            return False
        _write_all(self._data, data, index * CHUNK)
        _write_all(self._have_file, b"\1", index)
        self.have[index] = 1
        self._hash_in_order(index, data)
        return True

    def _hash_in_order(self, index: int, data: bytes) -> None:
        # Chunks come nearly in order: hash them while they are in memory, a few that are early included.
        with self._lock:
            if self._hashed <= index < self._hashed + _EARLY:
                self._early[index] = data
            while (data_next := self._early.pop(self._hashed, None)) is not None:
                self._sha.update(data_next)
                self._hashed += 1

    def check_sha256(self) -> None:
        """Compare the whole with the publisher's SHA-256; reads only what did not come in order. Blocking.

        Raises:
            PeerError: `wrong_checksum`.
        """
        self._early.clear()
        while self._hashed < self.manifest.chunks:
            trio.from_thread.check_cancelled()
            self._sha.update(
                os.pread(self._data, self.manifest.length_of(self._hashed), self._hashed * CHUNK)
            )
            self._hashed += 1
        if self._sha.digest() != self.manifest.sha256:
            raise PeerError(
                "wrong_checksum",
                "The file's checksum is not the one that its publisher gave.",
                "It was not kept. Do not trust this publisher.",
            )

    def close_complete(self) -> Path:
        """Put the data on the disk for good and return its path. Blocking."""
        os.fsync(self._data)
        self.close()
        return self._data_path

    def close(self) -> None:
        """Close the files, at most once."""
        if self._open:
            self._open = False
            os.close(self._data)
            os.close(self._have_file)

    @staticmethod
    def saved_manifest(folder: Path, cid: str) -> bytes | None:
        """The manifest of an interrupted fetch, or None when there is none or it is damaged. Blocking."""
        path = _paths(folder, cid)[2]
        raw = path.read_bytes() if path.exists() else b""
        return raw if raw and blob_manifest.cid_of_manifest(raw) == cid else None

    @staticmethod
    def size_on_disk(folder: Path, cid: str) -> int:
        """Bytes that an interrupted fetch has allocated already. Blocking."""
        path = _paths(folder, cid)[0]
        return path.stat().st_blocks * 512 if path.exists() and hasattr(os, "pread") else 0

    @staticmethod
    def discard(folder: Path, cid: str) -> None:
        """Delete the files of a fetch. Blocking."""
        for path in _paths(folder, cid):
            path.unlink(missing_ok=True)


def _paths(folder: Path, cid: str) -> tuple[Path, Path, Path]:
    return folder / f"{cid}.data", folder / f"{cid}.have", folder / f"{cid}.manifest"


def _allocate(file: int, size: int) -> None:
    """Take the space now, so that a full disk shows before the transfer and not in the middle of it."""
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                raise
    os.ftruncate(file, size)


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view = view[written:]
        offset += written
