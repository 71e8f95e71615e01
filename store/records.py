"""Records of the catalogue: which are live, search, digests for sync, quotas per author.

Of the records with one author, type and key, the highest `seq` is current (the smaller cid where an
author signed two with one `seq`, so that all peers agree). A tombstone with a higher `seq` than its
target withdraws it. What is not current stays until it expires, so that it is not fetched again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlite_utils import Database

from openstall.store.database import Store

Loader = Callable[[str, int], tuple[list[tuple[int, str]], int]]

BUCKETS = 256
MAX_RECORDS_PER_AUTHOR = 2_000
PURGE_GRACE_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """A record whose signature and schema were checked, with the words to find it by."""

    cid: str
    network: str
    type: str
    author: str
    key: str
    seq: int
    issued: int
    expires: int
    raw: bytes
    title: str
    words: str
    target: tuple[str, str] | None = None
    """Type and key that a tombstone withdraws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRow:
    """A stored record without its body."""

    cid: str
    type: str
    author: str
    key: str
    seq: int
    issued: int
    expires: int
    title: str
    size: int
    current: bool


class Outcome(StrEnum):
    """What became of a record that was offered to the store."""

    NEW = "new"
    KNOWN = "known"
    STALE = "stale"
    QUOTA = "quota"


ROW_COLUMNS = "r.cid, r.type, r.author, r.key, r.seq, r.issued, r.expires, r.title, r.size, r.current"


