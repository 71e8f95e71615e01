"""The training data of a request, for the developer who won it, or for all in a contest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from openstall.app.operations import Progress
from openstall.app.services.custom.auctions import AuctionService
from openstall.app.services.custom.talk import Talk
from openstall.app.services.custom.wire import TrainingAnswer
from openstall.app.services.orders.blob_access import check_blob
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.requests.training import FILE
from openstall.app.services.sealing import check_key, unseal
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, NotFound
from openstall.market.requests.bodies import RequestBody
from openstall.market.requests.terms import request_in
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore


@dataclass(slots=True, kw_only=True)
class Training:
    """Fetches it from the buyer and opens it."""

    desk: OrderDesk
    talk: Talk
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
        body = request_in(self.auctions.record(row))
        return await save_training(
            body,
            lambda: self.talk.training(order),
            order.other,
            folder,
            progress,
            blobs=self.blobs,
            transfer=self.transfer,
        )


async def save_training(
    body: RequestBody,
    ask: Callable[[], Awaitable[TrainingAnswer]],
    source: str,
    folder: Path,
    progress: Progress,
    *,
    blobs: BlobStore,
    transfer: BlobTransfer,
) -> dict[str, str]:
    """Ask for what opens the training data of a request, fetch it, and write it into a folder.

    Returns its path.

    Raises:
        NotFound: the request comes without training data.
        Conflict: the file exists already.
        PeerError: the requester cannot be reached now.
        InvalidOrder: what it gave is not what the request names.
        StoreError: no room on the disk.
    """
    blob = body.training
    if blob is None:
        raise NotFound("no_training", "This request comes without training data.")
    progress("Asking for its key")
    answer = await ask()
    key = bytes.fromhex(answer.key)
    check_key(key, body.training_key_sha256)
    entry = msgspec.structs.replace(answer.file, name=FILE)  # the requester does not name files here
    target = folder / entry.name
    if target.exists():
        raise Conflict("file_exists", f"{target} exists already.", "Choose another folder.")
    found = await transfer.fetch(
        blob.cid,
        [source],
        expected_size_max=blob.size,
        on_progress=lambda done, total: progress("Fetching the training data", done, total, "bytes"),
    )
    check_blob(found, blob)
    await trio.to_thread.run_sync(lambda: unseal(blobs.path(blob.cid), key, [entry], folder))
    return {"path": str(target)}
