"""The buyer's copy: fetch the encrypted package, open it with the delivered key, keep it in the library."""

from __future__ import annotations

import shutil
from pathlib import Path

from openstall.app.services.keys import box_secret
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.sealing import open_key, unseal
from openstall.app.threads import Workers
from openstall.market.errors import InvalidOrder, StoreError
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.store.library import Library


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
    ) -> None:
        self._desk = desk
        self._blobs = blobs
        self._transfer = transfer
        self._library = library
        self._folder = folder
        self._seed = seed
        self._workers = workers

    async def fetch(self, order: OpenOrder) -> None:
        """Bring the whole encrypted package onto this disk, before any money moves; resumes after a crash.

        Raises:
            PeerError: no source can be reached now; what came so far is kept.
            StoreError: not enough room on the disk; no money has moved.
        """
        terms = order.contract.sale
        needed = terms.blob.size + sum(entry.size for entry in terms.files)
        if shutil.disk_usage(self._folder.parent).free < needed:
            raise StoreError(
                "disk_full",
                f"The package needs {needed // 2**20 + 1} MiB of free disk. You have not paid anything yet.",
                "Free some space; the order goes on by itself.",
            )
        if self._blobs.have(terms.blob.cid):
            return
        await self._transfer.fetch(
            terms.blob.cid,
            [order.other],
            expected_size_max=terms.blob.size,
            on_progress=lambda done, total: self._desk.progress(
                order.order_id, "Fetching the encrypted package", done, total, "bytes"
            ),
        )

    async def unpack(self, order: OpenOrder, sealed_key: bytes | None) -> Path:
        """Open the package into the library and check every file against the signed contract.

        Raises:
            InvalidOrder: the key or a file is not what the seller signed for.
        """
        terms = order.contract.sale
        if sealed_key is None:
            raise InvalidOrder("no_key", "The chain shows a delivery without a key.", "Open a dispute.")
        key = open_key(sealed_key, box_secret(self._seed, order.contract.order.nonce), terms.key_sha256)
        target = self._folder / order.order_id[:16]
        await self._workers.store(lambda: unseal(self._blobs.path(terms.blob.cid), key, terms.files, target))
        await self._workers.store(
            lambda: self._library.add(
                package_id=order.order_id,
                order_id=order.order_id,
                listing_cid=terms.listing,
                title=terms.title,
                path=str(target),
                files=[
                    {"name": entry.name, "size": entry.size, "sha256": entry.sha256} for entry in terms.files
                ],
                bought_at=self._desk.now(),
            )
        )
        return target
