"""Whose records take how much room, and what goes when the owner's room for the catalogue is used up.

Own records, then those of peers that were traded with, then of peers that were connected here once, are worth
more than strangers'. A stranger's record pushes nothing out: where there is no room it is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from sqlite_utils import Database

from openstall.store.database import Store
from openstall.store.record_rows import NewRecord, Outcome

DEFAULT_CAP_BYTES = 2 * 2**30
LEAST_CAP_BYTES = 16 * 2**20
PRUNE_TO_PART = 0.9
"""Of the room; down to this everything goes at once, so that pruning is rare."""
PEER_PART = 0.5
"""Of the room; more of strangers' records than this no one peer may bring."""
NOT_AGAIN_S = 86_400
_AT_ONCE = 2_000


class Trust(IntEnum):
    """How well an author is known here."""

    STRANGER = 0
    SEEN = 1
    TRADED = 2
    OWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a network's records take."""

    records: int
    bytes: int


class Room:
    """The room that is left for one batch, inside its transaction."""

    def __init__(self, db: Database, network: str, *, cap_bytes: int, brought_by: str) -> None:
        self._db = db
        self._network = network
        self._cap = cap_bytes
        self._bringer = brought_by
        self._used = usage(db, network).bytes
        self._brought: int | None = None

    @property
    def overfull(self) -> bool:
        """Whether what was taken since needs more than there is."""
        return self._used > self._cap

    def refuses(self, record: NewRecord) -> Outcome | None:
        """Why there is no room for a record, or None; its author is remembered with who brought it."""
        known = self._db.conn.execute(
            "SELECT trust FROM record_authors WHERE network = ? AND author = ?",
            [self._network, record.author],
        ).fetchone()
        stranger = known is None or known[0] == Trust.STRANGER
        size = len(record.raw)
        if self._bringer and stranger:
            if self._used + size > self._cap:
                return Outcome.NO_ROOM
            if (
                self._used + size > self._cap * PEER_PART
                and self._of_bringer() + size > self._cap * PEER_PART
            ):
                return Outcome.PEER_QUOTA
        if known is None:
            self._db.conn.execute(
                "INSERT INTO record_authors (network, author, brought_by) VALUES (?, ?, ?)",
                [self._network, record.author, self._bringer],
            )
        return None

    def taken(self, record: NewRecord) -> None:
        """Count a record that was stored."""
        self._used += len(record.raw)
        if self._brought is not None:
            self._brought += len(record.raw)

    def _of_bringer(self) -> int:
        if self._brought is None:
            self._brought = int(
                self._db.conn.execute(
                    "SELECT coalesce(sum(bytes), 0) FROM record_authors INDEXED BY record_authors_by_bringer "
                    "WHERE network = ? AND brought_by = ? AND trust = 0",
                    [self._network, self._bringer],
                ).fetchone()[0]
            )
        return self._brought


def usage(db: Database, network: str) -> Usage:
    """What a network's records take."""
    row = db.conn.execute("SELECT records, bytes FROM record_usage WHERE network = ?", [network]).fetchone()
    return Usage(records=0, bytes=0) if row is None else Usage(records=row[0], bytes=row[1])


def prune(db: Database, network: str, *, cap_bytes: int, now: int) -> list[str]:
    """Make room: superseded records of strangers first, then authors from the least known on. What went."""
    target = int(cap_bytes * PRUNE_TO_PART)
    gone: list[str] = []
    while (excess := usage(db, network).bytes - target) > 0:
        part = _superseded(db, network) or _of_least_known(db, network, excess)
        if not part:
            break
        db.conn.executemany("DELETE FROM records WHERE id = ?", [[row[0]] for row in part])
        gone += [row[1] for row in part]
    remember(db, gone, now=now)
    db.conn.execute("DELETE FROM record_authors WHERE network = ? AND records = 0 AND trust = 0", [network])
    return gone


def remember(db: Database, cids: Iterable[str], *, now: int) -> None:
    """Do not fetch these again at once."""
    db.conn.executemany(
        "INSERT OR REPLACE INTO records_pruned (hash, until) VALUES (?, ?)",
        [[_hash(cid), now + NOT_AGAIN_S] for cid in cids],
    )


