"""Fetching records from peers.

The next batch is under way while the last one is checked, and no two peers are asked for one record at once.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from openstall.market.errors import InvalidRecord, PeerError
from openstall.p2p import record_wire as wire
from openstall.p2p.nurseries import single_errors

Admit = Callable[[Sequence[bytes], str], Awaitable[Sequence["str | InvalidRecord"]]]
Ask = Callable[[str, str, bytes], Awaitable[bytes]]
Penalise = Callable[[str, float, str], None]

NO_BLAME = frozenset({"quota", "peer_quota", "storage_full"})
"""An honest peer may hold what we have no room for."""
CLOCKS_DIFFER = frozenset({"expired", "future"})
SETTLED_S = 600.0
REFUSED_S = 120.0
_MAX_REMEMBERED = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    asked: list[str]
    bodies: list[bytes]
    cut: bool
    """Whether more of it would have been too much for one answer."""


class _Memory:
    """Keys that hold for some time; the oldest are forgotten first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: OrderedDict[object, float] = OrderedDict()

    def add(self, key: object) -> None:
        self._until[key] = trio.current_time() + self._seconds
        self._until.move_to_end(key)
        if len(self._until) > _MAX_REMEMBERED:
            self._until.popitem(last=False)

    def __contains__(self, key: object) -> bool:
        return self._until.get(key, 0.0) > trio.current_time()


class Puller:
    """Pulls, has admitted, and remembers what need not be pulled again soon."""

    def __init__(self, *, store: wire.RecordStore, admit: Admit, ask: Ask, penalise: Penalise) -> None:
        self.refused: Counter[str] = Counter()
        """Records that were not admitted, by reason."""
        self._store = store
        self._admit = admit
        self._ask = ask
        self._penalise = penalise
        self._settled = _Memory(SETTLED_S)
        self._not_from = _Memory(REFUSED_S)
        self._under_way: set[str] = set()
        self._landed = trio.Event()

    async def lacking(self, peer_id: str, cids: Sequence[str]) -> list[str]:
        """Which of these are worth asking a peer for."""
        asked = [one for one in cids if one not in self._settled and (peer_id, one) not in self._not_from]
        return list(await trio.to_thread.run_sync(self._store.lacking, asked)) if asked else []

    async def pull(self, peer_id: str, cids: Sequence[str], *, blame: bool = True) -> int:
        """Fetch these records from a peer and have them admitted; how many were.

        `blame` says that the peer has claimed to hold them.

        Raises:
            PeerError: the peer cannot be reached, or broke the rules (and was penalised for it).
        """
        admitted = 0
        pending = deque(cids)
        while pending:
            send, receive = trio.open_memory_channel[_Batch](0)
            again: deque[str] = deque()
            with single_errors():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._fetch, peer_id, pending, send)
                    async with receive:
                        async for batch in receive:
                            got = await self._take_batch(peer_id, batch, blame=blame)
                            admitted += len(got)
                            if batch.cut and got:
                                again.extend(one for one in batch.asked if one not in got)
            pending = again
        return admitted

    async def _fetch(self, peer_id: str, pending: deque[str], send: trio.MemorySendChannel[_Batch]) -> None:
        async with send:
            while pending:
                asked = await self._next_batch(peer_id, pending)
                if not asked:
                    continue
                try:
                    answer = await self._ask(peer_id, "bodies", wire.write_wanted(asked))
                    bodies = self._read(peer_id, answer, len(asked))
                    cut = len(bodies) < len(asked) and len(answer) > wire.MAX_ANSWER // 2
                    await send.send(_Batch(asked=asked, bodies=bodies, cut=cut))
                except BaseException:
                    self._land(asked)
                    raise

    async def _next_batch(self, peer_id: str, pending: deque[str]) -> list[str]:
        """The next records that nobody is being asked for; empty where there were none left after all."""
        free = [one for one in pending if one not in self._under_way][: wire.MAX_BATCH]
        if not free:
            await self._landed.wait()
            left = await self.lacking(peer_id, list(pending))
            pending.clear()
            pending.extend(left)
            return []
        taken = set(free)
        rest = [one for one in pending if one not in taken]
        pending.clear()
        pending.extend(rest)
        self._under_way |= taken
        return free

    def _land(self, batch: Sequence[str]) -> None:
        self._under_way.difference_update(batch)
        landed, self._landed = self._landed, trio.Event()
        landed.set()

    async def _take_batch(self, peer_id: str, batch: _Batch, *, blame: bool) -> set[str]:
        try:
            got = await self._take(peer_id, set(batch.asked), batch.bodies) if batch.bodies else set()
        finally:
            self._land(batch.asked)
        for cid in batch.asked:
            if cid in got:
                self._settled.add(cid)
            elif not batch.cut:
                self._not_from.add((peer_id, cid))
        if not batch.bodies and blame:
            # It listed what it does not give, or these expired meanwhile.
            self._penalise(peer_id, 2.0, "withheld_records")
        return got

    def _read(self, peer_id: str, answer: bytes, asked: int) -> list[bytes]:
        try:
            return wire.read_bodies(answer, asked)
        except ValueError as error:
            raise bad_answer(self._penalise, peer_id, "bodies") from error

    async def _take(self, peer_id: str, asked: set[str], bodies: list[bytes]) -> set[str]:
        got: set[str] = set()
        for outcome in await self._admit(bodies, peer_id):
            if not isinstance(outcome, InvalidRecord):
                if outcome in asked:
                    got.add(outcome)
                else:
                    self._penalise(peer_id, 25.0, "wrong_record")
                continue
            self.refused[outcome.code] += 1
            if outcome.code in CLOCKS_DIFFER:
                self._penalise(peer_id, 0.1, f"invalid_record {outcome.code}")
            elif outcome.code not in NO_BLAME:
                self._penalise(peer_id, 10.0, f"invalid_record {outcome.code}")
        return got


def bad_answer(penalise: Penalise, peer_id: str, what: str) -> PeerError:
    """Penalise a peer whose answer cannot be read; the error to raise."""
    penalise(peer_id, 20.0, f"bad {what}")
    return PeerError("bad_answer", "The other peer's catalogue makes no sense.", "It may be outdated.")
