"""Moving blobs between peers: serving this node's, and fetching others' from several sources at once."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio

from openstall.market.errors import PeerError
from openstall.p2p import blob_manifest, blob_wire, exchange
from openstall.p2p.blob_fetch import Fetch, Offer
from openstall.p2p.blob_manifest import CHUNK, BlobInfo, Manifest
from openstall.p2p.blob_rates import FairShare
from openstall.p2p.blob_search import Search
from openstall.p2p.blob_serve import BlobServer
from openstall.p2p.blob_sources import FAR_LANES, NEAR_LANES, ChunkSource, PeerSource
from openstall.p2p.blob_wire import Holding
from openstall.p2p.blobs import BlobStore, Progress
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate

OPEN_S = 20.0
ASK_S = 20.0
NEAR_MS = 10
RATE = Rate(per_s=5, burst=60)
"""Streams of one peer; a fetch opens one to four from each source."""
_MAX_BLAMED = 200
_MAX_SHARES = 200
_BROKE_OFF = frozenset({"peer_unreachable", "peer_silent", "no_answer", "stream_cut"})

Allow = Callable[[str, str], bool]

log = logging.getLogger("openstall.p2p")


class FileServer(Protocol):
    """A source outside the network of peers that may have the whole file."""

    name: str

    async def manifest(self, cid: str, *, most: int) -> bytes:
        """The manifest as it has it.

        Raises:
            PeerError: it has none, or more than `most` bytes.
        """

    def chunks(self, manifest: Manifest) -> ChunkSource:
        """The file as a source of chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """What a source did wrong in a fetch; `at` in Unix seconds."""

    cid: str
    source: str
    reason: str
    at: int


