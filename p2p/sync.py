"""Anti-entropy: two peers compare digests of what they hold, and each pulls what it lacks.

Three requests, all idempotent and capped, carry it. Whatever gossip lost, whoever came late: after
one round with a peer that holds a record, we hold it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
import trio
from msgspec import Meta

from openstall.market.errors import InvalidRecord, PeerError
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate

BUCKETS = 256
DIGEST = 32
MAX_RECORD = 64 * 1024
MAX_BATCH = 256
MAX_ANSWER = 1024 * 1024
MAX_WANTED = 100_000
REQUEST_S = 30.0
_ROUNDS = 3

Cid = Annotated[str, Meta(min_length=8, max_length=100)]
Admit = Callable[[Sequence[bytes], str], Awaitable[Sequence["str | InvalidRecord"]]]


class RecordStore(Protocol):
    """What the sync reads of the local catalogue. Called from worker threads."""

    def have(self, cid: str) -> bool:
        """Whether the record is held, live or superseded."""

    def get(self, cid: str) -> bytes | None:
        """The wire bytes of a record, at most 64 KiB."""

    def digest_buckets(self) -> Sequence[bytes]:
        """256 digests of 32 bytes; equal sets of live records have equal digests."""

    def cids_in_bucket(self, bucket: int) -> Sequence[str]:
        """The live records of one bucket (0 to 255)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """One round with one peer: records it had that we lacked, and how many of those were admitted."""

    peer_id: str
    missing: int
    admitted: int


