"""Budgets for what other peers may ask of us, and the memory of those who misbehave."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import trio

BAN_SCORE = 100.0
BAN_S = 600.0
DECAY_PER_S = 0.5
_MAX_KEYS = 4096

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many per second on average, and `burst` at once."""

    per_s: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """What one host takes from the network. Times in seconds, sizes in bytes."""

    max_connections: int = 256
    max_streams_per_connection: int = 64
    max_handlers_per_peer: int = 24
    max_conversations_per_peer: int = 24
    dial_s: float = 10.0
    request_read_s: float = 15.0
    handler_s: float = 120.0
    idle_stream_s: float = 120.0
    max_address_book: int = 2000


class RateBudget:
    """Token buckets by key (a peer id); the least recently used keys are forgotten first."""

    def __init__(self, rate: Rate, *, clock: Clock = trio.current_time) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, amount: float = 1.0) -> bool:
        """Spend `amount` of the key's budget; False (and nothing spent) when there is not enough."""
        now = self._clock()
        level, since = self._buckets.pop(key, (self._rate.burst, now))
        level = min(self._rate.burst, level + (now - since) * self._rate.per_s)
        enough = level >= amount
        self._buckets[key] = (level - amount if enough else level, now)
        if len(self._buckets) > _MAX_KEYS:
            self._buckets.popitem(last=False)
        return enough


class Pace:
    """Keeps what we ask of others within the rate that they allow; over it, they would ban us in the end.

    Each turn is a moment on the other's time line, `1 / per_s` after the one before (the generic cell rate
    algorithm, ITU-T I.371), and up to `burst` of them may be taken ahead.
    """

    def __init__(self, rate: Rate, *, clock: Clock = trio.current_time) -> None:
        """`rate` is theirs; a fifth of it is left for what they count and we do not."""
        self._gap_s = 1.25 / rate.per_s
        self._ahead_s = 0.8 * rate.burst * self._gap_s
        self._clock = clock
        self._next: OrderedDict[str, float] = OrderedDict()

    def delay_s(self, key: str) -> float:
        """Take a turn; how long to wait for it."""
        now = self._clock()
        turn = max(self._next.pop(key, now), now) + self._gap_s
        self._next[key] = turn
        if len(self._next) > _MAX_KEYS:
            self._next.popitem(last=False)
        return max(0.0, turn - self._ahead_s - now)

    async def turn(self, key: str) -> None:
        """Wait until one more fits."""
        await trio.sleep(self.delay_s(key))


class Scores:
    """Penalty points per peer, fading with time; at `BAN_SCORE` the peer is banned for `BAN_S`."""

    def __init__(self, *, clock: Clock = trio.current_time) -> None:
        self._clock = clock
        self._points: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._banned: OrderedDict[str, float] = OrderedDict()

    def penalise(self, peer_id: str, points: float) -> bool:
        """Add points; True when this bans the peer."""
        now = self._clock()
        score = self.score(peer_id) + points
        self._points.pop(peer_id, None)
        self._points[peer_id] = (score, now)
        if len(self._points) > _MAX_KEYS:
            self._points.popitem(last=False)
        if score < BAN_SCORE or self.is_banned(peer_id):
            return False
        self._banned[peer_id] = now + BAN_S
        if len(self._banned) > _MAX_KEYS:
            self._banned.popitem(last=False)
        return True

    def score(self, peer_id: str) -> float:
        """The points that have not faded yet."""
        points, since = self._points.get(peer_id, (0.0, 0.0))
        return max(0.0, points - (self._clock() - since) * DECAY_PER_S)

    def is_banned(self, peer_id: str) -> bool:
        """Whether the ban still runs."""
        until = self._banned.get(peer_id)
        if until is None:
            return False
        if self._clock() >= until:
            del self._banned[peer_id]
            self._points.pop(peer_id, None)
            return False
        return True
