"""Finding peers: bootstrap addresses, peers met before, peers that others know, peers on the LAN."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated

import msgspec
import trio
from msgspec import Meta, Struct
from trio_typing import TaskStatus

from openstall.market.errors import PeerError
from openstall.market.schema import NONSENSE
from openstall.p2p import addresses
from openstall.p2p.feelers import feel
from openstall.p2p.host import PeerHost
from openstall.p2p.identity import check_peer_id
from openstall.p2p.kademlia import Kademlia
from openstall.p2p.limits import Rate
from openstall.p2p.mdns import Beacon, on_the_lan
from openstall.p2p.nurseries import single_errors
from openstall.p2p.vouching import Vouching

PROTOCOL = "/openstall/peers/1"
MAX_SHARED = 32
MAX_ANSWER = 64 * 1024
ROUND_S = 15.0
ASK_AGAIN_S = 20.0
MEET_EVERY_S = 600.0
VOUCH_S = 4.0
FIRST_BACKOFF_S = 5.0
MAX_BACKOFF_S = 600.0
CHOSEN = 4
"""Connections that we have dialled ourselves, however many others have."""
_AT_ONCE = 4

log = logging.getLogger("openstall.p2p")


class _Shared(Struct, kw_only=True, frozen=True):
    """A peer that somebody knows."""

    peer_id: Annotated[str, Meta(max_length=64)]
    addrs: Annotated[list[Annotated[str, Meta(max_length=addresses.MAX_LENGTH)]], Meta(max_length=8)]


_Answer = Annotated[list[_Shared], Meta(max_length=MAX_SHARED)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverySettings:
    """Where to look. `lan_interfaces` are IPv4 addresses of cards; empty means all of them."""

    bootstrap: Sequence[str] = ()
    enough_peers: int = 12
    exchange: bool = True
    lan: bool = True
    lan_interfaces: Sequence[str] = ()


class Discovery:
    """Keeps the host connected to enough peers of its network."""

    def __init__(self, *, host: PeerHost, settings: DiscoverySettings) -> None:
        """Raises `PeerError` `bad_address` for a bootstrap address without a peer id."""
        self._host = host
        self._settings = settings
        self._bootstrap: list[str] = []
        for one in settings.bootstrap:
            transport, peer_id = addresses.split(one)
            if not peer_id:
                raise PeerError(
                    "bad_address", f"“{one}” does not name the peer.", "Add /p2p/<peer id> to it."
                )
            if peer_id != host.peer_id:
                host.book.learn(peer_id, [transport])
                self._bootstrap.append(peer_id)
        self._not_before: dict[str, tuple[float, float]] = {}
        self._on_lan: dict[str, None] = {}
        self._wake = trio.Event()
        self._at_once = trio.CapacityLimiter(_AT_ONCE)
        self._vouching = Vouching(host)
        self._kademlia = Kademlia(host, self._vouching)
        host.paths.find = self._kademlia.find
        self._asked_at: dict[str, float] = {}
        self._met_at = -MEET_EVERY_S
        if settings.exchange:
            host.serve(
                PROTOCOL,
                self._on_asked,
                max_request=0,
                max_response=MAX_ANSWER,
                per_peer_rate=Rate(per_s=0.1, burst=5),
            )

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look for peers until cancelled; the host must be running."""
        with single_errors():
            async with AsyncExitStack() as stack:
                events = await stack.enter_async_context(self._host.events())
                if self._settings.lan:
                    await stack.enter_async_context(
                        on_the_lan(
                            self._beacon(), self._found_on_lan, interfaces=self._settings.lan_interfaces
                        )
                    )
                nursery = await stack.enter_async_context(trio.open_nursery())
                nursery.start_soon(self._keep_connected, nursery)
                nursery.start_soon(feel, self._host)
                task_status.started()
                async for event in events:
                    if event.kind != "disconnected" and self._settings.exchange:
                        nursery.start_soon(self._ask, event.peer.peer_id)
                    self._wake.set()
                nursery.cancel_scope.cancel()

    def _beacon(self) -> Beacon:
        own = [addresses.split(one)[0] for one in self._host.addrs]
        return Beacon(peer_id=self._host.peer_id, network=self._host.network, addrs=own)

    def _found_on_lan(self, peer_id: str, addrs: list[str]) -> None:
        log.info("peer %s is on the local network", peer_id)
        self._host.book.learn(peer_id, addrs)
        self._on_lan[peer_id] = None
        while len(self._on_lan) > self._settings.enough_peers * 4:
            del self._on_lan[next(iter(self._on_lan))]
        self._not_before.pop(peer_id, None)
        self._wake.set()

    # Staying connected

    async def _keep_connected(self, nursery: trio.Nursery) -> None:
        while True:
            self._wake = trio.Event()
            for peer_id in self._candidates():
                nursery.start_soon(self._dial, peer_id)
            for peer in self._host.peers():
                nursery.start_soon(self._vouching.check, peer.peer_id)
            self._ask_again(nursery)
            with trio.move_on_after(ROUND_S):
                await self._wake.wait()

    def _candidates(self) -> list[str]:
        connected = {one.peer_id for one in self._host.peers()}
        # Who dials in was chosen by somebody else: some connections are always of our own choice.
        chosen = sum(one.direction == "out" for one in self._host.peers())
        short = max(self._settings.enough_peers - len(connected), CHOSEN - chosen)
        # Bootstrap and LAN peers are always wanted; the others only until there are enough.
        wanted = [*self._bootstrap, *self._on_lan]
        if short > 0:
            wanted += [one.peer_id for one in self._host.book.recent(self._settings.enough_peers * 4)]
        now = trio.current_time()
        free = [
            one
            for one in dict.fromkeys(wanted)
            if one not in connected
            and one != self._host.peer_id
            and not self._host.is_banned(one)
            and now >= self._not_before.get(one, (0.0, 0.0))[0]
        ]
        return free[: max(short, len(self._bootstrap) + len(self._on_lan), 0)]

    async def _dial(self, peer_id: str) -> None:
        _, backoff_s = self._not_before.get(peer_id, (0.0, FIRST_BACKOFF_S))
        # Set before the attempt, so that the next round does not start it twice.
        self._not_before[peer_id] = (trio.current_time() + backoff_s, min(backoff_s * 2, MAX_BACKOFF_S))
        async with self._at_once:
            try:
                await self._host.connect(peer_id)
            except PeerError as error:
                log.debug("peer %s was not found: %s", peer_id, error.code)
                return
        self._not_before.pop(peer_id, None)

    # Peer exchange

    def _ask_again(self, nursery: trio.Nursery) -> None:
        """While we are short of peers, ask one of them again; now and then look for our neighbours."""
        now = trio.current_time()
        peers = [one.peer_id for one in self._host.peers()]
        rested = [one for one in peers if now - self._asked_at.get(one, now) >= ASK_AGAIN_S]
        if self._settings.exchange and len(peers) < self._settings.enough_peers and rested:
            nursery.start_soon(self._ask, random.choice(rested))  # noqa: S311 - whom to ask is no secret
        self._asked_at = {one: self._asked_at.get(one, now) for one in peers}
        if now - self._met_at >= MEET_EVERY_S and self._kademlia.useful:
            self._met_at = now
            nursery.start_soon(self._kademlia.meet_neighbours)

    async def _on_asked(self, peer_id: str, _: bytes) -> bytes:
        await self._vouching.settled(within_s=VOUCH_S)
        known = [
            _Shared(peer_id=one.peer_id, addrs=self._vouching.addrs(one.peer_id))
            for one in self._host.peers()
            if one.peer_id != peer_id and one.network == self._host.network
        ]
        usable = [one for one in known if one.addrs]
        return msgspec.json.encode(random.sample(usable, min(len(usable), MAX_SHARED)))

    async def _ask(self, peer_id: str) -> None:
        peer = self._host.peer(peer_id)
        self._asked_at[peer_id] = trio.current_time()
        if peer is None or peer.network != self._host.network:
            return
        try:
            answer = await self._host.request(peer_id, PROTOCOL, b"", timeout_s=15.0, max_response=MAX_ANSWER)
        except PeerError as error:
            log.debug("peer %s shares no addresses: %s", peer_id, error.code)
            return
        try:
            shared = msgspec.json.decode(answer, type=_Answer)
        except NONSENSE:
            self._host.penalise(peer_id, 20.0, "bad peer exchange")
            return
        for one in shared:
            self._learn(one, told_by=peer.addr)
        self._wake.set()

    def _learn(self, shared: _Shared, *, told_by: str) -> None:
        try:
            peer_id = check_peer_id(shared.peer_id)
        except PeerError:
            return
        usable = [addresses.split(one)[0] for one in shared.addrs if addresses.fits(one, told_by)]
        if usable and peer_id != self._host.peer_id:
            self._host.book.learn(peer_id, usable)
