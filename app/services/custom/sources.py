"""A requester's sealed files: the rows for evaluators, the training data for the winner."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from openstall.app.services.custom.talk import SealedRows, SealedTraining
from openstall.app.services.keys import evaluators_key
from openstall.app.services.requests.service import RequestService
from openstall.app.services.sealing import describe, seal
from openstall.app.threads import Workers
from openstall.market.errors import NotFound
from openstall.market.fields import BlobRef, FileEntry
from openstall.p2p.blobs import BlobStore
from openstall.store.requests import RequestRow, Requests

ROWS_FILE = "rows.csv"


@dataclass(slots=True, kw_only=True)
class Sources:
    """Both, by the cid of the request that they are for."""

    requests: RequestService
    books: Requests
    blobs: BlobStore
    seed: bytes
    folder: Path
    workers: Workers

    async def rows_of(self, request_cid: str) -> SealedRows:
        """The rows as one encrypted blob, made when the first evaluator asks.

        Raises:
            NotFound: this home does not hold that request.
            StoreError: the rows were lost, or there is no room on the disk.
        """
        row = await self.workers.store(self.books.get, request_cid)
        key = evaluators_key(self.seed, row.data["salt"])
        kept = row.data.get("rows_blob")
        if kept is None or not self.blobs.have(kept["blob"]["cid"]):
            kept = await self._seal_rows(row, key)
        return SealedRows(
            blob=msgspec.convert(kept["blob"], BlobRef),
            file=msgspec.convert(kept["file"], FileEntry),
            key=key,
            seed=await self.requests.seed_of(row.request_id),
        )

    async def training_of(self, request_cid: str) -> SealedTraining:
        """The training data with its key.

        Raises:
            NotFound: the request comes without, or this home does not hold it.
        """
        row = await self.workers.store(self.books.get, request_cid)
        if row.body["training"] is None:
            raise NotFound("no_training", "This request comes without training data.")
        return SealedTraining(
            blob=msgspec.convert(row.body["training"], BlobRef),
            file=msgspec.convert(row.data["training_file"], FileEntry),
            key=await self.requests.training_key_of(row.request_id),
        )

    async def _seal_rows(self, row: RequestRow, key: bytes) -> dict[str, dict[str, object]]:
        rows = await self.requests.rows_of(row.request_id)
        place = self.folder / f"rows-{secrets.token_hex(8)}"
        try:
            await self.workers.work(_write, place, rows.as_csv())
            entry = await self.workers.work(describe, place / ROWS_FILE)
            await self.workers.store(lambda: seal([place / ROWS_FILE], place / "sealed", key))
            info = await self.blobs.add_file(place / "sealed")
        finally:
            await self.workers.work(lambda: shutil.rmtree(place, ignore_errors=True))
        blob = BlobRef(cid=info.cid, size=info.size, sha256=info.sha256)
        kept = {"blob": msgspec.to_builtins(blob), "file": msgspec.to_builtins(entry)}
        await self.workers.store(lambda: self.books.note(row.request_id, rows_blob=kept))
        return kept


def _write(place: Path, content: bytes) -> None:
    place.mkdir(parents=True, mode=0o700)
    (place / ROWS_FILE).write_bytes(content)
