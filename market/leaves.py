"""How two peers compare what they hold: a tree of digests over the addresses of their live records.

Every address falls into one of 65,536 leaves. A leaf's digest is that of its sorted addresses, the digest of
a branch (256 leaves) is that of its leaves, the root's that of all branches. Digests are hashes, never sums:
of sums anybody can make two different sets with one digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

BRANCHES = 256
LEAVES = BRANCHES * 256
DIGEST = 16
"""Bytes of a digest: the first half of a SHA-256. All zero where there is nothing."""
NOTHING = bytes(DIGEST)
LEVEL = BRANCHES * DIGEST
"""Bytes of one level of the tree on the wire."""


def leaf_of(cid: str) -> int:
    """Which of the leaves an address falls into; the same on every peer."""
    return int.from_bytes(hashlib.sha256(cid.encode()).digest()[:2], "big")


def leaf_digest(cids: Sequence[str]) -> bytes:
    """The digest of the sorted addresses of one leaf."""
    return _digest("\n".join(cids).encode()) if cids else NOTHING


def differing(own: bytes, theirs: bytes) -> list[int]:
    """Which digests of two levels differ."""
    places = range(0, len(own), DIGEST)
    return [at // DIGEST for at in places if own[at : at + DIGEST] != theirs[at : at + DIGEST]]


def spans(leaves: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending leaf numbers as first and last of each unbroken run."""
    first = last = -1
    for leaf in leaves:
        if leaf == last + 1 and last >= 0:
            last = leaf
            continue
        if last >= 0:
            yield first, last
        first = last = leaf
    if last >= 0:
        yield first, last


class LeafTree:
    """The digests of one catalogue. Not thread-safe."""

    def __init__(self) -> None:
        self._leaves = bytearray(LEAVES * DIGEST)
        self._branches = bytearray(LEVEL)
        self._stale: set[int] = set()

    def put(self, leaf: int, digest: bytes) -> None:
        """Set the digest of a leaf."""
        at = leaf * DIGEST
        if self._leaves[at : at + DIGEST] != digest:
            self._leaves[at : at + DIGEST] = digest
            self._stale.add(leaf // 256)

    def root(self) -> bytes:
        """One digest of everything."""
        return _of_level(self.branches())

    def branches(self) -> bytes:
        """The digests of the 256 branches."""
        for branch in self._stale:
            self._branches[branch * DIGEST : (branch + 1) * DIGEST] = _of_level(self.leaves(branch))
        self._stale.clear()
        return bytes(self._branches)

    def leaves(self, branch: int) -> bytes:
        """The digests of the 256 leaves of a branch."""
        return bytes(self._leaves[branch * LEVEL : (branch + 1) * LEVEL])


def _of_level(level: bytes) -> bytes:
    return _digest(level) if any(level) else NOTHING


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:DIGEST]
