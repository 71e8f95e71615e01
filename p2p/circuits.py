"""Circuits through a relay: the messages of circuit relay v2, and a stream that carries a whole connection.

The messages are libp2p's own (`/libp2p/circuit/relay/0.2.0`), so that other implementations can relay for us
and we for them. libp2p's services around them are not used (16, 17 in `patches.py`).
"""

from __future__ import annotations

import contextlib
from typing import Any, TypeVar

import trio

from openstall.p2p.engine import BaseLibp2pError, Multiaddr, NetStream  # isort: skip - before libp2p itself

from google.protobuf.message import DecodeError, Message
from libp2p.connection_types import ConnectionType
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.relay.circuit_v2.pb import circuit_pb2 as wire
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from libp2p.utils.varint import encode_varint_prefixed, read_varint_prefixed_bytes_limited

HOP = "/libp2p/circuit/relay/0.2.0/hop"
STOP = "/libp2p/circuit/relay/0.2.0/stop"
PUNCH = "/libp2p/dcutr"
MAX_MESSAGE = 4096
READ_AHEAD = 256 * 1024
BROKEN = (BaseLibp2pError, EOFError, trio.ClosedResourceError, trio.BrokenResourceError)

__all__ = ["HOP", "PUNCH", "STOP", "CircuitStream", "HolePunch", "as_connection", "receive", "send", "wire"]

_Kind = TypeVar("_Kind", bound=Message)


class Garbled(Exception):
    """The other side sent no message, or one that makes no sense."""


async def send(stream: NetStream, message: Message) -> None:
    """Send one message, with its length before it."""
    await stream.write(encode_varint_prefixed(message.SerializeToString()))


async def receive(
    stream: NetStream, kind: type[_Kind], *, timeout_s: float, limit: int = MAX_MESSAGE
) -> _Kind:
    """The next message, of at most `limit` bytes.

    Raises:
        Garbled: too large, not a message, the end of the stream, or nothing in time.
    """
    message = kind()
    with trio.move_on_after(timeout_s):
        try:
            message.ParseFromString(await read_varint_prefixed_bytes_limited(stream, limit))
        except (*BROKEN, DecodeError, ValueError) as error:
            raise Garbled(type(error).__name__) from error
        return message
    raise Garbled("silent")


class CircuitStream(ReadWriteCloser):
    """A stream of a relay's connection in the place of a TCP connection; reads as `BufferedTcp` does."""

    def __init__(self, stream: NetStream) -> None:
        self._stream = stream
        self._ahead = memoryview(b"")

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes; empty at the end."""
        if n == 0:
            return b""
        if not self._ahead:
            try:
                self._ahead = memoryview(await self._stream.read(READ_AHEAD))
            except EOFError:
                return b""
            except BROKEN as error:
                raise ConnectionClosedError("The circuit broke", transport="circuit") from error
        taken, self._ahead = self._ahead[:n], self._ahead[len(self._ahead) if n is None else n :]
        return bytes(taken)

    async def exactly(self, n: int) -> bytes:
        """`n` bytes.

        Raises:
            ConnectionClosedError: the circuit ended before.
        """
        parts: list[bytes] = []
        while n:
            data = await self.read(n)
            if not data:
                raise ConnectionClosedError("The circuit was closed", transport="circuit")
            parts.append(data)
            n -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Send everything.

        Raises:
            ConnectionClosedError: the circuit is gone.
        """
        try:
            await self._stream.write(data)
        except BROKEN as error:
            raise ConnectionClosedError("The circuit broke", transport="circuit") from error

    async def close(self) -> None:
        """End the circuit."""
        with contextlib.suppress(*BROKEN):
            await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Not known: only the relay sees it."""
        return None


def as_connection(stream: NetStream, *, initiator: bool, address: str) -> Any:
    """The stream as a raw connection that libp2p can secure; `address` says through which relay it leads."""
    return RawConnection(
        CircuitStream(stream),
        initiator,
        connection_type=ConnectionType.RELAYED,
        addresses=[Multiaddr(address)],
    )