class Sync:
    """Serves and runs the exchange for one network."""

    def __init__(self, *, host: PeerHost, network: str, store: RecordStore, admit: Admit) -> None:
        self._host = host
        self._store = store
        self._admit = admit
        self._prefix = f"/openstall/{network}/records"
        self._settled: dict[str, None] = {}
        rate = Rate(per_s=20, burst=400)
        for name, handler in (
            ("digests", self._on_digests),
            ("cids", self._on_cids),
            ("bodies", self._on_bodies),
        ):
            host.serve(
                f"{self._prefix}/{name}/1",
                handler,
                max_request=MAX_BATCH * 128,
                max_response=MAX_ANSWER + MAX_RECORD,
                per_peer_rate=rate,
            )

    # The serving side

    async def _on_digests(self, _: str, payload: bytes) -> bytes:
        digests = await trio.to_thread.run_sync(self._store.digest_buckets)
        joined = b"".join(digests)
        return b"" if hashlib.sha256(joined).digest() == payload else joined

    async def _on_cids(self, _: str, payload: bytes) -> bytes:
        def read() -> bytes:
            found: list[tuple[int, list[str]]] = []
            size = 0
            for bucket in dict.fromkeys(payload[:BUCKETS]):
                cids = list(self._store.cids_in_bucket(bucket))[: MAX_ANSWER // 100]
                size += sum(len(one) + 3 for one in cids) + 8
                if found and size > MAX_ANSWER:
                    break
                found.append((bucket, cids))
            return msgspec.msgpack.encode(found)

        return await trio.to_thread.run_sync(read)

    async def _on_bodies(self, peer_id: str, payload: bytes) -> bytes:
        try:
            cids = msgspec.msgpack.decode(payload, type=Annotated[list[Cid], Meta(max_length=MAX_BATCH)])
        except msgspec.DecodeError as error:
            self._host.penalise(peer_id, 20.0, "bad_request")
            raise PeerError("bad_request", "The request makes no sense.") from error

        def read() -> bytes:
            bodies: list[bytes] = []
            size = 0
            for cid in cids:
                body = self._store.get(cid)
                if body is None:
                    continue
                size += len(body) + 8
                if bodies and size > MAX_ANSWER:
                    break
                bodies.append(body)
            return msgspec.msgpack.encode(bodies)

        return await trio.to_thread.run_sync(read)

    # The asking side

    async def with_peer(self, peer_id: str) -> SyncReport:
        """Pull everything that the peer holds and we lack.

        Raises:
            PeerError: the peer cannot be reached, or broke the rules (and was penalised for it).
        """
        missing = admitted = 0
        for _ in range(_ROUNDS):
            wanted = await self._wanted(peer_id)
            gained = await self.pull(peer_id, wanted)
            missing += len(wanted)
            admitted += gained
            if not gained:
                break
        return SyncReport(peer_id=peer_id, missing=missing, admitted=admitted)

    async def _ask(self, peer_id: str, name: str, payload: bytes) -> bytes:
        try:
            return await self._host.request(
                peer_id,
                f"{self._prefix}/{name}/1",
                payload,
                timeout_s=REQUEST_S,
                max_response=MAX_ANSWER + MAX_RECORD,
            )
        except RefusedByPeer:
            raise
        except PeerError as error:
            if error.code in ("frame_too_large", "bad_answer"):
                self._host.penalise(peer_id, 20.0, error.code)
            raise

    async def _wanted(self, peer_id: str) -> list[str]:
        own = list(await trio.to_thread.run_sync(self._store.digest_buckets))
        answer = await self._ask(peer_id, "digests", hashlib.sha256(b"".join(own)).digest())
        if not answer:
            return []
        if len(answer) != BUCKETS * DIGEST:
            raise self._bad(peer_id, "digests")
        theirs = [answer[at : at + DIGEST] for at in range(0, len(answer), DIGEST)]
        pending = [bucket for bucket in range(BUCKETS) if theirs[bucket] != own[bucket]]
        wanted: dict[str, None] = {}
        while pending and len(wanted) < MAX_WANTED:
            listed = self._decode_cids(peer_id, await self._ask(peer_id, "cids", bytes(pending)))
            asked, answered = set(pending), {bucket for bucket, _ in listed}
            if not answered or not answered <= asked:
                raise self._bad(peer_id, "buckets that were not asked for")
            pending = [bucket for bucket in pending if bucket not in answered]
            cids = [cid for _, several in listed for cid in several]
            wanted.update(dict.fromkeys(await trio.to_thread.run_sync(self._lacking, cids)))
        return list(wanted)[:MAX_WANTED]

    def _decode_cids(self, peer_id: str, answer: bytes) -> list[tuple[int, list[str]]]:
        try:
            return msgspec.msgpack.decode(answer, type=list[tuple[int, list[Cid]]])
        except msgspec.DecodeError as error:
            raise self._bad(peer_id, "cids") from error

    def _lacking(self, cids: Sequence[str]) -> list[str]:
        return [cid for cid in cids if cid not in self._settled and not self._store.have(cid)]

    async def pull(self, peer_id: str, cids: Sequence[str]) -> int:
        """Fetch these records from a peer and have them admitted; how many were.

        Raises:
            PeerError: as `with_peer`.
        """
        pending = list(cids)
        admitted = 0
        while pending:
            batch = pending[:MAX_BATCH]
            answer = await self._ask(peer_id, "bodies", msgspec.msgpack.encode(batch))
            bodies = self._decode_bodies(peer_id, answer, len(batch))
            if not bodies:
                # It listed what it does not give, or these expired meanwhile: go on with the rest.
                self._host.penalise(peer_id, 2.0, "withheld_records")
                pending = pending[len(batch) :]
                continue
            got = await self._take(peer_id, set(batch), bodies)
            admitted += len(got)
            done = got | {one for one in batch if one in self._settled}
            # Those that did not fit this answer come with the next; those never sent are given up.
            rest = [one for one in batch if one not in done]
            pending = (rest if len(answer) > MAX_ANSWER // 2 and done else []) + pending[len(batch) :]
        return admitted

    def _decode_bodies(self, peer_id: str, answer: bytes, asked: int) -> list[bytes]:
        schema = Annotated[list[Annotated[bytes, Meta(max_length=MAX_RECORD)]], Meta(max_length=asked)]
        try:
            bodies: list[bytes] = msgspec.msgpack.decode(answer, type=schema)
        except msgspec.DecodeError as error:
            raise self._bad(peer_id, "bodies") from error
        return bodies

    async def _take(self, peer_id: str, asked: set[str], bodies: list[bytes]) -> set[str]:
        got: set[str] = set()
        for outcome in await self._admit(bodies, peer_id):
            if isinstance(outcome, InvalidRecord):
                points = 1.0 if outcome.code in ("expired", "future") else 10.0
                self._host.penalise(peer_id, points, f"invalid_record {outcome.code}")
            elif outcome in asked:
                got.add(outcome)
                self._settle(outcome)
            else:
                self._host.penalise(peer_id, 25.0, "wrong_record")
        return got

    def _settle(self, cid: str) -> None:
        # A record that was superseded here is not stored; without this it would be pulled for ever.
        self._settled[cid] = None
        if len(self._settled) > MAX_WANTED:
            del self._settled[next(iter(self._settled))]

    def _bad(self, peer_id: str, what: str) -> PeerError:
        self._host.penalise(peer_id, 20.0, f"bad {what}")
        return PeerError("bad_answer", "The other peer's catalogue makes no sense.", "It may be outdated.")