class Records:
    """The catalogue's table. Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store, *, max_per_author: int = MAX_RECORDS_PER_AUTHOR) -> None:
        self._store = store
        self._max_per_author = max_per_author
        self._digests = _DigestCache()

    def add_many(self, records: Sequence[NewRecord], *, now: int) -> list[Outcome]:
        """Store a batch in one transaction; the outcomes are in the order of the records."""
        with self._store.write() as db:
            outcomes = [self._add(db, record, now) for record in records]
        for record, outcome in zip(records, outcomes, strict=True):
            if outcome is Outcome.NEW:
                self._digests.forget(record.network)
        return outcomes

    def add(self, record: NewRecord, *, now: int) -> Outcome:
        """Store one record."""
        return self.add_many([record], now=now)[0]

    def have(self, cid: str) -> bool:
        """True if the record is stored, current or not."""
        with self._store.read() as db:
            return db.execute("SELECT 1 FROM records WHERE cid = ?", [cid]).fetchone() is not None

    def raw(self, cid: str) -> bytes | None:
        """The wire bytes of a record, or None."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT b.raw FROM records r JOIN record_bodies b ON b.id = r.id WHERE r.cid = ?",
                [cid],
            ).fetchone()
        return None if row is None else bytes(row[0])

    def raws(self, cids: Sequence[str]) -> dict[str, bytes]:
        """The wire bytes of several records by cid; those that are not stored are left out."""
        marks = ",".join("?" * len(cids))
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT r.cid, b.raw FROM records r JOIN record_bodies b ON b.id = r.id "
                f"WHERE r.cid IN ({marks})",
                list(cids),
            ).fetchall()
        return {row[0]: bytes(row[1]) for row in rows}

    def row(self, cid: str) -> RecordRow | None:
        """What the store knows of a record, or None."""
        with self._store.read() as db:
            row = db.execute(f"SELECT {ROW_COLUMNS} FROM records r WHERE r.cid = ?", [cid]).fetchone()
        return None if row is None else row_of(row)

    def live(self, network: str, author: str, type_: str, key: str, *, now: int) -> RecordRow | None:
        """The record that holds now for an author's type and key, or None."""
        with self._store.read() as db:
            row = db.execute(
                f"SELECT {ROW_COLUMNS} FROM records r WHERE r.network = ? AND r.author = ? "
                "AND r.type = ? AND r.key = ? AND r.current = 1 AND r.expires > ?",
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

    def counts(self, network: str, *, now: int) -> dict[str, int]:
        """Number of live records by type."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT type, count(*) FROM records WHERE network = ? AND current = 1 "
                "AND expires > ? AND target_key IS NULL GROUP BY type",
                [network, now],
            ).fetchall()
        return {row[0]: row[1] for row in rows}

    def held_at(self, network: str, author: str, type_: str, key: str, *, at: int) -> RecordRow | None:
        """The record of a key that was live here at a past moment, by when it came in; None without one.

        The author's own dates do not count: a record can be dated back.
        """
        with self._store.read() as db:
            row = db.execute(
                f"SELECT {ROW_COLUMNS} FROM records r WHERE r.network = ? AND r.author = ? AND r.type = ? "
                "AND r.key = ? AND r.received_at <= ? AND r.expires > ? "
                "AND NOT EXISTS (SELECT 1 FROM records taken "
                "WHERE taken.network = r.network AND taken.author = r.author "
                "AND taken.target_type = r.type AND taken.target_key = r.key "
                "AND taken.seq > r.seq AND taken.received_at <= ?) ORDER BY r.seq DESC, r.cid LIMIT 1",
                [network, author, type_, key, at, at, at],
            ).fetchone()
        return None if row is None else row_of(row)

    def titles(self, network: str, type_: str, authors: Iterable[str]) -> dict[str, str]:
        """Title of each author's current record of a type (the `peer` record holds the name)."""
        wanted = sorted(set(authors))
        found: dict[str, str] = {}
        with self._store.read() as db:
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                marks = ",".join("?" * len(part))
                rows = db.execute(
                    "SELECT author, title FROM records WHERE network = ? AND type = ? "
                    f"AND current = 1 AND author IN ({marks})",
                    [network, type_, *part],
                ).fetchall()
                found.update((row[0], row[1]) for row in rows)
        return found

    def digest_buckets(self, network: str, *, now: int) -> list[bytes]:
        """32-byte digest of the live set in each of 256 buckets; equal sets have equal digests."""
        return self._digests.of(network, now, self._live_cids)

    def cids_in_bucket(self, network: str, bucket: int, *, now: int) -> list[str]:
        """The live cids in one bucket, sorted."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT cid FROM records WHERE network = ? AND bucket = ? AND current = 1 "
                "AND expires > ? ORDER BY cid",
                [network, bucket, now],
            ).fetchall()
        return [row[0] for row in rows]

    def purge(self, *, now: int, keep_author: str = "") -> int:
        """Delete what expired a day ago, except the author's whose sequence we continue."""
        with self._store.write() as db:
            cursor = db.execute(
                "DELETE FROM records WHERE expires < ? AND author <> ?",
                [now - PURGE_GRACE_S, keep_author],
            )
        return int(cursor.rowcount)

    def _live_cids(self, network: str, now: int) -> tuple[list[tuple[int, str]], int]:
        with self._store.read() as db:
            rows = db.execute(
                "SELECT bucket, cid, expires FROM records INDEXED BY records_by_bucket "
                "WHERE network = ? AND current = 1 AND expires > ? ORDER BY bucket, cid",
                [network, now],
            ).fetchall()
        first_expiry = min((row[2] for row in rows), default=2**62)
        return [(row[0], row[1]) for row in rows], first_expiry

    def _add(self, db: Database, record: NewRecord, now: int) -> Outcome:
        if db.execute("SELECT 1 FROM records WHERE cid = ?", [record.cid]).fetchone():
            return Outcome.KNOWN
        if not self._has_room(db, record):
            return Outcome.QUOTA
        rival = db.execute(
            "SELECT id, seq, cid FROM records WHERE network = ? AND author = ? AND type = ? "
            "AND key = ? AND current = 1",
            [record.network, record.author, record.type, record.key],
        ).fetchone()
        beats = rival is None or (record.seq, rival[2]) > (rival[1], record.cid)
        current = beats and not _withdrawn(db, record)
        if beats and rival is not None:
            db.execute("UPDATE records SET current = 0 WHERE id = ?", [rival[0]])
        if record.target is not None and current:
            db.execute(
                "UPDATE records SET current = 0 WHERE network = ? AND author = ? AND type = ? "
                "AND key = ? AND seq < ? AND current = 1",
                [record.network, record.author, *record.target, record.seq],
            )
        _insert(db, record, current=current, now=now)
        return Outcome.NEW if current else Outcome.STALE

    def _has_room(self, db: Database, record: NewRecord) -> bool:
        held = db.execute(
            "SELECT count(*) FROM records WHERE network = ? AND author = ?",
            [record.network, record.author],
        ).fetchone()[0]
        if held < self._max_per_author:
            return True
        # What was superseded gives way first; an author who fills the rest must wait for expiry.
        cursor = db.execute(
            "DELETE FROM records WHERE id = (SELECT id FROM records WHERE network = ? "
            "AND author = ? AND current = 0 ORDER BY seq LIMIT 1)",
            [record.network, record.author],
        )
        return int(cursor.rowcount) == 1


class _DigestCache:
    """Bucket digests per network, until a record is added or the first of the set expires."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[list[bytes], int]] = {}
        self._changes: dict[str, int] = {}

    def forget(self, network: str) -> None:
        with self._lock:
            self._changes[network] = self._changes.get(network, 0) + 1
            self._kept.pop(network, None)

    def of(self, network: str, now: int, load: Loader) -> list[bytes]:
        with self._lock:
            kept = self._kept.get(network)
            changes = self._changes.get(network, 0)
        if kept is not None and now < kept[1]:
            return kept[0]
        rows, first_expiry = load(network, now)
        hashes = [hashlib.sha256() for _ in range(BUCKETS)]
        for bucket, cid in rows:
            hashes[bucket].update(cid.encode() + b"\n")
        digests = [one.digest() for one in hashes]
        with self._lock:
            # A record that came in while we read must not be hidden by an older answer.
            if self._changes.get(network, 0) == changes:
                self._kept[network] = (digests, first_expiry)
        return digests


def bucket_of(cid: str) -> int:
    """Which of the 256 buckets a cid falls into; the same on every peer."""
    return hashlib.sha256(cid.encode()).digest()[0]


def _withdrawn(db: Database, record: NewRecord) -> bool:
    return (
        db.execute(
            "SELECT 1 FROM records WHERE network = ? AND author = ? AND target_type = ? "
            "AND target_key = ? AND seq > ?",
            [record.network, record.author, record.type, record.key, record.seq],
        ).fetchone()
        is not None
    )


def _insert(db: Database, record: NewRecord, *, current: bool, now: int) -> None:
    target_type, target_key = record.target or (None, None)
    cursor = db.execute(
        "INSERT INTO records (cid, network, type, author, key, seq, issued, expires, target_type, "
        "target_key, current, bucket, size, received_at, title, words) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            record.cid,
            record.network,
            record.type,
            record.author,
            record.key,
            record.seq,
            record.issued,
            record.expires,
            target_type,
            target_key,
            int(current),
            bucket_of(record.cid),
            len(record.raw),
            now,
            record.title,
            record.words,
        ],
    )
    db.execute("INSERT INTO record_bodies (id, raw) VALUES (?, ?)", [cursor.lastrowid, record.raw])


def row_of(row: Sequence[object]) -> RecordRow:
    """A row of `ROW_COLUMNS` as what it is."""
    cid, type_, author, key, seq, issued, expires, title, size, current = row
    return RecordRow(
        cid=str(cid),
        type=str(type_),
        author=str(author),
        key=str(key),
        seq=int(str(seq)),
        issued=int(str(issued)),
        expires=int(str(expires)),
        title=str(title),
        size=int(str(size)),
        current=bool(current),
    )
