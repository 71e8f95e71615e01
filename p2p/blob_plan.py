"""Which chunk is fetched from whom: rare chunks first, and at the end what a slow source still owes.

Pure book-keeping of one fetch. A lane is one stream or connection with a source; it claims runs of
neighbouring chunks, and reports each that arrived. Two lanes may end up with the same chunk (see
`steal`); the first one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from openstall.p2p.blob_manifest import CHUNK

RUN = 8
_LOOK = 4096
_WORTH_IT = 2.0

Clock = Callable[[], float]


class Meter:
    """How fast bytes come: an average that follows within a few seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock()
        self._bytes = 0.0
        self.total = 0
        self.heard_at = self._since

    def add(self, count: int) -> None:
        """So many bytes have come now."""
        now = self._clock()
        age = now - self._since
        if age > 2 * _MEMORY_S:
            # Halve the past, so that what counts is the last few seconds.
            self._bytes *= _MEMORY_S / age
            self._since = now - _MEMORY_S
        self._bytes += count
        self.total += count
        self.heard_at = now

    def wait_over(self) -> None:
        """Begin anew: the time until now was not the other's."""
        self._since, self._bytes, self.heard_at = self._clock(), 0.0, self._clock()

    def per_s(self) -> float:
        """Bytes per second; 0.0 before anything came."""
        return self._bytes / max(self._clock() - self._since, 0.01)

    def silent_s(self) -> float:
        """Seconds since the last byte."""
        return self._clock() - self.heard_at


_MEMORY_S = 4.0


class Lane:
    """One line to a source: what it has claimed, in the order in which it was asked."""

    def __init__(self, source: str, holds: Callable[[int], bool], meter: Meter) -> None:
        self.source = source
        self.holds = holds
        self.meter = meter
        self.claimed: dict[int, None] = {}

    def seconds_to(self, index: int) -> float:
        """How long until this claimed chunk is here, by the speed so far and the silence since."""
        before = list(self.claimed).index(index) + 1
        per_s = self.meter.per_s()
        return max(before * CHUNK / per_s if per_s > 0 else 0.0, self.meter.silent_s())


class Plan:
    """Chunks that are missing, and who is asked for which."""

    def __init__(self, missing: Iterable[int]) -> None:
        self._todo: dict[int, None] = dict.fromkeys(missing)
        self._missing: set[int] = set(self._todo)
        self._arriving: set[int] = set()
        self._lanes: list[Lane] = []
        self._copies: dict[int, int] = {}

    @property
    def left(self) -> int:
        """Chunks that are not here yet."""
        return len(self._missing)

    def join(self, lane: Lane) -> None:
        """A lane begins to work."""
        self._lanes.append(lane)

    def leave(self, lane: Lane) -> None:
        """A lane ends; what it owes is there for others."""
        self._lanes.remove(lane)
        self._put_back(lane.claimed)
        lane.claimed.clear()

    def _put_back(self, indices: Iterable[int]) -> None:
        owed = [
            index
            for index in indices
            if index in self._missing
            and index not in self._arriving
            and not any(index in one.claimed for one in self._lanes)
        ]
        if owed:
            self._todo = dict.fromkeys(sorted({*owed, *self._todo}))

    def note_copies(self, held: Sequence[int], change: int) -> None:
        """A source that holds only a part holds these (`change` 1), or is gone (-1)."""
        for index in held:
            self._copies[index] = self._copies.get(index, 0) + change

    def take(self, lane: Lane) -> range | None:
        """The next run for a lane, now claimed by it: rarest first, else in order; None if nothing fits."""
        start = self._best(lane)
        if start is None:
            return None
        most = max(1, min(RUN, len(self._todo) // max(1, 2 * len(self._lanes))))
        rarity = self._copies.get(start, 0)
        stop = start
        while (
            stop - start < most
            and stop in self._todo
            and self._copies.get(stop, 0) == rarity
            and lane.holds(stop)
        ):
            del self._todo[stop]
            lane.claimed[stop] = None
            stop += 1
        return range(start, stop)

    def _best(self, lane: Lane) -> int | None:
        best, best_copies, looked = None, 0, 0
        for index in self._todo:
            if not lane.holds(index):
                continue
            copies = self._copies.get(index, 0)
            if best is None or copies < best_copies:
                best, best_copies = index, copies
            looked += 1
            if not self._copies or looked >= _LOOK:
                break
        return best

    def steal(self, lane: Lane) -> range | None:
        """A chunk that a slower lane owes, now claimed by this one too; None if it would not come sooner."""
        per_s = lane.meter.per_s()
        own_s = CHUNK / per_s if per_s > 0 else 0.0
        worst, worst_s = None, _WORTH_IT * own_s
        for other in self._lanes:
            for index in reversed(other.claimed) if other is not lane else ():
                here = index not in self._missing or index in self._arriving
                if here or index in lane.claimed or not lane.holds(index):
                    continue
                # Who took it over may be no better: several may owe it, and the soonest of them counts.
                seconds = min(one.seconds_to(index) for one in self._lanes if index in one.claimed)
                if seconds > worst_s:
                    worst, worst_s = index, seconds
                break  # its last one is its slowest
        if worst is None:
            return None
        lane.claimed[worst] = None
        return range(worst, worst + 1)

    def arrived(self, lane: Lane, index: int) -> bool:
        """A chunk has come and is right; False when another lane was first."""
        lane.claimed.pop(index, None)
        if index not in self._missing or index in self._arriving:
            return False
        self._arriving.add(index)
        return True

    def kept(self, index: int) -> None:
        """A chunk is on the disk."""
        self._arriving.discard(index)
        self._missing.discard(index)
        self._todo.pop(index, None)

    def lost(self, index: int) -> None:
        """A chunk that arrived could not be kept: somebody has to fetch it again."""
        self._arriving.discard(index)
        self._put_back([index])
