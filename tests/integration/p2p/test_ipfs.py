"""A gateway of helia, the real one from npm, as a source of blobs; and where nobody leads the owner to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import trio
from blob_lab import Cheat, Holder
from ipfs_lab import helia_gateway

from openstall.market.errors import PeerError, Refused
from openstall.p2p import unixfs
from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.host import PeerHost
from openstall.p2p.ipfs import Gateway, OwnWeb, gateway_address, own_address, web_for
from openstall.p2p.web_guard import Web, WebError

NewHolder = Callable[..., Awaitable[Holder]]
NewHost = Callable[..., Awaitable[PeerHost]]
SIZES = {"model": 3 * CHUNK + 99, "as long": 3 * CHUNK + 99, "longer": 4 * CHUNK, "small": 7}


@dataclass(frozen=True, kw_only=True)
class Served:
    """A gateway with files of ours, and one address of a file that it does not have."""

    base: str
    content: dict[str, bytes]
    addresses: dict[str, str]
    web: Web = field(default_factory=Web)

    def source(self, name: str) -> Gateway:
        return Gateway(self.base, self.addresses[name], web=self.web, quiet_s=20.0)


@pytest.fixture(scope="module")
def helia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, bytes], dict[str, str]]]:
    folder = tmp_path_factory.mktemp("ipfs")
    content = {name: os.urandom(size) for name, size in SIZES.items()}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    with helia_gateway(*(folder / name for name in content)) as (base, addresses):
        (folder / "missing").write_bytes(b"nobody has it")
        with (folder / "missing").open("rb") as file:
            missing = unixfs.cid_of(file)
        for name, address in zip(content, addresses, strict=True):
            with (folder / name).open("rb") as file:
                assert unixfs.cid_of(file) == address, name
        yield base, content, {**dict(zip(content, addresses, strict=True)), "missing": missing}


@pytest.fixture
async def served(helia: tuple[str, dict[str, bytes], dict[str, str]]) -> AsyncIterator[Served]:
    base, content, addresses = helia
    web = web_for(base)
    yield Served(base=base, content=content, addresses=addresses, web=web)
    await web.aclose()


@pytest.mark.parametrize("name", ["model", "small"])
async def test_a_gateway_gives_what_no_peer_does(
    holder: NewHolder, new_host: NewHost, served: Served, name: str
) -> None:
    """A peer has the manifest and keeps the chunks to itself: all of them come from helia."""
    seller = await holder("seller")
    info = await seller.add(served.content[name])
    miser = Cheat(seller, await new_host(), gives_chunks=False)
    buyer = await holder("buyer")
    await buyer.host.connect(miser.host.addrs[0])
    with trio.fail_after(120):
        await buyer.transfer.fetch(
            info.cid, [miser.host.peer_id], expected_size_max=info.size, servers=[served.source(name)]
        )
    assert buyer.store.path(info.cid).read_bytes() == served.content[name]
    assert buyer.transfer.received_bytes == info.size


@pytest.mark.parametrize(
    ("named", "blamed"),
    [("as long", "corrupt_chunk"), ("longer", "web_wrong_part"), ("missing", "web_missing")],
)
async def test_a_record_that_names_another_address_costs_nothing_but_a_little_time(
    holder: NewHolder, new_host: NewHost, served: Served, named: str, blamed: str
) -> None:
    """Nothing wrong is kept, the gateway is blamed for it, and the seller gives the file all the same."""
    seller = await holder("seller")
    info = await seller.add(served.content["model"])
    miser = Cheat(seller, await new_host(), gives_chunks=False)
    buyer = await holder("buyer", seller)
    await buyer.host.connect(miser.host.addrs[0])
    with trio.fail_after(120):
        with pytest.raises(PeerError):
            await buyer.transfer.fetch(
                info.cid, [miser.host.peer_id], expected_size_max=info.size, servers=[served.source(named)]
            )
        faults = {(one.source, one.reason) for one in buyer.transfer.blamed}
        assert faults == {("IPFS gateway 127.0.0.1", blamed)}
        assert not buyer.store.have(info.cid)
        await buyer.transfer.fetch(
            info.cid, [seller.host.peer_id], expected_size_max=info.size, servers=[served.source(named)]
        )
    assert buyer.store.path(info.cid).read_bytes() == served.content["model"]


async def test_without_a_manifest_nothing_of_a_gateway_is_taken(holder: NewHolder, served: Served) -> None:
    seller, buyer = await holder("seller"), await holder("buyer")
    info = await seller.add(served.content["model"])
    with pytest.raises(PeerError):
        await buyer.transfer.fetch(
            info.cid, [], expected_size_max=info.size, servers=[served.source("model")]
        )
    assert not buyer.store.have(info.cid)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that sends everybody to another path of its own, and what it was asked."""
    asked: list[str] = []

    class Sends(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/secret")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sends)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


async def test_a_gateway_of_ones_own_can_send_us_nowhere(elsewhere: tuple[str, list[str]]) -> None:
    base, asked = elsewhere
    web = OwnWeb(base)
    with pytest.raises(WebError) as caught, trio.fail_after(20):
        async with web.get(f"{base}/ipfs/x"):
            pass
    assert caught.value.code == "web_redirects"
    assert asked == ["/ipfs/x"]
    for url in (
        "http://127.0.0.1:1/",
        f"{base}1/",
        "https://example.org/",
        f"{base}@10.0.0.1/",
        f"{base}/a b",
    ):
        with pytest.raises(WebError):
            async with web.get(url):
                pass
    other = OwnWeb("http://127.0.0.1:1")
    with pytest.raises(WebError) as caught:
        async with other.get(f"{base}/ipfs/x"):
            pass
    assert caught.value.code == "web_forbidden"
    assert asked == ["/ipfs/x"]
    await web.aclose()
    await other.aclose()


async def test_the_web_for_others_never_asks_loopback(elsewhere: tuple[str, list[str]]) -> None:
    base, asked = elsewhere
    web = web_for("https://localhost:1")
    for url in (f"{base}/ipfs/x", "https://localhost:1/ipfs/x", "https://127.0.0.1:1/ipfs/x"):
        with pytest.raises(WebError) as caught, trio.fail_after(20):
            async with web.get(url):
                pass
        assert caught.value.code in ("bad_url", "web_forbidden")
    assert asked == []
    await web.aclose()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (" http://localhost:08080/ ", "http://127.0.0.1:8080"),
        ("https://gateway.example", "https://gateway.example"),
        ("https://gateway.example:8443/", "https://gateway.example:8443"),
    ],
)
def test_addresses_that_an_owner_may_name(typed: str, kept: str) -> None:
    assert gateway_address(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "", "http://example.org", "http://10.0.0.1:8080", "http://192.168.1.1:8080", "http://127.0.0.2:8080",
        "http://0.0.0.0:8080", "http://[::1]:8080", "http://127.0.0.1", "http://127.0.0.1:0",
        "http://127.0.0.1:65536", "http://127.0.0.1:80/ipfs", "http://127.0.0.1:80@example.org",
        "http://127.0.0.1.example.org:80", "https://example.org/ipfs/", "https://user@example.org",
        "https://example.org:99999", "ftp://127.0.0.1:80", "file:///etc", "http://127.0.0.1:80\n",
    ],
)  # fmt: skip
def test_addresses_that_an_owner_may_not_name(typed: str) -> None:
    if typed.strip() == typed:
        with pytest.raises(Refused):
            gateway_address(typed)
    assert own_address(typed) == ""


@pytest.mark.parametrize("address", ["", "../../api/v0/id", "bafy/../x", "QmNoSuchThing", "baf" + "a" * 57])
def test_an_address_in_ipfs_that_a_peer_made_up(address: str) -> None:
    with pytest.raises(WebError):
        Gateway("http://127.0.0.1:8080", address, web=Web())
