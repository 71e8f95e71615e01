"""Anti-entropy: two peers compare digests of what they hold, and each pulls what it lacks.

From the root of the digest tree (`market.leaves`) down to the leaves that differ, so that two peers who
differ by a few of a million records exchange some kilobytes. All requests are idempotent and capped. Whatever
gossip lost, whoever came late: after one round with a peer that holds a record, we hold it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from openstall.market.errors import PeerError
from openstall.market.leaves import BRANCHES, DIGEST, NOTHING, differing, spans
from openstall.p2p import record_wire as wire
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Pace
from openstall.p2p.pull import Admit, Puller, bad_answer
from openstall.p2p.record_server import RecordServer

MAX_LISTED = 2_000_000
"""Addresses that one round looks at."""
REQUEST_S = 30.0
GAPS_AT_ONCE = 128
MAX_GAPS_ASKED = 20_000
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """One round with one peer."""

    peer_id: str
    missing: int
    """Records it had that we lacked, and how many of those were admitted."""
    admitted: int
    equal: bool
    """Whether both held the same in the end."""
    listed: int
    """Addresses that the peer named in what differed."""


@dataclass(slots=True)
class _Tally:
    missing: int = 0
    admitted: int = 0
    listed: int = 0


class Sync:
    """Serves and runs the exchange for one network."""

    def __init__(self, *, host: PeerHost, network: str, store: wire.RecordStore, admit: Admit) -> None:
        self._host = host
        self._store = store
        self._prefix = f"/openstall/{network}/records"
        self._pace = Pace(wire.RATE)
        self._gaps_asked: dict[tuple[str, str], None] = {}
        self.puller = Puller(store=store, admit=admit, ask=self._ask, penalise=host.penalise)
        RecordServer(host=host, prefix=self._prefix, store=store)

    async def with_peer(self, peer_id: str) -> SyncReport:
        """Pull everything that the peer holds and we lack.

        Raises:
            PeerError: the peer cannot be reached, or broke the rules (and was penalised for it).
        """
        tally = _Tally()
        equal = False
        for _ in range(_ROUNDS):
            before = tally.admitted
            theirs = await self._differing_branches(peer_id)
            if theirs is None:
                equal = True
                break
            several = await self._differing_spans(peer_id, theirs)
            for start in range(0, len(several), wire.MAX_SPANS):
                await self._pull_from(peer_id, several[start : start + wire.MAX_SPANS], tally)
            if tally.admitted == before:
                break
        await self._ask_for_gaps(peer_id)
        return SyncReport(
            peer_id=peer_id,
            missing=tally.missing,
            admitted=tally.admitted,
            equal=equal,
            listed=tally.listed,
        )

    async def _ask(self, peer_id: str, name: str, payload: bytes) -> bytes:
        await self._pace.turn(peer_id)
        try:
            return await self._host.request(
                peer_id,
                f"{self._prefix}/{name}/2",
                payload,
                timeout_s=REQUEST_S,
                max_response=wire.MAX_ANSWER + wire.MAX_BODY,
            )
        except RefusedByPeer:
            raise
        except PeerError as error:
            if error.code in ("frame_too_large", "bad_answer"):
                self._host.penalise(peer_id, 20.0, error.code)
            raise

    async def _differing_branches(self, peer_id: str) -> bytes | None:
        """The peer's branches, or None where both hold the same."""
        root = await trio.to_thread.run_sync(self._store.root)
        answer = await self._ask(peer_id, "digests", root)
        return self._levels(peer_id, answer, 1)[0] if answer else None

    async def _pull_from(self, peer_id: str, asked: list[tuple[int, int]], tally: _Tally) -> None:
        """Pull what we lack of the addresses that the peer holds in these leaves, page by page."""
        after, more = "", True
        while more and tally.listed < MAX_LISTED:
            answer = await self._ask(peer_id, "cids", wire.write_spans(asked, after))
            try:
                page, more = wire.read_listed(answer, asked, after)
            except ValueError as error:
                raise bad_answer(self._host.penalise, peer_id, "cids") from error
            after = page[-1] if page else ""
            wanted = await self.puller.lacking(peer_id, page)
            tally.listed += len(page)
            tally.missing += len(wanted)
            tally.admitted += await self.puller.pull(peer_id, wanted)

    async def _differing_spans(self, peer_id: str, theirs: bytes) -> list[tuple[int, int]]:
        """Runs of leaves in which the peer holds something else than we do."""
        own = await trio.to_thread.run_sync(self._store.branches)
        pending = [one for one in differing(own, theirs) if _at(theirs, one) != NOTHING]
        whole = [one for one in pending if _at(own, one) == NOTHING]
        found = [leaf for branch in whole for leaf in range(branch * BRANCHES, (branch + 1) * BRANCHES)]
        partly = [one for one in pending if _at(own, one) != NOTHING]
        for start in range(0, len(partly), wire.MAX_BRANCHES):
            part = partly[start : start + wire.MAX_BRANCHES]
            answer = await self._ask(peer_id, "leaves", bytes(part))
            levels = self._levels(peer_id, answer, len(part))
            mine = await trio.to_thread.run_sync(self._own_leaves, part)
            found += [
                branch * BRANCHES + leaf
                for branch, ours, other in zip(part, mine, levels, strict=True)
                for leaf in differing(ours, other)
                if _at(other, leaf) != NOTHING
            ]
        return list(spans(sorted(found)))

    def _own_leaves(self, branches: Sequence[int]) -> list[bytes]:
        return [self._store.leaves(branch) for branch in branches]

    def _levels(self, peer_id: str, answer: bytes, count: int) -> list[bytes]:
        try:
            return wire.read_level(answer, count)
        except ValueError as error:
            raise bad_answer(self._host.penalise, peer_id, "digests") from error

    async def _ask_for_gaps(self, peer_id: str) -> None:
        """What an author names as its last record and nobody has given us: each peer is asked once."""
        named = await trio.to_thread.run_sync(self._store.gaps)
        gaps = [one for one in named if (peer_id, one) not in self._gaps_asked]
        # Those that are not worth asking for must not stand before the others.
        wanted = (await self.puller.lacking(peer_id, gaps))[:GAPS_AT_ONCE] if gaps else []
        if not wanted:
            return
        await self.puller.pull(peer_id, wanted, blame=False)
        self._gaps_asked.update(dict.fromkeys((peer_id, one) for one in wanted))
        while len(self._gaps_asked) > MAX_GAPS_ASKED:
            del self._gaps_asked[next(iter(self._gaps_asked))]


def _at(level: bytes, place: int) -> bytes:
    return level[place * DIGEST : (place + 1) * DIGEST]
