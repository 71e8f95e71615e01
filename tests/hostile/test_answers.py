"""A peer that answers nonsense to what an honest node asks it: the node goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from openstall.p2p import discovery, hello
from openstall.p2p.discovery import Discovery, DiscoverySettings
from openstall.p2p.host import PeerHost, Rate

NewHost = Callable[..., Awaitable[PeerHost]]
EASY = Rate(per_s=1000, burst=1000)
NONSENSE = {
    "not unicode": b'{"name":"\xff\xfe"}',
    "deep": b'{"x":' + b"[" * 4000,
    "no json": b"\x00",
    "empty": b"",
    "another kind": b"[1]",
    "half a surrogate": b'{"name":"\\ud800"}',
}


async def still_works(host: PeerHost, new_host: NewHost) -> None:
    """An honest peer is greeted and served by it."""
    host.serve("/test/1", _echo, max_request=100, max_response=100, per_peer_rate=EASY)
    friend = await new_host(name="a friend")
    with trio.fail_after(20):
        await friend.connect(host.addrs[0])
        assert await friend.request(host.peer_id, "/test/1", b"x", timeout_s=10, max_response=100) == b"x"


async def _echo(_: str, payload: bytes) -> bytes:
    return payload


def answering(host: PeerHost, protocol: str, raw: bytes, *, most: int) -> None:
    """This peer's client is modified: whatever it is asked, that is its answer."""

    async def answer(_: str, __: bytes) -> bytes:
        return raw

    host.serve(protocol, answer, max_request=most, max_response=most, per_peer_rate=EASY)


@pytest.mark.parametrize("raw", NONSENSE.values(), ids=NONSENSE.keys())
async def test_a_greeting_that_makes_no_sense_ends_nothing_but_itself(new_host: NewHost, raw: bytes) -> None:
    honest, bad = await new_host(), await new_host()
    answering(bad, hello.PROTOCOL, raw, most=hello.MAX_BYTES)
    with trio.fail_after(20):
        assert (await honest.connect(bad.addrs[0])).name == ""
    await still_works(honest, new_host)


@pytest.mark.parametrize("raw", [b'[{"peer_id":"\xff"}]', b'[{"x":' + b"[" * 9000, b"[7]", b""])
async def test_a_peer_exchange_that_makes_no_sense_does_not_end_the_search_for_peers(
    new_host: NewHost, nursery: trio.Nursery, raw: bytes
) -> None:
    honest, bad = await new_host(), await new_host()
    asked = trio.Event()

    async def answer(_: str, __: bytes) -> Any:
        asked.set()
        return raw

    bad.serve(
        discovery.PROTOCOL, answer, max_request=0, max_response=discovery.MAX_ANSWER, per_peer_rate=EASY
    )
    settings = DiscoverySettings(bootstrap=[bad.addrs[0]], lan=False)
    await nursery.start(Discovery(host=honest, settings=settings).run)
    with trio.fail_after(20):
        await asked.wait()
    await still_works(honest, new_host)
