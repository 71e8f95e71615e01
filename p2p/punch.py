"""Hole punching: two peers that met through a relay dial each other at the same moment (DCUtR over TCP).

The one who was called asks (`/libp2p/dcutr`): both name the addresses under which the world sees them, then
both dial from the port that they listen on, and each router takes the other's call for an answer. It works
where routers keep one outer port per inner port; where they do not, the peers stay on the relay.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from openstall.p2p import addresses, engine
from openstall.p2p.circuits import BROKEN, PUNCH, Garbled, HolePunch, receive, send
from openstall.p2p.limits import Rate, RateBudget

MESSAGE_S = 10.0
DIRECT_S = 4.0
ROUND_S = 5.0
ROUNDS = 3
AGAIN_S = 300.0
MAX_AHEAD_S = 2.0
MAX_HOSTS = 2
MAX_ADDRS = 6
MOVE_S = 10.0
SETTLE_S = 2.0
_AT_ONCE = 8

log = logging.getLogger("openstall.p2p")


class HolePuncher:
    """Moves relayed connections to direct ones where the routers allow it."""

    def __init__(
        self,
        *,
        host: engine.BasicHost,
        swarm: engine.NodeSwarm,
        source: Callable[[], tuple[str, int] | None],
        outer: Callable[[], list[str]],
        known: Callable[[str], Awaitable[list[str]]],
    ) -> None:
        """Where addresses come from.

        `outer()` are those under which the world may see us; `known(peer)` those that the peer has told, once
        it has introduced itself.
        """
        self._host = host
        self._swarm = swarm
        self._source = source
        self._outer = outer
        self._known = known
        self._running: dict[str, trio.Event] = {}
        self._punched: weakref.WeakSet[engine.SwarmConn] = weakref.WeakSet()
        self._asked = RateBudget(Rate(per_s=0.05, burst=6))
        self._limit = trio.CapacityLimiter(_AT_ONCE)
        engine.handle(host, PUNCH, self._on_asked)

    def made(self, connection: engine.SwarmConn) -> bool:
        """Whether this connection came about by hole punching."""
        return connection in self._punched

    async def settled(self, peer_id: str, *, within_s: float) -> None:
        """Return when a punch that is under way has ended, or the time is over."""
        running = self._running.get(peer_id)
        if running is not None:
            with trio.move_on_after(within_s):
                await running.wait()

    def _has_direct(self, peer_id: str) -> bool:
        links = engine.connections_of(self._swarm, peer_id)
        return bool(links) and not engine.is_relayed(links[0])

    def _has_relayed(self, peer_id: str) -> bool:
        return any(map(engine.is_relayed, engine.connections_of(self._swarm, peer_id)))

    async def upgrade(self, peer_id: str) -> None:
        """Work at a direct connection with a peer who has called us through a relay."""
        if peer_id in self._running:
            return
        with self._under_way(peer_id):
            async with self._limit:
                await self._dial_known(peer_id)
                for _ in range(ROUNDS):
                    if self._has_direct(peer_id) or not self._has_relayed(peer_id):
                        break
                    await self._ask(peer_id)
        if self._has_direct(peer_id):
            await self._leave_relay(peer_id)

    @contextmanager
    def _under_way(self, peer_id: str) -> Iterator[None]:
        """Let `settled` wait for this. The other side may ask while we do: then the first counts."""
        over = trio.Event()
        first = self._running.setdefault(peer_id, over) is over
        try:
            yield
        finally:
            over.set()
            if first:
                del self._running[peer_id]

    async def _dial_known(self, peer_id: str) -> None:
        """Perhaps only we are behind a router: then the caller can simply be called."""
        known = [one for one in await self._known(peer_id) if not addresses.is_circuit(one)]
        with trio.move_on_after(DIRECT_S):
            async with trio.open_nursery() as nursery:
                for one in known[:MAX_ADDRS]:
                    nursery.start_soon(self._try, peer_id, one, nursery.cancel_scope)

    async def _try(self, peer_id: str, address: str, done: trio.CancelScope) -> None:
        try:
            await engine.dial_address(self._swarm, address, peer_id)
        except BROKEN as error:
            log.debug("not at %s: %s", address, type(error).__name__)
            return
        done.cancel()

    # The one who was called

    async def _ask(self, peer_id: str) -> None:
        with trio.move_on_after(2 * MESSAGE_S + ROUND_S):
            stream: engine.NetStream | None = None
            try:
                stream = await engine.negotiate_stream(self._host, peer_id, PUNCH)
                began = trio.current_time()
                await send(stream, self._names())
                said = await receive(stream, HolePunch, timeout_s=MESSAGE_S)
                trip_s = trio.current_time() - began
                if said.type != HolePunch.CONNECT:
                    return
                await send(stream, HolePunch(type=HolePunch.SYNC))
                await trio.sleep(min(trip_s / 2, MAX_AHEAD_S))
                await self._dial_all(peer_id, _named(said), answering=True)
            except (*BROKEN, Garbled, engine.MultiselectClientError) as error:
                log.debug("no hole punching with %s: %s", peer_id, type(error).__name__)
            finally:
                if stream is not None:
                    await engine.drop(stream)

    # The one who has called

    async def _on_asked(self, stream: engine.NetStream) -> None:
        peer_id = str(stream.muxed_conn.peer_id)
        relayed = engine.is_relayed(engine.connection_of(stream))
        if not relayed or not self._asked.take(peer_id):
            await engine.drop(stream)
            return
        with self._under_way(peer_id):
            try:
                asked = await receive(stream, HolePunch, timeout_s=MESSAGE_S)
                await send(stream, self._names())
                sync = await receive(stream, HolePunch, timeout_s=MESSAGE_S)
                if asked.type == HolePunch.CONNECT and sync.type == HolePunch.SYNC:
                    async with self._limit:
                        await self._dial_all(peer_id, _named(asked), answering=False)
            except (*BROKEN, Garbled) as error:
                log.debug("hole punching with %s ended: %s", peer_id, type(error).__name__)
            finally:
                await engine.drop(stream)
        if self._has_direct(peer_id):
            await self._leave_relay(peer_id)

    # Both

    def _names(self) -> HolePunch:
        ours = [engine.Multiaddr(one).to_bytes() for one in self._outer()[:MAX_ADDRS]]
        return HolePunch(type=HolePunch.CONNECT, ObsAddrs=ours)

    async def _dial_all(self, peer_id: str, targets: list[str], *, answering: bool) -> None:
        source = self._source()
        if source is None or not targets:
            return
        with trio.move_on_after(ROUND_S):
            async with trio.open_nursery() as nursery:
                for one in targets:
                    nursery.start_soon(self._dial, peer_id, one, source, answering)
                while not self._has_direct(peer_id):  # noqa: ASYNC110 - our dial may succeed, or the other's
                    await trio.sleep(0.05)
                nursery.cancel_scope.cancel()
        for link in engine.connections_of(self._swarm, peer_id):
            if not engine.is_relayed(link):
                self._punched.add(link)
                log.info("peer %s: a direct way through the routers was found", peer_id)

    async def _dial(self, peer_id: str, address: str, source: tuple[str, int], answering: bool) -> None:  # noqa: FBT001
        try:
            await engine.dial_from(self._swarm, address, peer_id, source=source, answering=answering)
        except Exception as error:  # noqa: BLE001 - two hand-shakes that cross fail in many ways; each is one try
            log.debug("punching at %s: %r", address, error)

    async def _leave_relay(self, peer_id: str) -> None:
        """Close the relayed connections; what still runs on them is given a moment, and goes on directly."""
        relayed = [one for one in engine.connections_of(self._swarm, peer_id) if engine.is_relayed(one)]
        await trio.sleep(
            SETTLE_S
        )  # until the other end has noticed the direct way, its streams still come here
        with trio.move_on_after(MOVE_S):
            while any(one.get_streams() for one in relayed):  # noqa: ASYNC110 - libp2p has no event for it
                await trio.sleep(0.1)
        if self._has_direct(peer_id):
            for one in relayed:
                await one.close()


def _named(message: HolePunch) -> list[str]:
    """The addresses in a message that may be dialled: public ones, of two hosts at most."""
    found: list[str] = []
    for raw in list(message.ObsAddrs)[: 2 * MAX_ADDRS]:
        try:
            text, _ = addresses.split(str(engine.Multiaddr(raw)))
        except Exception as error:  # noqa: BLE001 - multiaddr raises many unrelated types for bad bytes
            log.debug("an address that makes no sense: %r", error)
            continue
        by_number = text.startswith(("/ip4/", "/ip6/")) and not addresses.is_circuit(text)
        if by_number and addresses.dialable(text) and addresses.is_public(text):
            found.append(text)
    hosts = list(dict.fromkeys(map(addresses.host_of, found)))[:MAX_HOSTS]
    return [one for one in dict.fromkeys(found) if addresses.host_of(one) in hosts][:MAX_ADDRS]
