"""Strangers who dial in by the hundred, drop by drop, or with more than one can hold: others are served."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import trio

from openstall.market.errors import PeerError
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.host import HostLimits, PeerHost, Rate

NewHost = Callable[..., Awaitable[PeerHost]]
EASY = Rate(per_s=1000, burst=1000)
STRICT = HostLimits(
    handshake_s=1.0,
    local_networks_count=True,
    max_inbound_per_network=4,
    max_handshakes_per_network=3,
    max_handshakes=6,
    max_request_bytes_per_peer=2_000_000,
)


async def echo(_: str, payload: bytes) -> bytes:
    return payload[:10]


def stall(host: PeerHost) -> PeerHost:
    host.serve("/test/1", echo, max_request=1_000_000, max_response=100, per_peer_rate=EASY)
    return host


async def served(host: PeerHost, friend: PeerHost) -> None:
    """An honest peer is answered."""
    with trio.fail_after(20):
        await friend.connect(host.addrs[0])
        assert await friend.request(host.peer_id, "/test/1", b"x", timeout_s=10, max_response=100) == b"x"


async def dial_from(source: str, host: PeerHost) -> trio.SocketStream:
    port = int(host.addrs[0].split("/")[4])
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    await sock.bind((source, 0))
    await sock.connect(("127.0.0.1", port))
    return trio.SocketStream(sock)


async def hung_up(stream: trio.SocketStream) -> bool:
    """Wait until the other side has closed."""
    async with stream:
        try:
            while await stream.receive_some(4096):
                pass
        except trio.BrokenResourceError:
            return True
    return True


async def test_half_open_handshakes_end_and_hold_nobody_up(new_host: NewHost) -> None:
    """Some say nothing, some a byte now and then: all are closed after a second, which is the limit here."""
    host = stall(await new_host(limits=STRICT))

    async def drip(stream: trio.SocketStream) -> None:
        try:
            for byte in b"\x13/multistream/1.0.0\n" * 50:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.1)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    silent = [await dial_from("127.0.7.1", host) for _ in range(3)]
    dripping = [await dial_from("127.0.8.1", host) for _ in range(3)]
    refused = [await dial_from(f"127.0.{network}.1", host) for network in (7, 8, 9)]
    with trio.fail_after(8):
        async with trio.open_nursery() as nursery:
            for stream in dripping:
                nursery.start_soon(drip, stream)
            for stream in [*silent, *dripping, *refused]:
                assert await hung_up(stream)
            nursery.cancel_scope.cancel()
    assert host.entrance.refused >= 3
    assert not host.entrance.shaking
    await served(host, await new_host())


async def test_a_crowd_in_one_network_leaves_the_places_of_others_free(new_host: NewHost) -> None:
    host = stall(await new_host(limits=STRICT))
    crowd = [await new_host() for _ in range(6)]
    inside = 0
    for one in crowd:  # all of them come from 127.0.0.0/24
        try:
            await one.connect(host.addrs[0], timeout_s=5)
        except PeerError:
            continue
        inside += 1
    assert inside == 4
    assert sum(host.entrance.inside.values()) == 4
    await crowd[0].disconnect(host.peer_id)


async def test_a_banned_network_does_not_get_in(new_host: NewHost) -> None:
    host = await new_host(limits=STRICT)
    host.bouncer.list.shut_out("127.0.7.0/24", by="you", reason="a flood")
    with trio.fail_after(10):
        assert await hung_up(await dial_from("127.0.7.9", host))
    assert host.entrance.refused == 1
    bad = await new_host(listen=["/ip4/127.0.7.9/tcp/0"])
    with pytest.raises(PeerError):
        await host.connect(bad.addrs[0], timeout_s=5)
    assert host.peers() == []


async def test_a_ban_ends_the_connection_and_outlives_the_node(tmp_path: Path) -> None:
    seed, kept = os.urandom(32), tmp_path / "peers.json"
    async with PeerHost(seed=os.urandom(32), network="test") as bad:
        async with PeerHost(seed=seed, peerstore_path=kept, network="test") as host:
            await bad.connect(host.addrs[0])
            async with host.events() as events:
                host.penalise(bad.peer_id, 100, "bad records")
                with trio.fail_after(10):
                    while (await events.receive()).kind != "disconnected":
                        pass
        async with PeerHost(seed=seed, peerstore_path=kept, network="test") as again:
            assert again.is_banned(bad.peer_id)
            with pytest.raises(PeerError) as caught:
                await again.connect(bad.addrs[0])
            assert caught.value.code == "peer_banned"
            assert "openstall peers unban" in caught.value.what_next
            with pytest.raises(PeerError):
                await bad.connect(again.addrs[0], timeout_s=5)
            assert again.bouncer.readmit(bad.peer_id)
            await bad.connect(again.addrs[0])


async def test_requests_of_one_peer_take_so_much_memory_and_no_more(new_host: NewHost) -> None:
    """Twenty requests of a megabyte that hold still before their last byte: two of them have room."""
    host, bad = stall(await new_host(limits=STRICT)), await new_host()
    before = psutil.Process().memory_info().rss
    refused = 0

    async def half() -> None:
        nonlocal refused
        framed = await bad.open_stream(host.peer_id, "/test/1", timeout_s=10, max_frame=4096)
        stream = framed._stream
        try:
            await stream.write((1_000_000).to_bytes(4, "big") + bytes(60_000))
            if await framed.receive(timeout_s=3) is not None:
                refused += 1
        except PeerError:
            pass
        await framed.reset()

    await bad.connect(host.addrs[0])
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(half)
    assert refused == 18
    assert psutil.Process().memory_info().rss - before < 64 * 2**20
    assert host._budgets.room.held <= 2_000_000
    await served(host, await new_host())


async def test_a_peer_whose_questions_take_all_our_time_has_to_wait(new_host: NewHost) -> None:
    clock = trio.current_time()
    host = await new_host(limits=HostLimits(handler_seconds=Rate(per_s=0.0, burst=0.2)))

    async def slow(_: str, payload: bytes) -> bytes:
        await trio.sleep(0.15)
        return payload

    host.serve("/slow/1", slow, max_request=100, max_response=100, per_peer_rate=EASY)
    bad, friend = await new_host(), await new_host()
    await bad.connect(host.addrs[0])
    for _ in range(2):
        await bad.request(host.peer_id, "/slow/1", b"x", timeout_s=10, max_response=100)
    with pytest.raises(RefusedByPeer) as caught:
        await bad.request(host.peer_id, "/slow/1", b"x", timeout_s=10, max_response=100)
    assert caught.value.code == "busy"
    assert trio.current_time() > clock
    await friend.connect(host.addrs[0])
    assert await friend.request(host.peer_id, "/slow/1", b"y", timeout_s=10, max_response=100) == b"y"
