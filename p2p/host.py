"""One peer on the network: its identity, its connections, requests and streams with others."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import trio
from trio_typing import TaskStatus

from openstall.market.errors import PeerError, StoreError
from openstall.p2p import addresses, engine, exchange, hello
from openstall.p2p.admission import Entrance
from openstall.p2p.bans import Bouncer
from openstall.p2p.dialling import Dialler
from openstall.p2p.exchange import Handler, Server, StreamHandler
from openstall.p2p.faults import bad_address, banned, cannot_listen, own_address, silent, unreachable
from openstall.p2p.framing import Framed
from openstall.p2p.identity import check_peer_id, peer_id_from_seed
from openstall.p2p.limits import Budgets, HostLimits, Rate
from openstall.p2p.nurseries import single_errors
from openstall.p2p.paths import Paths
from openstall.p2p.peerbook import PeerBook
from openstall.p2p.relay import RelayLimits
from openstall.p2p.sessions import PeerEvent, PeerInfo, Sessions

__all__ = ["HostLimits", "PeerEvent", "PeerHost", "PeerInfo", "Rate", "RelayLimits"]

DEFAULT_LISTEN = ("/ip4/127.0.0.1/tcp/0",)
SAVE_EVERY_S = 5.0
SHUTDOWN_S = 5.0

log = logging.getLogger("openstall.p2p")


Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Addresses that a peer has published, as the application knows them; asked before each dial."""


