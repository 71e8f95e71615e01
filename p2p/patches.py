"""Everything that makes py-libp2p 0.8.1 fit for a node that runs for months, in one place.

The version is pinned; each numbered workaround names what goes wrong without it. Nothing outside
this room imports libp2p, and nothing in this room imports it before this module.

1.  Inbound slots: the swarm holds one of its inbound slots per accepted connection until the whole
    swarm stops, so that after 250 dial-ins in its life a node is deaf. `NodeSwarm` gives the slot
    back when the connection ends.
2.  Dialling: `host.connect` tries one address per transport class and then remembers the failure
    for a minute. `PeerHost` dials every known address itself, through `dial_address`.
3.  Plaintext, secio, TLS, mplex are offered by default. `build_host` offers Noise and yamux only.
4.  yamux gives up on a writer after 5 s without window and polls every 10 ms until then.
    `NodeStream` waits for the window itself, up to `WINDOW_WAIT_S`.
5.  A writer that is cancelled in the middle of a frame corrupts the connection for everybody.
    `NodeYamux` hands whole frames to one writer task; a frame is queued or it is not.
6.  A frame of yamux's 64 KiB does not fit one Noise message, so each is encrypted and sent as two.
    `NodeYamux` sizes frames to Noise, and joins small frames that wait.
7.  yamux lets a peer announce 16 MiB frames and overrun the window without limit. `NodeYamux`
    caps the frame and what is buffered for one connection.
8.  yamux pings but ignores the missing answer: a peer that lost its power stays "connected" for
    hours. `NodeYamux` closes after `PONG_WAIT_S`.
9.  An exception in a stream handler ends the whole swarm. `NodeSwarm` ends the stream instead, and
    caps the streams that one connection may have open at once.
10. Each Noise message costs two system calls to read. `BufferedTcp` reads ahead.
11. Some modules log through the root logger, which installs a handler on standard error and prints
    peers' addresses. They get libp2p's own logger, and that is silent unless asked for.
12. Importing libp2p warns about its own dependencies.
13. The identify exchange runs in system tasks that outlive the host, and pushed identify messages
    are accepted from anybody. The host answers identify and ping, and starts neither.
14. The resource manager's connection counters are rate-limited per process and cannot be tuned
    from outside; it is off, and the limits of `NodeSwarm` and `PeerHost` apply.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import trio

with warnings.catch_warnings():  # 12
    warnings.simplefilter("ignore")
    import libp2p
    from libp2p.abc import INetConn, INetStream
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
    from libp2p.custom_types import TProtocol
    from libp2p.host.basic_host import BasicHost
    from libp2p.identity.identify_push.identify_push import ID_PUSH as PUSHED_IDENTIFY_ID
    from libp2p.exceptions import BaseLibp2pError
    from libp2p.io.exceptions import ConnectionClosedError, IOException
    from libp2p.io.trio import TrioTCPStream
    from libp2p.network.config import ConnectionConfig, RetryConfig
    from libp2p.network.connection import swarm_connection
    from libp2p.network.connection.swarm_connection import SwarmConn
    from libp2p.network.connection.exceptions import RawConnError
    from libp2p.network.connection.raw_connection import RawConnection
    from libp2p.network.exceptions import SwarmException
    from libp2p.network.swarm import Swarm
    from libp2p.peer.id import ID
    from libp2p.rcmgr import Direction
    from libp2p.tools.anyio_service import background_trio_service
    from libp2p.peer.peerstore import PeerStore
    from libp2p.protocol_muxer.exceptions import MultiselectClientError
    from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
    from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
    from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
    from libp2p.security.noise.transport import Transport as NoiseTransport
    from libp2p.stream_muxer.exceptions import MuxedStreamError
    from libp2p.stream_muxer.yamux import yamux
    from libp2p.transport.tcp import tcp
    from libp2p.transport.upgrader import TransportUpgrader
    from multiaddr import Multiaddr

VERSION = "0.8.1"
WINDOW_WAIT_S = 300.0
PONG_WAIT_S = 30.0
MAX_WINDOW = 4 * 1024 * 1024
MAX_FRAME = 1024 * 1024
MAX_BUFFERED = 48 * 1024 * 1024
MAX_QUEUED = 256 * 1024
MAX_QUEUED_FRAMES = 4096
READ_AHEAD = 128 * 1024
_HEADER = struct.Struct("!BBHII")
_PAYLOAD = MAX_PLAINTEXT_LENGTH - _HEADER.size


class BufferedTcp(TrioTCPStream):
    """A TCP stream that reads ahead (10). One task reads, as everywhere in libp2p."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._ahead = memoryview(b"")

    async def read(self, n: int | None = None) -> bytes:
        if not self._ahead:
            if n == 0:
                return b""
            data = await super().read(READ_AHEAD)
            if n is None or len(data) <= n:
                return data
            self._ahead = memoryview(data)
        taken, self._ahead = self._ahead[:n], self._ahead[len(self._ahead) if n is None else n :]
        return bytes(taken)


