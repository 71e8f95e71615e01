"""Budgets for what other peers may ask of us, and the memory of those who misbehave."""

from __future__ import annotations

from collections import Counter, OrderedDict
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
    max_inbound_per_network: int = 16
    """Connections from one `/24` (IPv4) or `/48` (IPv6); those of private networks do not count."""
    max_handshakes: int = 64
    max_handshakes_per_network: int = 8
    handshake_s: float = 12.0
    max_inbound_per_relay: int = 12
    """Connections that one relay has brought; it alone knows where their callers are."""
    max_handshakes_per_relay: int = 4
    max_relayed_per_peer: int = 3
    """Connections of one peer through relays; who comes again may have left dead ones."""
    local_networks_count: bool = False
    max_streams_per_connection: int = 64
    max_handlers_per_peer: int = 24
    max_conversations_per_peer: int = 24
    dial_s: float = 10.0
    request_read_s: float = 15.0
    handler_s: float = 120.0
    idle_stream_s: float = 120.0
    max_address_book: int = 2000
    max_request_bytes_per_peer: int = 8 * 1024 * 1024
    max_request_bytes: int = 64 * 1024 * 1024
    """Requests that are being read or answered, of all peers together."""
    handler_seconds: Rate = Rate(per_s=2.0, burst=600.0)
    """How long handlers may work for one peer."""


class _Buckets:
    """Token buckets by key (a peer id); the least recently used keys are forgotten first."""

    def __init__(self, rate: Rate, *, clock: Clock = trio.current_time) -> None:
        self._rate = rate
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What each key had left and when that was, the one that was used longest ago first."""

    def level(self, key: str) -> float:
        """What is left; below zero while the key is in debt."""
        now = self._clock()
        return self._grown(self._levels.get(key, (self._rate.burst, now)), now)

    def _grown(self, kept: tuple[float, float], now: float) -> float:
        level, since = kept
        return min(self._rate.burst, level + (now - since) * self._rate.per_s)

    def _keep(self, key: str, level: float) -> None:
        """Note it, and forget the oldest keys while they have all of it again, as a new key has."""
        now = self._clock()
        self._levels.pop(key, None)
        self._levels[key] = (level, now)
        while self._levels:
            oldest, kept = next(iter(self._levels.items()))
            if len(self._levels) <= _MAX_KEYS and self._grown(kept, now) < self._rate.burst:
                return
            del self._levels[oldest]


class RateBudget(_Buckets):
    """What a key may ask for: nothing is given on credit."""

    def take(self, key: str, amount: float = 1.0) -> bool:
        """Spend `amount` of the key's budget; False (and nothing spent) when there is not enough."""
        level = self.level(key)
        enough = level >= amount
        self._keep(key, level - amount if enough else level)
        return enough


class TimeBudget(_Buckets):
    """Seconds of work by key, known only when they are spent: a debt is paid off before the next."""

    def spend(self, key: str, seconds: float) -> None:
        """Count what was spent."""
        self._keep(key, self.level(key) - seconds)


class Room:
    """Bytes of others that are held in memory at one moment, by peer and in all."""

    def __init__(self, *, per_peer: int, total: int) -> None:
        self._per_peer = per_peer
        self._total = total
        self._held: Counter[str] = Counter()
        self.held = 0

    def take(self, peer_id: str, size: int) -> bool:
        """Make room; False where there is none. A peer's only request is measured by the whole alone."""
        mine = self._held[peer_id]
        if (mine and mine + size > self._per_peer) or (self.held and self.held + size > self._total):
            return False
        self._held[peer_id] += size
        self.held += size
        return True

    def give_back(self, peer_id: str, size: int) -> None:
        """What was taken is free again."""
        self._held[peer_id] -= size
        self.held -= size
        if self._held[peer_id] <= 0:
            del self._held[peer_id]


class Budgets:
    """What the requests of one peer may cost this host in memory and in time, whatever they are for."""

    def __init__(self, limits: HostLimits, *, clock: Clock = trio.current_time) -> None:
        self.room = Room(per_peer=limits.max_request_bytes_per_peer, total=limits.max_request_bytes)
        self.work = TimeBudget(limits.handler_seconds, clock=clock)


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
        while len(self._next) > _MAX_KEYS or next(iter(self._next.values())) <= now:
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

    def forget(self, peer_id: str) -> None:
        """Start the peer anew, without points and without a ban."""
        self._points.pop(peer_id, None)
        self._banned.pop(peer_id, None)

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