class PeerHost:
    """A libp2p peer over TCP + Noise + yamux.

    Belongs to one trio event loop. Use it as an async context manager, or start `run` in a nursery;
    both end without leaving tasks or sockets behind. `listen` are multiaddresses to bind
    (`/ip4/0.0.0.0/tcp/0`: any interface, any free port), `network` is the group that others are told,
    `peerstore_path` a JSON file of known addresses that is kept between runs.
    """

    def __init__(
        self,
        *,
        seed: bytes,
        listen: Sequence[str] = DEFAULT_LISTEN,
        peerstore_path: Path | None = None,
        network: str = "",
        name: str = "",
        limits: HostLimits | None = None,
        relay_limits: RelayLimits | None = None,
    ) -> None:
        self.peer_id = peer_id_from_seed(seed)
        self.network = network
        self.name = name
        self.limits = limits or HostLimits()
        self.book = PeerBook(peerstore_path, max_peers=self.limits.max_address_book)
        self._listen = [addresses.split(one)[0] for one in listen]
        self._host, self._swarm = engine.build_host(seed, max_connections=self.limits.max_connections)
        bans = peerstore_path.with_name("bans.json") if peerstore_path is not None else None
        self.bouncer = Bouncer(bans, clock=time.monotonic)
        self._budgets = Budgets(self.limits, clock=time.monotonic)
        self._busy: Counter[str] = Counter()
        self._talking: Counter[str] = Counter()
        self._stop = trio.Event()
        self.lookup: Lookup = _nothing_known
        self._reached = trio.Event()
        self._exits: AsyncExitStack | None = None
        self.paths = Paths(
            host=self._host,
            swarm=self._swarm,
            known=self._told_addrs,
            own_addrs=lambda: self.addrs,
            spawn=lambda task, peer_id: self._sessions.spawn(task, peer_id),  # noqa: PLW0108 - it is made below
            limits=self.limits,
            relay_limits=relay_limits,
        )
        self._sessions = Sessions(
            swarm=self._swarm,
            own_hello=self._own_hello,
            ask_hello=self._ask_hello,
            book=self.book,
            path_of=self.paths.path,
        )
        self._dialler = Dialler(
            swarm=self._swarm,
            book=self.book,
            dial_s=self.limits.dial_s,
            dial_circuit=self.paths.client.dial,
            look_up=self.paths.look_up,
        )
        self._swarm.admit_peer = self._admits
        self._swarm.entrance = self.entrance = Entrance(self.limits, shut_out=self.bouncer.shuts_out)
        self._swarm.max_streams_per_connection = self.limits.max_streams_per_connection
        self.serve(
            hello.PROTOCOL,
            self._sessions.on_hello,
            max_request=hello.MAX_BYTES,
            max_response=hello.MAX_BYTES,
            per_peer_rate=Rate(per_s=1, burst=10),
        )

    # Lifecycle

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until `stop` or cancellation.

        Raises:
            PeerError: `cannot_listen`, an address is in use or not of this machine.
        """
        with single_errors():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_until_stopped, task_status)
                try:
                    await self._stop.wait()
                finally:
                    self._stop.set()

    async def _serve_until_stopped(self, task_status: TaskStatus[None]) -> None:
        # Shielded: libp2p does not close a socket whose task was cancelled. A cancelled `run` says stop.
        await self._check_ports()
        with trio.CancelScope(shield=True):
            async with engine.running(self._swarm), trio.open_nursery() as nursery:
                try:
                    if self._listen and not await engine.listen(self._swarm, self._listen):
                        raise cannot_listen(", ".join(self._listen))
                    self._sessions.start(nursery)
                    nursery.start_soon(self._save_regularly)
                    log.info("peer %s listens on %s", self.peer_id, ", ".join(self.addrs))
                    task_status.started()
                    await self._stop.wait()
                finally:
                    nursery.cancel_scope.cancel()
                    self._keep_anchors()
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + SHUTDOWN_S):
                        await engine.shut_down(self._swarm)
                        await self.save()
                    self._sessions.close()

    def stop(self) -> None:
        """Ask `run` to end; it closes every connection first."""
        self._stop.set()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._in_background())
            self._exits = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        exits, self._exits = self._exits, None
        return await exits.__aexit__(kind, error, trace) if exits is not None else None

    @asynccontextmanager
    async def _in_background(self) -> AsyncIterator[None]:
        with single_errors():
            async with trio.open_nursery() as nursery:
                try:
                    await nursery.start(lambda task_status: self.run(task_status=task_status))
                    yield
                finally:
                    self.stop()

    async def _check_ports(self) -> None:
        # libp2p binds with SO_REUSEPORT: a second node on the same port would silently get half the dials.
        for address in self._listen:
            if not await trio.to_thread.run_sync(addresses.can_bind, address):
                raise cannot_listen(address)

    async def _save_regularly(self) -> None:
        while True:
            with trio.move_on_after(SAVE_EVERY_S):
                await self._reached.wait()
            self._keep_anchors()
            self._reached = trio.Event()
            try:
                await self.save()
            except StoreError as error:
                log.warning("%s", error.message)

    def _keep_anchors(self) -> None:
        self.book.keep_anchors(one.peer_id for one in self.peers() if one.direction == "out")

    async def save(self) -> None:
        """Write the address book and the list of bans now; `StoreError` where that fails."""
        await trio.to_thread.run_sync(self.book.save)
        await trio.to_thread.run_sync(self.bouncer.list.save)

    # Where we are, whom we know

    @property
    def addrs(self) -> list[str]:
        """Addresses to give to others, each with the peer id; a wildcard becomes this machine's own.

        Those at which others have reached us, and the ways through relays, never fall off the end.
        """
        extra = self.paths.extra_addrs()[: hello.MAX_ADDRS - 2]
        own = [one for one in self.bound() if one not in extra][: hello.MAX_ADDRS - len(extra)]
        return [f"{one}/p2p/{self.peer_id}" for one in [*own, *extra]]

    def bound(self) -> list[str]:
        """The addresses of this machine that we listen on, without the peer id."""
        return addresses.expand(engine.listen_addresses(self._host))

    def peers(self) -> list[PeerInfo]:
        """The connected peers, in the order of connecting."""
        return self._sessions.all()

    def peer(self, peer_id: str) -> PeerInfo | None:
        """One connected peer, or None."""
        return self._sessions.get(peer_id)

    def seen_as(self) -> dict[str, tuple[str, str]]:
        """By peer that we have called: (our address as the peer sees it, the peer's own)."""
        return self._sessions.seen_as()

    @asynccontextmanager
    async def events(self) -> AsyncIterator[trio.MemoryReceiveChannel[PeerEvent]]:
        """A channel of `PeerEvent`s from now on; a reader that falls 1,000 behind loses the newest."""
        async with self._sessions.subscribe() as channel:
            yield channel

    @property
    def engine_host(self) -> engine.BasicHost:
        """The libp2p host, for this room only."""
        return self._host

    # Connections

    async def connect(self, target: str, *, timeout_s: float = 20.0) -> PeerInfo:
        """Connect to an address ending in `/p2p/<peer id>`, or to a peer id whose addresses are known.

        Every known address is tried, a new one each 0.25 s. Returns at once when already connected.

        Raises:
            PeerError: `bad_address`, `self_dial`, `peer_unreachable`.
        """
        peer_id = self._target(target)
        with trio.move_on_after(timeout_s):
            if not engine.connections_of(self._swarm, peer_id):
                self.book.learn(peer_id, [addresses.split(one)[0] for one in await self.lookup(peer_id)])
                await self._dialler.dial(peer_id)
                self._reached.set()  # a peer that is killed must find its way back
            return await self._sessions.greeted(peer_id)
        raise unreachable()

    def _target(self, target: str) -> str:
        if target.startswith("/"):
            transport, peer_id = addresses.split(target)
            if not peer_id:
                raise bad_address()
            self.book.learn(peer_id, [transport])
        else:
            peer_id = check_peer_id(target)
        if peer_id == self.peer_id:
            raise own_address()
        if self.is_banned(peer_id):
            raise banned()
        return peer_id

    async def introduce(self) -> None:
        """Tell the connected peers that this peer's name or group has changed, and learn theirs."""
        await self._sessions.greet_again()

    async def disconnect(self, peer_id: str) -> None:
        """Close every connection with a peer."""
        for connection in engine.connections_of(self._swarm, peer_id):
            await connection.close()

    def penalise(self, peer_id: str, points: float, reason: str) -> None:
        """Count bad behaviour; 100 points ban the peer for ten minutes. A point fades in 2 s."""
        log.info("peer %s: %s (+%d)", peer_id, reason, math.ceil(points))
        if self.bouncer.penalise(peer_id, points, reason):
            log.warning("peer %s is banned: %s", peer_id, reason)
            self._sessions.spawn(self.disconnect, peer_id)
            self._reached.set()  # the list is to be saved

    def is_banned(self, peer_id: str) -> bool:
        """Whether the peer is shut out at present."""
        return self.bouncer.is_banned(peer_id)

    async def _told_addrs(self, peer_id: str) -> list[str]:
        with contextlib.suppress(PeerError):
            await self._sessions.greeted(peer_id)
        return self.book.addrs(peer_id)

    def _admits(self, peer_id: str) -> bool:
        return peer_id != self.peer_id and not self.bouncer.is_banned(peer_id)

    # Requests and streams

    def serve(
        self, protocol: str, handler: Handler, *, max_request: int, max_response: int, per_peer_rate: Rate
    ) -> None:
        """Answer requests of one protocol (`/openstall/…/1`). Sizes in bytes.

        The handler gets (peer id, request). An `OpenstallError` that it raises reaches the asker as
        `RefusedByPeer` with the same code and words; any other exception is logged and hidden.
        """
        server = self._server(protocol, per_peer_rate)
        engine.handle(
            self._host,
            protocol,
            lambda stream: server.answer(stream, handler, max_request=max_request, max_response=max_response),
        )

    def serve_stream(
        self, protocol: str, handler: StreamHandler, *, max_frame: int, per_peer_rate: Rate
    ) -> None:
        """Serve a protocol of many frames; the stream ends with the handler."""
        server = self._server(protocol, per_peer_rate)
        engine.handle(
            self._host, protocol, lambda stream: server.converse(stream, handler, max_frame=max_frame)
        )

    def _server(self, protocol: str, rate: Rate) -> Server:
        return Server(
            protocol=protocol,
            rate=rate,
            limits=self.limits,
            busy=self._busy,
            talking=self._talking,
            penalise=self.penalise,
            budgets=self._budgets,
        )

    async def request(
        self, peer_id: str, protocol: str, payload: bytes, *, timeout_s: float, max_response: int
    ) -> bytes:
        """Ask a peer one thing, connecting first if need be; ends within `timeout_s`.

        Raises:
            RefusedByPeer: the other peer answered and refused; `code` is its own.
            PeerError: `peer_unreachable`, `peer_silent`, `not_supported`, `frame_too_large`, …
        """
        stage: Callable[[], PeerError] = unreachable
        with trio.move_on_after(timeout_s):
            await self.connect(peer_id, timeout_s=timeout_s)
            stage = silent
            framed = await self._open(peer_id, protocol, max_frame=max_response + 1)
            return await exchange.ask(framed, payload, max_response=max_response)
        raise stage()

    async def open_stream(self, peer_id: str, protocol: str, *, timeout_s: float, max_frame: int) -> Framed:
        """A stream of frames with a peer; use it as an async context manager. `timeout_s` is for opening.

        Raises:
            PeerError: as for `request`.
        """
        stage: Callable[[], PeerError] = unreachable
        with trio.move_on_after(timeout_s):
            await self.connect(peer_id, timeout_s=timeout_s)
            stage = silent
            return await self._open(peer_id, protocol, max_frame=max_frame)
        raise stage()

    async def _open(self, peer_id: str, protocol: str, *, max_frame: int) -> Framed:
        try:
            stream = await engine.negotiate_stream(self._host, peer_id, protocol)
        except engine.MultiselectClientError as error:
            if "not supported" in str(error).lower():
                raise PeerError(
                    "not_supported", "The other peer does not offer this.", "It may be outdated."
                ) from error
            raise silent() from error
        except engine.BaseLibp2pError as error:
            raise unreachable() from error
        return Framed(stream, peer_id, max_frame=max_frame)

    # Greeting

    def _own_hello(self, seen: str) -> hello.Hello:
        own = [addresses.split(one)[0] for one in self.addrs]
        relay = self.paths.relay.serving
        return hello.Hello(network=self.network, name=self.name, addrs=own, seen=seen, relay=relay)

    async def _ask_hello(self, peer_id: str, payload: bytes) -> bytes:
        framed = await self._open(peer_id, hello.PROTOCOL, max_frame=hello.MAX_BYTES)
        return await exchange.ask(framed, payload, max_response=hello.MAX_BYTES)


async def _nothing_known(_peer_id: str) -> Sequence[str]:
    return ()