class NodeStream(yamux.YamuxStream):
    """A yamux stream whose writer waits for the window, not for the clock (4)."""

    def __init__(self, stream_id: int, conn: yamux.Yamux, is_initiator: bool) -> None:
        self._changed = trio.Event()
        super().__init__(stream_id, conn, is_initiator)

    @property
    def send_window(self) -> int:
        return self._send_window

    @send_window.setter
    def send_window(self, value: int) -> None:
        self._send_window = value
        self._changed.set()

    @property
    def closed(self) -> bool:
        return self._closed

    @closed.setter
    def closed(self, value: bool) -> None:
        self._closed = value
        self._changed.set()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self.send_closed or self.closed:
                raise MuxedStreamError("Stream is closed for sending")
            size = min(self._send_window, _PAYLOAD, len(view))
            if size <= 0:
                await self._wait_for_window()
                continue
            self._send_window -= size
            header = _HEADER.pack(0, yamux.TYPE_DATA, 0, self.stream_id, size)
            await self.conn._write_frame(b"".join((header, view[:size])))
            view = view[size:]

    async def _wait_for_window(self) -> None:
        self._changed = trio.Event()
        with trio.move_on_after(WINDOW_WAIT_S):
            await self._changed.wait()
            return
        raise MuxedStreamError("The reader took nothing for too long")


