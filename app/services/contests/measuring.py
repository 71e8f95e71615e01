"""An evaluator's measurements: rows of the requester, models of the entrants, figures from the sandbox."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.services.contests.desk import ContestDesk, Room, Seen, log
from openstall.app.services.contests.talk import ENTRY, ContestTalk
from openstall.app.services.custom.assessing import assess_params, check_rows
from openstall.app.services.custom.sealed_model import delivery_in
from openstall.app.services.custom.talk import SealedRows
from openstall.app.services.custom.trials import MOST_ROWS_BYTES, SPARE_BYTES, need_room
from openstall.app.services.custom.wire import RowsAnswer
from openstall.app.services.keys import answers_seed
from openstall.app.services.orders.blob_access import check_blob
from openstall.app.services.sealed import BROKEN_OFF, Evaluated, SealedEvaluation, statement_of
from openstall.app.services.sealing import check_key, unseal
from openstall.compute_agent.assess_specs import AssessParams
from openstall.compute_agent.specs import GIB
from openstall.market import canonical
from openstall.market.errors import (
    InvalidOrder,
    InvalidRecord,
    OpenstallError,
    PeerError,
    SandboxError,
    StoreError,
)
from openstall.market.fields import BlobRef
from openstall.market.requests.assessment import Statement, read_statement
from openstall.market.requests.delivery import Delivery
from openstall.market.requests.ranking import Facts
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore

MOST_BYTES = 2 * GIB
"""A larger model is not measured: an evaluator has many of them to fetch."""
MOST_FETCH_S = 60
"""At a time, for one blob: who sends it drop by drop does not keep the others waiting."""
MOST_BREAKS = 2
"""So often a model that breaks its run off is run, until the node is started anew."""
ROWS = "rows"
"""The note with what opens the requester's rows."""