def remembered(db: Database, cids: Sequence[str], *, now: int) -> set[str]:
    """Which of these went for want of room, not long ago."""
    by_hash = {_hash(cid): cid for cid in cids}
    marks = ",".join("?" * len(by_hash))
    rows = db.conn.execute(
        f"SELECT hash FROM records_pruned WHERE hash IN ({marks}) AND until > ?", [*by_hash, now]
    ).fetchall()
    return {by_hash[row[0]] for row in rows}


def _superseded(db: Database, network: str) -> list[tuple[int, str]]:
    return db.conn.execute(
        "SELECT r.id, r.cid FROM record_authors a CROSS JOIN records r INDEXED BY records_by_author "
        "ON r.network = a.network AND r.author = a.author "
        "WHERE a.network = ? AND a.trust = 0 AND r.current = 0 LIMIT ?",
        [network, _AT_ONCE],
    ).fetchall()


def _of_least_known(db: Database, network: str, excess: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    authors = db.conn.execute(
        "SELECT author FROM record_authors INDEXED BY record_authors_by_worth "
        "WHERE network = ? AND trust < ? AND records > 0 ORDER BY trust, seen_at, bytes DESC, author LIMIT ?",
        [network, int(Trust.OWN), _AT_ONCE],
    ).fetchall()
    for (author,) in authors:
        for id_, cid, size in db.conn.execute(
            "SELECT id, cid, size FROM records WHERE network = ? AND author = ? ORDER BY current, seq",
            [network, author],
        ).fetchall():
            found.append((id_, cid))
            excess -= size
            if excess <= 0 or len(found) >= _AT_ONCE:
                return found
    return found


def _hash(cid: str) -> int:
    return int.from_bytes(hashlib.sha256(cid.encode()).digest()[8:16], "big", signed=True)


class Holdings:
    """What a person sees of the room, and what the node knows of authors. Thread-safe; blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def usage(self, network: str) -> Usage:
        """Records and bytes of a network."""
        with self._store.read() as db:
            return usage(db, network)

    def by_trust(self, network: str) -> dict[str, dict[str, int]]:
        """Authors, records and bytes by how well the authors are known."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT trust, count(*), sum(records), sum(bytes) FROM record_authors "
                "WHERE network = ? AND records > 0 GROUP BY trust",
                [network],
            ).fetchall()
        found = {row[0]: {"authors": row[1], "records": row[2], "bytes": row[3]} for row in rows}
        nothing = {"authors": 0, "records": 0, "bytes": 0}
        return {level.name.lower(): found.get(int(level), nothing) for level in Trust}

    def bringers(self, network: str, limit: int) -> list[dict[str, int | str]]:
        """Which peers brought the most of strangers' records."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT brought_by, sum(records), sum(bytes) FROM record_authors "
                "WHERE network = ? AND brought_by <> '' AND trust = 0 GROUP BY brought_by "
                "ORDER BY sum(bytes) DESC LIMIT ?",
                [network, limit],
            ).fetchall()
        return [{"peer_id": row[0], "records": row[1], "bytes": row[2]} for row in rows]

    def know(self, network: str, authors: Mapping[str, Trust], *, at: int) -> None:
        """Remember authors as at least so well known, and as seen at a moment."""
        with self._store.write() as db:
            db.conn.executemany(
                "INSERT INTO record_authors (network, author, trust, seen_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (network, author) DO UPDATE SET trust = max(trust, excluded.trust), "
                "seen_at = max(seen_at, excluded.seen_at)",
                [[network, author, int(trust), at] for author, trust in authors.items()],
            )

    def know_traded(self, network: str) -> None:
        """Remember everybody with whom there is an order as traded with."""
        with self._store.write() as db:
            db.conn.execute(
                "INSERT INTO record_authors (network, author, trust) SELECT DISTINCT ?, other, ? FROM orders "
                "WHERE true ON CONFLICT (network, author) DO UPDATE SET trust = max(trust, excluded.trust)",
                [network, int(Trust.TRADED)],
            )

    def file_bytes(self) -> int:
        """What the whole store takes on the disk."""
        path = self._store.path
        files = (path, path.with_name(path.name + "-wal"))
        return sum(one.stat().st_size for one in files if one.exists())
