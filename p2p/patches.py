"""Everything that makes py-libp2p 0.8.1 fit for a node that runs for months, in one place.

The version is pinned; each numbered workaround names what goes wrong without it (`NodeSwarm` is in
`swarm.py`, `NodePubsub` in `gossip.py` with its own list). Nothing outside
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
10. Each Noise message costs two system calls to read, and its bytes are copied ten times on their
    way up. `BufferedTcp` reads ahead; `Plaintext`, `_Chunks` and `NodeStream.read` copy three times,
    and give the window back in halves instead of at every read.
11. Some modules log through the root logger, which installs a handler on standard error and prints
    peers' addresses. They get libp2p's own logger, and that is silent unless asked for.
12. Importing libp2p warns about its own dependencies.
13. The identify exchange runs in system tasks that outlive the host, and pushed identify messages
    are accepted from anybody. The host answers identify and ping, and starts neither.
14. The resource manager's connection counters are rate-limited per process and cannot be tuned
    from outside; it is off, and the limits of `NodeSwarm` and `PeerHost` apply.
15. The auto-connector dials any address that a stranger put into the peer store, whatever its
    watermarks say. It is replaced by one that does nothing.
16. The relay service writes its status messages into the middle of what it carries, forgets a peer's
    first circuit when the second begins, has no limit by address or by time, and `host.connect` refuses
    circuit addresses. `relay.py` and `relay_client.py` speak the same protocol by themselves.
17. The hole punching service looks for relayed peers every 2 s, dials addresses of any kind that the
    other side names, and never learns its own outer port. `punch.py` speaks the same protocol.
18. Nothing counts the bytes of a connection. `NodeYamux` does.
19. The host imports a client of a certificate authority, and with it `requests`: 6 MB for certificates
    that the node never asks for. Empty modules stand in their place.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import sys
import warnings
from collections import deque
from types import ModuleType
from typing import Any, cast

import trio

_UNUSED = {"acme": ("ACMEClient", "compute_b36_peer_id"), "broker": ("BrokerClient",)}
for module, names in _UNUSED.items():  # 19
    unused = ModuleType(f"libp2p.security.tls.autotls.{module}")
    vars(unused).update(dict.fromkeys(names))
    sys.modules.setdefault(unused.__name__, unused)

with warnings.catch_warnings():  # 12
    warnings.simplefilter("ignore")
    import libp2p
    from libp2p.abc import ISecureConn
    from libp2p.io.exceptions import ConnectionClosedError, IOException
    from libp2p.network.connection import swarm_connection
    from libp2p.network.connection.exceptions import RawConnError
    from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
    from libp2p.security.secure_session import SecureSession
    from libp2p.stream_muxer import muxer_multistream
    from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
    from libp2p.stream_muxer.yamux import yamux
    from libp2p.transport.tcp import tcp

    from openstall.p2p.reading import BufferedTcp, Plaintext

__all__ = ["BufferedTcp", "NodeStream", "NodeYamux", "tcp", "yamux"]

VERSION = "0.8.1"
WINDOW_WAIT_S = 300.0
PONG_WAIT_S = 30.0
MAX_WINDOW = 4 * 1024 * 1024
MAX_FRAME = 1024 * 1024
MAX_BUFFERED = 48 * 1024 * 1024
MAX_QUEUED = 256 * 1024
MAX_QUEUED_FRAMES = 4096
_HEADER = struct.Struct("!BBHII")
_PAYLOAD = MAX_PLAINTEXT_LENGTH - _HEADER.size


class _Chunks:
    """A stream's unread bytes as they came, in the place of libp2p's bytearray."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def extend(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._size += len(data)

    def take(self, n: int | None) -> bytes:
        data = self._parts.popleft()
        if n is not None and len(data) > n:
            self._parts.appendleft(data[n:])
            data = data[:n]
        self._size -= len(data)
        return data


class _Buffers(dict[int, Any]):
    """Stores a `_Chunks` wherever libp2p stores an empty bytearray."""

    def __setitem__(self, key: int, value: object) -> None:
        super().__setitem__(key, _Chunks())


