"""The requester's side of the prizes: each model that was paid for, opened into the library."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from openstall.app.services.contests.desk import ContestDesk, Room, Seen, log
from openstall.app.services.contests.talk import ContestTalk
from openstall.app.services.custom.talk import Shown
from openstall.app.services.keys import peer_box_secret
from openstall.app.services.orders.blob_access import check_blob
from openstall.app.services.sealing import check_key, open_key, unseal
from openstall.ledger.contest import ContestClient, Prize
from openstall.market.errors import InvalidOrder, OpenstallError, PeerError, StoreError
from openstall.market.fields import body_as_dict
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.store.library import Library

MODEL = "model"
"""The requester's note on a model that it has paid for: where it lies."""


@dataclass(slots=True, kw_only=True)
class PrizeModels:
    """Fetches and opens them."""

    desk: ContestDesk
    talk: ContestTalk
    blobs: BlobStore
    transfer: BlobTransfer
    library: Library
    folder: Path
    seed: bytes

    async def step(self, room: Room, seen: Seen) -> bool:
        """Take in what was handed over; whether everything that was paid for is here.

        Raises:
            PeerError: nobody who has a model can be reached now.
            InvalidOrder: nobody gives what was measured.
            StoreError: not enough room on the disk.
        """
        prizes = await self.desk.workers.chain(ContestClient(self.desk.chain).prizes, room.key)
        have = await self.desk.workers.store(self.desk.books.notes, room.cid, MODEL)
        trouble: OpenstallError | None = None
        for prize in prizes:
            if prize.amount_micro and prize.entrant not in have:
                try:
                    await self._take_in(room, seen, prize)
                except (PeerError, InvalidOrder) as error:
                    log.info("a model is not here yet", request=room.cid, who=prize.entrant, code=error.code)
                    trouble = error
        if trouble is not None:
            raise trouble
        return True

    async def paths(self, room: Room) -> list[str]:
        """Where the models lie that were paid for."""
        have = await self.desk.workers.store(self.desk.books.notes, room.cid, MODEL)
        return [str(note["path"]) for note in have.values()]

    async def _take_in(self, room: Room, seen: Seen, prize: Prize) -> None:
        model = room.model_of(seen, prize.entrant)
        if model is None:
            raise InvalidOrder("no_entry", "The chain shows a prize without an entry.")
        sources = await self.desk.sources(room, prize.entrant)
        shown = await self._shown(room, prize, model, sources, with_key=False)
        try:
            key = open_key(prize.sealed_key, peer_box_secret(self.seed), shown.delivery.key_sha256)
        except InvalidOrder:
            # The winner handed over what opens nothing; the evaluators measured with the right key.
            shown = await self._shown(room, prize, model, sources, with_key=True)
            key = shown.key
        delivery = shown.delivery
        needed = delivery.blob.size + sum(entry.size for entry in delivery.files)
        if shutil.disk_usage(self.folder.parent).free < needed:
            raise StoreError(
                "disk_full",
                f"The model needs {needed // 2**20 + 1} MiB of free disk.",
                "Free some space; it is fetched by itself.",
            )
        found = await self.transfer.fetch(delivery.blob.cid, sources, expected_size_max=delivery.blob.size)
        check_blob(found, delivery.blob)
        target = self.folder / model.hex()[:16]
        sealed = self.blobs.path(delivery.blob.cid)
        await trio.to_thread.run_sync(lambda: unseal(sealed, key, delivery.files, target))
        await self._enter(room, prize, model, [body_as_dict(entry) for entry in delivery.files], target)

    async def _shown(
        self, room: Room, prize: Prize, model: bytes, sources: list[str], *, with_key: bool
    ) -> Shown:
        """What a winner entered, from it or from an evaluator."""
        last: PeerError | InvalidOrder = PeerError("no_entry", "Nobody shows that model now.")
        for peer in sources:
            try:
                shown = await self.talk.delivery(room, peer, prize.entrant, model)
                if with_key:
                    check_key(shown.key, shown.delivery.key_sha256)
            except (PeerError, InvalidOrder) as error:
                last = error
            else:
                return shown
        raise last

    async def _maker(self, wallet: str, peer: str | None) -> str:
        """Whose model it is, for its title: the wallet where the name could be taken for another's."""
        if peer is None:
            return wallet
        called = await self.desk.catalogue.peer_names([peer])
        odd = await self.desk.catalogue.marks_of(called)
        return wallet if odd[peer] else called[peer]

    async def _enter(
        self, room: Room, prize: Prize, model: bytes, files: list[dict[str, Any]], target: Path
    ) -> None:
        """Into the library first: a kill in between enters the same once more."""
        peer = await self.desk.catalogue.peer_of(prize.entrant)
        by = await self._maker(prize.entrant, peer)
        title = f"{room.body.title}, by {by}"
        await self.desk.workers.store(
            lambda: self.library.add(
                package_id=model.hex(),
                listing_cid=room.cid,
                title=title,
                path=str(target),
                files=files,
                bought_at=self.desk.clock.now(),
            )
        )
        await self.desk.note(room, MODEL, prize.entrant, {"path": str(target)})
