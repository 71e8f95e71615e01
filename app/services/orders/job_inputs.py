"""The inputs of a job on the provider's machine: fetched from their owner, handed to the sandbox, forgotten.

An order names its inputs by address, and addresses are no secret between buyers. So a buyer first shows
that it holds the file itself; else it could have a job run on what another buyer left here.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_files import JobFiles
from openstall.app.threads import Workers
from openstall.market.errors import InvalidOrder, PeerError
from openstall.market.fields import BlobRef
from openstall.market.orders.documents import InputFile
from openstall.p2p import blob_manifest, blob_wire, exchange
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore

ANSWER_S = 30.0
_LARGEST = blob_manifest.MAX_CHUNKS * blob_manifest.CHUNK


@dataclass(slots=True, kw_only=True)
class JobInputs:
    """Brings inputs, and leaves nothing of them in the blob store that was not there before."""

    desk: OrderDesk
    blobs: BlobStore
    transfer: BlobTransfer
    workers: Workers
    _using: Counter[str] = field(default_factory=Counter)

    async def bring(self, order: OpenOrder, folder: Path) -> None:
        """Put every input under its name into a fresh folder; what came so far is kept for another try.

        Raises:
            PeerError: the buyer cannot be reached now, or does not show a file.
            InvalidOrder: a file is not what was signed for, or they are larger than the order allows.
            StoreError: no room on the disk.
        """
        terms = order.contract.compute
        if sum(item.blob.size for item in terms.inputs) > terms.limits.disk_bytes:
            raise InvalidOrder("too_large", "The inputs are larger than the disk space of the order.")
        await self.workers.work(_fresh_folder, folder)
        fetched = set(order.data.get("fetched_inputs", []))
        fetched |= {item.blob.cid for item in terms.inputs if not self.blobs.have(item.blob.cid)}
        fetch_at = order.data.get("fetch_at", self.desk.now())
        await self.desk.patch(order.order_id, fetched_inputs=sorted(fetched), fetch_at=fetch_at)
        for item in terms.inputs:
            self._using[item.blob.cid] += 1
            try:
                await self._bring_one(order, item, folder)
            finally:
                self._using[item.blob.cid] -= 1
        await self.desk.patch(order.order_id, inputs_at=self.desk.now())

    async def forget(self, order_id: str) -> None:
        """Remove what was fetched for an order, unless another order is using it right now."""
        order = await self.desk.load(order_id)
        fetched = order.data.get("fetched_inputs", [])
        if not fetched:
            return
        for cid in fetched:
            if not self._using[cid] and cid not in order.data.get("artefacts", []):
                await self.blobs.remove(cid)
        await self.desk.patch(order_id, fetched_inputs=[])

    async def _bring_one(self, order: OpenOrder, item: InputFile, folder: Path) -> None:
        await self._shown_by(order.other, item.blob)
        files = JobFiles(desk=self.desk, blobs=self.blobs, transfer=self.transfer)
        await files.bring(order, item, folder, "Fetching the buyer's data")

    async def _shown_by(self, peer_id: str, blob: BlobRef) -> None:
        """The buyer has the hashes of all chunks, which only the file itself yields."""
        largest = blob_manifest.manifest_bytes(min(blob.size, _LARGEST)) + 1
        async with await self.transfer.open_source(peer_id) as stream:
            await stream.send(blob_wire.manifest_request(blob.cid))
            raw = await stream.receive(max_frame=max(largest, exchange.MAX_REFUSAL), timeout_s=ANSWER_S)
            if raw is None:
                raise PeerError("no_answer", "The buyer ended the exchange without an answer.")
            manifest = exchange.decode_answer(raw)
        if blob_manifest.cid_of_manifest(manifest) != blob.cid:
            raise PeerError("wrong_manifest", "The buyer sent something else than the file it ordered with.")


def _fresh_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
