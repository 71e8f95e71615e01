"""Length-prefixed frames on a stream: 4 bytes big-endian, then the payload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import trio

from openstall.market.errors import PeerError
from openstall.p2p.engine import BaseLibp2pError, NetStream

_PREFIX = 4
_FIRST = 65_000
_BROKEN = (BaseLibp2pError, trio.ClosedResourceError, trio.BrokenResourceError)


class Cut(PeerError):
    """The stream ended or broke in the middle; the connection may be gone."""


class Framed:
    """One stream with another peer. One task may send while another receives.

    As a context manager it closes on success and resets on any failure, so a cancelled exchange
    never leaves half a frame to be misread.
    """

    def __init__(self, stream: NetStream, peer_id: str, *, max_frame: int) -> None:
        self.peer_id = peer_id
        self._stream = stream
        self._max_frame = max_frame
        self._ahead = bytearray()
        self._sending = trio.Lock()

    async def send(self, payload: bytes) -> None:
        """Send one frame.

        Raises:
            Cut: the other side closed or reset the stream, or the connection broke.
        """
        async with self._sending:
            try:
                await self._write(payload)
            except _BROKEN as error:
                raise _cut() from error

    async def send_whole(self, payload: bytes, *, within_s: float) -> None:
        """Send one frame on a stream that others go on using: being cancelled never leaves half of it there.

        Waiting for its turn can be cancelled; the writing cannot, and a peer that does not take it in time
        loses the stream.

        Raises:
            Cut: as `send`, or the other side did not read.
        """
        async with self._sending:
            with trio.move_on_after(within_s) as scope:
                scope.shield = True
                try:
                    await self._write(payload)
                except _BROKEN as error:
                    raise _cut() from error
                return
            await self.reset()
            raise _cut()

    async def receive(
        self,
        *,
        max_frame: int | None = None,
        timeout_s: float | None = None,
        came: Callable[[int], None] | None = None,
        admit: Callable[[int], None] | None = None,
    ) -> bytes | None:
        """The next frame, or None when the other side has finished. `came` is told of bytes as they come.

        `admit` is told its size before any of it is read, and may raise.

        Raises:
            Cut: the stream ended inside a frame, or the connection broke.
            PeerError: `frame_too_large`, before that much is read; `peer_silent` after `timeout_s`.
        """
        with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
            return await self._receive(self._max_frame if max_frame is None else max_frame, came, admit)
        raise PeerError("peer_silent", "The other peer stopped answering.", "Try again later.")

    async def _write(self, payload: bytes) -> None:
        # The prefix travels with the first piece; the rest of a large payload is not copied.
        await self._stream.write(len(payload).to_bytes(_PREFIX, "big") + payload[:_FIRST])
        if len(payload) > _FIRST:
            await self._stream.write(memoryview(payload)[_FIRST:])  # type: ignore[arg-type]

    async def _receive(
        self,
        max_frame: int,
        came: Callable[[int], None] | None = None,
        admit: Callable[[int], None] | None = None,
    ) -> bytes | None:
        if not await self._fill(_PREFIX):
            return None
        size = int.from_bytes(self._ahead[:_PREFIX], "big")
        if size > max_frame:
            raise PeerError(
                "frame_too_large",
                f"The other peer sent a message of {size} bytes where at most {max_frame} are allowed.",
                "Nothing was read. Report the peer if it happens again.",
            )
        if admit is not None:
            admit(size)
        payload = bytes(self._ahead[_PREFIX : _PREFIX + size])
        del self._ahead[: _PREFIX + size]
        parts, left = [payload], size - len(payload)
        while left:
            data = await self._read(left)
            if not data:
                raise _cut()
            parts.append(data)
            left -= len(data)
            if came is not None:
                came(len(data))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _fill(self, size: int) -> bool:
        while len(self._ahead) < size:
            data = await self._read(size - len(self._ahead))
            if not data:
                if self._ahead:
                    raise _cut()
                return False
            self._ahead += data
        return True

    async def _read(self, n: int) -> bytes:
        try:
            return await self._stream.read(n)
        except EOFError:
            return b""
        except _BROKEN as error:
            raise _cut() from error

    async def finish(self) -> None:
        """Say that no more frames come from this side; receiving goes on."""
        try:
            await self._stream.close_write()
        except _BROKEN as error:
            raise _cut() from error

    async def aclose(self) -> None:
        """Close both directions. Never raises, and is not stopped by cancellation."""
        await self._end(self._stream.close)

    async def reset(self) -> None:
        """Drop the stream at once; the other side sees a broken stream."""
        await self._end(self._stream.reset)

    async def _end(self, how: Callable[[], Awaitable[None]]) -> None:
        with trio.move_on_after(2.0) as scope:
            scope.shield = True
            try:
                await how()
            except _BROKEN:
                return  # it is gone already

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await (self.aclose() if kind is None else self.reset())


def _cut() -> Cut:
    return Cut("stream_cut", "The connection to the other peer broke.", "Try again; nothing was lost here.")
