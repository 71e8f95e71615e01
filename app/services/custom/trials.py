"""Both sides' sealed files of one try, at an evaluator: open only while they are used, else kept sealed.

Until the order is final an evaluator can do its measurement again, so that it can show opened rows. What it
keeps for that are the two encrypted blobs, and their keys under a key that follows from its own peer key.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio
from nacl.exceptions import CryptoError
from nacl.secret import Aead

from openstall.app.services.custom.talk import SealedRows, Shown
from openstall.app.services.keys import trials_key
from openstall.app.services.orders.blob_access import check_blob
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.sealing import unseal
from openstall.app.threads import Workers
from openstall.compute_agent.specs import GIB, MIB
from openstall.market.errors import InvalidOrder, NotFound, StoreError
from openstall.market.fields import BlobRef, FileEntry
from openstall.market.requests.delivery import Delivery
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore

MOST_BYTES = 8 * GIB
MOST_ROWS_BYTES = 256 * MIB
SPARE_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What an assessor gets: both sides' files, opened, in a folder that is removed afterwards."""

    model: Path
    rows: Path
    salts: bytes
    """The seed of the rows' salts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTrial:
    """The same, sealed: what the parties gave."""

    shown: Shown
    rows: SealedRows

    @property
    def cids(self) -> tuple[str, str]:
        """The blobs of the model and of the rows."""
        return self.shown.delivery.blob.cid, self.rows.blob.cid


@dataclass(slots=True, kw_only=True)
class Trials:
    """Opens sealed trials in its folder, and keeps them."""

    blobs: BlobStore
    transfer: BlobTransfer
    seed: bytes
    folder: Path
    """For opened models and rows; nothing else lies in it."""
    workers: Workers
    _fetched: set[str] = field(default_factory=set)
    """Blobs that were not here before: a party may name any, also one that is this node's own."""
    _opening: trio.Lock = field(default_factory=trio.Lock)
    """One model at a time, however many orders name this evaluator: each may take gigabytes."""

    async def clear(self) -> None:
        """Remove what was left in the clear when the node was killed."""
        await self.workers.work(lambda: shutil.rmtree(self.folder, ignore_errors=True))

    async def fetch(self, order: OpenOrder, sealed: SealedTrial) -> None:
        """Bring both blobs onto this disk.

        Raises:
            PeerError: a party cannot be reached now.
            InvalidOrder: they are too large, or not what was signed.
            StoreError: not enough room on the disk.
        """
        self._check_room(sealed.shown.delivery, sealed.rows)
        for peer, blob in (
            (order.contract.order.seller, sealed.shown.delivery.blob),
            (order.contract.order.buyer, sealed.rows.blob),
        ):
            if not self.blobs.have(blob.cid):
                self._fetched.add(blob.cid)
            check_blob(await self.transfer.fetch(blob.cid, [peer], expected_size_max=blob.size), blob)

    @asynccontextmanager
    async def opened(self, sealed: SealedTrial) -> AsyncIterator[Trial]:
        """Both, in the clear, until the block ends.

        Raises:
            InvalidOrder: a key or a file is not what was signed.
            NotFound: a blob is not here any more.
            StoreError: not enough room on the disk.
        """
        async with self._opening:
            place = self.folder / secrets.token_hex(8)
            try:
                yield await self._open(sealed, place)
            finally:
                with trio.CancelScope(shield=True):
                    await self.workers.work(lambda: shutil.rmtree(place, ignore_errors=True))

    async def _open(self, sealed: SealedTrial, place: Path) -> Trial:
        delivery, rows = sealed.shown.delivery, sealed.rows
        await self.workers.work(lambda: place.mkdir(parents=True, mode=0o700))
        blob, key = self.blobs.path(delivery.blob.cid), sealed.shown.key
        await trio.to_thread.run_sync(lambda: unseal(blob, key, delivery.files, place / "package"))
        rows_blob = self.blobs.path(rows.blob.cid)
        await trio.to_thread.run_sync(lambda: unseal(rows_blob, rows.key, [rows.file], place / "rows"))
        return Trial(
            model=place / "package" / delivery.model.name,
            rows=place / "rows" / rows.file.name,
            salts=rows.seed,
        )

    def keep(self, order_id: str, attempt: int, sealed: SealedTrial) -> dict[str, Any]:
        """What the order's private data holds of a trial; its keys are encrypted."""
        keys = [sealed.shown.key.hex(), sealed.rows.key.hex(), sealed.rows.seed.hex()]
        box = Aead(trials_key(self.seed, order_id)).encrypt(json.dumps(keys).encode(), _about(attempt))
        return {
            "delivery": sealed.shown.delivery.as_dict(),
            "rows": msgspec.to_builtins(sealed.rows.blob),
            "file": msgspec.to_builtins(sealed.rows.file),
            "keys": bytes(box).hex(),
            "fetched": [cid for cid in sealed.cids if cid in self._fetched],
        }

    def kept(self, order: OpenOrder, attempt: int) -> SealedTrial:
        """A trial that was kept.

        Raises:
            NotFound: it was not, or not any more.
        """
        entry = order.data.get(kept_as(attempt))
        if entry is None:
            raise NotFound("not_kept", "What was measured is not kept here any more.")
        box = Aead(trials_key(self.seed, order.order_id))
        try:
            keys = json.loads(box.decrypt(bytes.fromhex(entry["keys"]), _about(attempt)))
        except CryptoError as error:
            raise StoreError(
                "bad_keys", "The keys of what was measured cannot be read.", "Was the peer key exchanged?"
            ) from error
        model_key, rows_key, seed = map(bytes.fromhex, keys)
        return SealedTrial(
            shown=Shown(delivery=msgspec.convert(entry["delivery"], Delivery), key=model_key),
            rows=SealedRows(
                blob=msgspec.convert(entry["rows"], BlobRef),
                file=msgspec.convert(entry["file"], FileEntry),
                key=rows_key,
                seed=seed,
            ),
        )

    async def forget(self, order: OpenOrder) -> dict[str, None]:
        """Remove what an evaluator kept of an order; what to take out of the order's data afterwards.

        A package that was paid for stays, encrypted and now without a key: it is the buyer's second source.
        What the buyer's own node holds of it belongs to the buyer, and what was here before stays.
        """
        tries = [attempt for attempt in range(1, 17) if kept_as(attempt) in order.data]
        if order.role == "evaluator":
            for attempt in tries:
                model, rows = self.kept(order, attempt).cids
                paid = order.state == "completed" and attempt == int(order.data["attempt"])
                for cid in (rows,) if paid else (model, rows):
                    if cid in order.data[kept_as(attempt)].get("fetched", (model, rows)):
                        await self.blobs.remove(cid)
                        self._fetched.discard(cid)
        return {kept_as(attempt): None for attempt in tries}

    def _check_room(self, delivery: Delivery, rows: SealedRows) -> None:
        """Strangers say how large their files are: what no evaluation needs is not fetched."""
        opened = sum(entry.size for entry in delivery.files) + rows.file.size
        if max(delivery.blob.size, opened) > MOST_BYTES or rows.blob.size > MOST_ROWS_BYTES:
            raise InvalidOrder(
                "too_large", "The model or the rows are larger than an evaluator takes. Nothing is measured."
            )
        needed = delivery.blob.size + rows.blob.size + opened + SPARE_BYTES
        need_room(self.folder.parent, needed)


def need_room(folder: Path, size: int) -> None:
    """Raises StoreError where the disk of a folder has no room to fetch and open what is to be measured."""
    if shutil.disk_usage(folder).free < size:
        raise StoreError(
            "disk_full",
            f"To measure the model, {size // MIB + 1} MiB of free disk are needed.",
            "Free some space; it is measured by itself.",
        )


def kept_as(attempt: int) -> str:
    """Where the order's private data keeps a trial."""
    return f"trial {attempt}"


def _about(attempt: int) -> bytes:
    return b"openstall trial %d" % attempt