class BlobTransfer:
    """Serves this node's blobs, and fetches others'.

    `allow(cid, peer id)` says whether a peer may have a blob; it is asked once per question, on the
    event loop, so it must not block. A store that is apart from the market's has a `protocol` and a
    rate of its own. `up` and `down` can be limited while they run.
    """

    def __init__(
        self,
        *,
        host: PeerHost,
        store: BlobStore,
        allow: Allow,
        chunk_timeout_s: float = 30.0,
        protocol: str = blob_wire.PROTOCOL,
        rate: Rate = RATE,
    ) -> None:
        self._host = host
        self._protocol = protocol
        self._store = store
        self._chunk_timeout_s = chunk_timeout_s
        self._fetching: dict[str, trio.Event] = {}
        self.up, self.down = FairShare(), FairShare()
        self.asks_around = False
        """Whether a `wide` fetch asks connected peers too, and not only those whom its sources name."""
        self.received_bytes = 0
        self._shares: OrderedDict[str, int] = OrderedDict()
        """How many bytes the circuit to a source carries, where it was last reached over a relay."""
        self.blamed: deque[Blame] = deque(maxlen=_MAX_BLAMED)
        self.server = BlobServer(store=store, allow=allow, up=self.up, idle_s=host.limits.idle_stream_s)
        host.serve_stream(protocol, self.server.serve, max_frame=blob_wire.MAX_QUESTION, per_peer_rate=rate)

    async def fetch(
        self,
        cid: str,
        sources: Sequence[str],
        *,
        expected_size_max: int,
        on_progress: Progress | None = None,
        wide: bool = False,
        servers: Sequence[FileServer] = (),
    ) -> BlobInfo:
        """Bring a blob here from any of the sources (peer ids), resuming what was fetched before.

        With `wide`, those whom the sources name (and connected peers, where `asks_around`) are asked
        whether they have it too: they learn what is wanted. `servers` help
        from outside the network. `on_progress(done, total)` counts verified bytes. Cancelling keeps
        what was fetched. A source that sends a wrong chunk is not asked again and loses its good name.

        Raises:
            PeerError: `blob_unavailable`, `blob_corrupt`, `blob_too_large`, `wrong_checksum`, or as
                `PeerHost.request`.
            StoreError: `disk_full`, `blob_quota`; what was fetched is kept.
        """
        blob_manifest.check_cid(cid)
        while (running := self._fetching.get(cid)) is not None:
            await running.wait()
        if self._store.have(cid):
            return self._store.info(cid)
        self._fetching[cid] = trio.Event()
        try:
            raw = await self._store.partial_manifest(cid)
            if raw is None:
                raw = await self._find_manifest(cid, sources, servers, expected_size_max)
            if blob_manifest.decode(raw).size > expected_size_max:
                raise _too_large()
            return await self._fetch_chunks(cid, raw, sources, servers, on_progress, wide=wide)
        except PeerError as error:
            raise self._because_of_relay(error, sources) from error
        finally:
            self._fetching.pop(cid).set()

    async def _fetch_chunks(
        self,
        cid: str,
        raw: bytes,
        sources: Sequence[str],
        servers: Sequence[FileServer],
        on_progress: Progress | None,
        *,
        wide: bool,
    ) -> BlobInfo:
        unfinished = await self._store.begin(raw)
        try:
            fetch = Fetch(
                partial=unfinished,
                on_progress=on_progress,
                on_blame=partial(self._blame, cid),
                pace=self._pace,
            )
            await fetch.run(
                [
                    *(self._peer(cid, peer_id) for peer_id in sources),
                    *(server.chunks(unfinished.manifest) for server in servers),
                ],
                partial(self._search, cid, sources) if wide else None,
            )
            try:
                return await self._store.finish(unfinished)
            except PeerError:
                await self._store.remove(cid)
                raise
        finally:
            self._store.abandon(unfinished)

    def _peer(self, cid: str, peer_id: str, holding: Holding | None = None) -> PeerSource:
        info = self._host.peer(peer_id)
        near = info is not None and info.latency_ms is not None and info.latency_ms < NEAR_MS
        return PeerSource(
            peer_id,
            cid=cid,
            open_stream=self.open_source,
            penalise=self._host.penalise,
            quiet_s=self._chunk_timeout_s,
            holding=holding,
            lanes=NEAR_LANES if near else FAR_LANES,
        )

    async def _pace(self, source: str, size: int) -> None:
        self.received_bytes += size
        await self.down.take(source, size)

    def _blame(self, cid: str, source: str, reason: str) -> None:
        self.blamed.append(Blame(cid=cid, source=source, reason=reason, at=int(time.time())))

    async def open_source(self, peer_id: str) -> Framed:
        """A stream for blob requests.

        Raises:
            PeerError: the source cannot be reached.
        """
        self._shares.pop(peer_id, None)
        await self._host.connect(peer_id, timeout_s=OPEN_S)
        await self._host.paths.prefer_direct(peer_id)
        framed = await self._host.open_stream(peer_id, self._protocol, timeout_s=OPEN_S, max_frame=CHUNK)
        share = self._host.paths.circuit_share(peer_id)
        if share is not None:
            self._shares[peer_id] = share
            if len(self._shares) > _MAX_SHARES:
                self._shares.popitem(last=False)
        return framed

    def _because_of_relay(self, error: PeerError, sources: Sequence[str]) -> PeerError:
        """The same error, or in other words where a relay ends its circuits before a chunk is through."""
        small = [share for one in sources if 0 < (share := self._shares.get(one, 0)) < 2 * CHUNK]
        if error.code not in _BROKE_OFF or not small:
            return error
        return PeerError(
            "relay_too_small",
            f"The other peer is reached over a relay that carries {max(small) // 1024} KiB at a time. "
            "That is too little for files.",
            "Connect to a member of the group that relays, or let one of the two forward its TCP port in the "
            "router. What came so far is kept, and it is tried again by itself.",
        )

    # Who else has it

    async def announce(self, cid: str, peer_id: str) -> None:
        """Tell a peer that this one has the blob too, and gives it to others.

        Raises:
            PeerError: it cannot be told now, or does not care.
        """
        await self._ask(peer_id, b"A", cid)

    async def _search(self, cid: str, sources: Sequence[str], offer: Offer) -> None:
        search = Search(
            cid=cid,
            own_id=self._host.peer_id,
            ask=self._ask,
            found=lambda peer_id, holding: offer(self._peer(cid, peer_id, holding)),
        )
        others = [one.peer_id for one in self._host.peers()] if self.asks_around else []
        await search.run(sources, others)

    async def _ask(self, peer_id: str, kind: bytes, cid: str) -> bytes:
        with trio.move_on_after(ASK_S):
            async with await self.open_source(peer_id) as framed:
                await framed.send(blob_wire.short_request(kind, cid))
                answer = await framed.receive(max_frame=max(blob_wire.MAX_ANSWER + 1, exchange.MAX_REFUSAL))
            if answer is None:
                raise PeerError("no_answer", "The other peer ended the exchange without an answer.")
            return exchange.decode_answer(answer)
        raise PeerError("peer_silent", "The other peer does not answer.", "Try again later.")

    # The manifest

    async def _find_manifest(
        self, cid: str, sources: Sequence[str], servers: Sequence[FileServer], size_max: int
    ) -> bytes:
        failure: PeerError = PeerError("blob_unavailable", "Nobody was named who has the file.")
        for peer_id in sources:
            try:
                raw = await self._ask_manifest(peer_id, cid, size_max)
            except PeerError as error:
                log.info("no manifest from %s: %s", peer_id, error.code)
                failure = error
                continue
            if blob_manifest.cid_of_manifest(raw) == cid:
                return raw
            self._host.penalise(peer_id, 50.0, "wrong_manifest")
            self._blame(cid, peer_id, "wrong_manifest")
            failure = PeerError("blob_corrupt", "The other peer sent something else than was asked for.")
        for server in servers:
            try:
                raw = await server.manifest(cid, most=blob_manifest.manifest_bytes(size_max))
            except PeerError as error:
                log.info("no manifest from %s: %s", server.name, error.code)
                continue
            if blob_manifest.cid_of_manifest(raw) == cid:
                return raw
            self._blame(cid, server.name, "wrong_manifest")
        if isinstance(failure, RefusedByPeer):
            raise PeerError("blob_unavailable", failure.message, "Try again later.") from failure
        raise failure

    async def _ask_manifest(self, peer_id: str, cid: str, size_max: int) -> bytes:
        async with await self.open_source(peer_id) as framed:
            await framed.send(blob_wire.short_request(b"M", cid))
            limit = max(blob_manifest.manifest_bytes(size_max) + 1, exchange.MAX_REFUSAL)
            try:
                answer = await framed.receive(max_frame=limit, timeout_s=self._chunk_timeout_s)
            except PeerError as error:
                raise _too_large() if error.code == "frame_too_large" else error from error
            if answer is None:
                raise PeerError("no_answer", "The other peer ended the exchange without an answer.")
            return exchange.decode_answer(answer)


def _too_large() -> PeerError:
    return PeerError(
        "blob_too_large",
        "The file is larger than what was agreed on.",
        "Nothing was fetched. Do not accept it.",
    )
