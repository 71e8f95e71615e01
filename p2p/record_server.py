"""The serving side of the catalogue: digests, addresses and records for peers who ask."""

from __future__ import annotations

from collections.abc import Callable

import trio

from openstall.market.errors import PeerError
from openstall.market.leaves import DIGEST
from openstall.p2p import record_wire as wire
from openstall.p2p.host import PeerHost

MAX_REQUEST = 32 * 1024


class RecordServer:
    """Answers for one network; reading happens in worker threads."""

    def __init__(self, *, host: PeerHost, prefix: str, store: wire.RecordStore) -> None:
        self._host = host
        self._store = store
        for name, read in (
            ("digests", self._digests),
            ("leaves", self._leaves),
            ("cids", self._cids),
            ("bodies", self._bodies),
        ):
            self._serve(f"{prefix}/{name}/2", read)

    def _serve(self, protocol: str, read: Callable[[bytes], bytes]) -> None:
        async def handler(peer_id: str, payload: bytes) -> bytes:
            try:
                return await trio.to_thread.run_sync(read, payload)
            except PeerError as error:
                self._host.penalise(peer_id, 20.0, error.code)
                raise

        self._host.serve(
            protocol,
            handler,
            max_request=MAX_REQUEST,
            max_response=wire.MAX_ANSWER + wire.MAX_BODY,
            per_peer_rate=wire.RATE,
        )

    def _digests(self, payload: bytes) -> bytes:
        if len(payload) != DIGEST:
            raise wire.nonsense()
        return b"" if self._store.root() == payload else self._store.branches()

    def _leaves(self, payload: bytes) -> bytes:
        return b"".join(self._store.leaves(branch) for branch in wire.read_branches(payload))

    def _cids(self, payload: bytes) -> bytes:
        spans, after = wire.read_spans(payload)
        found: list[str] = []
        for first, last in spans:
            room = wire.CIDS_AT_ONCE + 1 - len(found)
            if room <= 0:
                break
            found += self._store.cids(first, last, after=after, limit=room)
        return wire.write_listed(found[: wire.CIDS_AT_ONCE], more=len(found) > wire.CIDS_AT_ONCE)

    def _bodies(self, payload: bytes) -> bytes:
        cids = wire.read_wanted(payload)
        held = self._store.bodies(cids)
        bodies: list[bytes] = []
        size = 0
        for cid in cids:
            body = held.get(cid)
            if body is None:
                continue
            size += len(body) + 8
            if bodies and size > wire.MAX_ANSWER:
                break
            bodies.append(body)
        return wire.write_bodies(bodies)
