"""A thousand simulated peers: after a partition, with a late joiner, with some away, with liars."""

from __future__ import annotations

import os
from collections.abc import Iterable

import trio
from simnet import SimNet, SimPeer, simulate
from table import Row

from openstall.p2p.catalogue import SYNC_EVERY_S

PEERS = int(os.environ.get("OPENSTALL_SIMULATED_PEERS", "1000"))
DIALS = 6
"""Links that a peer makes by itself; with those of others it has twice as many, like a node (12)."""
RECORDS = 200
BURSTS, AT_ONCE = 2, 10
"""So often so many records are published at one moment."""
LATE_RECORDS = 1_000
SEED = 7


def raw(number: int, by: str = "") -> bytes:
    """The bytes of some record of 1 KB."""
    return b"record %s %d " % (by.encode(), number) + bytes(1000)


async def settled(net: SimNet, nursery: trio.Nursery, *, records: int) -> list[SimPeer]:
    """A network in which everybody holds the same."""
    peers = net.grow(PEERS)
    for number in range(records):
        cid = net.put(raw(number))
        for peer in peers:
            peer.store.add(cid)
    await net.run(peers, nursery)
    net.link_at_random(peers, peers, DIALS)
    await trio.sleep(5)
    return peers


async def burst(net: SimNet, peers: list[SimPeer], name: str) -> None:
    """Several publish at one moment."""
    for number in range(AT_ONCE):
        await net.draw.choice(peers).publish(raw(number, name))


async def partition(net: SimNet, nursery: trio.Nursery) -> tuple[float | None, int]:
    """Two halves that do not see each other publish on, and meet again."""
    peers = await settled(net, nursery, records=RECORDS)
    half = len(peers) // 2
    left, right = peers[:half], peers[half:]
    sides = {one.host.peer_id: one in left for one in peers}
    cut = [
        (one.host.peer_id, other) for one in left for other in list(one.host.links) if sides[other] is False
    ]
    for one, other in cut:
        net.cut(one, other)
    for number in range(BURSTS):
        await burst(net, left, f"left {number}")
        await burst(net, right, f"right {number}")
        await trio.sleep(SYNC_EVERY_S)
    for one, other in cut:
        net.link(one, other)
    before = net.requests
    return await net.equal(peers, within_s=10 * SYNC_EVERY_S), net.requests - before


async def late_joiner(net: SimNet, nursery: trio.Nursery) -> tuple[float | None, int]:
    """One comes late and holds nothing."""
    peers = await settled(net, nursery, records=LATE_RECORDS)
    late = net.grow(1)
    await net.run(late, nursery)
    net.link_at_random(late, peers[:-1], DIALS)
    return await net.equal([peers[0], *late], within_s=10 * SYNC_EVERY_S), late[0].host.received


async def some_away(net: SimNet, nursery: trio.Nursery, share: float) -> float | None:
    """At any moment a share of the peers is off; everybody publishes; then all come back."""
    peers = await settled(net, nursery, records=RECORDS)
    away: list[SimPeer] = []
    for number in range(BURSTS):
        net.link_at_random(away, peers, DIALS)
        away = net.draw.sample(peers, int(share * len(peers)))
        for one in away:
            for other in list(one.host.links):
                net.cut(one.host.peer_id, other)
        gone = set(map(id, away))
        await burst(net, [one for one in peers if id(one) not in gone], f"on {number}")
        await trio.sleep(SYNC_EVERY_S)
    net.link_at_random(away, peers, DIALS)
    return await net.equal(peers, within_s=10 * SYNC_EVERY_S)


class Liar(SimPeer):
    """Lists what it does not give, and gives what is forged."""

    def __init__(self, net: SimNet, number: int) -> None:
        super().__init__(net, number)
        genuine = self.store.bodies
        self.store.bodies = lambda cids: {  # type: ignore[method-assign]
            one: (b"forged" + body if net.draw.random() < 0.5 else body)
            for one, body in genuine(cids).items()
            if net.draw.random() < 0.5
        }


async def liars(net: SimNet, nursery: trio.Nursery, share: float) -> tuple[float | None, int]:
    """A share of all peers lies; the honest publish, and must hold each other's records."""
    count = int(share * PEERS)
    honest, bad = net.grow(PEERS - count), net.grow(count, Liar)
    peers = [*honest, *bad]
    await net.run(peers, nursery)
    net.link_at_random(peers, peers, DIALS)
    await trio.sleep(5)
    for number in range(BURSTS):
        await burst(net, honest, f"honest {number}")
        await trio.sleep(2)
    return await net.equal(honest, within_s=20 * SYNC_EVERY_S), net.bans


def rows() -> Iterable[Row]:
    """The lines of the table."""
    took, requests = simulate(partition, seed=SEED)
    yield _row("1,000 peers after a partition in halves", took, f"{requests:,} requests among all; no gossip")
    took, received = simulate(late_joiner, seed=SEED)
    yield _row(
        "a late joiner among 1,000",
        took,
        f"{LATE_RECORDS:,} records of 1 KB, {received / 2**20:.1f} MB in all",
    )
    for share in (0.2,):
        took = simulate(lambda net, nursery, share=share: some_away(net, nursery, share), seed=SEED)  # type: ignore[misc]
        yield _row(f"1,000 peers, {share:.0%} away at any time", took, "after the last have come back")
    for share in (0.3,):
        took, bans = simulate(lambda net, nursery, share=share: liars(net, nursery, share), seed=SEED)  # type: ignore[misc]
        yield _row(f"1,000 peers, {share:.0%} of them liars", took, f"{bans:,} bans of liars", limit=4)


def _row(name: str, took: float | None, note: str, *, limit: int = 2) -> Row:
    rounds = float("inf") if took is None else took / SYNC_EVERY_S
    shown = "never" if took is None else f"{took:.1f} s of virtual time"
    name = name.replace("1,000", f"{PEERS:,}")
    return Row(
        name=f"simulated: {name}: all equal",
        value=rounds,
        unit="rounds",
        limit=f"<= {limit} rounds",
        ok=rounds <= limit,
        note=f"{shown}; a round is {SYNC_EVERY_S:.0f} s; {note}; seed {SEED}",
    )
