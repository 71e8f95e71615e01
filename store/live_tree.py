"""The digest tree of the live records, kept in memory and up to date leaf by leaf."""

from __future__ import annotations

import sqlite3
import threading
from itertools import groupby
from operator import itemgetter

from sqlite_utils import Database

from openstall.market.leaves import LEAVES, LeafTree, leaf_digest
from openstall.store.database import Store

WHOLE_FROM = 4_096
"""So many changed leaves, and reading all of them in one go is cheaper."""

_LIVE = (
    "SELECT bucket, cid FROM records INDEXED BY records_by_bucket "
    "WHERE network = ? AND bucket BETWEEN ? AND ? AND (bucket, cid) > (?, ?) AND current = 1 "
    "UNION ALL SELECT bucket, cid FROM contradictions INDEXED BY contradictions_by_bucket "
    "WHERE network = ? AND bucket BETWEEN ? AND ? AND (bucket, cid) > (?, ?) "
    "ORDER BY 1, 2 LIMIT ?"
)


class LiveTree:
    """One network's tree. Thread-safe; reads the disk for what has changed since the last question."""

    def __init__(self, store: Store, network: str) -> None:
        self._store = store
        self._network = network
        self._lock = threading.Lock()
        self._marks = threading.Lock()
        self._tree = LeafTree()
        self._changed: set[int] = set(range(LEAVES))

    def mark(self, leaves: set[int]) -> None:
        """Say that a committed change touched these leaves."""
        with self._marks:
            self._changed |= leaves

    def root(self) -> bytes:
        """The digest of everything that is live."""
        with self._lock:
            self._refresh()
            return self._tree.root()

    def branches(self) -> bytes:
        """The digests of the branches."""
        with self._lock:
            self._refresh()
            return self._tree.branches()

    def leaves(self, branch: int) -> bytes:
        """The digests of the leaves of a branch."""
        with self._lock:
            self._refresh()
            return self._tree.leaves(branch)

    def _refresh(self) -> None:
        with self._marks:
            changed, self._changed = self._changed, set()
        if not changed:
            return
        try:
            with self._store.read() as db:
                if len(changed) >= WHOLE_FROM:
                    self._read_all(db, changed)
                else:
                    for leaf in changed:
                        self._tree.put(leaf, leaf_digest(cids_between(db, self._network, leaf, leaf)))
        except BaseException:
            self.mark(changed)
            raise

    def _read_all(self, db: Database, changed: set[int]) -> None:
        rows = _between(db, self._network, (0, LEAVES), (0, ""), -1)
        empty = set(changed)
        for leaf, found in groupby(rows, key=itemgetter(0)):
            self._tree.put(leaf, leaf_digest([cid for _, cid in found]))
            empty.discard(leaf)
        for leaf in empty:
            self._tree.put(leaf, leaf_digest(()))


def cids_between(
    db: Database, network: str, first: int, last: int, *, after: tuple[int, str] = (0, ""), limit: int = -1
) -> list[str]:
    """The live addresses in a run of leaves, by leaf and address, from behind a place on."""
    return [cid for _, cid in _between(db, network, (first, last), after, limit)]


def _between(
    db: Database, network: str, run: tuple[int, int], after: tuple[int, str], limit: int
) -> sqlite3.Cursor:
    arm = [network, *run, *after]
    return db.conn.execute(_LIVE, [*arm, *arm, limit])
