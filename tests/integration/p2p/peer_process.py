"""A peer in a process of its own, for the tests: settings as JSON in the first argument, then one JSON line
per event on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from memory_tree import MemoryTree

from openstall.market.errors import InvalidRecord, OpenstallError
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.catalogue import Catalogue
from openstall.p2p.discovery import Discovery, DiscoverySettings
from openstall.p2p.host import PeerHost


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


class FolderRecords(MemoryTree):
    """Records as files too, so that they survive the process."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for one in folder.iterdir():
            super().add(one.read_bytes())

    def add(self, raw: bytes) -> str:
        cid = super().add(raw)
        (self.folder / cid).write_bytes(raw)
        return cid

    async def admit(self, raws: Sequence[bytes], _: str) -> list[str | InvalidRecord]:
        cids: list[str | InvalidRecord] = [self.add(raw) for raw in raws]
        say(event="records", count=len(self.held))
        return cids


async def _watch(host: PeerHost) -> None:
    async with host.events() as events:
        async for event in events:
            say(event=event.kind, peer_id=event.peer.peer_id)


async def _fetch(transfer: BlobTransfer, wanted: dict[str, Any]) -> None:
    def progress(done: int, total: int) -> None:
        say(event="progress", done=done, total=total)

    try:
        info = await transfer.fetch(
            wanted["cid"], wanted["sources"], expected_size_max=wanted["size"], on_progress=progress
        )
    except OpenstallError as error:
        say(event="failed", code=error.code)
    else:
        say(event="fetched", sha256=info.sha256)


async def main(settings: dict[str, Any]) -> None:
    home = Path(settings["home"])
    records, blobs = FolderRecords(home / "records"), BlobStore(home / "blobs")
    for number in range(settings.get("records", 0)):
        records.add(b"record %d" % number)
    shared = [await blobs.add_file(Path(one)) for one in settings.get("share", [])]
    host = PeerHost(
        seed=bytes.fromhex(settings["seed"]),
        listen=settings.get("listen", ["/ip4/127.0.0.1/tcp/0"]),
        peerstore_path=home / "peers.json",
        network="test",
    )
    async with host, trio.open_nursery() as nursery:
        catalogue = Catalogue(host=host, network="test", store=records, admit=records.admit)
        transfer = BlobTransfer(host=host, store=blobs, allow=lambda _cid, _peer: True)
        nursery.start_soon(_watch, host)
        await nursery.start(catalogue.run)
        if "discovery" in settings:
            discovery = Discovery(host=host, settings=DiscoverySettings(**settings["discovery"]))
            await nursery.start(discovery.run)
        say(event="ready", peer_id=host.peer_id, addrs=host.addrs, blobs=[one.cid for one in shared])
        for address in settings.get("connect", []):
            await host.connect(address)
        if "fetch" in settings:
            await _fetch(transfer, settings["fetch"])
        await trio.sleep_forever()


trio.run(main, json.loads(sys.argv[1]))