@dataclass(slots=True, kw_only=True)
class Measuring:
    """Fetches and measures, one model at a time."""

    desk: ContestDesk
    talk: ContestTalk
    blobs: BlobStore
    transfer: BlobTransfer
    evaluation: SealedEvaluation
    seed: bytes
    folder: Path
    """For opened models and rows; nothing else lies in it."""
    _one_at_a_time: trio.Lock = field(default_factory=trio.Lock)
    _broken: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def clear(self) -> None:
        """Remove what a measurement that was killed has left in the clear."""
        await self.desk.workers.work(lambda: shutil.rmtree(self.folder, ignore_errors=True))

    async def bring_rows(self, room: Room) -> SealedRows:
        """The requester's rows, encrypted, on this disk: early, so that it cannot keep them back later.

        Raises:
            PeerError: the requester cannot be reached now.
            InvalidOrder: what it gave is not what it said.
        """
        kept = await self.desk.workers.store(self.desk.books.noted, room.cid, ROWS, "")
        rows = None if kept is None else _rows(kept)
        if rows is None or not self.blobs.have(rows.blob.cid):
            rows = await self.talk.rows(room)
            if max(rows.blob.size, rows.file.size) > MOST_ROWS_BYTES:
                raise InvalidOrder("too_large", "The rows are larger than an evaluator takes.")
            fetched = await self._fetch(rows.blob, [room.requester])
            note = msgspec.to_builtins(rows.as_answer()) | {"fetched": fetched}
            await self.desk.workers.store(self.desk.books.note, room.cid, ROWS, "", note)
        return rows

    async def step(self, room: Room, seen: Seen) -> dict[str, Statement | None]:
        """Measure every entry that can be had now; what is known of all, None where nothing is.

        One entry, however hostile, never keeps the others from being measured.

        Raises:
            PeerError: the requester's rows are not here and cannot be had now.
            InvalidOrder: `wrong_rows`: those are not the rows that were committed to.
            SandboxError: there is no sandbox to measure in.
            StoreError: not enough room on the disk.
        """
        trouble: OpenstallError | None = None
        facts = room.facts(seen)
        rows = await self.bring_rows(room)
        found: dict[str, Statement | None] = {}
        for entrant, model in facts.counted:
            known = await self.desk.workers.store(self.desk.books.noted, room.cid, ENTRY, entrant)
            if known is not None and (known.get("model"), known.get("seed")) == (model, facts.seed):
                found[entrant] = read_statement(canonical.encode(known["statement"]))
                continue
            try:
                found[entrant] = await self._measure(room, facts, rows, entrant, model)
            except (PeerError, InvalidOrder, InvalidRecord, SandboxError, StoreError) as error:
                if error.code == "wrong_rows":
                    raise  # the requester's fault, and no entry's
                log.info("an entry cannot be measured now", request=room.cid, who=entrant, code=error.code)
                found[entrant] = None
                if isinstance(error, StoreError):
                    trouble = error
                elif isinstance(error, SandboxError | InvalidRecord) and error.code not in BROKEN_OFF:
                    raise
        if trouble is not None and not any(found.values()):
            raise trouble
        return found

    async def _measure(
        self, room: Room, facts: Facts, rows: SealedRows, entrant: str, model: str
    ) -> Statement:
        if self._broken[room.cid, model] >= MOST_BREAKS:
            raise SandboxError("crashed", "Each run of the model was broken off.")
        kept = await self._obtained(room, entrant, bytes.fromhex(model))
        params = self.params(room, facts.seed, f"{room.cid}/{model}")
        try:
            evaluated = await self.measure(room, delivery_in(kept), bytes.fromhex(kept["key"]), rows, params)
        except (InvalidRecord, SandboxError) as error:
            self._broken[room.cid, model] += error.code in BROKEN_OFF
            raise
        body = room.body
        raw = statement_of(
            evaluated,
            params,
            network=self.desk.me.network,
            chain_id=body.chain_id,
            key=room.key.hex(),
            request=room.request_hash.hex(),
            attempt=1,
            evaluator=self.desk.my_wallet,
            model_sha256=model,
            rows=body.rows,
            rows_root=body.rows_root,
            at=self.desk.clock.now(),
        )
        note = {**kept, "model": model, "seed": facts.seed, "statement": canonical.decode(raw)}
        await self.desk.workers.store(self.desk.books.note, room.cid, ENTRY, entrant, note)
        return read_statement(raw)

    def params(self, room: Room, seed: int, about: str) -> AssessParams:
        """What the sandbox is told to measure."""
        return assess_params(room.body, seed=seed, salt_seed=answers_seed(self.seed, about))

    async def measure(
        self, room: Room, delivery: Delivery, key: bytes, rows: SealedRows, params: AssessParams
    ) -> Evaluated:
        """One model on the rows, both opened in a folder that is removed afterwards.

        Raises:
            InvalidOrder: rows or model are not what was committed to.
            SandboxError: no sandbox.
        """
        async with self._one_at_a_time:
            place = self.folder / secrets.token_hex(8)
            work, blobs = self.desk.workers.work, self.blobs
            try:
                await work(lambda: place.mkdir(parents=True, mode=0o700))
                table = await self._open_rows(rows, room, place / "rows")
                package = blobs.path(delivery.blob.cid)
                await trio.to_thread.run_sync(lambda: unseal(package, key, delivery.files, place / "package"))
                opened = place / "package" / delivery.model.name
                return await self.evaluation.evaluate(opened, table, params, count=room.body.rows)
            finally:
                with trio.CancelScope(shield=True):
                    await work(lambda: shutil.rmtree(place, ignore_errors=True))

    async def _open_rows(self, rows: SealedRows, room: Room, folder: Path) -> Path:
        sealed = self.blobs.path(rows.blob.cid)
        try:
            (table,) = await trio.to_thread.run_sync(lambda: unseal(sealed, rows.key, [rows.file], folder))
            await self.desk.workers.work(check_rows, table, rows.seed, room.body)
        except InvalidOrder as error:
            raise InvalidOrder("wrong_rows", error.message, "Nothing is measured on them.") from error
        return table

    async def bring(self, delivery: Delivery, sources: Sequence[str]) -> bool:
        """An encrypted model on this disk; whether it was not there before, and so is not needed otherwise.

        Raises:
            InvalidOrder: it is larger than an evaluator takes, or not what was committed to.
            PeerError: no source can be reached now.
            StoreError: not enough room on the disk.
        """
        opened = sum(entry.size for entry in delivery.files)
        if max(delivery.blob.size, opened) > MOST_BYTES:
            raise InvalidOrder("too_large", "The model is larger than an evaluator takes.")
        needed = delivery.blob.size + opened + SPARE_BYTES
        need_room(self.folder.parent, needed)
        return await self._fetch(delivery.blob, sources)

    async def _obtained(self, room: Room, entrant: str, model: bytes) -> dict[str, Any]:
        """The delivery and key of an entry, with its blob here: from the entrant, or a fellow evaluator.

        So an entrant who shows its model to one evaluator has shown it to all.
        """
        known = await self.desk.workers.store(self.desk.books.noted, room.cid, ENTRY, entrant)
        if known is not None and delivery_in(known).entry_hash(entrant) == model:
            fetched = await self.bring(delivery_in(known), await self.desk.sources(room, entrant))
            return {
                "doc": known["doc"],
                "key": known["key"],
                "fetched": fetched or bool(known.get("fetched")),
            }
        last: PeerError | InvalidOrder = PeerError("no_entry", "Nobody shows that entry now.")
        sources = await self.desk.sources(room, entrant)
        for peer in sources:
            try:
                shown = await self.talk.delivery(room, peer, entrant, model)
                check_key(shown.key, shown.delivery.key_sha256)
                fetched = await self.bring(shown.delivery, sources)
            except (PeerError, InvalidOrder) as error:
                last = error
            else:
                note = {"doc": shown.delivery.as_dict(), "key": shown.key.hex(), "fetched": fetched}
                await self.desk.workers.store(self.desk.books.note, room.cid, ENTRY, entrant, note)
                return note
        raise last

    async def _fetch(self, blob: BlobRef, sources: Sequence[str]) -> bool:
        """Whether the blob was not here before."""
        fetched = not self.blobs.have(blob.cid)
        with trio.move_on_after(MOST_FETCH_S) as waiting:
            await self.transfer.fetch(blob.cid, sources, expected_size_max=blob.size)
        if waiting.cancelled_caught:  # what came is kept, and the next time goes on from there
            raise PeerError("too_slow", "A model or the rows come too slowly.", "It goes on by itself.")
        try:
            check_blob(self.blobs.info(blob.cid), blob)
        except InvalidOrder:
            if fetched:
                await self.blobs.remove(blob.cid)
            raise
        return fetched


def _rows(note: dict[str, Any]) -> SealedRows:
    answer = {name: value for name, value in note.items() if name != "fetched"}
    return SealedRows.of(msgspec.convert(answer, RowsAnswer))
