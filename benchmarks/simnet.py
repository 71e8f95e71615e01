"""A network of a thousand peers on one virtual clock: the nodes' own sync over links that are not there.

What runs is `p2p.catalogue.Catalogue` and all that it is made of (the digest tree, the walk down it, pulling,
pokes, retries, paces, budgets, scores), one for each peer. What stands in is what it stands on: instead of
libp2p a request is a call after the link's delay, and threads are calls in place, so that a run with one seed
is always the same. Gossip is left out: the sync is the guarantee, and is measured without it. Time is trio's
MockClock, which jumps to the next thing that happens.
"""

from __future__ import annotations

import hashlib
import random
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import trio
import trio.testing

from openstall.market.errors import InvalidRecord, OpenstallError, PeerError
from openstall.market.leaves import LeafTree, leaf_digest, leaf_of
from openstall.p2p.catalogue import Catalogue
from openstall.p2p.exchange import Handler, RefusedByPeer
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate, RateBudget, Scores
from openstall.p2p.sessions import PeerEvent, PeerInfo

NETWORK = "sim"
DELAY_S = (0.01, 0.15)
T = TypeVar("T")


class SimStore:
    """A peer's catalogue. All peers share the bytes of a record."""

    def __init__(self, ether: Mapping[str, bytes]) -> None:
        self._ether = ether
        self._leaves: dict[int, list[str]] = defaultdict(list)
        self._tree = LeafTree()
        self.held: set[str] = set()
        self.root = self._tree.root
        self.branches = self._tree.branches
        self.leaves = self._tree.leaves

    def add(self, cid: str) -> None:
        """Hold a record."""
        if cid not in self.held:
            self.held.add(cid)
            leaf = leaf_of(cid)
            insort(self._leaves[leaf], cid)
            self._tree.put(leaf, leaf_digest(self._leaves[leaf]))

    def lacking(self, cids: Sequence[str]) -> Sequence[str]:
        """Part of `RecordStore`."""
        return [one for one in cids if one not in self.held]

    def bodies(self, cids: Sequence[str]) -> Mapping[str, bytes]:
        """Part of `RecordStore`."""
        return {one: self._ether[one] for one in cids if one in self.held}

    def cids(self, first: int, last: int, *, after: str, limit: int) -> Sequence[str]:
        """Part of `RecordStore`."""
        place = (leaf_of(after), after) if after else (-1, "")
        wanted = sorted(leaf for leaf in self._leaves if first <= leaf <= last and leaf >= place[0])
        found = [(leaf, cid) for leaf in wanted for cid in self._leaves[leaf]]
        return [cid for leaf, cid in found if (leaf, cid) > place][:limit]

    def gaps(self) -> Sequence[str]:
        """Part of `RecordStore`."""
        return ()


@dataclass(slots=True)
class _Served:
    handler: Handler
    budget: RateBudget


class SimHost:
    """What a catalogue sees of its host."""

    def __init__(self, net: SimNet, number: int) -> None:
        self.peer_id = f"peer-{number}"
        self.network = NETWORK
        self.net = net
        self.links: dict[str, float] = {}
        self.received = 0
        self.scores = Scores()
        self._served: dict[str, _Served] = {}
        self._events: set[trio.MemorySendChannel[PeerEvent]] = set()

    def serve(
        self, protocol: str, handler: Handler, *, max_request: int, max_response: int, per_peer_rate: Rate
    ) -> None:
        """As `PeerHost.serve`; sizes are checked by the senders' own code."""
        del max_request, max_response
        self._served[protocol] = _Served(handler, RateBudget(per_peer_rate))

    def _info(self, peer_id: str) -> PeerInfo:
        return PeerInfo(
            peer_id=peer_id,
            name="",
            network=NETWORK,
            addr="",
            direction="out",
            latency_ms=None,
            connected_at=0,
        )

    def peers(self) -> list[PeerInfo]:
        """As `PeerHost.peers`."""
        return [self._info(one) for one in self.links]

    def peer(self, peer_id: str) -> PeerInfo | None:
        """As `PeerHost.peer`."""
        return self._info(peer_id) if peer_id in self.links else None

    @asynccontextmanager
    async def events(self) -> AsyncIterator[trio.MemoryReceiveChannel[PeerEvent]]:
        """As `PeerHost.events`."""
        sender, receiver = trio.open_memory_channel[PeerEvent](1000)
        self._events.add(sender)
        try:
            with receiver:
                yield receiver
        finally:
            self._events.discard(sender)
            sender.close()

    def tell(self, kind: str, peer_id: str) -> None:
        """A peer came or went."""
        for channel in self._events:
            channel.send_nowait(PeerEvent(kind=kind, peer=self._info(peer_id)))  # type: ignore[arg-type]

    def penalise(self, peer_id: str, points: float, reason: str) -> None:
        """As `PeerHost.penalise`."""
        self.net.penalties[reason] += 1
        if self.scores.penalise(peer_id, points):
            self.net.bans += 1
            self.net.cut(self.peer_id, peer_id)

    def is_banned(self, peer_id: str) -> bool:
        """As `PeerHost.is_banned`."""
        return self.scores.is_banned(peer_id)

    async def request(
        self, peer_id: str, protocol: str, payload: bytes, *, timeout_s: float, max_response: int
    ) -> bytes:
        """As `PeerHost.request`, after the delay of the link, there and back."""
        delay_s = self.links.get(peer_id)
        if delay_s is None:
            raise PeerError("peer_unreachable", "The other peer is not reachable.")
        with trio.move_on_after(timeout_s):
            await trio.sleep(delay_s)
            answer = await self.net.hosts[peer_id].answer(self.peer_id, protocol, payload)
            await trio.sleep(delay_s)
            if peer_id not in self.links:
                raise PeerError("stream_cut", "The connection to the other peer broke.")
            if len(answer) > max_response:
                raise PeerError("frame_too_large", "The answer is too large.")
            self.received += len(answer)
            self.net.requests += 1
            return answer
        raise PeerError("peer_silent", "The other peer does not answer.")

    async def answer(self, peer_id: str, protocol: str, payload: bytes) -> bytes:
        """What `exchange.Server` does with a request."""
        served = self._served[protocol]
        if not served.budget.take(peer_id):
            self.penalise(peer_id, 1.0, "too_many_requests")
            raise RefusedByPeer("too_many_requests", "That was asked too often.")
        try:
            return await served.handler(peer_id, payload)
        except OpenstallError as error:
            raise RefusedByPeer(error.code, error.message) from error


