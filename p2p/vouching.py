"""Which addresses of others we have reached ourselves: only those are passed on.

A claim that nobody has tried is worth nothing, and passed on it sends strangers to knock at somebody's door.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

import trio

from openstall.market.errors import PeerError
from openstall.p2p import addresses, engine
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate, RateBudget

GOOD_S = 7200.0
AGAIN_S = 1800.0
TRY_S = 6.0
MAX_PEERS = 512
MAX_TRIES = 4
MAX_SHARED_ADDRS = 6
_AT_ONCE = 6

log = logging.getLogger("openstall.p2p")


class Vouching:
    """Tries what connected peers claim, and remembers for two hours what was true."""

    def __init__(self, host: PeerHost) -> None:
        self._host = host
        self._good: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._tried: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._running: dict[str, trio.Event] = {}
        self._at_once = trio.CapacityLimiter(_AT_ONCE)
        # New claims may come with every greeting; what is tried for one peer has an end all the same.
        self._budget = RateBudget(Rate(per_s=1 / 300, burst=12))

    def addrs(self, peer_id: str) -> list[str]:
        """Addresses at which we have reached the peer, those without a relay first."""
        now = trio.current_time()
        good = [one for one, until in self._good.get(peer_id, {}).items() if until > now]
        known = dict.fromkeys([*good, *self._proved_by_use(peer_id)])
        return sorted(known, key=addresses.is_circuit)[:MAX_SHARED_ADDRS]

    def peers(self) -> list[str]:
        """Whom we could pass on."""
        connected = [one.peer_id for one in self._host.peers()]
        return [one for one in dict.fromkeys([*self._good, *connected]) if self.addrs(one)]

    async def settled(self, *, within_s: float) -> None:
        """Return when what is being tried now has been tried, or the time is over."""
        with trio.move_on_after(within_s):
            for event in list(self._running.values()):
                await event.wait()

    async def check(self, peer_id: str) -> None:
        """Try the addresses of a connected peer that were not tried lately."""
        if peer_id in self._running:
            return
        over = self._running[peer_id] = trio.Event()
        try:
            self._keep(peer_id, self._proved_by_use(peer_id))
            claimed = [one for one in self._host.book.addrs(peer_id) if self._due(peer_id, one)]
            async with trio.open_nursery() as nursery:
                for one in claimed[:MAX_TRIES]:
                    if self._budget.take(peer_id):
                        nursery.start_soon(self._try, peer_id, one)
        finally:
            del self._running[peer_id]
            over.set()

    def _proved_by_use(self, peer_id: str) -> list[str]:
        """Where we called the peer ourselves, and the way through us if we are its relay."""
        peer = self._host.peer(peer_id)
        called = [peer.addr] if peer is not None and peer.direction == "out" and peer.path == "direct" else []
        ours = [
            one
            for one in self._host.book.addrs(peer_id)
            if addresses.is_circuit(one)
            and addresses.relay_of(one)[1] == self._host.peer_id
            and self._host.paths.relay.holds(peer_id)
        ]
        return [*called, *ours]

    def _due(self, peer_id: str, address: str) -> bool:
        if addresses.is_circuit(address) and addresses.relay_of(address)[1] == self._host.peer_id:
            return False
        return trio.current_time() >= self._tried.get((peer_id, address), -1.0)

    async def _try(self, peer_id: str, address: str) -> None:
        self._tried[peer_id, address] = trio.current_time() + AGAIN_S
        while len(self._tried) > MAX_PEERS * MAX_TRIES:
            self._tried.popitem(last=False)
        async with self._at_once:
            with trio.move_on_after(TRY_S):
                try:
                    if addresses.is_circuit(address):
                        await self._host.paths.client.probe(address, peer_id)
                    else:
                        await self._host.paths.knock(address, peer_id)
                except (engine.BaseLibp2pError, PeerError) as error:
                    log.debug("%s is not at %s: %s", peer_id, address, type(error).__name__)
                    return
                self._keep(peer_id, [address])

    def _keep(self, peer_id: str, found: list[str]) -> None:
        if not found:
            return
        known = self._good.pop(peer_id, {})
        known.update(dict.fromkeys(found, trio.current_time() + GOOD_S))
        self._good[peer_id] = known
        while len(self._good) > MAX_PEERS:
            self._good.popitem(last=False)
