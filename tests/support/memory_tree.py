"""A catalogue in memory for peers of tests: bytes, addressed by their SHA-256, and the digests of them."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

from openstall.market.leaves import LeafTree, leaf_digest, leaf_of


class MemoryTree:
    """What the sync reads, and `add`."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.named: list[str] = []
        """What others name as their predecessors."""
        self._leaves: dict[int, set[str]] = defaultdict(set)
        self._tree = LeafTree()
        self._lock = threading.Lock()

    def add(self, raw: bytes) -> str:
        return self.put(raw, hashlib.sha256(raw).hexdigest())

    def put(self, raw: bytes, cid: str) -> str:
        """Hold it under this name."""
        with self._lock:
            self.held[cid] = raw
            leaf = self._leaves[leaf_of(cid)]
            leaf.add(cid)
            self._tree.put(leaf_of(cid), leaf_digest(sorted(leaf)))
        return cid

    def hide(self, cid: str) -> None:
        """Hold it, and do not list it: superseded."""
        with self._lock:
            self._leaves[leaf_of(cid)].discard(cid)
            self._tree.put(leaf_of(cid), leaf_digest(sorted(self._leaves[leaf_of(cid)])))

    def lacking(self, cids: Sequence[str]) -> Sequence[str]:
        return [cid for cid in cids if cid not in self.held]

    def bodies(self, cids: Sequence[str]) -> Mapping[str, bytes]:
        return {cid: self.held[cid] for cid in cids if cid in self.held}

    def root(self) -> bytes:
        with self._lock:
            return self._tree.root()

    def branches(self) -> bytes:
        with self._lock:
            return self._tree.branches()

    def leaves(self, branch: int) -> bytes:
        with self._lock:
            return self._tree.leaves(branch)

    def cids(self, first: int, last: int, *, after: str, limit: int) -> Sequence[str]:
        place = (leaf_of(after), after) if after else (-1, "")
        with self._lock:
            found = sorted((leaf, cid) for leaf, cids in self._leaves.items() for cid in cids)
        return [cid for leaf, cid in found if first <= leaf <= last and (leaf, cid) > place][:limit]

    def gaps(self) -> Sequence[str]:
        return self.named
