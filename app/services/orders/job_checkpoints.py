"""Checkpoints of a running job: the provider offers each, the buyer brings it home while the job runs.

With the last one the buyer can let another provider go on, should this one vanish. A checkpoint may be
fetched once the seconds that went into it are covered by a voucher, like every other result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.logging import get_logger
from openstall.app.services.orders.blob_access import BlobAccess, check_blob
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_stretch import cids_of, drawn
from openstall.app.services.orders.job_wire import JobCheckpoint
from openstall.app.threads import Workers
from openstall.compute_agent.specs import Checkpoint
from openstall.market.errors import InvalidOrder, OpenstallError
from openstall.market.fields import BlobRef
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore

AGAIN_S = 1.0
TRIES = 5
"""The voucher that opens a checkpoint may still be on its way."""

log = get_logger("openstall.jobs")


@dataclass(slots=True, kw_only=True)
class OfferedCheckpoints:
    """The provider's side: the newest checkpoint of each job, until the order has ended."""

    desk: OrderDesk
    blobs: BlobStore
    access: BlobAccess
    workers: Workers

    async def offer(
        self, order: OpenOrder, folder: Path, event: Checkpoint, owed_micro: int
    ) -> JobCheckpoint:
        """Keep what the job has just written, for its buyer once `owed_micro` is covered."""
        path = folder / event.file.name
        info = await self.blobs.add_file(path)
        await self.workers.work(path.unlink)
        before = (await self.desk.load(order.order_id)).data.get("checkpoints", [])
        # The one before stays: the buyer may be fetching it at this moment.
        kept = [*before[-1:], info.cid]
        await self.desk.patch(order.order_id, checkpoints=kept)
        for cid in set(before) - set(kept):
            await self.blobs.remove(cid)
        self.access.grant_artefacts(order.order_id, order.other, [info.cid], owed_micro)
        blob = BlobRef(cid=info.cid, size=info.size, sha256=info.sha256)
        return JobCheckpoint(blob=blob, done=event.done, owed_micro=owed_micro)

    async def forget(self, order_id: str) -> None:
        """The order has ended: nobody needs them any more."""
        kept = (await self.desk.load(order_id)).data.get("checkpoints", [])
        if kept:
            await self.desk.patch(order_id, checkpoints=[])
            for cid in kept:
                await self.blobs.remove(cid)


@dataclass(slots=True, kw_only=True)
class BroughtCheckpoints:
    """The buyer's side: fetches the newest one while the job is followed."""

    desk: OrderDesk
    blobs: BlobStore
    transfer: BlobTransfer
    _newest: dict[str, JobCheckpoint] = field(default_factory=dict)
    _heard: dict[str, trio.Event] = field(default_factory=dict)

    def hear(self, order_id: str, checkpoint: JobCheckpoint) -> None:
        """The provider has written a checkpoint."""
        self._newest[order_id] = checkpoint
        self._heard.setdefault(order_id, trio.Event()).set()

    async def bring(self, order: OpenOrder) -> None:
        """Fetch each checkpoint that is heard of, the newest first, until cancelled."""
        try:
            while True:
                await self._heard.setdefault(order.order_id, trio.Event()).wait()
                self._heard[order.order_id] = trio.Event()
                try:
                    await self._fetch(order, self._newest[order.order_id])
                except OpenstallError as error:
                    # The job itself does not need it; the next one is tried again.
                    log.info("checkpoint not fetched", order=order.order_id, code=error.code)
        finally:
            self._heard.pop(order.order_id, None)
            self._newest.pop(order.order_id, None)

    async def forget(self, order: OpenOrder) -> None:
        """The job has ended well: of its checkpoints only those stay by which it can be looked at again."""
        data = (await self.desk.load(order.order_id)).data
        last = data.get("checkpoint")
        if last:
            await self._change(order.order_id, data, {"checkpoint": None, **drawn(data, last, None)})

    async def _change(self, order_id: str, data: dict[str, Any], change: dict[str, Any]) -> None:
        """Write what is kept now, and only then remove what is not any more."""
        await self.desk.patch(order_id, **change)
        for cid in cids_of(data) - cids_of({**data, **change}):
            await self.blobs.remove(cid)

    async def _fetch(self, order: OpenOrder, found: JobCheckpoint) -> None:
        if found.blob.size > order.contract.compute.limits.disk_bytes:
            raise InvalidOrder("too_large", "The checkpoint is larger than the disk space of the order.")
        for last in (*[False] * (TRIES - 1), True):
            try:
                await self.transfer.fetch(found.blob.cid, [order.other], expected_size_max=found.blob.size)
                break
            except OpenstallError:
                if last:
                    raise
                await trio.sleep(AGAIN_S)
        check_blob(self.blobs.info(found.blob.cid), found.blob)
        data = (await self.desk.load(order.order_id)).data
        before, now = data.get("checkpoint"), msgspec.to_builtins(found)
        await self._change(order.order_id, data, {"checkpoint": now, **drawn(data, before, now)})
