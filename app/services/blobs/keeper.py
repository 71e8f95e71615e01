"""Keeps the blob store within its quota, with all that is still needed; passes on bought packages if allowed.

A blob is kept while the books speak of it (see `BlobNames`), while its owner has pinned it, or for an
hour after it was last used. Of the rest the longest unused goes first, when room is needed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.operations import Progress
from openstall.app.services.blobs.ipfs import Ipfs
from openstall.app.services.blobs.limits import BlobLimits, load, save
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, NotFound, PeerError, Refused
from openstall.market.orders.machine import MACHINES
from openstall.p2p.blob_manifest import BlobInfo, check_cid
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.store.blob_names import BlobNames
from openstall.store.settings import Settings

GRACE_S = 3600
"""What was just made is written into the books a moment later."""
ORDER_KEPT_S = 7 * 86_400
"""After an order has ended its other party may still fetch results."""
LEFTOVER_KEPT_S = 7 * 86_400
EVERY_S = 60.0
ANNOUNCE_EVERY_S = 1800.0
MAX_PINS = 4096
_PINS = "blobs.pins"
WORDS = {
    "pinned": "pinned by you",
    "listed": "on your list",
    "order": "in an order",
    "bought": "bought",
    "work": "needed for your work",
    "fresh": "used within the hour",
}

log = get_logger("openstall.blobs")


@dataclass(slots=True, kw_only=True)
class BlobKeeper:
    """The owner's view of the blob store. Methods that end in `_now` block; the others do not."""

    blobs: BlobStore
    transfer: BlobTransfer
    access: BlobAccess
    names: BlobNames
    settings: Settings
    workers: Workers
    clock: Clock
    bus: EventBus
    author: str
    """The peer id of this node."""
    limits: BlobLimits = field(default_factory=BlobLimits)
    ipfs: Ipfs = field(init=False)
    _announced: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """IPFS has the same ground."""
        self.ipfs = Ipfs(blobs=self.blobs, settings=self.settings, workers=self.workers, bus=self.bus)

    async def start(self) -> None:
        """Apply what was saved."""
        await self.ipfs.start()
        self._apply(await self.workers.store(load, self.settings))
        self.blobs.make_room = self._make_room_now

    def _apply(self, limits: BlobLimits) -> None:
        self.limits = limits
        self.transfer.up.per_s, self.transfer.down.per_s = limits.up_per_s, limits.down_per_s
        self.transfer.asks_around = limits.share
        self.blobs.quota_bytes = limits.quota_bytes or None

    async def run(self) -> None:
        """Keep to the quota and share what may be shared, until cancelled."""
        while True:
            if self.blobs.quota_bytes is not None:
                await self.collect()
            await self._share()
            await trio.sleep(EVERY_S)

    async def change(self, **values: Any) -> dict[str, Any]:
        """Set limits; those that are None stay. They hold at once, also for transfers under way.

        Raises:
            Refused: a limit that lets nothing through.
        """
        limits = self.limits.changed(**values)
        await self.workers.store(save, self.settings, limits)
        self._apply(limits)
        await self._share()
        self.bus.publish("blobs", {"event": "limits"})
        return limits.as_dict()

    # What is here, and why

    async def view(self) -> dict[str, Any]:
        """Every blob with its size and the reasons why it stays, the limits, and who was blamed for what."""
        return await self.workers.store(self._view_now)

    def _view_now(self) -> dict[str, Any]:
        reasons, bought = self._reasons_now(), {one.cid for one in self.names.sealed()}
        pins = self.ipfs.pins_now()
        items = [
            {
                **self._item_now(info, sorted(reasons.get(info.cid, ())), bought),
                "ipfs": pins.get(info.cid, ""),
            }
            for info in self.blobs.all()
        ]
        return {
            "items": sorted(items, key=lambda item: (-item["used_at"], item["cid"])),
            "total": len(items),
            "used_bytes": self.blobs.used_bytes(),
            "can_go_bytes": sum(item["size"] for item in items if not item["kept"]),
            "sent_bytes": self.transfer.server.sent_bytes,
            "received_bytes": self.transfer.received_bytes,
            "limits": self.limits.as_dict(),
            "ipfs": self.ipfs.view_now(),
            "blamed": [
                {"cid": one.cid, "source": one.source, "reason": one.reason, "at": one.at}
                for one in reversed(self.transfer.blamed)
            ],
        }

    def _item_now(self, info: BlobInfo, kept: list[str], bought: set[str]) -> dict[str, Any]:
        return {
            "cid": info.cid,
            "size": info.size,
            "sha256": info.sha256,
            "used_at": int(self.blobs.used_at(info.cid)),
            "kept": kept,
            "why": ", ".join(WORDS[one] for one in kept),
            "sealed": info.cid in bought or self._own_package_now(info.cid),
            "shared": self.access.shares(info.cid),
        }

    def _own_package_now(self, cid: str) -> bool:
        return self.settings.get(f"package.{cid}") is not None

    def _sealed_now(self, cid: str) -> bool:
        return self._own_package_now(cid) or cid in {one.cid for one in self.names.sealed()}

    def _reasons_now(self) -> dict[str, set[str]]:
        final = sorted({state for machine in MACHINES.values() for state in machine.final})
        reasons = self.names.uses(author=self.author, final=final, now=self.clock.now(), kept_s=ORDER_KEPT_S)
        for cid in self.settings.get(_PINS, []):
            reasons.setdefault(cid, set()).add("pinned")
        for info in self.blobs.all():
            if time.time() - self.blobs.used_at(info.cid) < GRACE_S:
                reasons.setdefault(info.cid, set()).add("fresh")
        return reasons

    # What goes

    async def collect(self, *, everything: bool = False) -> dict[str, Any]:
        """Remove what nobody needs: as much as is above the quota, or everything."""
        gone = await self.workers.store(self._collect_now, None if everything else self.blobs.lacking(0))
        if gone:
            self.bus.publish("blobs", {"event": "collected"})
        return {"removed": len(gone), "freed_bytes": sum(gone.values())}

    def _make_room_now(self, lacking: int) -> None:
        self._collect_now(lacking)

    def _collect_now(self, lacking: int | None) -> dict[str, int]:
        """Remove until so many bytes are free, or all that may go; what was removed, with its size."""
        if lacking == 0:
            return {}
        reasons, now = self._reasons_now(), time.time()
        able: list[tuple[float, str, int]] = [
            (at, cid, size)
            for cid, (size, at) in self.blobs.leftovers().items()
            if cid not in reasons and now - at > LEFTOVER_KEPT_S
        ]
        able += [
            (self.blobs.used_at(info.cid), info.cid, info.size)
            for info in self.blobs.all()
            if info.cid not in reasons
        ]
        gone: dict[str, int] = {}
        for _, cid, size in sorted(able):
            if lacking is not None and sum(gone.values()) >= lacking:
                break
            self.blobs.delete(cid)
            gone[cid] = size
            log.info("blob collected", cid=cid, size=size)
        return gone

    async def pin(self, cid: str) -> None:
        """Never remove this blob by itself.

        Raises:
            NotFound: it is not here.
        """
        info = self._known(cid)
        pins = await self.workers.store(self.settings.get, _PINS, [])
        if len(pins) >= MAX_PINS:
            raise Conflict("too_many_pins", f"{MAX_PINS} files are pinned.", "Unpin one first.")
        await self.workers.store(self.settings.set, _PINS, sorted({*pins, info.cid}))
        self.bus.publish("blobs", {"event": "pinned"})

    async def unpin(self, cid: str) -> None:
        """Let a blob go when nobody needs it.

        Raises:
            NotFound: it is not pinned.
        """
        pins = await self.workers.store(self.settings.get, _PINS, [])
        if cid not in pins:
            raise NotFound("not_pinned", "That file is not pinned.", "See: openstall blobs list")
        await self.workers.store(self.settings.set, _PINS, [one for one in pins if one != cid])
        self.bus.publish("blobs", {"event": "unpinned"})

    async def pin_in_ipfs(self, cid: str, progress: Progress) -> dict[str, Any]:
        """Have the owner's IPFS node keep an encrypted package; see `Ipfs.pin`."""
        info = self._known(cid)
        return await self.ipfs.pin(
            info, sealed=await self.workers.store(self._sealed_now, info.cid), progress=progress
        )

    async def export(self, cid: str, folder: Path) -> dict[str, Any]:
        """Copy a blob and its manifest out, as a web mirror serves them.

        Raises:
            NotFound: it is not here, or the folder is not.
            StoreError: no room, or the folder cannot be written.
        """
        info = self._known(cid)
        if not await trio.Path(folder).is_dir():
            raise NotFound("no_such_folder", f"There is no folder {folder}.", "Make it first.")
        data, manifest = folder / info.cid, folder / f"{info.cid}.manifest"
        await self.blobs.export(info.cid, data)
        await self.workers.store(self.blobs.export_manifest, info.cid, manifest)
        return {"cid": info.cid, "path": str(data), "manifest_path": str(manifest)}

    def _known(self, cid: str) -> BlobInfo:
        try:
            return self.blobs.info(check_cid(cid))
        except PeerError as error:
            raise Refused("bad_cid", error.message, "See: openstall blobs list") from error

    # Passing on

    async def _share(self) -> None:
        """Let others have the encrypted packages that were bought here, and tell their sellers so."""
        sealed = await self.workers.store(self.names.sealed) if self.limits.share else []
        self.access.share({one.cid for one in sealed})
        now = trio.current_time()
        due = {
            one.cid: one.seller
            for one in sealed
            if self.blobs.have(one.cid) and self._announced.get(one.cid, 0.0) <= now
        }
        async with trio.open_nursery() as nursery:
            for cid, seller in due.items():
                self._announced[cid] = now + ANNOUNCE_EVERY_S
                nursery.start_soon(self._announce, cid, seller)

    async def _announce(self, cid: str, seller: str) -> None:
        try:
            await self.transfer.announce(cid, seller)
        except PeerError as error:
            log.info("not announced", cid=cid, seller=seller, code=error.code)
