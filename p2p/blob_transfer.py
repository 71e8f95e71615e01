"""Moving blobs between peers: the receiver asks several sources for runs of chunks and checks each one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from openstall.market.errors import NotFound, OpenstallError, PeerError, Refused
from openstall.p2p import blob_manifest, blob_wire, exchange
from openstall.p2p.blob_fetch import Fetch
from openstall.p2p.blob_manifest import CHUNK, BlobInfo
from openstall.p2p.blobs import BlobStore, Progress
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate

OPEN_S = 20.0
READ_CHUNKS = 4
RATE = Rate(per_s=5, burst=60)
"""Streams of one peer; a fetch opens one or two from each source."""

Allow = Callable[[str, str], bool]

log = logging.getLogger("openstall.p2p")


class BlobTransfer:
    """Serves this node's blobs, and fetches others'.

    `allow(cid, peer id)` says whether a peer may have a blob; it is asked once per manifest or run,
    on the event loop, so it must not block. A store that is apart from the market's has a `protocol`
    and a rate of its own.
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
        self._allow = allow
        self._chunk_timeout_s = chunk_timeout_s
        self._fetching: dict[str, trio.Event] = {}
        host.serve_stream(
            protocol,
            self._serve,
            max_frame=blob_wire.MAX_QUESTION,
            per_peer_rate=rate,
        )

    # Serving

    async def _serve(self, peer_id: str, framed: Framed) -> None:
        idle_s = self._host.limits.idle_stream_s
        while (asked := await framed.receive(timeout_s=idle_s)) is not None:
            try:
                await self._answer(peer_id, framed, asked)
            except OpenstallError as error:
                if isinstance(error, PeerError):
                    raise
                await framed.send(exchange.encode_refusal(error))

    async def _answer(self, peer_id: str, framed: Framed, asked: bytes) -> None:
        question = blob_wire.decode(asked)
        cid = question.cid
        if not self._store.have(cid) or not self._allow(cid, peer_id):
            # The same words for both: what a stranger may not have, it need not know of.
            raise NotFound("no_blob", "The other peer does not have that file for you.")
        if not question.count:
            manifest = await trio.to_thread.run_sync(self._store.manifest, cid)
            await framed.send(exchange.encode_result(manifest))
            return
        if (question.first + question.count - 1) * CHUNK >= self._store.info(cid).size:
            raise Refused("bad_range", "The file does not have those parts.")
        await framed.send(exchange.encode_result(b""))
        with self._store.open(cid) as file:
            await trio.to_thread.run_sync(file.seek, question.first * CHUNK)
            for at in range(0, question.count, READ_CHUNKS):
                several = min(READ_CHUNKS, question.count - at)
                chunks = await trio.to_thread.run_sync(
                    lambda n: [file.read(CHUNK) for _ in range(n)], several
                )
                for chunk in chunks:
                    with trio.fail_after(self._host.limits.idle_stream_s):
                        await framed.send(chunk)

    # Fetching

    async def fetch(
        self,
        cid: str,
        sources: Sequence[str],
        *,
        expected_size_max: int,
        on_progress: Progress | None = None,
    ) -> BlobInfo:
        """Bring a blob here from any of the sources (peer ids), resuming what was fetched before.

        `on_progress(done, total)` counts verified bytes. Cancelling keeps what was fetched. A source
        that sends a wrong chunk is not asked again and loses its good name.

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
                raw = await self._find_manifest(cid, sources, expected_size_max)
            if blob_manifest.decode(raw).size > expected_size_max:
                raise _too_large()
            return await self._fetch_chunks(cid, raw, sources, on_progress)
        finally:
            self._fetching.pop(cid).set()

    async def _fetch_chunks(
        self, cid: str, raw: bytes, sources: Sequence[str], on_progress: Progress | None
    ) -> BlobInfo:
        partial = await self._store.begin(raw)
        try:
            fetch = Fetch(
                partial=partial,
                open_source=self.open_source,
                penalise=self._host.penalise,
                on_progress=on_progress,
                chunk_timeout_s=self._chunk_timeout_s,
            )
            await fetch.run(sources)
            try:
                return await self._store.finish(partial)
            except PeerError:
                await self._store.remove(cid)
                raise
        finally:
            self._store.abandon(partial)

    async def open_source(self, peer_id: str) -> Framed:
        """A stream for blob requests.

        Raises:
            PeerError: the source cannot be reached.
        """
        return await self._host.open_stream(peer_id, self._protocol, timeout_s=OPEN_S, max_frame=CHUNK)

    async def _find_manifest(self, cid: str, sources: Sequence[str], size_max: int) -> bytes:
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
            failure = PeerError("blob_corrupt", "The other peer sent something else than was asked for.")
        if isinstance(failure, RefusedByPeer):
            raise PeerError("blob_unavailable", failure.message, "Try again later.") from failure
        raise failure

    async def _ask_manifest(self, peer_id: str, cid: str, size_max: int) -> bytes:
        async with await self.open_source(peer_id) as framed:
            await framed.send(blob_wire.manifest_request(cid))
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
