"""The serving side of the blob protocol: what is asked for, whether it may be had, and at what pace."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import trio

from openstall.market.errors import NotFound, OpenstallError, PeerError, Refused
from openstall.p2p import blob_wire, exchange
from openstall.p2p.blob_holders import Holders
from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.blob_rates import FairShare, Turns
from openstall.p2p.blob_wire import Question
from openstall.p2p.blobs import BlobStore
from openstall.p2p.framing import Framed

READ_CHUNKS = 2
RUNS_AT_ONCE = 4
"""Of one peer; its other streams wait for their turn."""


class BlobServer:
    """Answers other peers from the store: whole blobs, and those that are on their way here."""

    def __init__(
        self, *, store: BlobStore, allow: Callable[[str, str], bool], up: FairShare, idle_s: float
    ) -> None:
        self._store = store
        self._allow = allow
        self._up = up
        self._idle_s = idle_s
        self._turns = Turns(RUNS_AT_ONCE)
        self.holders = Holders()
        self.sent_bytes = 0

    async def serve(self, peer_id: str, framed: Framed) -> None:
        """One stream of questions."""
        while (asked := await framed.receive(timeout_s=self._idle_s)) is not None:
            try:
                await self._answer(peer_id, framed, blob_wire.decode(asked))
            except OpenstallError as error:
                if isinstance(error, PeerError):
                    raise
                await framed.send(exchange.encode_refusal(error))

    async def _answer(self, peer_id: str, framed: Framed, question: Question) -> None:
        cid = question.cid
        if not self._store.have_some(cid) or not self._allow(cid, peer_id):
            # The same words for both: what a stranger may not have, it need not know of.
            raise NotFound("no_blob", "The other peer does not have that file for you.")
        result = b""
        match question.kind:
            case "M":
                result = await trio.to_thread.run_sync(self._store.manifest, cid)
            case "H":
                result = blob_wire.encode_holding(self._store.holding(cid))
            case "A":
                self.holders.note(cid, peer_id)
            case "S":
                result = blob_wire.encode_names(self.holders.of(cid, asker=peer_id))
            case _:
                async with self._turns.turn(peer_id):
                    await self._send_run(peer_id, framed, question)
                return
        await framed.send(exchange.encode_result(result))

    async def _send_run(self, peer_id: str, framed: Framed, question: Question) -> None:
        last = question.first + question.count - 1
        if last * CHUNK >= self._store.size(question.cid):
            raise Refused("bad_range", "The file does not have those parts.")
        holding = self._store.holding(question.cid)
        if not holding.whole and not all(index in holding for index in range(question.first, last + 1)):
            raise Refused("not_yet", "The other peer does not have those parts yet.")
        with self._store.open_some(question.cid) as file:
            await framed.send(exchange.encode_result(b""))
            await trio.to_thread.run_sync(self._begin, question, file)
            for at in range(0, question.count, READ_CHUNKS):
                several = min(READ_CHUNKS, question.count - at)
                for chunk in await trio.to_thread.run_sync(_read, file, several):
                    await self._up.take(peer_id, len(chunk))
                    await self._send(framed, chunk)

    def _begin(self, question: Question, file: BinaryIO) -> None:
        self._store.touch(question.cid)
        file.seek(question.first * CHUNK)

    async def _send(self, framed: Framed, chunk: bytes) -> None:
        with trio.move_on_after(self._idle_s):
            await framed.send(chunk)
            self.sent_bytes += len(chunk)
            return
        raise PeerError("too_slow", "The other peer takes nothing any more.")


def _read(file: BinaryIO, chunks: int) -> list[bytes]:
    return [file.read(CHUNK) for _ in range(chunks)]
