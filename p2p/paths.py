"""The ways to and from one host besides plain dialling: relays, holes in routers, outer addresses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import trio

from openstall.p2p import addresses, engine
from openstall.p2p.limits import HostLimits
from openstall.p2p.punch import HolePuncher
from openstall.p2p.relay import Relay, RelayLimits
from openstall.p2p.relay_client import RelayClient

ANSWER_S = 4.0
PREFER_S = 8.0
IN_VAIN_S = 600.0
MAX_REMEMBERED = 512

Path = Literal["direct", "relayed", "punched"]
Spawn = Callable[[Callable[[str], Awaitable[None]], str], None]


class Paths:
    """Puts relay, relay client and hole puncher of one host together, and knows its outer addresses."""

    def __init__(
        self,
        *,
        host: engine.BasicHost,
        swarm: engine.NodeSwarm,
        known: Callable[[str], Awaitable[list[str]]],
        own_addrs: Callable[[], list[str]],
        spawn: Spawn,
        limits: HostLimits,
        relay_limits: RelayLimits | None,
    ) -> None:
        self._host = host
        self._swarm = swarm
        self._spawn = spawn
        self._in_vain: OrderedDict[str, float] = OrderedDict()
        self.proven: list[str] = []
        """Addresses at which others have reached us from outside."""
        self.find: Callable[[str], Awaitable[Sequence[str]]] | None = None
        """Asks others for a peer's addresses, once that can be done."""
        self.supposed: list[str] = []
        """Addresses under which others see us; whether they lead here is not known."""
        self.relay = Relay(host=host, swarm=swarm, own_addrs=own_addrs, limits=relay_limits)
        self.client = RelayClient(host=host, swarm=swarm, source=self.source, limits=limits)
        self.puncher = HolePuncher(host=host, swarm=swarm, source=self.source, outer=self.outer, known=known)
        swarm.register_notifee(engine.ConnectionWatcher(self._came, self._went))

    async def look_up(self, peer_id: str) -> Sequence[str]:
        """Addresses of a peer as others know them."""
        return await self.find(peer_id) if self.find is not None else ()

    def source(self) -> tuple[str, int] | None:
        """Host and port to dial from when routers shall see the port that we listen on; IPv4 only."""
        for one in engine.listen_addresses(self._host):
            if one.startswith("/ip4/") and not addresses.is_loopback(one):
                return addresses.host_of(one), addresses.port_of(one)
        return None

    def outer(self) -> list[str]:
        """Where a hole may be punched: proven addresses, our router's mapping of our port, guesses last."""
        mapped = [one.seen_as for one in self.client.reservations.values() if one.seen_as]
        return list(dict.fromkeys([*self.proven, *mapped, *self.supposed]))

    def extra_addrs(self) -> list[str]:
        """What to tell others besides the addresses that we listen on."""
        return list(dict.fromkeys([*self.proven, *self.client.ways()]))

    def path(self, connection: engine.SwarmConn) -> Path:
        """How a connection goes."""
        if engine.is_relayed(connection):
            return "relayed"
        return "punched" if self.puncher.made(connection) else "direct"

    def remote_address(self, peer_id: str) -> str:
        """Where a directly connected peer calls from, or is called; empty otherwise."""
        links = engine.connections_of(self._swarm, peer_id)
        return engine.remote_address(links[0]) if links and not engine.is_relayed(links[0]) else ""

    def circuit_share(self, peer_id: str) -> int | None:
        """How many bytes the circuit to a peer carries; 0 for any number, None where the way is direct."""
        links = engine.connections_of(self._swarm, peer_id)
        if not links or not engine.is_relayed(links[0]):
            return None
        return self.client.share(addresses.relay_of(engine.remote_address(links[0]))[1])

    async def knock(self, address: str, peer_id: str) -> None:
        """See whether this peer answers at this address; `BaseLibp2pError` if not."""
        await engine.shake_hands(self._swarm, address, peer_id)

    async def prefer_direct(self, peer_id: str) -> None:
        """Before much is sent: give hole punching its time, and not again soon where it was in vain."""
        if trio.current_time() < self._in_vain.get(peer_id, 0.0):
            return
        with trio.move_on_after(PREFER_S):
            while all(map(engine.is_relayed, engine.connections_of(self._swarm, peer_id))):  # noqa: ASYNC110
                await trio.sleep(0.1)  # a direct way may come from either side
            return
        self._in_vain[peer_id] = trio.current_time() + IN_VAIN_S
        while len(self._in_vain) > MAX_REMEMBERED:
            self._in_vain.popitem(last=False)

    async def drop_stale(self) -> None:
        """Close every connection whose own end is at an address that this machine has no more."""
        here = await trio.to_thread.run_sync(addresses.own_hosts)
        links = [one for one in engine.all_connections(self._swarm) if not engine.is_relayed(one)]
        for one in links:
            host = engine.local_host(one)
            if host and host not in here:
                await one.close()

    def _came(self, connection: engine.SwarmConn) -> None:
        if not engine.is_outbound(connection):
            self._spawn(self._called, str(connection.muxed_conn.peer_id))

    async def _called(self, peer_id: str) -> None:
        links = engine.connections_of(self._swarm, peer_id)
        if len(links) > 1:
            # Who calls again may have lost the last connection: then here it is dead, and nobody has told us.
            async with trio.open_nursery() as nursery:
                for one in links:
                    nursery.start_soon(self._close_if_dead, one)
        # The one who was called works at the direct way (so says DCUtR); the caller waits to be asked.
        if any(map(engine.is_relayed, engine.connections_of(self._swarm, peer_id))):
            await self.puncher.upgrade(peer_id)

    async def _close_if_dead(self, connection: engine.SwarmConn) -> None:
        if not await engine.answers(self._host, connection, within_s=ANSWER_S):
            await connection.close()

    def _went(self, connection: engine.SwarmConn) -> None:
        peer_id = str(connection.muxed_conn.peer_id)
        if all(map(engine.is_relayed, engine.connections_of(self._swarm, peer_id))):
            self.relay.left(peer_id)
            self.client.left(peer_id)
