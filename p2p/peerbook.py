"""Where other peers were last reached, kept in one JSON file that survives restarts.

What others tell us fills only a part of the book: of one network (`/16`, `/32` of IPv6) only so many peers
that never answered, and they never push out one that did. Else somebody could fill the book, and after our
next start we would know nobody but him.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from openstall.market.errors import StoreError
from openstall.market.schema import NONSENSE
from openstall.p2p.prefixes import LOCAL, network_of

MAX_ADDRS = 8
ANCHORS = 4
"""Peers that we had dialled ourselves when we stopped; we dial them first when we start again."""
_OF_A_NETWORK = 32
"""A part of the book: one in so many entries may be of one network and never have answered."""
_LEAST_OF_A_NETWORK = 8
_MAX_FILE = 8 * 1024 * 1024


class KnownPeer(Struct, kw_only=True):
    """One peer: its addresses, best first, its own name for itself, Unix seconds of the last success."""

    peer_id: str
    addrs: list[str] = []
    name: str = ""
    seen_at: int = 0
    failures: int = 0
    anchor: bool = False

    @property
    def network(self) -> str:
        """The wide network of the first address; the peer itself where that is private."""
        found = network_of(self.addrs[0], wide=True) if self.addrs else LOCAL
        return found if found != LOCAL else f"peer {self.peer_id}"


class PeerBook:
    """The address book of one node. Not thread-safe: used from the event loop only.

    The file is written by `save`, atomically; a damaged file is set aside and the book starts empty,
    because addresses can always be learned again.
    """

    def __init__(self, path: Path | None, *, max_peers: int) -> None:
        self._path = path
        self._max_peers = max_peers
        self._peers: OrderedDict[str, KnownPeer] = OrderedDict()
        self._claimed: dict[str, dict[str, None]] = {}
        self._network_of: dict[str, str] = {}
        """By network those that never answered, and back."""
        self._changed = False
        self._draw = secrets.token_hex(8)
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        try:
            raw = path.read_bytes() if path.stat().st_size <= _MAX_FILE else b""
            peers = msgspec.json.decode(raw, type=list[KnownPeer])
        except (OSError, *NONSENSE):
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
            return
        for peer in peers[: self._max_peers]:
            self._peers[peer.peer_id] = peer
            self._sort_in(peer)

    def addrs(self, peer_id: str) -> list[str]:
        """Known addresses without the peer id, the one that worked last first."""
        known = self._peers.get(peer_id)
        return list(known.addrs) if known else []

    def name(self, peer_id: str) -> str:
        """What the peer last called itself."""
        known = self._peers.get(peer_id)
        return known.name if known else ""

    def learn(self, peer_id: str, addrs: Iterable[str], *, name: str | None = None) -> None:
        """Add addresses that somebody claims; those that worked stay in front."""
        known = self._entry(peer_id)
        fresh = [one for one in addrs if one not in known.addrs]
        if fresh:
            # The first is proven when seen_at is set; of the claimed ones the newest claims stay.
            proven, claimed = (known.addrs[:1], known.addrs[1:]) if known.seen_at else ([], known.addrs)
            known.addrs = (proven + fresh + claimed)[:MAX_ADDRS]
            if not self._fits(known):
                return
        if name is not None:
            known.name = name
        self._changed = True

    def worked(self, peer_id: str, addr: str) -> None:
        """A dial to this address reached the peer."""
        known = self._entry(peer_id)
        known.addrs = ([addr] + [one for one in known.addrs if one != addr])[:MAX_ADDRS]
        known.seen_at = int(time.time())
        known.failures = 0
        self._sort_in(known)
        self._changed = True

    def failed(self, peer_id: str) -> None:
        """No address reached the peer; one that never answers is forgotten in the end."""
        known = self._peers.get(peer_id)
        if known is None:
            return
        known.failures += 1
        if known.failures > 20:
            self._drop(known)
        self._changed = True

    def recent(self, count: int) -> list[KnownPeer]:
        """Peers with addresses, anchors and then the most promising first, one network after the other."""
        usable = [one for one in self._peers.values() if one.addrs]
        # Where all else is equal a draw decides that nobody can foresee, not who told first or most.
        usable.sort(
            key=lambda one: (not one.anchor, one.failures, -one.seen_at, hash((self._draw, one.network)))
        )
        turns: Counter[str] = Counter()
        ranked = []
        for place, one in enumerate(usable):
            ranked.append((turns[one.network], place, one))
            turns[one.network] += 1
        return [one for _, _, one in sorted(ranked, key=lambda entry: entry[:2])][:count]

    def untried(self) -> list[KnownPeer]:
        """Peers that somebody has told of and that were never dialled with success, the least tried first."""
        found = [one for one in self._peers.values() if one.addrs and not one.seen_at]
        return sorted(found, key=lambda one: one.failures)

    def anchors(self) -> list[str]:
        """The peers to dial first after a start."""
        return [one.peer_id for one in self._peers.values() if one.anchor][:ANCHORS]

    def keep_anchors(self, peer_ids: Iterable[str]) -> None:
        """These, whom we have dialled ourselves, are the anchors now; of one network one."""
        wanted: dict[str, str] = {}
        for peer_id in peer_ids:
            known = self._peers.get(peer_id)
            if known is not None and known.addrs and len(wanted) < ANCHORS:
                wanted.setdefault(known.network, peer_id)
        if not wanted:
            return  # cut off; those of before are worth more than none
        for known in self._peers.values():
            is_one = known.peer_id in wanted.values()
            self._changed = self._changed or is_one != known.anchor
            known.anchor = is_one

    def _entry(self, peer_id: str) -> KnownPeer:
        known = self._peers.get(peer_id)
        if known is None:
            known = self._peers[peer_id] = KnownPeer(peer_id=peer_id)
            if len(self._peers) > self._max_peers:
                self._drop(self._least(known))
        return known

    def _least(self, new: KnownPeer) -> KnownPeer:
        """Whom the book can do without: of the network with most hearsay one that was tried in vain."""
        crowd = max(self._claimed.values(), key=len, default={})
        if crowd:
            return max((self._peers[one] for one in crowd), key=lambda one: one.failures)
        others = [one for one in self._peers.values() if one is not new]
        return max(others, key=lambda one: (not one.anchor, one.failures, -one.seen_at))

    def _sort_in(self, known: KnownPeer) -> None:
        """Count a peer that never answered where it belongs now, and one that did nowhere."""
        before = self._network_of.pop(known.peer_id, None)
        if before is not None:
            del self._claimed[before][known.peer_id]
            if not self._claimed[before]:
                del self._claimed[before]
        if known.peer_id in self._peers and not known.seen_at:
            self._network_of[known.peer_id] = known.network
            self._claimed.setdefault(known.network, {})[known.peer_id] = None

    def _drop(self, known: KnownPeer) -> None:
        del self._peers[known.peer_id]
        self._sort_in(known)

    def _fits(self, known: KnownPeer) -> bool:
        """Whether a peer may stay: not too many of its network that never answered, and this one did not."""
        self._sort_in(known)
        of_it = self._claimed.get(self._network_of.get(known.peer_id, ""), {})
        if len(of_it) <= max(_LEAST_OF_A_NETWORK, self._max_peers // _OF_A_NETWORK):
            return True
        worst = max((self._peers[one] for one in of_it), key=lambda one: (one.failures, one is known))
        self._drop(worst)
        return worst is not known

    def save(self) -> None:
        """Write the file if anything changed; blocking, so called from a worker thread.

        Raises:
            StoreError: the disk is full or the folder is gone.
        """
        if self._path is None or not self._changed:
            return
        self._changed = False
        part = self._path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(msgspec.json.encode(list(self._peers.values())))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            raise StoreError(
                "address_book", f"The address book cannot be saved: {error.strerror}."
            ) from error
