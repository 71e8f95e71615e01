"""Where other peers were last reached, kept in one JSON file that survives restarts."""

from __future__ import annotations

import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from openstall.market.errors import StoreError

MAX_ADDRS = 8
_MAX_FILE = 8 * 1024 * 1024


class KnownPeer(Struct, kw_only=True):
    """One peer: its addresses, best first, its own name for itself, Unix seconds of the last success."""

    peer_id: str
    addrs: list[str] = []
    name: str = ""
    seen_at: int = 0
    failures: int = 0


class PeerBook:
    """The address book of one node. Not thread-safe: used from the event loop only.

    The file is written by `save`, atomically; a damaged file is set aside and the book starts empty,
    because addresses can always be learned again.
    """

    def __init__(self, path: Path | None, *, max_peers: int) -> None:
        self._path = path
        self._max_peers = max_peers
        self._peers: OrderedDict[str, KnownPeer] = OrderedDict()
        self._changed = False
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        try:
            raw = path.read_bytes() if path.stat().st_size <= _MAX_FILE else b""
            peers = msgspec.json.decode(raw, type=list[KnownPeer])
        except (OSError, msgspec.DecodeError):
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
            return
        for peer in peers[: self._max_peers]:
            self._peers[peer.peer_id] = peer

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
        if name is not None:
            known.name = name
        self._changed = True

    def worked(self, peer_id: str, addr: str) -> None:
        """A dial to this address reached the peer."""
        known = self._entry(peer_id)
        known.addrs = ([addr] + [one for one in known.addrs if one != addr])[:MAX_ADDRS]
        known.seen_at = int(time.time())
        known.failures = 0
        self._changed = True

    def failed(self, peer_id: str) -> None:
        """No address reached the peer; one that never answers is forgotten in the end."""
        known = self._peers.get(peer_id)
        if known is None:
            return
        known.failures += 1
        if known.failures > 20:
            del self._peers[peer_id]
        self._changed = True

    def recent(self, count: int) -> list[KnownPeer]:
        """Peers with addresses, the most promising first."""
        usable = [one for one in self._peers.values() if one.addrs]
        return sorted(usable, key=lambda one: (one.failures, -one.seen_at))[:count]

    def _entry(self, peer_id: str) -> KnownPeer:
        known = self._peers.get(peer_id)
        if known is None:
            known = self._peers[peer_id] = KnownPeer(peer_id=peer_id)
            if len(self._peers) > self._max_peers:
                worst = max(
                    self._peers.values(), key=lambda one: (one is not known, one.failures, -one.seen_at)
                )
                del self._peers[worst.peer_id]
        return known

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
