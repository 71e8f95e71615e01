"""Files of jobs between a node and its rigs: a store and a protocol apart from the market's.

Each file is here for as long as a job needs it, and only for the one peer that it is meant for.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from openstall.app.services.rigs.wire import FILES_PROTOCOL, FileRef
from openstall.market.errors import PeerError
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.host import PeerHost, Rate

RATE = Rate(per_s=50, burst=500)
"""Many small jobs one after the other have many small files."""


@dataclass(slots=True, eq=False)
class RigFiles:
    """Offers files to the other side, and brings its files here. For the trio thread."""

    store: BlobStore
    _transfer: BlobTransfer | None = None
    _uses: Counter[str] = field(default_factory=Counter)
    _granted: Counter[tuple[str, str]] = field(default_factory=Counter)
    _changing: trio.Lock = field(default_factory=trio.Lock)
    """Held while a file comes or goes, so that none is removed that another job has just added."""

    @classmethod
    def fresh(cls, folder: Path) -> RigFiles:
        """An empty store: what an earlier run left belongs to no job any more. Blocking."""
        shutil.rmtree(folder, ignore_errors=True)
        return cls(BlobStore(folder))

    def serve(self, host: PeerHost) -> None:
        """Hand files out on this host."""
        self._transfer = BlobTransfer(
            host=host, store=self.store, allow=self._allowed, protocol=FILES_PROTOCOL, rate=RATE
        )

    async def offer(self, path: Path, peer_id: str) -> FileRef:
        """Copy a file into the store for one peer, until `drop`.

        Raises:
            StoreError: no room on the disk.
        """
        async with self._changing:
            info = await self.store.add_file(path)
            self._uses[info.cid] += 1
            self._granted[info.cid, peer_id] += 1
        return FileRef(name=path.name, cid=info.cid, size=info.size, sha256=info.sha256)

    async def drop(self, files: Iterable[FileRef], peer_id: str) -> None:
        """Take back what was offered to a peer."""
        for one in files:
            self._granted[one.cid, peer_id] -= 1
            if self._granted[one.cid, peer_id] <= 0:
                del self._granted[one.cid, peer_id]
            await self._release(one.cid)

    async def bring(self, one: FileRef, peer_id: str, folder: Path) -> None:
        """Fetch a file of the other side under its name into `folder`; its name was checked before.

        Raises:
            PeerError: the other side is gone, or the file is not the one that it named.
            StoreError: no room on the disk.
        """
        if self._transfer is None:
            raise PeerError("offline", "This machine is not connected to the network.", "Try again later.")
        async with self._changing:
            self._uses[one.cid] += 1
        try:
            info = await self._transfer.fetch(one.cid, [peer_id], expected_size_max=one.size)
            if (info.size, info.sha256) != (one.size, one.sha256):
                raise PeerError(
                    "wrong_checksum", f"The other machine sent a {one.name} that is not the one it named."
                )
            await self.store.export(one.cid, folder / one.name)
        finally:
            with trio.CancelScope(shield=True):
                await self._release(one.cid)

    async def _release(self, cid: str) -> None:
        async with self._changing:
            self._uses[cid] -= 1
            if self._uses[cid] <= 0:
                del self._uses[cid]
                await self.store.remove(cid)

    def _allowed(self, cid: str, peer_id: str) -> bool:
        return self._granted[cid, peer_id] > 0
