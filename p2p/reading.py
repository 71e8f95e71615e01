"""Reading and writing a connection with fewer system calls and copies; (10) of `patches.py`."""

from __future__ import annotations

from typing import Any, Protocol

import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.security.secure_session import SecureSession

READ_AHEAD = 256 * 1024


class BufferedTcp(TrioTCPStream):
    """A TCP stream that reads ahead (10). One task reads, as everywhere in libp2p."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._ahead = memoryview(b"")

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes; empty at the end."""
        if not self._ahead:
            if n == 0:
                return b""
            data = await super().read(READ_AHEAD)
            if n is None or len(data) <= n:
                return data
            self._ahead = memoryview(data)
        taken, self._ahead = self._ahead[:n], self._ahead[len(self._ahead) if n is None else n :]
        return bytes(taken)

    async def exactly(self, n: int) -> bytes:
        """`n` bytes.

        Raises:
            ConnectionClosedError: the stream ended before.
        """
        if len(self._ahead) >= n:
            taken, self._ahead = self._ahead[:n], self._ahead[n:]
            return bytes(taken)
        parts: list[bytes] = []
        while n:
            data = await self.read(n)
            if not data:
                raise ConnectionClosedError("The connection was closed", transport="tcp")
            parts.append(data)
            n -= len(data)
        return b"".join(parts)


class Carrier(Protocol):
    """What a Noise session reads from: TCP, or a circuit."""

    async def exactly(self, n: int) -> bytes:
        """`n` bytes."""

    async def write(self, data: bytes) -> None:
        """Send everything."""


class Plaintext:
    """Reads and writes a Noise session in large pieces (10); everything else is the session's own."""

    def __init__(self, session: SecureSession) -> None:
        self._session = session
        self.received = 0
        self._state = session.conn.noise_state  # type: ignore[attr-defined]
        self._tcp: Carrier = session.conn.read_writer.read_write_closer.stream  # type: ignore[attr-defined]
        self._view = memoryview(session._drain(None))  # noqa: SLF001 - what the negotiation left unread

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def local_host(self) -> str:
        """The address of this machine that the connection uses; empty for a circuit."""
        if not isinstance(self._tcp, BufferedTcp):
            return ""
        try:
            return str(self._tcp.stream.socket.getsockname()[0])
        except OSError:
            return ""

    async def read(self, n: int | None = None) -> bytes:
        """At least one and at most `n` bytes."""
        if not self._view:
            size = int.from_bytes(await self._tcp.exactly(2), "big")
            self.received += size
            self._view = memoryview(self._state.decrypt(await self._tcp.exactly(size)))
        taken, self._view = self._view[:n], self._view[len(self._view) if n is None else n :]
        return bytes(taken)

    async def exactly(self, n: int) -> bytes:
        """`n` bytes; raises as `BufferedTcp.exactly`."""
        data = await self.read(n)
        if len(data) == n:
            return data
        parts, got = [data], len(data)
        while got < n:
            parts.append(await self.read(n - got))
            got += len(parts[-1])
        return b"".join(parts)

    async def write_each(self, messages: list[bytes]) -> None:
        """Send Noise messages in one go."""
        sealed = [self._state.encrypt(one) for one in messages]
        await self._tcp.write(b"".join(part for one in sealed for part in (len(one).to_bytes(2, "big"), one)))
