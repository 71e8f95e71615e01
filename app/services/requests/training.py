"""A requester's training data: checked like the sealed rows, encrypted, and served to anybody who asks.

Nobody can open it without the key, which the winner is given.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.requests.table import Problems, need_column, read_table
from openstall.app.services.sealing import describe, seal
from openstall.app.threads import Workers
from openstall.market.errors import StoreError
from openstall.market.fields import BlobRef, FileEntry
from openstall.p2p.blobs import BlobStore

FILE = "training.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Seals tables. Call from the trio thread."""

    blobs: BlobStore
    access: BlobAccess
    workers: Workers
    folder: Path

    async def share(
        self, path: Path, key: bytes, columns: Sequence[str]
    ) -> tuple[tuple[BlobRef, str], FileEntry]:
        """The blob of a table that has these columns, the SHA-256 of its key, and the file in it.

        Raises:
            Refused: `bad_table`.
            StoreError: no room on the disk.
        """
        await self.workers.work(_check, path, columns)
        found = await self.workers.work(describe, path)
        entry = FileEntry(name=FILE, size=found.size, sha256=found.sha256)
        target = self.folder / f"{secrets.token_hex(8)}.sealing"
        try:
            await self.workers.store(_seal, path, target, key)
            info = await self.blobs.add_file(target)
        finally:
            target.unlink(missing_ok=True)
        self.access.make_public(info.cid)
        blob = BlobRef(cid=info.cid, size=info.size, sha256=info.sha256)
        return (blob, hashlib.sha256(key).hexdigest()), entry


def _check(path: Path, columns: Sequence[str]) -> None:
    problems = Problems()
    table = read_table(path, problems)
    if table is not None:
        for name in columns:
            need_column(table, name, problems)
    problems.refuse()


def _seal(path: Path, target: Path, key: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(target.parent).free < 2 * path.stat().st_size + 16 * 1024 * 1024:
        raise StoreError(
            "disk_full", "There is not enough room on the disk to seal the training data.", "Free some space."
        )
    seal([path], target, key)