class NodeYamux(yamux.Yamux):
    """yamux with one writer task, bounded buffers and a pulse (5 to 8)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._outbox: deque[bytes] = deque()
        self._queued = 0
        self._filled = trio.Event()
        self._drained = trio.Event()

    async def _write_frame(self, data: bytes) -> None:
        # Headers alone (window, FIN, RST, ping) never wait: the read loop sends them too.
        while len(data) > _HEADER.size and self._queued > MAX_QUEUED and not self.event_shutting_down.is_set():
            self._drained = trio.Event()
            await self._drained.wait()
        if self.event_shutting_down.is_set():
            raise RawConnError("connection is closed")
        if len(self._outbox) >= MAX_QUEUED_FRAMES:
            await self._cleanup_on_error()
            raise RawConnError("connection closed: the peer reads nothing")
        self._outbox.append(data)
        self._queued += len(data)
        self._filled.set()
        if len(data) > _HEADER.size:
            await trio.lowlevel.checkpoint()

    async def start(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_frames)
            await super().start()
            nursery.cancel_scope.cancel()

    async def _write_frames(self) -> None:
        try:
            while True:
                while not self._outbox:
                    self._filled = trio.Event()
                    await self._filled.wait()
                batch = self._next_batch()
                self._queued -= len(batch)
                self._drained.set()
                await self.secured_conn.write(batch)
        except (RawConnError, IOException, OSError, trio.ClosedResourceError, trio.BrokenResourceError):
            await self._cleanup_on_error()
        finally:
            self._drained.set()

    def _next_batch(self) -> bytes:
        batch = self._outbox.popleft()
        if not self._outbox or len(batch) + len(self._outbox[0]) > MAX_PLAINTEXT_LENGTH:
            return batch
        frames, size = [batch], len(batch)
        while self._outbox and size + len(self._outbox[0]) <= MAX_PLAINTEXT_LENGTH:
            frames.append(self._outbox.popleft())
            size += len(frames[-1])
        return b"".join(frames)

    async def _read_data_body(self, length: int) -> bytes:
        if length > MAX_FRAME or length + sum(map(len, self.stream_buffers.values())) > MAX_BUFFERED:
            await self._cleanup_on_error()
            raise ConnectionClosedError("The peer overran its window", transport="tcp")
        return await super()._read_data_body(length)

    async def _cleanup_on_error(self) -> None:
        self._drained.set()
        await super()._cleanup_on_error()

    async def _measure_rtt_loop(self) -> None:
        await trio.sleep(0.5)
        while not self.event_shutting_down.is_set():
            self._ping_id = (self._ping_id + 1) & 0xFFFFFFFF
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            try:
                await self._write_frame(_HEADER.pack(0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id))
            except RawConnError:
                return
            with trio.move_on_after(PONG_WAIT_S) as waiting:
                await self._ping_event.wait()
            if waiting.cancelled_caught:
                await self._cleanup_on_error()
                return
            with trio.move_on_after(yamux.RTT_MEASURE_INTERVAL):
                await self.event_shutting_down.wait()


class NodeSwarm(Swarm):
    """A swarm that gives slots back and survives its handlers (1, 9)."""

    admit_peer: Callable[[str], bool] | None = None
    max_streams_per_connection = 64

    async def _do_handle_inbound_connection(self, read_write_closer: Any, maddr: Any, failure_event: Any) -> None:
        raw = RawConnection(read_write_closer, False)
        try:
            muxed = cast(NodeYamux, await self.upgrade_inbound_raw_conn(raw, maddr))
            await muxed.event_closed.wait()
        except Exception as error:  # noqa: BLE001 - any failure of a stranger's handshake ends that connection only
            log.debug("inbound connection ended: %r", error)
            await raw.close()

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> Any:
        if self.admit_peer is not None and not self.admit_peer(str(muxed_conn.peer_id)):
            await muxed_conn.close()
            raise SwarmException("peer is not admitted")
        return await super().add_conn(muxed_conn, direction)

    def set_stream_handler(self, stream_handler: Callable[[INetStream], Awaitable[None]]) -> None:
        async def guarded(stream: INetStream) -> None:
            owner = getattr(stream, "swarm_conn", None)
            if owner is not None and len(owner.streams) > self.max_streams_per_connection:
                await stream.reset()
                return
            try:
                await stream_handler(stream)
            except Exception as error:  # noqa: BLE001 - a stream's failure must not end the swarm
                log.debug("stream handler ended: %r", error)
                await stream.reset()

        super().set_stream_handler(guarded)


def _install() -> None:
    """Put the replacements where libp2p looks names up; done once, at import."""
    if libp2p.__version__ != VERSION:
        raise ImportError(f"p2p/patches.py was written for py-libp2p {VERSION}, found {libp2p.__version__}")
    yamux.YamuxStream = NodeStream  # type: ignore[misc]
    yamux.MAX_WINDOW_SIZE = MAX_WINDOW
    tcp.TrioTCPStream = BufferedTcp  # type: ignore[misc, attr-defined]
    swarm_connection.logging = log  # type: ignore[assignment]
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)


log = logging.getLogger("libp2p.openstall")
_install()


def build_host(seed: bytes, *, max_connections: int) -> tuple[BasicHost, NodeSwarm]:
    """A host with TCP + Noise + yamux only (3), which starts no exchange by itself (13)."""
    keys = create_new_key_pair(seed)
    noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
    peerstore = PeerStore()
    peer_id = ID.from_pubkey(keys.public_key)
    peerstore.add_key_pair(peer_id, keys)
    config = ConnectionConfig(
        max_connections=max_connections,
        min_connections=0,
        low_watermark=0,
        high_watermark=max_connections,
        max_connections_per_peer=4,
    )
    swarm = NodeSwarm(
        peer_id,
        peerstore,
        TransportUpgrader({NOISE_ID: noise}, {TProtocol(yamux.PROTOCOL_ID): NodeYamux}),
        transports=[tcp.TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=config,
    )
    # Strangers who dial in may not take the slots that our own dials need.
    swarm._inbound_limiter = trio.CapacityLimiter(max(1, max_connections * 7 // 8))
    host = BasicHost(swarm, disable_identify_address_discovery=True)
    host.remove_stream_handler(PUSHED_IDENTIFY_ID)
    swarm.notifees = [one for one in swarm.notifees if type(one).__name__ != "_IdentifyNotifee"]
    return host, swarm


async def dial_address(swarm: NodeSwarm, address: str, peer_id: str) -> INetConn:
    """Open a connection to one address (2).

    Raises:
        BaseLibp2pError: no connection, or another peer answered.
    """
    return await swarm.dial_addr(Multiaddr(address), ID.from_string(peer_id))


async def negotiate_stream(host: BasicHost, peer_id: str, protocol: str) -> INetStream:
    """Open a stream on an existing connection and agree on the protocol.

    Opening is shielded: libp2p loses one of the connection's 256 stream slots when it is cancelled
    half way. The negotiation can be cancelled; it then resets the stream.

    Raises:
        BaseLibp2pError: no connection, or it broke.
        MultiselectClientError: the peer does not speak the protocol.
    """
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 5.0):
        stream = await host.get_network().new_stream(ID.from_string(peer_id))
    chosen = TProtocol(protocol)
    try:
        answer = await host.multiselect_client.select_one_of([chosen], MultiselectCommunicator(stream), 30)
        if answer != chosen:
            raise MultiselectClientError("The peer did not choose in time")
    except BaseException:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
            await stream.reset()
        raise
    stream.set_protocol(chosen)
    return stream


def connections_of(swarm: NodeSwarm, peer_id: str) -> list[SwarmConn]:
    """The open connections with one peer."""
    return [cast(SwarmConn, one) for one in swarm.get_connections(ID.from_string(peer_id)) if not one.is_closed]


def round_trip_s(connection: SwarmConn) -> float:
    """The connection's measured round trip in seconds; 0.0 before the first measurement."""
    return cast(NodeYamux, connection.muxed_conn).rtt()


