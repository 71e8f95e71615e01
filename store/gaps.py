"""What authors name as their last record and nobody has given us.

Worked out from the records themselves when it is first asked for, so that a restart forgets none of it; then
kept as records come. Only live records count: what one of them names may be fetched, but what that one names
in turn is history.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from openstall.market.quotas import KEPT_PER_AUTHOR
from openstall.store.database import Store

MAX_GAPS = 4_096
_LOOKED_AT = 50_000
"""The latest so many records are looked at when a node begins."""
_AT_ONCE = 500


class Gaps:
    """The gaps of each network. Thread-safe; blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, OrderedDict[str, None]] = {}

    def of(self, network: str) -> list[str]:
        """Records that are named as predecessors and are not here, the latest named first."""
        with self._lock:
            if network not in self._known:
                self._known[network] = OrderedDict.fromkeys(reversed(self._look(network)))
            return list(reversed(self._known[network]))

    def note(self, network: str, *, came: Iterable[str], named: Sequence[str]) -> None:
        """Records have come; these are named as predecessors by those that are live now."""
        with self._lock:
            known = self._known.get(network)
            if known is None:
                return  # the first question finds all of them in the books
            # Under the lock: what is stored after we looked is taken out by the one who stored it.
            held = self._held(named)
            known.update((cid, None) for cid in named if cid not in held)
            for cid in came:
                known.pop(cid, None)
            while len(known) > MAX_GAPS:
                known.popitem(last=False)

    def _held(self, cids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        with self._store.read() as db:
            for start in range(0, len(cids), _AT_ONCE):
                part = cids[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = db.conn.execute(f"SELECT cid FROM records WHERE cid IN ({marks})", part)
                found.update(row[0] for row in rows)
        return found

    def _look(self, network: str) -> list[str]:
        """The latest first. Whoever has as many records as are kept of one has gaps because we made them."""
        with self._store.read() as db:
            rows = db.conn.execute(
                "SELECT r.prev FROM (SELECT id, author, prev FROM records NOT INDEXED "
                "WHERE network = ? AND current = 1 AND prev != '' ORDER BY id DESC LIMIT ?) r "
                "JOIN record_authors a ON a.network = ? AND a.author = r.author AND a.records < ? "
                "WHERE NOT EXISTS (SELECT 1 FROM records p WHERE p.cid = r.prev) "
                "ORDER BY r.id DESC LIMIT ?",
                [network, _LOOKED_AT, network, KEPT_PER_AUTHOR, MAX_GAPS],
            ).fetchall()
        return list(dict.fromkeys(row[0] for row in rows))
