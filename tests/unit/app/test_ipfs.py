"""The owner's IPFS: pinning on a real IPFS node of the JavaScript make, and what is refused in words.

The node is `ipfs-core` with `ipfs-http-server`, from npm: the IPFS project's own, whose RPC is that of Kubo.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from ipfs_lab import rpc_server

from openstall.app.events import EventBus
from openstall.app.services.blobs import kubo
from openstall.app.services.blobs.ipfs import Ipfs
from openstall.app.services.orders.sale_wiring import mirrors_of
from openstall.app.threads import Workers
from openstall.market.errors import OpenstallError
from openstall.market.records import Listing
from openstall.p2p import unixfs
from openstall.p2p.blob_manifest import BlobInfo
from openstall.p2p.blobs import BlobStore
from openstall.p2p.mirrors import Mirror
from openstall.p2p.web_guard import Web
from openstall.store.database import Store
from openstall.store.settings import Settings

HASH = "ab" * 32
LISTING: dict[str, Any] = {
    "title": "Model",
    "summary": "Two classes.",
    "licence": "MIT",
    "format": "onnx",
    "files": [{"name": "model.onnx", "size": 4096, "sha256": HASH}],
    "blob": {"cid": "b" + "a" * 58, "size": 4200, "sha256": HASH},
    "key_sha256": HASH,
    "card": {"intended_use": "Tests.", "training_data": "None.", "limits": "All.", "metrics": []},
    "price_micro": 1,
    "wallet": "0x" + "a1" * 20,
    "chain_id": 7,
    "escrow": "0x" + "b2" * 20,
    "arbiter": "",
    "deliver_s": 3600,
    "review_s": 86_400,
}


class Told:
    """What a person sees while it works."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int]] = []

    def __call__(self, stage: str, done: int = 0, total: int = 0, _unit: str = "") -> None:
        self.stages.append((stage, done, total))

    soon = __call__


@dataclass(kw_only=True)
class Owner:
    """A store of blobs and the settings beside it."""

    ipfs: Ipfs
    blobs: BlobStore
    folder: Path

    async def add(self, content: bytes) -> BlobInfo:
        (self.folder / "source").write_bytes(content)
        return await self.blobs.add_file(self.folder / "source")

    async def pin(self, info: BlobInfo, *, sealed: bool = True) -> dict[str, Any]:
        progress: Any = Told()
        return await self.ipfs.pin(info, sealed=sealed, progress=progress)


@pytest.fixture(scope="module")
def rpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rpc_server(tmp_path_factory.mktemp("rpc") / "repository") as base:
        yield base


def keeps(rpc: str, address: str) -> bool:
    """Whether the node itself says that it keeps a file."""
    answer = httpx.post(f"{rpc}/api/v0/pin/ls", params={"arg": address}, timeout=30)
    assert answer.status_code == 200 or "is not pinned" in answer.json()["Message"]
    return answer.status_code == 200


def all_at(rpc: str) -> set[str]:
    """All that the node says that it keeps."""
    answer = httpx.post(f"{rpc}/api/v0/pin/ls", params={"type": "recursive"}, timeout=30)
    return set(answer.json()["Keys"])


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    store = Store(tmp_path / "store.sqlite")
    blobs = BlobStore(tmp_path / "blobs")
    yield Owner(ipfs=ipfs_of(store, blobs), blobs=blobs, folder=tmp_path)
    store.close()


def ipfs_of(store: Store, blobs: BlobStore) -> Ipfs:
    return Ipfs(blobs=blobs, settings=Settings(store), workers=Workers(), bus=EventBus())


@contextmanager
def other_server() -> Iterator[str]:
    """What listens there is no IPFS node: it answers everything with more than is read."""

    class Floods(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(b'{"Hash":"' + b"a" * 59 + b'"}' + b"\n" * kubo.MAX_ANSWER)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Floods)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


async def refused(action: Any) -> str:
    with pytest.raises(OpenstallError) as caught:
        await action
    return caught.value.code


@pytest.mark.parametrize("size", [0, 7, 3 * 1024 * 1024 + 5])
async def test_a_package_is_pinned_under_the_address_of_its_record_and_unpinned(
    owner: Owner, rpc: str, size: int
) -> None:
    info = await owner.add(os.urandom(size))
    await owner.ipfs.change(gateway=None, node=rpc)
    for _ in range(2):  # again does no harm
        done = await owner.pin(info)
    with owner.blobs.open(info.cid) as file:
        assert done == {"cid": info.cid, "ipfs": unixfs.cid_of(file)}
    assert keeps(rpc, done["ipfs"])
    assert owner.ipfs.view_now()["pins"] == [done]
    assert await refused(owner.ipfs.change(gateway=None, node="")) == "pinned_there"
    assert await owner.ipfs.unpin(info.cid) == done
    assert not keeps(rpc, done["ipfs"])
    assert await refused(owner.ipfs.unpin(info.cid)) == "not_pinned"
    assert owner.ipfs.view_now() == {"gateway": "", "node": rpc, "pins": []}


