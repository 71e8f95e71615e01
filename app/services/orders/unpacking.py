"""The buyer's copy: fetch the encrypted package, open it with the delivered key, keep it in the library."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from openstall.app.services.keys import box_secret
from openstall.app.services.orders.blob_access import check_blob
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.sealing import open_key, unseal
from openstall.app.threads import Workers
from openstall.market.errors import StoreError
from openstall.market.fields import BlobRef, FileEntry
from openstall.p2p.blob_transfer import BlobTransfer, FileServer
from openstall.p2p.blobs import BlobStore
from openstall.store.library import Library

Mirrors = Callable[[str], Awaitable[Sequence[FileServer]]]
"""The web servers that a listing names, by its cid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What both parties know of a package before its key is there."""

    origin: str
    """The record that it answers to."""
    title: str
    files: list[FileEntry]
    blob: BlobRef
    key_sha256: str
    paid: bool
    """Whether money is in escrow for it."""


class Unpacking:
    """Blob in, verified files out."""

    def __init__(
        self,
        *,
        desk: OrderDesk,
        blobs: BlobStore,
        transfer: BlobTransfer,
        library: Library,
        folder: Path,
        seed: bytes,
        workers: Workers,
        mirrors: Mirrors,
    ) -> None:
        self._mirrors = mirrors
        self._desk = desk
        self._blobs = blobs
        self._transfer = transfer
        self._library = library
        self._folder = folder
        self._seed = seed
        self._workers = workers
        self._opening = trio.CapacityLimiter(1)

    async def fetch(
        self, order: OpenOrder, package: Package | None = None, sources: Sequence[str] = ()
    ) -> None:
        """Bring the whole encrypted package onto this disk before it is paid; resumes after a crash.

        Raises:
            PeerError: no source can be reached now; what came so far is kept.
            StoreError: not enough room on the disk.
        """
        package = package or sold(order)
        needed = sum(entry.size for entry in package.files)
        if not self._blobs.have(package.blob.cid):
            needed += package.blob.size
        if shutil.disk_usage(self._folder.parent).free < needed:
            money = "Your money is still in escrow." if package.paid else "You have not paid anything yet."
            raise StoreError(
                "disk_full",
                f"The package needs {needed // 2**20 + 1} MiB of free disk. {money}",
                "Free some space; the order goes on by itself.",
            )
        await self._bring(order, package.blob, sources)

    async def _bring(self, order: OpenOrder, blob: BlobRef, sources: Sequence[str] = ()) -> None:
        found = await self._transfer.fetch(
            blob.cid,
            list(sources) or [order.other],
            expected_size_max=blob.size,
            on_progress=lambda done, total: self._desk.progress(
                order.order_id, "Fetching the encrypted package", done, total, "bytes"
            ),
            wide=order.kind == "sale",
            servers=await self._mirrors(order.contract.sale.listing) if order.kind == "sale" else (),
        )
        check_blob(found, blob)

    def _check_room(self, order: OpenOrder, package: Package) -> None:
        needed = sum(entry.size for entry in package.files)
        if shutil.disk_usage(self._folder.parent).free >= needed:
            return
        words = f"To open the package, {needed // 2**20 + 1} MiB of free disk are needed."
        if order.state == "delivered":
            raise StoreError(
                "disk_full",
                f"{words} Your money is still in escrow.",
                "Free some space before the review time ends, to check the model in time; the order goes on "
                "by itself.",
            )
        raise StoreError("disk_full", words, "Free some space; the model is opened by itself.")

    async def unpack(self, order: OpenOrder, sealed_key: bytes, package: Package | None = None) -> Path:
        """Open the package into the library and check every file against the signed contract.

        Raises:
            InvalidOrder: the key or a file is not what the seller signed for.
            PeerError: the package was lost from this disk, and cannot be fetched again now.
            StoreError: not enough room on the disk; nothing is left half open.
        """
        package = package or sold(order)
        key = open_key(sealed_key, box_secret(self._seed, order.contract.order.nonce), package.key_sha256)
        await self._bring(order, package.blob)
        self._check_room(order, package)
        target = self._folder / order.order_id[:16]
        # Not on the store's threads: a package of many gigabytes would keep the books waiting.
        await trio.to_thread.run_sync(
            lambda: unseal(self._blobs.path(package.blob.cid), key, package.files, target),
            limiter=self._opening,
        )
        await self._workers.store(
            lambda: self._library.add(
                package_id=order.order_id,
                order_id=order.order_id,
                listing_cid=package.origin,
                title=package.title,
                path=str(target),
                files=[
                    {"name": entry.name, "size": entry.size, "sha256": entry.sha256}
                    for entry in package.files
                ],
                bought_at=self._desk.now(),
            )
        )
        return target


def sold(order: OpenOrder) -> Package:
    """The package of a sale: all of it is in the signed contract."""
    terms = order.contract.sale
    return Package(
        origin=terms.listing,
        title=terms.title,
        files=terms.files,
        blob=terms.blob,
        key_sha256=terms.key_sha256,
        paid=order.state != "agreed",
    )