class NodeStream(yamux.YamuxStream):
    """A yamux stream whose writer waits for the window, not for the clock (4)."""

    def __init__(self, stream_id: int, conn: yamux.Yamux, is_initiator: bool) -> None:  # noqa: FBT001 - libp2p's
        self._changed = trio.Event()
        super().__init__(stream_id, conn, is_initiator)

    @property
    def send_window(self) -> int:
        """How many bytes the reader still takes."""
        return self._send_window

    @send_window.setter
    def send_window(self, value: int) -> None:
        self._send_window = value
        self._changed.set()

    @property
    def closed(self) -> bool:
        """Whether both directions are over."""
        return self._closed

    @closed.setter
    def closed(self, value: bool) -> None:
        self._closed = value
        self._changed.set()

    async def write(self, data: bytes) -> None:
        """Send everything, as the reader makes room."""
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
            await cast(NodeYamux, self.conn).write_frame(b"".join((header, view[:size])))
            view = view[size:]

    async def read(self, n: int | None = None) -> bytes:
        """At least one and at most `n` bytes.

        Raises:
            MuxedStreamEOF, MuxedStreamReset: the other side finished, or gave up.
        """
        conn = cast(NodeYamux, self.conn)
        while True:
            buffer: _Chunks | None = conn.stream_buffers.get(self.stream_id)  # type: ignore[assignment]
            if buffer:
                data = buffer.take(n)
                if self.closed and not buffer:
                    await conn._finalize_stream(self, fully_closed=True)  # noqa: SLF001
                elif not self.recv_closed:
                    await self._give_back(len(data))
                return data
            if self.reset_received:
                raise MuxedStreamReset("Stream was reset")
            event = conn.stream_events.get(self.stream_id)
            if self.recv_closed or self.closed or buffer is None or event is None:
                raise MuxedStreamEOF("Stream is closed for receiving")
            await event.wait()
            if conn.stream_events.get(self.stream_id) is event:
                conn.stream_events[self.stream_id] = trio.Event()

    async def _give_back(self, size: int) -> None:
        """Return window to the sender, half of it at a time; what is used up within a round trip grows."""
        self._pending_recv_release += size
        if self._pending_recv_release < self.target_recv_window // 2:
            return
        increment, self._pending_recv_release = self._pending_recv_release, 0
        now = trio.current_time()
        least_s = cast(NodeYamux, self.conn).least_rtt_s
        if now - self.epoch_start < 2.0 * least_s and self.target_recv_window < MAX_WINDOW:
            increment += self.target_recv_window
            self.target_recv_window *= 2
        self.epoch_start = now
        self.recv_window += increment
        header = _HEADER.pack(0, yamux.TYPE_WINDOW_UPDATE, 0, self.stream_id, increment)
        with contextlib.suppress(RawConnError):  # the data was read; the next read tells of the end
            await cast(NodeYamux, self.conn).write_frame(header)

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
        self._plain = Plaintext(cast(SecureSession, self.secured_conn))
        self.secured_conn = cast(ISecureConn, self._plain)
        self.stream_buffers = _Buffers()
        self._outbox: deque[bytes] = deque()
        self._queued = 0
        self.sent = 0
        self.least_rtt_s = 0.0
        self._filled = trio.Event()
        self._drained = trio.Event()

    @property
    def received(self) -> int:
        """Bytes that came in (18); `sent` those that went out."""
        return self._plain.received

    def local_host(self) -> str:
        """As `Plaintext.local_host`."""
        return self._plain.local_host()

    async def _write_frame(self, data: bytes) -> None:
        await self.write_frame(data)

    async def write_frame(self, data: bytes) -> None:
        """Queue a frame; waits while too much is queued already.

        Raises:
            RawConnError: the connection is closed.
        """
        # Headers alone (window, FIN, RST, ping) never wait: the read loop sends them too.
        while (
            len(data) > _HEADER.size and self._queued > MAX_QUEUED and not self.event_shutting_down.is_set()
        ):
            await self._drained.wait()
        if self.event_shutting_down.is_set():
            raise RawConnError("connection is closed")
        if len(self._outbox) >= MAX_QUEUED_FRAMES:
            await self._cleanup_on_error()
            raise RawConnError("connection closed: the peer reads nothing")
        self._outbox.append(data)
        self._queued += len(data)
        self._filled.set()
        if self._queued > MAX_QUEUED // 2:
            await trio.lowlevel.checkpoint()

    async def start(self) -> None:
        """Run the connection until it ends."""
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
                batches = [self._next_batch()]
                while self._outbox and sum(map(len, batches)) < MAX_QUEUED // 2:
                    batches.append(self._next_batch())
                self._queued -= sum(map(len, batches))
                self._make_room()
                await self._plain.write_each(batches)
                self.sent += sum(map(len, batches))
        except (RawConnError, IOException, OSError, trio.ClosedResourceError, trio.BrokenResourceError):
            await self._cleanup_on_error()
        finally:
            self._make_room()

    def _make_room(self) -> None:
        # Several streams may wait: wake them all, and let later ones wait for the next time.
        drained, self._drained = self._drained, trio.Event()
        drained.set()

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
        with trio.fail_after(60):
            return await self._plain.exactly(length)

    async def _cleanup_on_error(self) -> None:
        self._make_room()
        await super()._cleanup_on_error()

    async def _measure_rtt_loop(self) -> None:
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
                took_s = trio.current_time() - self._ping_sent_time
                self.least_rtt_s = min(took_s, self.least_rtt_s or took_s)
            if waiting.cancelled_caught:
                await self._cleanup_on_error()
                return
            with trio.move_on_after(yamux.RTT_MEASURE_INTERVAL if self._ping_id > 5 else 0.1):
                await self.event_shutting_down.wait()


def _install() -> None:
    """Put the replacements where libp2p looks names up; done once, at import."""
    if libp2p.__version__ != VERSION:
        raise ImportError(f"p2p/patches.py was written for py-libp2p {VERSION}, found {libp2p.__version__}")
    setattr(yamux, "YamuxStream", NodeStream)  # noqa: B010 - type checkers know no assignment to a class
    setattr(muxer_multistream, "Yamux", NodeYamux)  # noqa: B010 - it ignores the muxer class it is given
    yamux.MAX_WINDOW_SIZE = MAX_WINDOW
    setattr(tcp, "TrioTCPStream", BufferedTcp)  # noqa: B010
    setattr(swarm_connection, "logging", log)  # noqa: B010 - the module's private import, not an attribute of ours
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)


log = logging.getLogger("libp2p.openstall")
_install()