def remote_address(connection: SwarmConn) -> str:
    """The other end's transport address as text, or an empty string."""
    found = connection.get_transport_addresses()
    return str(found[0]) if found else ""


async def shut_down(swarm: NodeSwarm) -> None:
    """Stop listening and close every connection at once; libp2p alone takes 0.2 s for each in turn."""
    for listener in list(swarm.listeners.values()):
        await listener.close()
    async with trio.open_nursery() as nursery:
        for connection in swarm.get_connections():
            nursery.start_soon(connection.close)
    await swarm.close()


class ConnectionWatcher:
    """Passes the swarm's connection events on as plain calls; the rest of libp2p's observer is unused."""

    def __init__(self, came: Callable[[SwarmConn, bool], None], went: Callable[[SwarmConn], None]) -> None:
        self._came = came
        self._went = went

    async def connected(self, network: object, conn: SwarmConn) -> None:
        self._came(conn, conn.direction == Direction.OUTBOUND)

    async def disconnected(self, network: object, conn: SwarmConn) -> None:
        self._went(conn)

    async def opened_stream(self, network: object, stream: object) -> None:
        """Not used."""

    async def closed_stream(self, network: object, stream: object) -> None:
        """Not used."""

    async def listen(self, network: object, multiaddr: object) -> None:
        """Not used."""

    async def listen_close(self, network: object, multiaddr: object) -> None:
        """Not used."""


def running(swarm: NodeSwarm) -> AbstractAsyncContextManager[object]:
    """The swarm's background service for the time of a block."""
    return background_trio_service(swarm)


async def listen(swarm: NodeSwarm, bound: Sequence[str]) -> bool:
    """Bind every address; False when one could not be bound."""
    for one in bound:
        if not await swarm.listen(Multiaddr(one)):
            return False
    return True


def handle(host: BasicHost, protocol: str, handler: Callable[[INetStream], Awaitable[None]]) -> None:
    """Let `handler` serve the streams of a protocol."""
    host.set_stream_handler(TProtocol(protocol), handler)


def listen_addresses(host: BasicHost) -> list[str]:
    """The bound addresses without the peer id, with real port numbers."""
    return [str(one).split("/p2p/")[0] for one in host.get_transport_addrs()]
