"""The line between this node and another: how fast a file comes, and how long an answer takes.

Measured to a peer of the group by the very transfer that jobs use, never to a third party. Where no peer
has anything to fetch, there is no figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from openstall.app.logging import get_logger
from openstall.app.services.capacity.claims import TYPE, claim_of
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.renting import OFFER_KEY
from openstall.market.errors import OpenstallError
from openstall.market.fields import BlobRef
from openstall.market.records import Figure
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.host import PeerHost

DOWN = "network_down"
ROUND_TRIP = "network_round_trip"
LEAST_BYTES = 2**20
"""Less says more of the start of a transfer than of the line."""
MOST_BYTES = 64 * 2**20
LONGEST_S = 60.0
MOST_PEERS = 5
MOST_CLAIMS = 50

log = get_logger("openstall.capacity")


@dataclass(slots=True, kw_only=True)
class Line:
    """What was seen of the line to one peer; `rtt_ms` is None where no answer was timed yet."""

    rtt_ms: int | None = None
    size: int = 0
    elapsed_ms: int = 0

    def add(self, size: int, elapsed_s: float) -> None:
        """A file of that size came in that time."""
        self.size += size
        self.elapsed_ms += max(1, round(elapsed_s * 1000))

    @property
    def kb_per_s(self) -> int | None:
        """Thousands of bytes a second; None where too little came to say."""
        return self.size // self.elapsed_ms if self.size >= LEAST_BYTES else None

    def as_dict(self) -> dict[str, int]:
        """What is known, and nothing else."""
        known = {"kb_per_s": self.kb_per_s, "round_trip_ms": self.rtt_ms}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(slots=True, kw_only=True)
class NetworkSpeed:
    """Measures this node's line by the proofs that other claimants give to everybody."""

    peers: PeerHost
    catalogue: Catalogue
    blobs: BlobStore
    transfer: BlobTransfer

    async def figures(self) -> list[Figure]:
        """The figures of the first peer that answers; none where nobody does."""
        for peer_id, blob in await self._sources():
            line = Line()
            try:
                with trio.fail_after(LONGEST_S):
                    await self._fetch(peer_id, blob, line)
            except (OpenstallError, trio.TooSlowError) as error:
                log.info("line not measured", peer=peer_id, error=str(error)[:200])
                continue
            line.rtt_ms = round_trip_ms(self.peers, peer_id)
            found = line.as_dict()
            units = {"kb_per_s": (DOWN, "kB/s"), "round_trip_ms": (ROUND_TRIP, "ms")}
            return [
                Figure(name=units[name][0], device="cpu", value=value, unit=units[name][1])
                for name, value in found.items()
            ]
        return []

    async def _sources(self) -> list[tuple[str, BlobRef]]:
        """Connected peers with a proof that is not here yet, each with its largest."""
        page: dict[str, Any] = await self.catalogue.find(types=(TYPE,), limit=MOST_CLAIMS)
        found: list[tuple[str, BlobRef]] = []
        for author in dict.fromkeys(item["author"] for item in page["items"] if not item["mine"]):
            record = await self.catalogue.live_of(author, TYPE, OFFER_KEY)
            if record is None or self.peers.peer(author) is None:
                continue
            proofs = [work.proof for work in claim_of(record).works]
            fit = [blob for blob in proofs if LEAST_BYTES <= blob.size <= MOST_BYTES]
            fresh = [blob for blob in fit if not self.blobs.have(blob.cid)]
            if fresh:
                found.append((author, max(fresh, key=lambda blob: blob.size)))
        return found[:MOST_PEERS]

    async def _fetch(self, peer_id: str, blob: BlobRef, line: Line) -> None:
        began = trio.current_time()
        info = await self.transfer.fetch(blob.cid, [peer_id], expected_size_max=blob.size)
        line.add(info.size, trio.current_time() - began)
        with trio.CancelScope(shield=True):
            await self.blobs.remove(info.cid)


def round_trip_ms(peers: PeerHost, peer_id: str) -> int | None:
    """How long the last ping of a connected peer took."""
    peer = peers.peer(peer_id)
    return peer.latency_ms if peer else None
