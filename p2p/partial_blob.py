"""A blob while it is being fetched: preallocated data, and a journal of the chunks that are verified.

The journal (`.have`) holds one byte per chunk, written after the chunk's data. It survives the
process; because a power cut may keep the journal and lose the data, every chunk that it names is
hashed again when the fetch is resumed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from pathlib import Path
from typing import BinaryIO

import trio

from openstall.market.errors import PeerError
from openstall.p2p import blob_manifest
from openstall.p2p.blob_manifest import CHUNK, Manifest
from openstall.p2p.blob_wire import Holding

_PIECE = 128 * 1024
"""A larger write makes the kernel look for larger free pages, which takes it longer than the writes saved."""
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
            kept[index] = blob_manifest.hash_chunk(self._read(index)) == self.manifest.hash_of(index)
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
        _to_disk_soon(self._data, index * CHUNK, len(data))
        _write_all(self._have_file, b"\1", index)
        self.have[index] = 1
        self._hash_in_order(index, data)
        return True

    def _hash_in_order(self, index: int, data: bytes) -> None:
        """The SHA-256 of the whole follows the chunks; what came early is read again, from the cache."""
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it, and goes on with this one or leaves it to a later one
        try:
            while self._hashed < self.manifest.chunks and self.have[self._hashed]:
                here = self._hashed
                self._sha.update(data if here == index else self._read(here))
                self._hashed += 1
        finally:
            self._lock.release()

    def _read(self, index: int) -> bytes:
        return os.pread(self._data, self.manifest.length_of(index), index * CHUNK)

    def holding(self) -> Holding:
        """The verified chunks, as others are told."""
        bits = bytearray(-(-len(self.have) // 8))
        for index, mark in enumerate(self.have):
            if mark:
                bits[index // 8] |= 1 << index % 8
        return Holding(whole=False, bits=bytes(bits))

    def open_data(self) -> BinaryIO:
        """The data for reading, apart from this fetch's own file.

        Raises:
            FileNotFoundError: the fetch is over.
        """
        return self._data_path.open("rb")

    def check_sha256(self) -> None:
        """Compare the whole with the publisher's SHA-256; reads only what did not come in order. Blocking.

        Raises:
            PeerError: `wrong_checksum`.
        """
        while self._hashed < self.manifest.chunks:
            trio.from_thread.check_cancelled()
            self._sha.update(self._read(self._hashed))
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
        written = os.pwrite(file, view[:_PIECE], offset)
        view = view[written:]
        offset += written


def _to_disk_soon(file: int, offset: int, size: int) -> None:
    """Let the kernel begin to write, so that there is little left to wait for at the end.

    Linux starts to write out what is told to be of no more use, and keeps in memory what is not written yet.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # advice that is not taken costs nothing
            os.posix_fadvise(file, offset, size, os.POSIX_FADV_DONTNEED)
