"""One fetch: a shared list of missing chunks, a worker per source, each chunk verified before it is kept."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from openstall.market.errors import OpenstallError, PeerError
from openstall.p2p import blob_wire, exchange
from openstall.p2p.blobs import Progress, disk_errors
from openstall.p2p.framing import Framed
from openstall.p2p.partial_blob import PartialBlob

RUN = 8
AHEAD = 2
WRITES = 3
RETRIES = 4
RETRY_S = 0.5

log = logging.getLogger("openstall.p2p")


class Fetch:
    """Fills a partial blob from several sources."""

    def __init__(
        self,
        *,
        partial: PartialBlob,
        open_source: Callable[[str], Awaitable[Framed]],
        penalise: Callable[[str, float, str], None],
        on_progress: Progress | None,
        chunk_timeout_s: float,
    ) -> None:
        self._partial = partial
        self._open_source = open_source
        self._penalise = penalise
        self._on_progress = on_progress
        self._chunk_timeout_s = chunk_timeout_s
        self._pending = _runs(partial.missing())
        self._left = len(partial.missing())
        self._done_bytes = partial.done_bytes()
        self._changed = trio.Event()
        self._failure: OpenstallError | None = None
        self._last_words: PeerError | None = None
        self._scope = trio.CancelScope()

    async def run(self, sources: Sequence[str]) -> None:
        """Return when every chunk is there.

        Raises:
            PeerError: every source failed.
            StoreError: the disk is full or broken.
        """
        self._report(0)
        if self._left:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for peer_id in dict.fromkeys(sources):
                        nursery.start_soon(self._use, peer_id)
        if self._failure is not None:
            raise self._failure
        if self._left:
            raise self._last_words or PeerError("blob_unavailable", "Nobody was named who has the file.")

    def _report(self, gained: int) -> None:
        self._done_bytes += gained
        if self._on_progress is not None:
            self._on_progress(self._done_bytes, self._partial.manifest.size)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _use(self, peer_id: str) -> None:
        """Work with one source until all is done, or the source is of no use."""
        failures = 0
        while self._left:
            before = self._left
            error = await self._attempt(peer_id)
            if error is None:
                return
            log.info("blob source %s: %s", peer_id, error.code)
            self._last_words = error
            if error.code == "blob_corrupt":
                self._penalise(peer_id, 50.0, "corrupt_chunk")
                return
            if isinstance(error, exchange.RefusedByPeer):
                self._last_words = PeerError("blob_unavailable", error.message, "Try again later.")
                return
            failures = 1 if self._left < before else failures + 1
            if failures >= RETRIES:
                return
            await trio.sleep(RETRY_S * 2**failures)

    async def _attempt(self, peer_id: str) -> PeerError | None:
        try:
            async with await self._open_source(peer_id) as framed:
                await self._work(framed)
        except PeerError as error:
            return error
        except BaseExceptionGroup as group:
            expected, bugs = group.split(PeerError)
            if bugs is not None or expected is None:
                raise
            return _worst(expected)
        return None

    async def _work(self, framed: Framed) -> None:
        """Keep two runs on their way, so that the source never waits for the next question."""
        asked: deque[range] = deque()
        unsaved: set[int] = set()
        try:
            async with trio.open_nursery() as nursery:
                room = trio.Semaphore(WRITES)
                while self._left:
                    while self._pending and len(asked) < AHEAD:
                        asked.append(self._pending.popleft())
                        unsaved.update(asked[-1])
                        await framed.send(
                            blob_wire.run_request(self._partial.cid, asked[-1].start, len(asked[-1]))
                        )
                    if not asked:
                        await self._changed.wait()
                        continue
                    await self._expect_run(framed)
                    for index in asked[0]:
                        data = await self._next(framed)
                        await room.acquire()
                        nursery.start_soon(self._keep, index, data, unsaved, room)
                    asked.popleft()
        finally:
            if unsaved:
                self._pending.extendleft(reversed(_runs(sorted(unsaved))))
                self._wake()

    async def _expect_run(self, framed: Framed) -> None:
        exchange.decode_answer(await self._next(framed))

    async def _next(self, framed: Framed) -> bytes:
        data = await framed.receive(timeout_s=self._chunk_timeout_s)
        if data is None:
            raise PeerError(
                "no_answer", "The other peer stopped in the middle of the file.", "Try again later."
            )
        return data

    async def _keep(self, index: int, data: bytes, unsaved: set[int], room: trio.Semaphore) -> None:
        def write() -> bool:
            with disk_errors("The download"):
                return self._partial.write(index, data)

        try:
            good = await trio.to_thread.run_sync(write)
        except OpenstallError as error:
            # The disk is everybody's: end the whole fetch with this one reason.
            self._failure = self._failure or error
            self._scope.cancel()
            return
        finally:
            room.release()
        if not good:
            raise PeerError(
                "blob_corrupt",
                "The other peer sent data that is not what was asked for. It was thrown away.",
                "Fetch the file from somebody else.",
            )
        unsaved.discard(index)
        self._left -= 1
        self._report(len(data))
        if not self._left:
            self._wake()


def _runs(indices: Sequence[int]) -> deque[range]:
    """Neighbouring chunks in runs of at most `RUN`."""
    runs: deque[range] = deque()
    for index in indices:
        if runs and runs[-1].stop == index and len(runs[-1]) < RUN:
            runs[-1] = range(runs[-1].start, index + 1)
        else:
            runs.append(range(index, index + 1))
    return runs


def _worst(group: BaseExceptionGroup[PeerError]) -> PeerError:
    """A wrong chunk outweighs the broken stream that it may have caused."""
    flat = [_worst(one) if isinstance(one, BaseExceptionGroup) else one for one in group.exceptions]
    return next((one for one in flat if one.code == "blob_corrupt"), flat[0])
