"""Who is connected: one session per peer from the first connection to the last, and the events of it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import trio

from openstall.market.errors import PeerError
from openstall.p2p import addresses, engine, hello
from openstall.p2p.paths import Path
from openstall.p2p.peerbook import PeerBook

GREETING_S = 8.0
_BACKLOG = 1000

log = logging.getLogger("openstall.p2p")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """A connected peer. `latency_ms` is None before the first measurement; `connected_at` is Unix seconds.

    `path` is that of new streams: `direct`, `relayed`, or `punched` (direct, through holes in routers).
    """

    peer_id: str
    name: str
    network: str
    addr: str
    direction: Literal["in", "out"]
    latency_ms: int | None
    connected_at: int
    path: Path = "direct"
    relays: bool = False
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEvent:
    """A peer came, went, or has moved to another group."""

    kind: Literal["connected", "disconnected", "moved"]
    peer: PeerInfo


@dataclass(slots=True, kw_only=True)
class _Session:
    peer_id: str
    addr: str
    direction: Literal["in", "out"]
    connected_at: int
    name: str = ""
    network: str = ""
    relays: bool = False
    seen_as: str = ""
    received: int = 0
    sent: int = 0
    announced: bool = False
    greeted: trio.Event = field(default_factory=trio.Event)


class Sessions:
    """Follows the swarm's connections, greets new peers and tells subscribers."""

    def __init__(
        self,
        *,
        swarm: engine.NodeSwarm,
        own_hello: Callable[[str], hello.Hello],
        ask_hello: Callable[[str, bytes], Awaitable[bytes]],
        book: PeerBook,
        path_of: Callable[[engine.SwarmConn], Path],
    ) -> None:
        self._swarm = swarm
        self._own_hello = own_hello
        self._ask_hello = ask_hello
        self._book = book
        self._path_of = path_of
        self._open: dict[str, _Session] = {}
        self._subscribers: set[trio.MemorySendChannel[PeerEvent]] = set()
        self._nursery: trio.Nursery | None = None
        swarm.register_notifee(engine.ConnectionWatcher(self._came, self._went))

    def start(self, nursery: trio.Nursery) -> None:
        """Begin to greet; the tasks run in this nursery."""
        self._nursery = nursery

    def close(self) -> None:
        """End every subscription."""
        self._nursery = None
        for channel in self._subscribers:
            channel.close()
        self._subscribers.clear()

    def spawn(self, task: Callable[[str], Awaitable[None]], peer_id: str) -> None:
        """Run a task for a peer beside the host; nothing happens while the host is not running."""
        if self._nursery is not None:
            self._nursery.start_soon(task, peer_id)

    def all(self) -> list[PeerInfo]:
        """Every peer that has introduced itself, or had its chance."""
        return [self._info(one) for one in self._open.values() if one.announced]

    def get(self, peer_id: str) -> PeerInfo | None:
        """One such peer, or None."""
        session = self._open.get(peer_id)
        return self._info(session) if session is not None and session.announced else None

    def seen_as(self) -> dict[str, tuple[str, str]]:
        """By peer: (our address as it sees it, its own address); only peers that we have called directly."""
        return {
            one.peer_id: (one.seen_as, one.addr)
            for one in self._open.values()
            if one.direction == "out" and one.seen_as and not addresses.is_circuit(one.addr)
        }

    async def greeted(self, peer_id: str) -> PeerInfo:
        """The peer once it has introduced itself, or the greeting was given up.

        Raises:
            PeerError: the connection was lost meanwhile.
        """
        session = self._open.get(peer_id)
        if session is not None:
            await session.greeted.wait()
        if session is None or not engine.connections_of(self._swarm, peer_id):
            raise PeerError(
                "peer_unreachable", "The other peer hung up at once.", "It may be full. Try again later."
            )
        return self._info(session)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[trio.MemoryReceiveChannel[PeerEvent]]:
        """A channel of events from now on."""
        sender, receiver = trio.open_memory_channel[PeerEvent](_BACKLOG)
        self._subscribers.add(sender)
        try:
            with receiver:
                yield receiver
        finally:
            self._subscribers.discard(sender)
            sender.close()

    async def on_hello(self, peer_id: str, payload: bytes) -> bytes:
        """Answer another peer's greeting."""
        greeting = hello.decode(payload)
        session = self._open.get(peer_id)
        if session is not None:
            self._learn(session, greeting)
            self._announce(session)
        return hello.encode(self._own_hello(session.addr if session else ""))

    def _came(self, connection: engine.SwarmConn) -> None:
        peer_id = str(connection.muxed_conn.peer_id)
        if peer_id in self._open or self._nursery is None:
            return
        session = _Session(
            peer_id=peer_id,
            addr=engine.remote_address(connection),
            direction="out" if engine.is_outbound(connection) else "in",
            connected_at=int(time.time()),
        )
        self._open[peer_id] = session
        self._nursery.start_soon(self._greet, session)

    def _went(self, connection: engine.SwarmConn) -> None:
        peer_id = str(connection.muxed_conn.peer_id)
        session = self._open.get(peer_id)
        if session is not None:
            received, sent = engine.traffic(connection)
            session.received, session.sent = session.received + received, session.sent + sent
        if session is None or engine.connections_of(self._swarm, peer_id):
            return
        del self._open[peer_id]
        session.greeted.set()
        if session.announced:
            self._tell(PeerEvent(kind="disconnected", peer=self._info(session)))

    async def greet_again(self) -> None:
        """Tell all connected peers who we are now, and learn who they are."""
        async with trio.open_nursery() as nursery:
            for session in list(self._open.values()):
                nursery.start_soon(self._greet_again, session)

    async def _greet_again(self, session: _Session) -> None:
        try:
            answer = await self._ask_hello(session.peer_id, hello.encode(self._own_hello(session.addr)))
            self._learn(session, hello.decode(answer))
        except PeerError as error:
            log.info("peer %s was not told of the change: %s", session.peer_id, error.code)
            return
        self._announce(session)
        if session.announced:  # we have moved, if not the other peer: what depends on the group starts anew
            self._tell(PeerEvent(kind="moved", peer=self._info(session)))

    async def _greet(self, session: _Session) -> None:
        with trio.move_on_after(GREETING_S):
            if session.direction == "in":
                await session.greeted.wait()
            else:
                try:
                    answer = await self._ask_hello(
                        session.peer_id, hello.encode(self._own_hello(session.addr))
                    )
                    self._learn(session, hello.decode(answer))
                except PeerError as error:
                    log.info("peer %s did not introduce itself: %s", session.peer_id, error.code)
        self._announce(session)

    def _learn(self, session: _Session, greeting: hello.Hello) -> None:
        moved = session.network != greeting.network
        session.name, session.network = greeting.name, greeting.network
        session.relays, session.seen_as = greeting.relay, greeting.seen
        if moved and session.announced:
            self._tell(PeerEvent(kind="moved", peer=self._info(session)))
        found = hello.useful_addrs(greeting, remote=session.addr)
        self._book.learn(session.peer_id, found, name=greeting.name)

    def _announce(self, session: _Session) -> None:
        session.greeted.set()
        if session.announced or not engine.connections_of(self._swarm, session.peer_id):
            return
        session.announced = True
        self._tell(PeerEvent(kind="connected", peer=self._info(session)))

    def _tell(self, event: PeerEvent) -> None:
        for channel in self._subscribers:
            try:
                channel.send_nowait(event)
            except trio.WouldBlock:
                log.warning("a reader of peer events does not keep up")
            except trio.BrokenResourceError:
                log.debug("a reader of peer events left")

    def _info(self, session: _Session) -> PeerInfo:
        links = engine.connections_of(self._swarm, session.peer_id)
        trip_s = min((one for one in map(engine.round_trip_s, links) if one > 0), default=0.0)
        counts = [engine.traffic(one) for one in links]
        return PeerInfo(
            peer_id=session.peer_id,
            name=session.name,
            network=session.network,
            addr=(engine.remote_address(links[0]) if links else "") or session.addr,
            direction=session.direction,
            latency_ms=max(1, round(trip_s * 1000)) if trip_s else None,
            connected_at=session.connected_at,
            path=self._path_of(links[0]) if links else "direct",
            relays=session.relays,
            received=session.received + sum(one for one, _ in counts),
            sent=session.sent + sum(one for _, one in counts),
        )
