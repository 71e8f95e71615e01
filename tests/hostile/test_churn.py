"""Peers come and go all day: a node that stays holds no more tasks, descriptors or memory than before."""

from __future__ import annotations

import gc
import os
import random
import socket
from collections.abc import Awaitable, Callable

import psutil
import pytest
import trio

from openstall.market.errors import PeerError
from openstall.p2p import engine
from openstall.p2p.discovery import Discovery, DiscoverySettings
from openstall.p2p.framing import Framed
from openstall.p2p.host import HostLimits, PeerHost, Rate

NewHost = Callable[..., Awaitable[PeerHost]]
EASY = Rate(per_s=1000, burst=1000)
COMINGS_A_DAY = 960
"""Forty an hour; each lives for as long as it takes, since nothing here waits for a clock."""


async def echo(_: str, payload: bytes) -> bytes:
    return payload


async def talk(_: str, framed: Framed) -> None:
    while (frame := await framed.receive()) is not None:
        await framed.send(frame)


def serving(host: PeerHost) -> PeerHost:
    host.serve("/test/1", echo, max_request=1000, max_response=1000, per_peer_rate=EASY)
    host.serve_stream("/talk/1", talk, max_frame=1000, per_peer_rate=EASY)
    return host


async def visit(node: PeerHost, draw: random.Random) -> None:
    """One peer comes, does something, and leaves in one of several ways."""
    way = draw.randrange(5)
    if way == 4:  # somebody who is no peer at all
        port = int(node.addrs[0].split("/")[4])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(os.urandom(draw.choice((1, 20, 500))))
        return
    async with PeerHost(seed=os.urandom(32), network="test") as guest:
        await guest.connect(node.addrs[0])
        await guest.request(node.peer_id, "/test/1", b"x", timeout_s=10, max_response=1000)
        framed = await guest.open_stream(node.peer_id, "/talk/1", timeout_s=10, max_frame=1000)
        await framed.send(b"hello")
        await framed.receive(timeout_s=10)
        if way == 0:
            await framed.aclose()
        elif way == 1:
            await framed.reset()
        elif way == 2:  # the stream stays open until the connection ends
            for connection in engine.connections_of(guest._swarm, node.peer_id):
                await connection.close()
        elif way == 3:
            with pytest.raises(PeerError):
                await guest.request(node.peer_id, "/nobody/1", b"x", timeout_s=10, max_response=1000)


def held() -> tuple[int, int]:
    """Tasks and descriptors of this process."""
    return trio.lowlevel.current_statistics().tasks_living, psutil.Process().num_fds()


async def quiet(node: PeerHost) -> None:
    """Wait until everybody has gone."""
    with trio.fail_after(30):
        while node.peers() or node.entrance.inside:  # noqa: ASYNC110 - states of libp2p have no events
            await trio.sleep(0.02)


async def live(node: PeerHost, comings: int, *, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(comings // 4):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(visit, node, draw)
    await quiet(node)
    gc.collect()


async def day(new_host: NewHost, nursery: trio.Nursery, comings: int) -> None:
    node = serving(await new_host(limits=HostLimits(max_address_book=100)))
    await nursery.start(Discovery(host=node, settings=DiscoverySettings(lan=False, exchange=True)).run)
    await live(node, 24, seed=1)
    before, memory = held(), psutil.Process().memory_info().rss
    await live(node, comings, seed=2)
    after = held()
    assert after[0] - before[0] <= 8, "tasks stay behind (some dial whom they remember)"
    assert after[1] - before[1] <= 4, "descriptors stay behind"
    assert psutil.Process().memory_info().rss - memory < 24 * 2**20
    assert not node._busy
    assert not node._talking
    assert node._budgets.room.held == 0
    assert len(node.book.recent(1000)) <= 100
    assert len(node._sessions._open) == 0


async def test_an_hour_of_coming_and_going_leaves_nothing_behind(
    new_host: NewHost, nursery: trio.Nursery
) -> None:
    await day(new_host, nursery, 40)


@pytest.mark.slow
async def test_a_day_of_coming_and_going_leaves_nothing_behind(
    new_host: NewHost, nursery: trio.Nursery
) -> None:
    await day(new_host, nursery, COMINGS_A_DAY)
