"""Web mirrors over real HTTPS: honest, without ranges, lying, dripping, endless, sending elsewhere."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from blob_lab import Holder
from web_lab import Asked, Manner, WebServer, honest, make_certificate, trusting, web_server

from openstall.market.errors import PeerError
from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.mirrors import Mirror
from openstall.p2p.web_guard import Web, WebError, check_url, is_public

NewHolder = Callable[..., Awaitable[Holder]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("web"))


@pytest.fixture
async def web(certificate: Path) -> AsyncIterator[Web]:
    made = trusting(certificate)
    yield made
    await made.aclose()


def mirror(server: WebServer, web: Web, content: bytes, *, quiet_s: float = 5.0) -> Mirror:
    server.files["/model"] = content
    return Mirror(f"{server.base}/model", web=web, quiet_s=quiet_s)


async def test_a_mirror_alone_gives_manifest_and_file(holder: NewHolder, certificate: Path, web: Web) -> None:
    seller, buyer = await holder("seller"), await holder("buyer")
    content = os.urandom(20 * CHUNK + 99)
    info = await seller.add(content)
    with web_server(certificate) as server:
        one = mirror(server, web, content)
        server.files["/model.manifest"] = seller.store.manifest(info.cid)
        await buyer.transfer.fetch(info.cid, [], expected_size_max=info.size, servers=[one])
    assert buyer.store.path(info.cid).read_bytes() == content


async def test_a_mirror_helps_a_slow_seller(holder: NewHolder, certificate: Path, web: Web) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    content = os.urandom(24 * CHUNK)
    info = await seller.add(content)
    seller.transfer.up.per_s = 4 * CHUNK
    with web_server(certificate) as server:
        one = mirror(server, web, content)
        await buyer.transfer.fetch(
            info.cid, [seller.host.peer_id], expected_size_max=info.size, servers=[one]
        )
        assert server.asked
    assert seller.transfer.server.sent_bytes < info.size
    assert buyer.store.path(info.cid).read_bytes() == content


def ignores_ranges(asked: Asked) -> None:
    asked.head(200, len(asked.content))
    asked.wfile.write(asked.content)


def another_part(asked: Asked) -> None:
    first, last = asked.part
    asked.head(206, last - first + 1, Content_Range=f"bytes 0-{last - first}/{len(asked.content)}")
    asked.wfile.write(asked.content[: last - first + 1])


def another_file(asked: Asked) -> None:
    first, last = asked.part
    asked.head(206, last - first + 1, Content_Range=f"bytes {first}-{last}/{len(asked.content) + 1}")
    asked.wfile.write(asked.content[first : last + 1])


def lies(asked: Asked) -> None:
    first, last = asked.part
    asked.head(206, last - first + 1, Content_Range=f"bytes {first}-{last}/{len(asked.content)}")
    asked.wfile.write(bytes(last - first + 1))


def endless(asked: Asked) -> None:
    first, last = asked.part
    asked.head(206, None, Content_Range=f"bytes {first}-{last}/{len(asked.content)}", Connection="close")
    while not asked.server.stopping.is_set():
        asked.wfile.write(os.urandom(CHUNK))


def drips(asked: Asked) -> None:
    first, last = asked.part
    asked.head(206, last - first + 1, Content_Range=f"bytes {first}-{last}/{len(asked.content)}")
    while not asked.server.stopping.is_set():
        asked.wfile.write(b"x")
        time.sleep(0.05)


def silent(asked: Asked) -> None:
    asked.server.stopping.wait()


def cut(asked: Asked) -> None:
    first, last = asked.part
    asked.head(206, last - first + 1, Content_Range=f"bytes {first}-{last}/{len(asked.content)}")
    asked.wfile.write(asked.content[first : first + 1000])
    asked.close_connection = True


def missing(asked: Asked) -> None:
    asked.head(404, 0)


def nonsense(asked: Asked) -> None:
    asked.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    asked.close_connection = True


def monstrous_head(asked: Asked) -> None:
    asked.wfile.write(b"HTTP/1.1 206 Partial\r\n")
    while not asked.server.stopping.is_set():
        asked.wfile.write(b"X-Filler: " + b"x" * 8000 + b"\r\n")


def goes_round(asked: Asked) -> None:
    asked.head(302, 0, Location="/model")


def to_http(asked: Asked) -> None:
    asked.head(302, 0, Location="http://localhost:80/model")


def to_a_private_network(asked: Asked) -> None:
    asked.head(302, 0, Location="https://10.0.0.1/model")


def to_nowhere(asked: Asked) -> None:
    asked.head(302, 0, Location="https://[::bad/")


@pytest.mark.parametrize(
    "manner",
    [
        ignores_ranges,
        another_part,
        another_file,
        lies,
        endless,
        drips,
        silent,
        cut,
        missing,
        nonsense,
        monstrous_head,
        goes_round,
        to_http,
        to_a_private_network,
        to_nowhere,
    ],
)
async def test_a_bad_mirror_costs_nothing_but_a_little_time(
    holder: NewHolder, certificate: Path, web: Web, manner: Manner
) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    content = os.urandom(6 * CHUNK)
    info = await seller.add(content)
    seller.transfer.up.per_s = 20 * CHUNK
    with web_server(certificate, manner) as server:
        one = mirror(server, web, content, quiet_s=1.0)
        with trio.fail_after(40):
            await buyer.transfer.fetch(
                info.cid, [seller.host.peer_id], expected_size_max=info.size, servers=[one]
            )
    assert buyer.store.path(info.cid).read_bytes() == content


@pytest.mark.parametrize(
    ("manner", "blamed"),
    [
        (ignores_ranges, "web_no_ranges"),
        (lies, "corrupt_chunk"),
        (endless, "corrupt_chunk"),
        (missing, "web_missing"),
        (another_part, "web_wrong_part"),
        (another_file, "web_wrong_part"),
    ],
)
async def test_a_bad_mirror_is_blamed(
    holder: NewHolder, certificate: Path, web: Web, manner: Manner, blamed: str
) -> None:
    seller, buyer = await holder("seller"), await holder("buyer")
    content = os.urandom(3 * CHUNK)
    info = await seller.add(content)

    def manifest_only(asked: Asked) -> None:
        (honest if asked.path.endswith(".manifest") else manner)(asked)

    with web_server(certificate, manifest_only) as server:
        one = mirror(server, web, content)
        server.files["/model.manifest"] = seller.store.manifest(info.cid)
        with pytest.raises(PeerError), trio.fail_after(40):
            await buyer.transfer.fetch(info.cid, [], expected_size_max=info.size, servers=[one])
    assert (buyer.transfer.blamed[0].source, buyer.transfer.blamed[0].reason) == ("localhost", blamed)


async def test_a_redirect_to_another_web_address_is_followed(
    holder: NewHolder, certificate: Path, web: Web
) -> None:
    seller = await holder("seller")
    content = os.urandom(3 * CHUNK)
    info = await seller.add(content)
    buyer = await holder("buyer")
    with web_server(certificate) as store:
        store.files["/there"] = content
        store.files["/there.manifest"] = seller.store.manifest(info.cid)

        def elsewhere(asked: Asked) -> None:
            asked.head(302, 0, Location=store.base + asked.path.replace("model", "there"))

        with web_server(certificate, elsewhere) as server:
            one = mirror(server, web, content)
            await buyer.transfer.fetch(info.cid, [], expected_size_max=info.size, servers=[one])
    assert buyer.store.have(info.cid)


async def test_a_manifest_that_never_ends_is_not_read_to_the_end(certificate: Path, web: Web) -> None:
    def flood(asked: Asked) -> None:
        asked.head(200, None, Connection="close")
        while not asked.server.stopping.is_set():
            asked.wfile.write(bytes(CHUNK))

    with web_server(certificate, flood) as server:
        with pytest.raises(WebError) as caught:
            await mirror(server, web, b"").manifest("cid", most=1000)
        assert caught.value.code == "web_too_much"


async def test_without_the_parameter_of_the_tests_loopback_is_never_asked(certificate: Path) -> None:
    web = Web()
    with web_server(certificate) as server:
        with pytest.raises(WebError) as caught:
            await mirror(server, web, b"").manifest("cid", most=1000)
        assert not server.asked
    assert caught.value.code == "web_forbidden"
    await web.aclose()


async def test_a_certificate_of_nobody_is_refused(certificate: Path) -> None:
    web = Web(reachable=lambda _: True)
    with web_server(certificate) as server:
        with pytest.raises(WebError):
            await mirror(server, web, b"").manifest("cid", most=1000)
        assert not server.asked
    await web.aclose()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::",
        "fe80::1", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2002:c0a8:101::",
        "2001:db8::1", "192.0.2.1", "198.18.0.1",
    ],
)  # fmt: skip
def test_addresses_of_private_networks_are_known(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_of_the_open_internet_are_known(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a", "https://user@example.org/a", "https://example.org", "https://example.org:1a/",
        "https://exam ple.org/", "https://example.org/a#b", "https://example.org/\u00e4", "https://example.org/a\n",
        "https:///a", "ftp://example.org/a", "https://[::1]/a", "https://example.org\\@127.0.0.1/",
    ],
)  # fmt: skip
def test_odd_web_addresses_are_refused(url: str) -> None:
    with pytest.raises(WebError):
        check_url(url)
