"""Who may fetch which blob from this node.

Sealed packages are for everybody, since nobody can open them without the key; those that were bought,
only where the owner of this node shares them. A job's inputs are
for its provider only; its artefacts are for its buyer only, once the last second is paid for.
"""

from __future__ import annotations

from collections import defaultdict

from openstall.market.errors import InvalidOrder
from openstall.market.fields import BlobRef
from openstall.p2p.blobs import BlobInfo


def check_blob(found: BlobInfo, signed: BlobRef) -> None:
    """Whether a blob is what was signed; its address alone says nothing about the other two figures.

    Raises:
        InvalidOrder: size or checksum differ.
    """
    if (found.size, found.sha256) != (signed.size, signed.sha256):
        raise InvalidOrder(
            "wrong_file", "A file has another size or checksum than the one that was signed for."
        )


class BlobAccess:
    """Grants by cid, in memory: asked for every run of chunks. Rebuilt from the order book at every start."""

    def __init__(self) -> None:
        self._paid_micro: dict[str, int] = {}
        self._public: set[str] = set()
        self._shared: set[str] = set()
        self._peers: dict[str, set[str]] = defaultdict(set)
        self._artefacts: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)

    def make_public(self, cid: str) -> None:
        """Anybody may fetch this blob."""
        self._public.add(cid)

    def share(self, cids: set[str]) -> None:
        """Anybody may fetch these too, and no others that were shared before."""
        self._shared = cids

    def shares(self, cid: str) -> bool:
        """Whether anybody may fetch this blob."""
        return cid in self._public or cid in self._shared

    def grant(self, cid: str, peer_id: str) -> None:
        """One peer may fetch this blob."""
        self._peers[cid].add(peer_id)

    def grant_artefacts(self, order_id: str, peer_id: str, cids: list[str], owed_micro: int) -> None:
        """The buyer may fetch the artefacts of an order once `owed_micro` is covered by a voucher."""
        for cid in cids:
            self._artefacts[cid][peer_id] = (order_id, owed_micro)

    def note_paid(self, order_id: str, amount_micro: int) -> None:
        """The highest voucher of an order covers this amount."""
        self._paid_micro[order_id] = amount_micro

    def allowed(self, cid: str, peer_id: str) -> bool:
        """Whether the peer may fetch the blob now."""
        if self.shares(cid) or peer_id in self._peers.get(cid, ()):
            return True
        order_id, owed_micro = self._artefacts.get(cid, {}).get(peer_id, ("", 0))
        return bool(order_id) and self._paid_micro.get(order_id, 0) >= owed_micro