class SimPeer:
    """One peer: host, store and catalogue."""

    def __init__(self, net: SimNet, number: int) -> None:
        self.host = SimHost(net, number)
        self.store = SimStore(net.ether)
        self.catalogue = Catalogue(
            host=cast(PeerHost, self.host), network=NETWORK, store=self.store, admit=self.admit, gossip=False
        )

    async def admit(self, raws: Sequence[bytes], _: str) -> Sequence[str | InvalidRecord]:
        """The door: what is in the ether is genuine."""
        found: list[str | InvalidRecord] = []
        for raw in raws:
            cid = hashlib.sha256(raw).hexdigest()
            if raw.startswith(b"forged"):
                found.append(InvalidRecord("bad_signature", "The signature does not match the author."))
                continue
            self.store.add(cid)
            found.append(cid)
        return found

    async def publish(self, raw: bytes) -> str:
        """Sign something new and tell of it."""
        cid = self.host.net.put(raw)
        self.store.add(cid)
        await self.catalogue.announce(cid=cid, record_type="listing", author="x", seq=1, size=len(raw))
        return cid


class SimNet:
    """All peers and their links."""

    def __init__(self, *, seed: int) -> None:
        self.draw = random.Random(seed)
        self.ether: dict[str, bytes] = {}
        self.hosts: dict[str, SimHost] = {}
        self.peers: list[SimPeer] = []
        self.penalties: Counter[str] = Counter()
        self.bans = 0
        self.requests = 0

    def put(self, raw: bytes) -> str:
        """The bytes of a record that some peer holds."""
        cid = hashlib.sha256(raw).hexdigest()
        self.ether[cid] = raw
        return cid

    def grow(self, count: int, make: Callable[[SimNet, int], SimPeer] = SimPeer) -> list[SimPeer]:
        """So many more peers, without links."""
        new = [make(self, len(self.peers) + number) for number in range(count)]
        self.peers += new
        self.hosts |= {one.host.peer_id: one.host for one in new}
        return new

    def link(self, one: str, other: str) -> None:
        """Connect two peers, if neither has shut the other out."""
        first, second = self.hosts[one], self.hosts[other]
        if one == other or other in first.links or first.is_banned(other) or second.is_banned(one):
            return
        first.links[other] = second.links[one] = self.draw.uniform(*DELAY_S)
        first.tell("connected", other)
        second.tell("connected", one)

    def cut(self, one: str, other: str) -> None:
        """And part them."""
        first, second = self.hosts[one], self.hosts[other]
        if first.links.pop(other, None) is not None:
            del second.links[one]
            first.tell("disconnected", other)
            second.tell("disconnected", one)

    def link_at_random(self, peers: Sequence[SimPeer], among: Sequence[SimPeer], each: int) -> None:
        """Every one of `peers` dials so many others."""
        for peer in peers:
            for other in self.draw.sample(among, min(each, len(among))):
                self.link(peer.host.peer_id, other.host.peer_id)

    async def run(self, peers: Iterable[SimPeer], nursery: trio.Nursery) -> None:
        """Start their catalogues."""
        for peer in peers:
            await nursery.start(peer.catalogue.run)

    async def equal(self, peers: Sequence[SimPeer], *, within_s: float, look_s: float = 0.25) -> float | None:
        """Virtual seconds until each of these holds all that there is among them; None if longer."""
        start = trio.current_time()
        everything = set().union(*(one.store.held for one in peers))
        while trio.current_time() - start < within_s:
            if all(everything <= one.store.held for one in peers):
                return trio.current_time() - start
            await trio.sleep(look_s)
        return None


async def _in_place(fn: Callable[..., T], *args: Any, **_: Any) -> T:
    await trio.lowlevel.checkpoint()
    return fn(*args)


def simulate(scenario: Callable[[SimNet, trio.Nursery], Awaitable[T]], *, seed: int) -> T:
    """Run a scenario to its end on a clock of its own."""

    async def main() -> T:
        net = SimNet(seed=seed)
        async with trio.open_nursery() as nursery:
            result = await scenario(net, nursery)
            nursery.cancel_scope.cancel()
        return result

    threads = trio.to_thread.run_sync
    trio.to_thread.run_sync = cast(Any, _in_place)  # one thread, so that nothing depends on the machine
    state = random.getstate()
    random.seed(seed)
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined] # noqa: SLF001
    trio._core._run._r.seed(seed)  # type: ignore[attr-defined] # noqa: SLF001
    try:
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = False  # type: ignore[attr-defined] # noqa: SLF001
        trio.to_thread.run_sync = threads
        random.setstate(state)
