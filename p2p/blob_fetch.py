"""One fetch: lanes to several sources work on one plan, and each chunk is verified before it is kept.

A source that lies is dropped; one that is silent is tried again a few times; what a slow one owes is
taken over by faster ones at the end. Lanes to one source are added while that makes it faster.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from openstall.market.errors import OpenstallError, PeerError
from openstall.p2p import exchange
from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.blob_plan import RUN, Lane, Meter, Plan
from openstall.p2p.blob_sources import ChunkSource, OpenLane
from openstall.p2p.blobs import Progress, disk_errors
from openstall.p2p.partial_blob import PartialBlob

WRITES = 3
RETRIES = 4
RETRY_S = 0.5
MAX_SOURCES = 8
LOOK_AGAIN_S = 0.25
REFRESH_S = 2.0
REFEREE_S = 5.0
FAIR_CHANCE_S = 10.0
FOR_GOOD = frozenset({"web_no_ranges", "web_missing", "web_wrong_part", "web_forbidden", "bad_url"})
"""Faults of a source that will be the same in a minute."""

Offer = Callable[[ChunkSource], None]
Search = Callable[[Offer], Awaitable[None]]
"""Looks for more sources while the fetch runs, and offers each."""
Blamed = Callable[[str, str], None]
Pace = Callable[[str, int], Awaitable[None]]

log = logging.getLogger("openstall.p2p")


class _Use:
    """What one source does for this fetch."""

    def __init__(self, source: ChunkSource) -> None:
        self.source = source
        self.meter = Meter(trio.current_time)
        self.began = trio.current_time()
        self.lanes = 0
        self.chunks = 0
        self.scope = trio.CancelScope()
        self.failure: PeerError | None = None
        self.part = source.part()
        self._best_per_s = 0.0
        self._mark = (0, self.began)

    def wants_lane(self) -> bool:
        """Whether one more lane is worth a try: the last one made it faster."""
        total, now = self.meter.total, trio.current_time()
        enough = 2 * CHUNK * self.lanes
        if self.lanes >= self.source.lanes or total - self._mark[0] < enough:
            return False
        per_s = (total - self._mark[0]) / max(now - self._mark[1], 0.001)
        faster = per_s > 1.25 * self._best_per_s
        self._best_per_s = max(self._best_per_s, per_s)
        self._mark = (total, now)
        return faster


class Fetch:
    """Fills a partial blob from several sources."""

    def __init__(
        self,
        *,
        partial: PartialBlob,
        on_progress: Progress | None = None,
        on_blame: Blamed | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._partial = partial
        self._on_progress = on_progress
        self._on_blame = on_blame
        self._pace = pace
        self._plan = Plan(partial.missing())
        self._done_bytes = partial.done_bytes()
        self._changed = trio.Event()
        self._failure: OpenstallError | None = None
        self._last_words: PeerError | None = None
        self._scope = trio.CancelScope()
        self._room = trio.Semaphore(WRITES)
        self._known: set[str] = set()
        self._waiting: deque[ChunkSource] = deque()
        self._active: list[_Use] = []
        self._searching = False
        self._nursery: trio.Nursery | None = None

    async def run(self, sources: Sequence[ChunkSource], search: Search | None = None) -> None:
        """Return when every chunk is there.

        Raises:
            PeerError: every source failed.
            StoreError: the disk is full or broken.
        """
        self._report(0)
        if self._plan.left:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self._searching = search is not None
                    for source in sources:
                        self.offer(source)
                    nursery.start_soon(self._referee)
                    if search is not None:
                        nursery.start_soon(self._search, search)
                    self._end_if_idle()
        self._nursery = None
        if self._failure is not None:
            raise self._failure
        if self._plan.left:
            raise self._last_words or PeerError("blob_unavailable", "Nobody was named who has the file.")

    def offer(self, source: ChunkSource) -> None:
        """One more source; the first few work at once, others wait for a place."""
        if source.name not in self._known and len(self._known) < 8 * MAX_SOURCES:
            self._known.add(source.name)
            self._waiting.append(source)
            self._fill_places()

    def _fill_places(self) -> None:
        while self._nursery is not None and self._waiting and len(self._active) < MAX_SOURCES:
            use = _Use(self._waiting.popleft())
            self._active.append(use)
            self._nursery.start_soon(self._work_with, use)

    async def _search(self, search: Search) -> None:
        try:
            await search(self.offer)
        except PeerError as error:
            log.info("looking for more sources: %s", error.code)
        finally:
            self._searching = False
            self._end_if_idle()

    def _end_if_idle(self) -> None:
        if not self._active and not self._waiting and not self._searching:
            self._scope.cancel()

    async def _referee(self) -> None:
        """Give the place of a source that is much slower than the others to one that waits."""
        while True:
            await trio.sleep(REFEREE_S)
            old = [one for one in self._active if trio.current_time() - one.began > FAIR_CHANCE_S]
            if self._waiting and len(self._active) >= MAX_SOURCES and old:
                speeds = sorted(one.meter.per_s() for one in self._active)
                slowest = min(old, key=lambda one: one.meter.per_s())
                if slowest.meter.per_s() < speeds[len(speeds) // 2] / 4:
                    self._blame(slowest, 0.0, "slow_source")
                    slowest.scope.cancel()

    def _blame(self, use: _Use, points: float, reason: str) -> None:
        log.info("blob source %s: %s", use.source.name, reason)
        if points:
            use.source.blame(points, reason)
        if self._on_blame is not None:
            self._on_blame(use.source.name, reason)

    def _report(self, gained: int) -> None:
        self._done_bytes += gained
        if self._on_progress is not None:
            self._on_progress(self._done_bytes, self._partial.manifest.size)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _work_with(self, use: _Use) -> None:
        """Work with one source until all is done, or the source is of no use."""
        self._plan.note_copies(use.part, 1)
        try:
            with use.scope:
                await self._try_again(use)
            if use.failure is not None:
                self._last_words = use.failure
        finally:
            self._plan.note_copies(use.part, -1)
            self._active.remove(use)
            self._fill_places()
            self._end_if_idle()

    async def _try_again(self, use: _Use) -> None:
        failures = 0
        while True:
            before = use.chunks
            error = await self._attempt(use)
            if error is None:
                return
            log.info("blob source %s: %s", use.source.name, error.code)
            self._last_words = error
            if isinstance(error, exchange.RefusedByPeer):
                self._last_words = PeerError("blob_unavailable", error.message, "Try again later.")
                return
            if error.code in FOR_GOOD:
                self._blame(use, 0.0, error.code)
                return
            if error.code == "peer_silent":
                self._blame(use, 5.0, "silent_source")
            # Parts of a chunk are no progress: a relay may end every circuit before one is through.
            failures = 1 if use.chunks > before else failures + 1
            if failures >= RETRIES:
                return
            await trio.sleep(RETRY_S * 2**failures)

    async def _attempt(self, use: _Use) -> PeerError | None:
        use.lanes = 0
        try:
            async with trio.open_nursery() as nursery:
                if self._plan.left > RUN:
                    nursery.start_soon(self._lane, use, nursery)
                await self._lane(use, nursery)
                nursery.cancel_scope.cancel()
        except PeerError as error:
            return error
        except BaseExceptionGroup as group:
            expected, bugs = group.split(PeerError)
            if bugs is not None or expected is None:
                raise
            return _first(expected)
        return None

    async def _lane(self, use: _Use, nursery: trio.Nursery) -> None:
        source = use.source
        lane = Lane(source.name, source.holds, Meter(trio.current_time))
        use.lanes += 1

        def came(count: int) -> None:
            lane.meter.add(count)
            use.meter.add(count)

        async with source.open() as line:
            self._plan.join(lane)
            lane.meter.wait_over()
            asked: deque[range] = deque()
            try:
                while True:
                    while len(asked) < source.ahead and (run := self._next_run(lane)) is not None:
                        asked.append(run)
                        await line.ask(run)
                    if not asked:
                        if not await self._idle(use, line):
                            return
                        lane.meter.wait_over()
                        continue
                    for index in asked[0]:
                        await self._receive(use, lane, index, await line.next_chunk(came))
                        if use.wants_lane():
                            nursery.start_soon(self._lane, use, nursery)
                    asked.popleft()
            finally:
                self._plan.leave(lane)
                self._wake()

    def _next_run(self, lane: Lane) -> range | None:
        return self._plan.take(lane) or (None if lane.claimed else self._plan.steal(lane))

    async def _idle(self, use: _Use, line: OpenLane) -> bool:
        """Wait for something to do; False when this source will have nothing."""
        with trio.move_on_after(REFRESH_S if use.part else LOOK_AGAIN_S):
            await self._changed.wait()
            return True
        if use.part:
            # It is fetching too, and has more by now.
            self._plan.note_copies(use.part, -1)
            use.part = await line.refresh()
            self._plan.note_copies(use.part, 1)
        return True

    async def _receive(self, use: _Use, lane: Lane, index: int, data: bytes) -> None:
        use.chunks += 1
        if self._plan.arrived(lane, index) and self._nursery is not None:
            try:
                await self._room.acquire()
            except trio.Cancelled:
                self._plan.lost(index)
                raise
            self._nursery.start_soon(self._keep, use, index, data)
        if self._pace is not None:
            await self._pace(use.source.name, len(data))

    async def _keep(self, use: _Use, index: int, data: bytes) -> None:
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
            self._room.release()
        if good:
            self._plan.kept(index)
            self._report(len(data))
            if not self._plan.left:
                self._scope.cancel()
            return
        self._plan.lost(index)
        self._wake()
        if use.failure is None:
            self._blame(use, 50.0, "corrupt_chunk")
            use.failure = PeerError(
                "blob_corrupt",
                "The other peer sent data that is not what was asked for. It was thrown away.",
                "Fetch the file from somebody else.",
            )
            use.scope.cancel()


def _first(group: BaseExceptionGroup[PeerError]) -> PeerError:
    one = group.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one
