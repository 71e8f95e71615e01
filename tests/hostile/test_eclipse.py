"""Somebody who wants to be all that a node sees of the network: crowds, poisoned lists, false addresses."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import trio

from openstall.p2p import discovery, feelers
from openstall.p2p.discovery import CHOSEN, Discovery, DiscoverySettings
from openstall.p2p.host import PeerHost, Rate

NewHost = Callable[..., Awaitable[PeerHost]]
EASY = Rate(per_s=1000, burst=1000)
SETTINGS = DiscoverySettings(lan=False)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - states of libp2p have no events
            await trio.sleep(0.02)


def seen(host: PeerHost) -> set[str]:
    return {one.peer_id for one in host.peers()}


async def test_a_crowd_that_dials_in_does_not_keep_us_from_choosing_whom_we_dial(
    new_host: NewHost, nursery: trio.Nursery
) -> None:
    """Twenty peers of one owner are connected, more than we want: we go on dialling those whom we knew."""
    victim = await new_host()
    honest = [await new_host() for _ in range(CHOSEN)]
    crowd = [await new_host() for _ in range(20)]
    for one in crowd:
        await one.connect(victim.addrs[0])
    await until(lambda: len(victim.peers()) == len(crowd))
    for one in honest:
        victim.book.learn(one.peer_id, [one.addrs[0].split("/p2p/")[0]])
        victim.book.worked(one.peer_id, one.addrs[0].split("/p2p/")[0])
    await nursery.start(Discovery(host=victim, settings=SETTINGS).run)
    await until(lambda: {one.peer_id for one in honest} <= seen(victim))
    assert sum(one.direction == "out" for one in victim.peers()) >= CHOSEN


async def test_one_poisoned_seed_among_two_does_not_decide_whom_we_meet(
    new_host: NewHost, nursery: trio.Nursery
) -> None:
    newcomer, bad, good = await new_host(), await new_host(), await new_host()
    honest = [await new_host() for _ in range(3)]
    for one in honest:
        await one.connect(good.addrs[0])
    await nursery.start(Discovery(host=good, settings=SETTINGS).run)
    strangers = [await new_host(seed=os.urandom(32)) for _ in range(2)]
    false = [
        {"peer_id": one.peer_id, "addrs": [f"/ip4/127.0.0.1/tcp/{number}" for number in range(2, 10)]}
        for one in strangers * 16
    ]

    async def lie(_: str, __: bytes) -> bytes:
        return msgspec.json.encode(false)

    bad.serve(discovery.PROTOCOL, lie, max_request=0, max_response=discovery.MAX_ANSWER, per_peer_rate=EASY)
    settings = DiscoverySettings(bootstrap=[bad.addrs[0], good.addrs[0]], lan=False)
    await nursery.start(Discovery(host=newcomer, settings=settings).run)
    await until(lambda: {one.peer_id for one in honest} <= seen(newcomer))


async def test_nobody_out_there_makes_us_knock_at_doors_in_our_own_network(new_host: NewHost) -> None:
    victim, told = await new_host(), await new_host()
    look = Discovery(host=victim, settings=SETTINGS)
    addrs = [
        "/ip4/127.0.0.1/tcp/631",
        "/ip4/192.168.1.1/tcp/80",
        "/ip4/10.0.0.1/tcp/22",
        "/ip4/169.254.169.254/tcp/80",
        "/ip6/fd00::1/tcp/80",
        "/ip4/0.0.0.0/tcp/80",
        "/ip4/224.0.0.1/tcp/80",
        "/ip4/8.8.4.4/tcp/4001",
    ]
    shared = discovery._Shared(peer_id=told.peer_id, addrs=addrs)
    look._learn(shared, told_by="/ip4/9.9.9.9/tcp/4001")
    assert victim.book.addrs(told.peer_id) == ["/ip4/8.8.4.4/tcp/4001"]


async def test_what_was_only_heard_of_is_tried_now_and_then_and_not_clung_to(new_host: NewHost) -> None:
    victim, honest = await new_host(), await new_host()
    victim.book.learn(honest.peer_id, [honest.addrs[0].split("/p2p/")[0]])
    assert await feelers.feel_once(victim) == honest.peer_id
    assert victim.book.untried() == []
    assert victim.book.recent(1)[0].peer_id == honest.peer_id
    await until(lambda: not victim.peers())
    assert await feelers.feel_once(victim) == ""


async def test_the_anchors_of_the_last_run_are_dialled_first(
    tmp_path: Path, new_host: NewHost, nursery: trio.Nursery
) -> None:
    """A node that knows two thousand false addresses begins with the peers that it had."""
    kept, seed = tmp_path / "peers.json", os.urandom(32)
    anchor = await new_host()
    async with PeerHost(seed=seed, peerstore_path=kept, network="test") as before:
        await before.connect(anchor.addrs[0])
        for number in range(2000):
            name = f"12D3KooWFalse{number}"
            before.book.learn(name, [f"/ip4/{20 + number % 200}.{number // 200}.0.1/tcp/1"])
    assert before.book.anchors() == [anchor.peer_id]
    after = await new_host(seed=seed, peerstore_path=kept)
    assert after.book.recent(1)[0].peer_id == anchor.peer_id
    await nursery.start(Discovery(host=after, settings=SETTINGS).run)
    await until(lambda: anchor.peer_id in seen(after))
