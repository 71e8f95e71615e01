"""Records of the catalogue: which are live, what two peers compare, what is kept.

How a record joins those that are held is in `store.merge`, the room they may take in `store.holdings`. What
is not live stays until it expires, so that it is not fetched again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from openstall.market.leaves import leaf_of
from openstall.market.quotas import LIVE_PER_AUTHOR
from openstall.store import holdings, merge
from openstall.store.contradictions import ProofRow, keep_proof
from openstall.store.database import Store
from openstall.store.gaps import Gaps
from openstall.store.live_tree import LiveTree, cids_between
from openstall.store.record_rows import ROW_COLUMNS, NewRecord, Outcome, RecordRow, row_of

__all__ = ["ROW_COLUMNS", "NewRecord", "Outcome", "RecordRow", "Records", "Taken", "row_of"]

PURGE_GRACE_S = 86_400
_SETTLED_AT_ONCE = 1_000
_ASKED_AT_ONCE = 500
_REFUSED_FOR_ROOM = (Outcome.NO_ROOM, Outcome.PEER_QUOTA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a batch."""

    outcomes: list[Outcome]
    contradicted: list[str]
    """Authors against whom a proof was found with it."""
    changed: bool
    """Whether there is anything that peers may lack."""


class Records:
    """The catalogue's table. Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store, *, quotas: Mapping[str, int] = LIVE_PER_AUTHOR) -> None:
        self._store = store
        self._quotas = quotas
        self.cap_bytes = holdings.DEFAULT_CAP_BYTES
        self._lock = threading.Lock()
        self._trees: dict[str, LiveTree] = {}
        self._next_expiry = 0
        self._gaps = Gaps(store)

    def take(self, records: Sequence[NewRecord], *, now: int, brought_by: str = "") -> Taken:
        """Store a batch of one network in one transaction. `brought_by` is a peer, or empty for our own."""
        if not records:
            return Taken(outcomes=[], contradicted=[], changed=False)
        network, change = records[0].network, merge.Change()
        self.settle(now=now)
        with self._store.write() as db:
            room = holdings.Room(db, network, cap_bytes=self.cap_bytes, brought_by=brought_by)
            outcomes = [self._take(db, record, room, change, now) for record in records]
            if room.overfull:
                change.addresses.update(holdings.prune(db, network, cap_bytes=self.cap_bytes, now=now))
        self._mark(network, change)
        self._note(network, records, outcomes)
        return Taken(
            outcomes=outcomes, contradicted=sorted(change.contradicted), changed=bool(change.addresses)
        )

    def add_many(self, records: Sequence[NewRecord], *, now: int) -> list[Outcome]:
        """Store a batch of our own; the outcomes are in the order of the records."""
        return self.take(records, now=now).outcomes

    def add(self, record: NewRecord, *, now: int) -> Outcome:
        """Store one record of our own."""
        return self.add_many([record], now=now)[0]

    def take_proof(self, network: str, proof: ProofRow) -> bool:
        """Keep somebody's proof of a contradiction; True if it is the first against its author."""
        change = merge.Change()
        with self._store.write() as db:
            first = keep_proof(db, proof, network, changed=change.addresses)
        self._mark(network, change)
        return first

    def have(self, cid: str) -> bool:
        """True if the record (or proof) is stored, live or not."""
        with self._store.read() as db:
            return bool(_stored(db, [cid]))

    def lacking(self, cids: Sequence[str], *, now: int) -> list[str]:
        """Which of these are neither stored nor were removed for want of room."""
        found: list[str] = []
        with self._store.read() as db:
            for start in range(0, len(cids), _ASKED_AT_ONCE):
                part = cids[start : start + _ASKED_AT_ONCE]
                held = _stored(db, part) | holdings.remembered(db, part, now=now)
                found += [cid for cid in part if cid not in held]
        return found

    def raw(self, cid: str) -> bytes | None:
        """The wire bytes of a record, or None."""
        return self.raws([cid]).get(cid)

    def raws(self, cids: Sequence[str]) -> dict[str, bytes]:
        """The wire bytes of several records (or proofs) by cid; those that are not stored are left out."""
        marks = ",".join("?" * len(cids))
        with self._store.read() as db:
            rows = db.conn.execute(
                f"SELECT r.cid, b.raw FROM records r JOIN record_bodies b ON b.id = r.id "
                f"WHERE r.cid IN ({marks}) "
                f"UNION ALL SELECT cid, raw FROM contradictions WHERE cid IN ({marks})",
                [*cids, *cids],
            ).fetchall()
        return {row[0]: bytes(row[1]) for row in rows}

    def row(self, cid: str) -> RecordRow | None:
        """What the store knows of a record, or None."""
        with self._store.read() as db:
            row = db.execute(f"SELECT {ROW_COLUMNS} FROM records r WHERE r.cid = ?", [cid]).fetchone()
        return None if row is None else row_of(row)

    def live(self, network: str, author: str, type_: str, key: str, *, now: int) -> RecordRow | None:
        """The record that holds now for an author's type and key, or None."""
        self.settle(now=now)
        with self._store.read() as db:
            row = db.execute(
                f"SELECT {ROW_COLUMNS} FROM records r INDEXED BY records_by_slot WHERE r.network = ? "
                "AND r.author = ? AND r.slot_type = ? AND r.slot_key = ? AND r.target_key IS NULL "
                "AND r.current = 1 AND r.expires > ?",
                [network, author, type_, key, now],
            ).fetchone()
        return None if row is None else row_of(row)

    def last_of(self, network: str, author: str) -> tuple[int, str]:
        """Highest `seq` that the author signed and its cid; (0, "") before the first."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT seq, cid FROM records WHERE network = ? AND author = ? "
                "ORDER BY seq DESC, cid LIMIT 1",
                [network, author],
            ).fetchone()
        return (0, "") if row is None else (row[0], row[1])

    def last_expiry(self, network: str, author: str, slot: tuple[str, str]) -> int:
        """When the last record of a slot expires; 0 where it is empty."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT coalesce(max(expires), 0) FROM records INDEXED BY records_by_slot "
                "WHERE network = ? AND author = ? AND slot_type = ? AND slot_key = ?",
                [network, author, *slot],
            ).fetchone()
        return int(row[0])

    def missing(self, network: str, author: str) -> int:
        """How many records of an author's sequence are not here; most of them were replaced by later ones."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT coalesce(max(seq), 0) - count(DISTINCT seq) "
                "FROM records INDEXED BY records_by_author WHERE network = ? AND author = ?",
                [network, author],
            ).fetchone()
        return max(0, int(row[0]))

    def gaps(self, network: str) -> list[str]:
        """Records that others name as their predecessors and that are not here, the latest named first."""
        return self._gaps.of(network)

    def own(self, network: str, author: str, *, now: int) -> list[str]:
        """The live records of an author, oldest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT cid FROM records WHERE network = ? AND author = ? AND current = 1 AND expires > ? "
                "ORDER BY seq",
                [network, author, now],
            ).fetchall()
        return [row[0] for row in rows]

    def counts(self, network: str, *, now: int) -> dict[str, int]:
        """Number of live records by type."""
        self.settle(now=now)
        with self._store.read() as db:
            rows = db.execute(
                "SELECT type, count(*) FROM records WHERE network = ? AND current = 1 "
                "AND target_key IS NULL GROUP BY type",
                [network],
            ).fetchall()
        return {row[0]: row[1] for row in rows}

    def held_at(self, network: str, author: str, type_: str, key: str, *, at: int) -> RecordRow | None:
        """The record of a key that was live here at a past moment, by when it came in; None without one.

        The author's own dates do not count: a record can be dated back.
        """
        with self._store.read() as db:
            row = db.execute(
                f"SELECT {ROW_COLUMNS} FROM records r INDEXED BY records_by_slot WHERE r.network = ? "
                "AND r.author = ? AND r.slot_type = ? AND r.slot_key = ? AND r.target_key IS NULL "
                "AND r.received_at <= ? AND r.expires > ? "
                "AND NOT EXISTS (SELECT 1 FROM records taken "
                "WHERE taken.network = r.network AND taken.author = r.author "
                "AND taken.slot_type = r.slot_type AND taken.slot_key = r.slot_key "
                "AND taken.target_key IS NOT NULL AND taken.seq > r.seq AND taken.received_at <= ?) "
                "ORDER BY r.seq DESC, r.cid LIMIT 1",
                [network, author, type_, key, at, at, at],
            ).fetchone()
        return None if row is None else row_of(row)

    def titles(self, network: str, type_: str, authors: Iterable[str]) -> dict[str, str]:
        """Title of each author's current record of a type (the `peer` record holds the name)."""
        wanted = sorted(set(authors))
        found: dict[str, str] = {}
        with self._store.read() as db:
            for start in range(0, len(wanted), _ASKED_AT_ONCE):
                part = wanted[start : start + _ASKED_AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = db.execute(
                    "SELECT author, title FROM records WHERE network = ? AND slot_type = ? "
                    f"AND target_key IS NULL AND current = 1 AND author IN ({marks})",
                    [network, type_, *part],
                ).fetchall()
                found.update((row[0], row[1]) for row in rows)
        return found

    # What peers compare

    def tree(self, network: str, *, now: int) -> LiveTree:
        """The digests of what is live; equal sets have equal digests."""
        self.settle(now=now)
        with self._lock:
            if network not in self._trees:
                self._trees[network] = LiveTree(self._store, network)
            return self._trees[network]

    def cids_between(
        self, network: str, first: int, last: int, *, after: str, limit: int, now: int
    ) -> list[str]:
        """The live addresses in a run of leaves, by leaf and address, from behind an address on."""
        self.settle(now=now)
        place = (leaf_of(after), after) if after else (0, "")
        with self._store.read() as db:
            return cids_between(db, network, first, last, after=place, limit=limit)

    # What goes

    def settle(self, *, now: int) -> None:
        """Take what has expired out of the live sets; costs nothing until the next expiry."""
        if now < self._next_expiry:
            return
        more = True
        while more:
            with self._store.write() as db:
                changes, more = merge.settle(db, now=now, limit=_SETTLED_AT_ONCE)
                first = db.execute("SELECT min(expires) FROM records WHERE current = 1").fetchone()[0]
                self._next_expiry = first if first is not None else 2**62
            for network, change in changes.items():
                self._mark(network, change)

    def purge(self, *, now: int, keep_author: str = "") -> int:
        """Delete what expired a day ago, except the author's whose sequence we continue."""
        self.settle(now=now)
        with self._store.write() as db:
            cursor = db.execute(
                "DELETE FROM records WHERE expires < ? AND author <> ?",
                [now - PURGE_GRACE_S, keep_author],
            )
            db.execute("DELETE FROM records_pruned WHERE until <= ?", [now])
            old = db.execute("SELECT network, cid FROM contradictions WHERE until <= ?", [now]).fetchall()
            db.execute("DELETE FROM contradictions WHERE until <= ?", [now])
        for network, cid in old:
            self._mark(network, merge.Change(addresses={cid}))
        return int(cursor.rowcount)

    def prune(self, network: str, *, now: int) -> int:
        """Make the catalogue fit its room, after the room has become smaller; how many records went."""
        with self._store.write() as db:
            if holdings.usage(db, network).bytes <= self.cap_bytes:
                return 0
            gone = holdings.prune(db, network, cap_bytes=self.cap_bytes, now=now)
        self._mark(network, merge.Change(addresses=set(gone)))
        return len(gone)

    def _take(
        self, db: Database, record: NewRecord, room: holdings.Room, change: merge.Change, now: int
    ) -> Outcome:
        refused = room.refuses(record)
        if refused is not None:
            if _stored(db, [record.cid]):
                return Outcome.KNOWN
            if refused is Outcome.NO_ROOM:
                holdings.remember(db, [record.cid], now=now)
            return refused
        outcome = merge.take(db, record, now=now, quotas=self._quotas, change=change)
        if outcome in (Outcome.NEW, Outcome.STALE):
            room.taken(record)
            self._next_expiry = min(self._next_expiry, record.expires)
        return outcome

    def _note(self, network: str, records: Sequence[NewRecord], outcomes: Sequence[Outcome]) -> None:
        both = zip(records, outcomes, strict=True)
        self._gaps.note(
            network,
            came=[one.cid for one in records],
            named=[one.prev for one, outcome in both if outcome is Outcome.NEW and one.prev],
        )

    def _mark(self, network: str, change: merge.Change) -> None:
        with self._lock:
            tree = self._trees.get(network)
        if tree is not None and change.addresses:
            tree.mark({leaf_of(cid) for cid in change.addresses})


def _stored(db: Database, cids: Sequence[str]) -> set[str]:
    marks = ",".join("?" * len(cids))
    rows = db.conn.execute(
        f"SELECT cid FROM records WHERE cid IN ({marks}) "
        f"UNION ALL SELECT cid FROM contradictions WHERE cid IN ({marks})",
        [*cids, *cids],
    ).fetchall()
    return {row[0] for row in rows}
