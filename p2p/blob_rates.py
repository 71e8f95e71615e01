"""How many bytes a second go out or come in, shared in turn by those who want them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

_MAX_KEYS = 1024


class FairShare:
    """At most `per_s` bytes a second in all; 0 is no limit.

    Everybody has one place in the line, not one for each stream: nobody gets more by asking more often.
    """

    def __init__(self, per_s: int = 0, *, clock: Callable[[], float] = trio.current_time) -> None:
        self.per_s = per_s
        self._clock = clock
        self._next = 0.0
        self._line = trio.Lock()  # first come, first served
        self._places: OrderedDict[str, trio.Lock] = OrderedDict()

    async def take(self, who: str, size: int) -> None:
        """Wait until `size` bytes more may pass."""
        if not self.per_s:
            return
        async with self._place(who), self._line:
            now = self._clock()
            if self._next > now:
                await trio.sleep(self._next - now)
            if self.per_s:
                self._next = max(self._clock(), self._next) + size / self.per_s

    def _place(self, who: str) -> trio.Lock:
        place = self._places.pop(who, None) or trio.Lock()
        self._places[who] = place
        if len(self._places) > _MAX_KEYS:
            for key, one in list(self._places.items())[: _MAX_KEYS // 2]:
                if not one.locked():
                    del self._places[key]
        return place


class Turns:
    """At most so many at once for each who."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, tuple[trio.Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the time of a block."""
        room, users = self._of.get(who, (trio.Semaphore(self._most), 0))
        self._of[who] = (room, users + 1)
        try:
            async with room:
                yield
        finally:
            room, users = self._of.pop(who)
            if users > 1:
                self._of[who] = (room, users - 1)
