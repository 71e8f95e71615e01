"""This node among peers: its libp2p host, the protocols that services offer, whom it is connected to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import trio

from openstall.app.config import NodeConfig
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.identity import IdentityService
from openstall.app.services.reach import ReachService
from openstall.app.threads import Workers
from openstall.market.errors import OpenstallError, PeerError
from openstall.p2p import addresses
from openstall.p2p.discovery import Discovery, DiscoverySettings
from openstall.p2p.host import Lookup, PeerHost, PeerInfo
from openstall.store.settings import Settings

MAX_BOOTSTRAP = 32
_PORTS = "network.ports"
_TCP_PORT = re.compile(r"/tcp/(\d+)")
_BOOTSTRAP = "network.bootstrap"

log = get_logger("openstall.network")


class NetworkService:
    """Runs the host as a part of the node; `protocols` are offered on every host that is started."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        identity: IdentityService,
        settings: Settings,
        workers: Workers,
        bus: EventBus,
    ) -> None:
        self._config = config
        self._identity = identity
        self._settings = settings
        self._workers = workers
        self._bus = bus
        self.reach_service = ReachService(settings=settings, workers=workers, bus=bus)
        self._protocols: list[Callable[[PeerHost], None]] = []
        self._host: PeerHost | None = None
        self.lookup: Lookup | None = None
        """Set by the catalogue: the addresses in a peer's own record."""
        self._group = ""
        self._looking: trio.CancelScope | None = None
        self._up = trio.Event()
        self._down = trio.Event()

    def offer(self, serve: Callable[[PeerHost], None]) -> None:
        """Register a protocol: `serve` is called with each host before it listens."""
        self._protocols.append(serve)
        if self._host is not None:
            serve(self._host)

    @property
    def host(self) -> PeerHost:
        """The running host; PeerError while there is none."""
        if self._host is None:
            raise PeerError("offline", "This node is not connected to the network.", "Try again in a moment.")
        return self._host

    async def wait_up(self) -> PeerHost:
        """The host, as soon as it runs."""
        while self._host is None:
            await self._up.wait()
        return self._host

    async def wait_down(self, host: PeerHost) -> None:
        """Return when this host is the running one no more."""
        while self._host is host:
            await self._down.wait()

    def rename(self) -> None:
        """Take the name of the identity into the greeting of later connections."""
        if self._host is not None:
            self._host.name = self._identity.name

    @property
    def addrs(self) -> list[str]:
        """Where others can reach this node; empty while it is offline."""
        return self._host.addrs if self._host is not None else []

    def peers(self) -> list[PeerInfo]:
        """Connected peers."""
        return self._host.peers() if self._host is not None else []

    def bans_changed(self) -> None:
        """Tell the windows that the owner shut somebody out, or let somebody in."""
        self._bus.publish("peers", {"event": "bans"})

    def last_name(self, peer_id: str) -> str:
        """What a peer called itself when it was last connected; empty where it never was."""
        return self._host.book.name(peer_id) if self._host is not None else ""

    def belong(self, group: str) -> None:
        """Tell others from now on which group this node belongs to."""
        self._group = group
        if self._host is not None:
            self._host.network = group
        if self._looking is not None:
            self._looking.cancel()

    async def introduce(self) -> None:
        """Greet all connected peers again: they learned the group when they connected, and it has changed."""
        if self._host is not None:
            await self._host.introduce()

    async def run(self, ready: Callable[[], None]) -> None:
        """The node's part `network`."""
        async with AsyncExitStack() as stack:
            host = await self._start_host(stack)
            self._host = host
            self._up.set()
            try:
                ready()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell_changes, host)
                    nursery.start_soon(self._look_around, host)
                    nursery.start_soon(self.reach_service.run, host)
            finally:
                self._host = None
                self._up = trio.Event()
                self._down.set()
                self._down = trio.Event()

    async def _start_host(self, stack: AsyncExitStack) -> PeerHost:
        """Listen where the last run did, so that the addresses which others hold stay true; else anywhere."""
        ports: dict[str, int] = await self._workers.store(self._settings.get, _PORTS, {})
        listen = [_on_port(address, ports.get(address)) for address in self._config.listen]
        host = self._make_host(listen)
        try:
            await stack.enter_async_context(host)
        except PeerError as error:
            if error.code != "cannot_listen" or listen == list(self._config.listen):
                raise
            log.info("the port of the last run is taken", listen=listen)
            host = self._make_host(self._config.listen)
            await stack.enter_async_context(host)
        bound = [int(found[1]) for found in map(_TCP_PORT.search, host.addrs) if found]
        if bound:
            kept = dict.fromkeys(self._config.listen, bound[0])
            await self._workers.store(self._settings.set, _PORTS, kept)
        return host

    def _make_host(self, listen: Sequence[str]) -> PeerHost:
        host = PeerHost(
            seed=self._identity.peer_seed,
            listen=listen,
            peerstore_path=self._config.home.peerstore,
            network=self._group,
            name=self._identity.name,
        )
        host.lookup = self._published_addrs
        for serve in self._protocols:
            serve(host)
        return host

    async def _published_addrs(self, peer_id: str) -> list[str]:
        """Where a peer says that it is reached; what cannot be dialled from here is left out."""
        addrs = await self.lookup(peer_id) if self.lookup is not None else ()
        # Loopback means this machine: only from a peer that can be on it, as we are reached there too. Of
        # private addresses only those of our own networks can be meant for us.
        here = any(addresses.is_loopback(own) for own in self.addrs)
        near = await self._workers.work(addresses.own_networks)
        return [
            one
            for one in addrs
            if addresses.dialable(one)
            and (
                here
                if addresses.is_loopback(one)
                else addresses.is_public(one) or addresses.is_near(one, near)
            )
        ]

    async def connect(self, addr: str) -> dict[str, Any]:
        """Connect to an address that a person entered, and remember it for the next start."""
        info = await self.host.connect(addr)
        kept = await self.bootstrap()
        if addr.startswith("/") and addr not in kept:
            await self._workers.store(self._settings.set, _BOOTSTRAP, [*kept, addr][-MAX_BOOTSTRAP:])
        return peer_dict(info)

    async def bootstrap(self) -> list[str]:
        """Addresses that a person entered."""
        kept: list[str] = await self._workers.store(self._settings.get, _BOOTSTRAP, [])
        return kept

    async def reach(self, peer_id: str, addrs: list[str]) -> PeerInfo:
        """Connect to a peer by any of the addresses that are known or given."""
        host = self.host
        last: OpenstallError | None = None
        for addr in [peer_id, *addrs]:
            try:
                return await host.connect(addr)
            except PeerError as error:
                last = error
        raise last or PeerError("peer_unreachable", "The other peer is not reachable.", "Try again later.")

    async def _tell_changes(self, host: PeerHost) -> None:
        async with host.events() as events:
            async for event in events:
                self._bus.publish("peers", {"event": event.kind, "peer": peer_dict(event.peer)})

    async def _look_around(self, host: PeerHost) -> None:
        """Find peers and keep enough connections; begun anew when the group changes: the beacon names it."""
        while True:
            known = [*self._config.bootstrap, *await self.bootstrap()]
            settings = DiscoverySettings(bootstrap=tuple(dict.fromkeys(known)), lan=self._config.mdns)
            with trio.CancelScope() as self._looking:
                await Discovery(host=host, settings=settings).run()
            if not self._looking.cancelled_caught:
                return  # the host has ended


def peer_dict(info: PeerInfo) -> dict[str, Any]:
    """A connected peer as the local API shows it."""
    return {
        "peer_id": info.peer_id,
        "name": info.name,
        "addr": info.addr,
        "direction": info.direction,
        "latency_ms": info.latency_ms,
        "path": info.path,
    }


def _on_port(address: str, port: int | None) -> str:
    """A multiaddress that leaves the port open, with the port of the last run."""
    return address.replace("/tcp/0", f"/tcp/{port}") if port and address.endswith("/tcp/0") else address
