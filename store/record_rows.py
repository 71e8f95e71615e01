"""What the catalogue's table holds of a record, in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlite_utils import Database

from openstall.market.leaves import leaf_of


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
    prev: str = ""
    target: tuple[str, str] | None = None
    """Type and key that a tombstone withdraws."""

    @property
    def slot(self) -> tuple[str, str]:
        """Type and key that it speaks about: a tombstone's are those of its target."""
        return self.target or (self.type, self.key)


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
    """Its author has as many newer ones of the kind as a catalogue holds."""
    PEER_QUOTA = "peer_quota"
    """The peer that brought it has brought as much by strangers as one peer may."""
    NO_ROOM = "storage_full"
    """The owner's room for the catalogue is used up, and its author is a stranger."""


ROW_COLUMNS = "r.cid, r.type, r.author, r.key, r.seq, r.issued, r.expires, r.title, r.size, r.current"


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


def insert(db: Database, record: NewRecord, *, current: bool, now: int) -> None:
    """Write a record and its body."""
    target_type, target_key = record.target or (None, None)
    cursor = db.conn.execute(
        "INSERT INTO records (cid, network, type, author, key, seq, issued, expires, prev, target_type, "
        "target_key, current, bucket, size, received_at, title, words) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            record.cid,
            record.network,
            record.type,
            record.author,
            record.key,
            record.seq,
            record.issued,
            record.expires,
            record.prev,
            target_type,
            target_key,
            int(current),
            leaf_of(record.cid),
            len(record.raw),
            now,
            record.title,
            record.words,
        ],
    )
    db.conn.execute("INSERT INTO record_bodies (id, raw) VALUES (?, ?)", [cursor.lastrowid, record.raw])
