"""Where chunks come from: another peer, or (in `mirrors`) a web server. Chunks of both are checked."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from openstall.market.errors import PeerError
from openstall.p2p import blob_wire, exchange
from openstall.p2p.blob_wire import Holding
from openstall.p2p.framing import Framed

NEAR_LANES, FAR_LANES = 2, 4
"""Over a long way one line cannot be full; over a short one more lines only make others' messages wait."""
LEAST_PER_S = 4096
"""A source below that is given up; so the longest that one chunk may take is 256 s."""

Came = Callable[[int], None]


class OpenLane(Protocol):
    """An open line to a source."""

    async def ask(self, run: range) -> None:
        """Ask for a run of chunks; answers come in the order of the questions."""

    async def next_chunk(self, came: Came) -> bytes:
        """The next chunk that was asked for; `came` is told of bytes on their way.

        Raises:
            PeerError: the source broke off, refuses or is silent.
        """

    async def refresh(self) -> Sequence[int]:
        """Ask again what the source has, when nothing else is asked; as `ChunkSource.part`."""


class ChunkSource(Protocol):
    """Somebody who may have the chunks."""

    @property
    def name(self) -> str:
        """Who it is: a peer id, or the name of a web server."""

    @property
    def ahead(self) -> int:
        """How many runs may be asked for before the first has come."""

    @property
    def lanes(self) -> int:
        """How many lines to it may be open at once."""

    def holds(self, index: int) -> bool:
        """Whether it says that it has a chunk."""

    def part(self) -> Sequence[int]:
        """The chunks that it has, if it says that it has not all; else empty."""

    def open(self) -> AbstractAsyncContextManager[OpenLane]:
        """A new line to it."""

    def blame(self, points: float, reason: str) -> None:
        """It did something wrong."""


class Quiet:
    """Ends a wait when nothing has come for `quiet_s`, or when what comes is too little to be of use."""

    def __init__(self, *, quiet_s: float, size: int, came: Came) -> None:
        self._quiet_s = quiet_s
        self._latest = trio.current_time() + max(quiet_s, size / LEAST_PER_S)
        self._came = came
        self.scope = trio.CancelScope(deadline=trio.current_time() + quiet_s)

    def came(self, count: int) -> None:
        """Bytes have come."""
        self._came(count)
        self.scope.deadline = min(self._latest, trio.current_time() + self._quiet_s)


def too_quiet() -> PeerError:
    """The source sends nothing, or hardly anything."""
    return PeerError("peer_silent", "The other peer stopped answering.", "Try again later.")


class _PeerLane:
    def __init__(self, framed: Framed, source: PeerSource) -> None:
        self._framed = framed
        self._source = source
        self._expected: deque[int] = deque()

    async def ask(self, run: range) -> None:
        self._expected.append(len(run))
        await self._framed.send(blob_wire.run_request(self._source.cid, run.start, len(run)))

    async def next_chunk(self, came: Came) -> bytes:
        if self._expected[0] > 0:
            self._expected[0] = -self._expected[0]
            exchange.decode_answer(await self._frame(came))
        self._expected[0] += 1
        if not self._expected[0]:
            self._expected.popleft()
        return await self._frame(came)

    async def refresh(self) -> Sequence[int]:
        await self._framed.send(blob_wire.short_request(b"H", self._source.cid))
        answer = exchange.decode_answer(await self._frame(lambda _: None))
        self._source.holding = blob_wire.decode_holding(answer)
        return self._source.part()

    async def _frame(self, came: Came) -> bytes:
        quiet = Quiet(quiet_s=self._source.quiet_s, size=blob_wire.CHUNK_BYTES, came=came)
        with quiet.scope:
            data = await self._framed.receive(came=quiet.came)
            if data is None:
                raise PeerError(
                    "no_answer", "The other peer stopped in the middle of the file.", "Try again later."
                )
            return data
        raise too_quiet()


class PeerSource:
    """Another peer that holds the blob, or a part of it."""

    ahead = 2

    def __init__(
        self,
        peer_id: str,
        *,
        cid: str,
        open_stream: Callable[[str], Awaitable[Framed]],
        penalise: Callable[[str, float, str], None],
        quiet_s: float,
        holding: Holding | None = None,
        lanes: int = FAR_LANES,
    ) -> None:
        self.name = peer_id
        self.lanes = lanes
        self.cid = cid
        self._open_stream = open_stream
        self._penalise = penalise
        self.quiet_s = quiet_s
        self.holding = holding or Holding()

    def holds(self, index: int) -> bool:
        """As it said, or as it must be for a peer that is named as the owner."""
        return index in self.holding

    def part(self) -> Sequence[int]:
        """As in `ChunkSource`."""
        return self.holding.part()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenLane]:
        """A stream of its own."""
        async with await self._open_stream(self.name) as framed:
            yield _PeerLane(framed, self)

    def blame(self, points: float, reason: str) -> None:
        """It loses some of its good name at this host."""
        self._penalise(self.name, points, reason)
