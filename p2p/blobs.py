"""The local blob store: content-addressed files, whole and partial, under one folder.

`<cid>.data` with `<cid>.manifest` is a whole blob; the manifest is written last and atomically, so
a blob is whole or absent after a crash. `partial/` holds fetches that can be resumed, `incoming/`
what is being added.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import trio

from openstall.market.errors import NotFound, PeerError, StoreError
from openstall.p2p import blob_manifest
from openstall.p2p.blob_manifest import CHUNK, BlobInfo, Manifest
from openstall.p2p.blob_wire import Holding
from openstall.p2p.partial_blob import PartialBlob

__all__ = ["BlobInfo", "BlobStore", "Progress"]

Progress = Callable[[int, int], None]

_T = TypeVar("_T")
KEEP_FREE = 64 * 1024 * 1024
_THREADS = 4
_PROGRESS_EVERY = 16
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class BlobStore:
    """Blobs of this node. Methods that are not async only look at memory or at one folder entry.

    Hashing and disk work run in worker threads; cancelling an async method stops them at the next
    chunk and leaves nothing behind but what can be resumed.
    """

    def __init__(self, folder: Path, *, quota_bytes: int | None = None) -> None:
        self.folder = folder
        self.quota_bytes = quota_bytes
        self.make_room: Callable[[int], None] | None = None
        """Called on a worker thread when so many bytes do not fit; it may `delete` what nobody needs."""
        self._partial = folder / "partial"
        self._incoming = folder / "incoming"
        self._limiter = trio.CapacityLimiter(_THREADS)
        self._fetching: dict[str, PartialBlob] = {}
        self._beginning: set[str] = set()
        with disk_errors("The blob store"):
            self._partial.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming.mkdir(exist_ok=True)
            self._index = {info.cid: info for info in self._scan()}

    def _scan(self) -> Iterator[BlobInfo]:
        for path in self.folder.glob("*.manifest"):
            try:
                with path.open("rb") as file:
                    head = blob_manifest.decode_head(file.read(blob_manifest.HEAD_BYTES))
                complete = path.with_suffix(".data").stat().st_size == head.size
            except (PeerError, OSError):
                complete, head = False, Manifest(size=0, sha256=b"", hashes=b"")
            if complete:
                yield BlobInfo(cid=path.stem, size=head.size, sha256=head.sha256.hex())

    # What is here

    def have(self, cid: str) -> bool:
        """Whether the whole blob is here."""
        return cid in self._index

    def info(self, cid: str) -> BlobInfo:
        """Size and checksum of a whole blob.

        Raises:
            NotFound: it is not here, or not whole.
        """
        if cid not in self._index:
            raise NotFound("no_blob", "That file is not in this computer's store.")
        return self._index[cid]

    def path(self, cid: str) -> Path:
        """The blob's content as a file that must not be changed.

        Raises:
            NotFound: it is not here, or not whole.
        """
        return self.folder / f"{self.info(cid).cid}.data"

    def open(self, cid: str) -> BinaryIO:
        """The blob's content for reading.

        Raises:
            NotFound: it is not here, or not whole.
        """
        return self.path(cid).open("rb")

    def all(self) -> list[BlobInfo]:
        """Every whole blob."""
        return list(self._index.values())

    def used_bytes(self) -> int:
        """Bytes of whole blobs and of those being fetched."""
        return sum(one.size for one in self._index.values()) + sum(
            one.manifest.size for one in self._fetching.values()
        )

    def manifest(self, cid: str) -> bytes:
        """The manifest's wire form. Blocking: it can have megabytes.

        Raises:
            NotFound: the blob is not here, nor being fetched.
        """
        if (partial := self._fetching.get(cid)) is not None:
            return partial.manifest.encode()
        return (self.folder / f"{self.info(cid).cid}.manifest").read_bytes()

    # What is here in part, for others who want it

    def have_some(self, cid: str) -> bool:
        """Whether the blob is here, or being fetched."""
        return cid in self._index or cid in self._fetching

    def size(self, cid: str) -> int:
        """The size of a blob that is here, or being fetched.

        Raises:
            NotFound: neither.
        """
        partial = self._fetching.get(cid)
        return partial.manifest.size if partial is not None else self.info(cid).size

    def holding(self, cid: str) -> Holding:
        """Which verified chunks are here."""
        partial = self._fetching.get(cid)
        return partial.holding() if partial is not None and cid not in self._index else Holding()

    def open_some(self, cid: str) -> BinaryIO:
        """Like `open`, also while it is being fetched: read only what `holding` names.

        Raises:
            NotFound: the blob is not here, nor being fetched.
        """
        if cid in self._index or cid not in self._fetching:
            return self.open(cid)
        try:
            return self._fetching[cid].open_data()
        except FileNotFoundError:  # it was finished in between
            return self.open(cid)

    # Adding, copying out, removing

    async def add_file(self, path: Path, *, on_progress: Progress | None = None) -> BlobInfo:
        """Copy a file into the store and address it; memory use does not depend on its size.

        Raises:
            StoreError: `disk_full`, `blob_quota`, or the file cannot be read.
        """
        work = self._incoming / secrets.token_hex(8)
        try:
            return await self._threaded(lambda: self._add(path, work, on_progress))
        finally:
            with contextlib.suppress(OSError):
                work.unlink(missing_ok=True)

    def _add(self, path: Path, work: Path, on_progress: Progress | None) -> BlobInfo:
        with disk_errors("Your file"), path.open("rb") as source, work.open("wb") as target:
            size = os.fstat(source.fileno()).st_size
            self._check_room(size)
            sha, hashes, done = hashlib.sha256(), [], 0
            while chunk := source.read(CHUNK):
                trio.from_thread.check_cancelled()
                sha.update(chunk)
                hashes.append(blob_manifest.hash_chunk(chunk))
                target.write(chunk)
                done += len(chunk)
                if on_progress is not None and (len(hashes) % _PROGRESS_EVERY == 0 or done >= size):
                    trio.from_thread.run_sync(on_progress, done, max(size, done))
            if len(hashes) > blob_manifest.MAX_CHUNKS:
                raise StoreError("blob_too_large", "Files of more than 256 GiB cannot be passed on.")
            target.flush()
            os.fsync(target.fileno())
            manifest = blob_manifest.build(done, sha.digest(), hashes)
            return self._adopt(manifest, work)

    def _adopt(self, manifest: Manifest, data: Path) -> BlobInfo:
        """Make fsynced data a whole blob: the data first, the manifest last."""
        info = manifest.info()
        part = self._incoming / f"{info.cid}.{secrets.token_hex(4)}"
        with part.open("wb") as file:
            file.write(manifest.encode())
            file.flush()
            os.fsync(file.fileno())
        data.replace(self.folder / f"{info.cid}.data")
        part.replace(self.folder / f"{info.cid}.manifest")
        _sync_folder(self.folder)
        self._index[info.cid] = info
        return info

    async def export(self, cid: str, dest: Path) -> None:
        """Copy a blob out to a file, which appears whole or not at all.

        Raises:
            NotFound: the blob is not here.
            StoreError: `disk_full`, or the folder cannot be written.
        """
        source = self.path(cid)
        part = dest.with_name(f".{dest.name}.{secrets.token_hex(4)}.part")

        def copy() -> None:
            with disk_errors("The file"), source.open("rb") as read, part.open("wb") as write:
                while chunk := read.read(CHUNK):
                    trio.from_thread.check_cancelled()
                    write.write(chunk)
                write.flush()
                os.fsync(write.fileno())
            with disk_errors("The file"):
                part.replace(dest)

        try:
            await self._threaded(copy)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def export_manifest(self, cid: str, dest: Path) -> None:
        """Copy a blob's manifest out. Blocking.

        Raises:
            NotFound, StoreError: as `export`.
        """
        with disk_errors("The file"):
            dest.write_bytes(self.manifest(cid))

    async def remove(self, cid: str) -> None:
        """Delete a blob, whole or partial; nothing happens when it is not here."""
        await self._threaded(lambda: self.delete(cid))

    def delete(self, cid: str) -> None:
        """As `remove`, on the caller's thread. Blocking."""
        blob_manifest.check_cid(cid)
        self._index.pop(cid, None)
        # The manifest first: without it the data is not a blob.
        for path in (self.folder / f"{cid}.manifest", self.folder / f"{cid}.data"):
            path.unlink(missing_ok=True)
        PartialBlob.discard(self._partial, cid)

    # When it was used

    def used_at(self, cid: str) -> float:
        """When the blob was added, read by others, or `touch`ed, in Unix seconds. Blocking."""
        try:
            return (self.folder / f"{cid}.manifest").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def touch(self, cid: str) -> None:
        """The blob is used now. Blocking."""
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            os.utime(self.folder / f"{cid}.manifest")

    def leftovers(self) -> dict[str, tuple[int, float]]:
        """Fetches that were interrupted and not begun again: bytes on the disk, and since when. Blocking."""
        found = {}
        for path in self._partial.glob("*.data"):
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                if path.stem not in self._fetching and path.stem not in self._beginning:
                    found[path.stem] = (PartialBlob.size_on_disk(self._partial, path.stem), state.st_mtime)
        return found

    # Fetching, for `BlobTransfer`

    async def partial_manifest(self, cid: str) -> bytes | None:
        """The manifest of a fetch that was interrupted, if it is intact."""
        return await self._threaded(lambda: PartialBlob.saved_manifest(self._partial, cid))

    async def begin(self, raw_manifest: bytes) -> PartialBlob:
        """Make room for a blob and open what was fetched of it before; every kept chunk is hashed again.

        Raises:
            StoreError: `disk_full` or `blob_quota`, before anything is fetched.
        """
        manifest = blob_manifest.decode(raw_manifest)
        cid = blob_manifest.cid_of_manifest(raw_manifest)

        def prepare() -> PartialBlob:
            with disk_errors("The download"):
                self._check_room(manifest.size, taken=PartialBlob.size_on_disk(self._partial, cid))
                return PartialBlob(self._partial, cid, manifest)

        self._beginning.add(cid)
        try:
            partial = await self._threaded(prepare)
        finally:
            self._beginning.discard(cid)
        self._fetching[cid] = partial
        return partial

    async def finish(self, partial: PartialBlob) -> BlobInfo:
        """Turn a complete fetch into a whole blob.

        Raises:
            StoreError: the disk failed.
            PeerError: `wrong_checksum`: the chunks are right, but the publisher's SHA-256 is another.
        """

        def complete() -> BlobInfo:
            with disk_errors("The download"):
                partial.check_sha256()
                info = self._adopt(partial.manifest, partial.close_complete())
                PartialBlob.discard(self._partial, info.cid)
                return info

        return await self._threaded(complete)

    def abandon(self, partial: PartialBlob) -> None:
        """Close a fetch, complete or not; what it has stays for the next attempt."""
        self._fetching.pop(partial.cid, None)
        partial.close()

    def lacking(self, size: int, *, taken: int = 0) -> int:
        """How many bytes must go before `size` more fit; `taken` of them are on the disk. Blocking."""
        over = self.used_bytes() + size - self.quota_bytes if self.quota_bytes is not None else 0
        to_write, free = size - taken, shutil.disk_usage(self.folder).free
        return max(over, to_write + min(KEEP_FREE, to_write) - free if to_write > 0 else 0, 0)

    def _check_room(self, size: int, *, taken: int = 0) -> None:
        lacking = self.lacking(size, taken=taken)
        if lacking and self.make_room is not None:
            self.make_room(lacking)
        if self.quota_bytes is not None and self.used_bytes() + size > self.quota_bytes:
            raise StoreError(
                "blob_quota",
                "The space that you set aside for files is used up.",
                "Allow more space, or remove files that you no longer need.",
            )
        if self.lacking(size, taken=taken):
            raise disk_full("The file")

    async def _threaded(self, work: Callable[[], _T]) -> _T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


def disk_full(what: str) -> StoreError:
    """The disk has no room; nothing that was there is lost."""
    return StoreError(
        "disk_full",
        f"{what} does not fit on the disk. Nothing was lost.",
        "Free some space and try again: what was already fetched is kept.",
    )


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Name the failures of a disk in the user's words.

    Raises:
        StoreError: `disk_full` or `disk_error`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(what) from error
        raise StoreError(
            "disk_error",
            f"{what} cannot be read or written: {error.strerror}.",
            "Check the disk and its permissions.",
        ) from error


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows has no handle for a folder's entries
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
