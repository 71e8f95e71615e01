"""Peers with a blob store each, honest ones and cheats, for tests of transfers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from openstall.market.errors import NotFound
from openstall.p2p import blob_wire, exchange
from openstall.p2p.blob_manifest import CHUNK, BlobInfo
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost, Rate

PLENTY = Rate(per_s=1000, burst=1000)


class Holder:
    def __init__(self, host: PeerHost, folder: Path, **options: Any) -> None:
        self.host = host
        self.allowed = True
        self.store = BlobStore(folder)
        options.setdefault("allow", lambda _cid, _peer: self.allowed)
        options.setdefault("chunk_timeout_s", 2.0)
        self.transfer = BlobTransfer(host=host, store=self.store, **options)

    async def add(self, content: bytes) -> BlobInfo:
        source = self.store.folder / "source"
        await trio.Path(source).write_bytes(content)
        return await self.store.add_file(source)


class Cheat:
    """Serves a blob, but spoils or withholds some chunks."""

    def __init__(
        self,
        honest: Holder,
        host: PeerHost,
        *,
        spoil: range = range(0),
        withhold: range = range(0),
        gives_chunks: bool = True,
    ) -> None:
        self.host = host
        self._gives_chunks = gives_chunks
        self._honest = honest
        self._spoil, self._withhold = spoil, withhold
        host.serve_stream(blob_wire.PROTOCOL, self._serve, max_frame=1000, per_peer_rate=PLENTY)

    async def _serve(self, _: str, framed: Framed) -> None:
        while (asked := await framed.receive()) is not None:
            question = blob_wire.decode(asked)
            store = self._honest.store
            if question.kind == "M":
                await framed.send(exchange.encode_result(store.manifest(question.cid)))
                continue
            if not self._gives_chunks:
                await framed.send(exchange.encode_refusal(NotFound("no_blob", "Not for you.")))
                continue
            await framed.send(exchange.encode_result(b""))
            content = store.path(question.cid).read_bytes()
            for index in range(question.first, question.first + question.count):
                chunk = content[index * CHUNK : (index + 1) * CHUNK]
                if index in self._withhold:
                    await trio.sleep_forever()
                await framed.send(chunk[:-1] + b"?" if index in self._spoil else chunk)
