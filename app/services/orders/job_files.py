"""One file of a job, from the other party's disk to a folder here: fetched, compared with what was signed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openstall.app.services.orders.blob_access import check_blob
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market.orders.documents import InputFile
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFiles:
    """Brings inputs to a provider and results to a buyer."""

    desk: OrderDesk
    blobs: BlobStore
    transfer: BlobTransfer

    async def bring(self, order: OpenOrder, item: InputFile, folder: Path, stage: str) -> None:
        """Put a file under its name into `folder`; `stage` says what the wait is for.

        Raises:
            PeerError: the other party cannot be reached now; what came so far is kept.
            InvalidOrder: the file is not what was signed for.
            StoreError: no room on the disk.
        """
        found = await self.transfer.fetch(
            item.blob.cid,
            [order.other],
            expected_size_max=item.blob.size,
            on_progress=lambda done, total: self.desk.progress(order.order_id, stage, done, total, "bytes"),
        )
        check_blob(found, item.blob)
        await self.blobs.export(item.blob.cid, folder / item.name)