async def test_what_the_node_dropped_by_itself_can_be_unpinned(owner: Owner, rpc: str) -> None:
    info = await owner.add(b"package")
    await owner.ipfs.change(gateway=None, node=rpc)
    done = await owner.pin(info)
    kubo.unpin(rpc, done["ipfs"])
    assert await owner.ipfs.unpin(info.cid) == done


async def test_another_address_than_ours_is_an_error_and_does_not_stay(
    owner: Owner, rpc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await owner.add(os.urandom(700_000))
    await owner.ipfs.change(gateway=None, node=rpc)
    before = all_at(rpc)
    monkeypatch.setitem(kubo._ADD, "chunker", "size-65536")
    with pytest.raises(OpenstallError) as caught:
        await owner.pin(info)
    assert caught.value.code == "other_address"
    assert "It was not kept." in caught.value.message
    assert all_at(rpc) == before
    assert owner.ipfs.view_now()["pins"] == []


async def test_what_is_refused_in_words(owner: Owner, rpc: str) -> None:
    info = await owner.add(b"package")
    assert await refused(owner.pin(info)) == "no_ipfs_node"
    for node in ("http://10.0.0.1:5001", "https://127.0.0.1:5001", "http://127.0.0.1:5001/api", "nonsense"):
        assert await refused(owner.ipfs.change(gateway=None, node=node)) == "bad_ipfs_node"
    await owner.ipfs.change(gateway=None, node=rpc)
    assert await refused(owner.pin(info, sealed=False)) == "not_encrypted"
    with other_server() as base:
        await owner.ipfs.change(gateway=None, node=base)
        assert await refused(owner.pin(info)) == "no_ipfs_node_there"
    assert await refused(owner.pin(info)) == "ipfs_node_away"
    assert owner.ipfs.view_now()["pins"] == []


async def test_the_node_is_away_and_the_package_stays_pinned_in_the_books(owner: Owner, rpc: str) -> None:
    info = await owner.add(b"package")
    await owner.ipfs.change(gateway=None, node=rpc)
    done = await owner.pin(info)
    owner.ipfs._addresses = type(owner.ipfs._addresses)(node="http://127.0.0.1:1")
    assert await refused(owner.ipfs.unpin(info.cid)) == "ipfs_node_away"
    assert owner.ipfs.view_now()["pins"] == [done]


async def test_addresses_outlive_the_process_and_are_used_for_fetching(owner: Owner) -> None:
    address = "bafybei" + "a" * 52
    assert owner.ipfs.sources(address) == []
    await owner.ipfs.change(gateway="http://localhost:8080", node="http://127.0.0.1:5001")
    again = ipfs_of(owner.ipfs.settings._store, owner.blobs)
    await again.start()
    assert again.view_now() == {
        "gateway": "http://127.0.0.1:8080", "node": "http://127.0.0.1:5001", "pins": [],
    }  # fmt: skip
    (source,) = again.sources(address)
    assert source.url == f"http://127.0.0.1:8080/ipfs/{address}"
    assert again.sources("") == []
    await again.change(gateway="", node=None)
    assert again.sources(address) == []
    await again.aclose()


async def test_a_listing_names_files_and_only_the_owner_names_servers(owner: Owner) -> None:
    """Asked for a package are the mirrors of its listing, and the owner's gateway for the address in it."""
    address = "bafybei" + "a" * 52
    mirror = "https://seller.example/model"

    class Shelf:
        """One listing."""

        ipfs = address

        async def held(self, _cid: str) -> Any:
            body = msgspec.convert({**LISTING, "mirrors": [mirror], "ipfs": self.ipfs}, Listing)
            return SimpleNamespace(body=body)

    shelf = Shelf()
    ground: Any = SimpleNamespace(catalogue=shelf, web=Web(), ipfs=owner.ipfs)

    async def urls() -> list[str]:
        return [one.url for one in await mirrors_of(ground, "cid") if isinstance(one, Mirror)]

    assert await urls() == [mirror]
    await owner.ipfs.change(gateway="http://127.0.0.1:8080", node=None)
    assert await urls() == [mirror, f"http://127.0.0.1:8080/ipfs/{address}"]
    shelf.ipfs = ""
    assert await urls() == [mirror]
    await owner.ipfs.aclose()
    await ground.web.aclose()
