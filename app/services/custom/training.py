"""The training data of a request, for the developer who won it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from openstall.app.operations import Progress
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.auctions import AuctionService
from openstall.app.services.custom.talk import Talk
from openstall.app.services.orders.blob_access import check_blob
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.requests.training import FILE
from openstall.app.services.sealing import unseal
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, NotFound
from openstall.market.requests.terms import request_in
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore


@dataclass(slots=True, kw_only=True)
class Training:
    """Fetches it from the buyer and opens it."""

    desk: OrderDesk
    talk: Talk
    catalogue: Catalogue
    auctions: AuctionService
    blobs: BlobStore
    transfer: BlobTransfer
    workers: Workers

    async def save(self, order_id: str, folder: Path, progress: Progress) -> dict[str, str]:
        """Write the training data of a won request into a folder; returns its path.

        Raises:
            Conflict: this node is not its developer, or the file exists already.
            NotFound: the request comes without training data.
            PeerError: the buyer cannot be reached now.
            InvalidOrder: what the buyer gave is not what the request names.
        """
        order = await self.desk.load(order_id)
        if order.kind != "custom" or order.role != "seller":
            raise Conflict("not_the_developer", "Only the developer of a model made to order has its data.")
        row = await self.workers.store(self.auctions.books.get, order.contract.custom.request)
        blob = request_in(self.auctions.record(row)).training
        if blob is None:
            raise NotFound("no_training", "This request comes without training data.")
        progress("Asking the buyer")
        answer = await self.talk.training(order)
        entry = msgspec.structs.replace(answer.file, name=FILE)  # the buyer does not name files here
        target = folder / entry.name
        if target.exists():
            raise Conflict("file_exists", f"{target} exists already.", "Choose another folder.")
        if not self.blobs.have(blob.cid):
            await self.transfer.fetch(
                blob.cid,
                [order.other],
                expected_size_max=blob.size,
                on_progress=lambda done, total: progress("Fetching the training data", done, total, "bytes"),
            )
        check_blob(self.blobs.info(blob.cid), blob)
        path, key = self.blobs.path(blob.cid), bytes.fromhex(answer.key)
        await trio.to_thread.run_sync(lambda: unseal(path, key, [entry], folder))
        return {"path": str(target)}
