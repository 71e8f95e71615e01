"""The rule by which a record joins those that are held: the same result in whatever order they come.

Of a slot (author, type, key; a tombstone takes the slot of its target) the unexpired record with the highest
`seq` is live, the smaller cid of two with one `seq`. Of an author's slots of one type the highest count.
All functions run inside a transaction of the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlite_utils import Database

from openstall.market.contradictions import Link, kind_of
from openstall.market.quotas import KEPT_PER_AUTHOR, OTHER_TYPES
from openstall.store.contradictions import keep_proof, proof_of
from openstall.store.record_rows import NewRecord, Outcome, insert

_SLOT = "network = ? AND author = ? AND slot_type = ? AND slot_key = ?"


@dataclass(slots=True, kw_only=True)
class Change:
    """What a transaction has done to one network's live set."""

    addresses: set[str] = field(default_factory=set)
    """Records and proofs that came or went."""
    contradicted: set[str] = field(default_factory=set)
    """Authors against whom a proof was found just now."""


def take(db: Database, record: NewRecord, *, now: int, quotas: Mapping[str, int], change: Change) -> Outcome:
    """Let a checked record join."""
    if db.conn.execute("SELECT 1 FROM records WHERE cid = ?", [record.cid]).fetchone():
        return Outcome.KNOWN
    _look_for_contradiction(db, record, now=now, change=change)
    slot = [record.network, record.author, *record.slot]
    best = db.conn.execute(
        f"SELECT cid, seq FROM records WHERE {_SLOT} AND expires > ? ORDER BY seq DESC, cid LIMIT 1",
        [*slot, now],
    ).fetchone()
    if best is not None and not _beats(record, best[0], best[1]):
        _make_room(db, record)
        insert(db, record, current=False, now=now)
        return Outcome.STALE
    if best is None and not _has_place(db, record, quotas=quotas, change=change):
        return Outcome.QUOTA
    for (cid,) in db.conn.execute(f"SELECT cid FROM records WHERE {_SLOT} AND current = 1", slot).fetchall():
        db.conn.execute("UPDATE records SET current = 0 WHERE cid = ?", [cid])
        change.addresses.add(cid)
    _make_room(db, record)
    insert(db, record, current=True, now=now)
    change.addresses.add(record.cid)
    return Outcome.NEW


def settle(db: Database, *, now: int, limit: int) -> tuple[dict[str, Change], bool]:
    """Take what has expired out of the live sets; what it had superseded may come back. By network.

    True where there may be more than `limit` of them.
    """
    rows = db.conn.execute(
        "SELECT id, cid, network, author, slot_type, slot_key FROM records INDEXED BY records_live_by_expiry "
        "WHERE current = 1 AND expires <= ? LIMIT ?",
        [now, limit],
    ).fetchall()
    changes: dict[str, Change] = {}
    for id_, cid, network, *slot in rows:
        change = changes.setdefault(network, Change())
        db.conn.execute("UPDATE records SET current = 0 WHERE id = ?", [id_])
        change.addresses.add(cid)
        heir = db.conn.execute(
            f"SELECT id, cid FROM records WHERE {_SLOT} AND expires > ? ORDER BY seq DESC, cid LIMIT 1",
            [network, *slot, now],
        ).fetchone()
        if heir is not None:
            db.conn.execute("UPDATE records SET current = 1 WHERE id = ?", [heir[0]])
            change.addresses.add(heir[1])
    return changes, len(rows) == limit


def _beats(record: NewRecord, cid: str, seq: int) -> bool:
    return (record.seq, cid) > (seq, record.cid)


def _look_for_contradiction(db: Database, record: NewRecord, *, now: int, change: Change) -> None:
    own = Link(cid=record.cid, seq=record.seq, prev=record.prev)
    rows = db.conn.execute(
        "SELECT cid, seq, prev, issued, id FROM records INDEXED BY records_by_author "
        "WHERE network = ? AND author = ? AND seq BETWEEN ? AND ? LIMIT 8",
        [record.network, record.author, record.seq - 1, record.seq + 1],
    ).fetchall()
    for cid, seq, prev, issued, id_ in rows:
        kind = kind_of(own, Link(cid=cid, seq=seq, prev=prev))
        if kind:
            raw = db.conn.execute("SELECT raw FROM record_bodies WHERE id = ?", [id_]).fetchone()[0]
            proof = proof_of(record, other=(seq, issued, bytes(raw)), kind=kind, now=now)
            if keep_proof(db, proof, record.network, changed=change.addresses):
                change.contradicted.add(record.author)
            return


def _has_place(db: Database, record: NewRecord, *, quotas: Mapping[str, int], change: Change) -> bool:
    """Whether a new slot counts; the lowest of its type goes where it takes the last place."""
    type_, _ = record.slot
    place = [record.network, record.author, type_]
    held = db.conn.execute(
        "SELECT count(*) FROM records INDEXED BY records_by_place "
        "WHERE network = ? AND author = ? AND slot_type = ? AND current = 1",
        place,
    ).fetchone()[0]
    if held < quotas.get(type_, OTHER_TYPES):
        return True
    lowest = db.conn.execute(
        "SELECT cid, seq, slot_key FROM records INDEXED BY records_by_place "
        "WHERE network = ? AND author = ? AND slot_type = ? AND current = 1 ORDER BY seq, cid DESC LIMIT 1",
        place,
    ).fetchone()
    if not _beats(record, lowest[0], lowest[1]):
        return False
    # The slot goes whole: what it had superseded must not come back in its place.
    db.conn.execute(f"DELETE FROM records WHERE {_SLOT}", [*place, lowest[2]])
    change.addresses.add(lowest[0])
    return True


def _make_room(db: Database, record: NewRecord) -> None:
    """Of what is kept of an author beyond its live records the oldest goes first."""
    who = [record.network, record.author]
    held = db.conn.execute(
        "SELECT records FROM record_authors WHERE network = ? AND author = ?", who
    ).fetchone()
    if held is not None and held[0] >= KEPT_PER_AUTHOR:
        db.conn.execute(
            "DELETE FROM records WHERE id = (SELECT id FROM records INDEXED BY records_by_author "
            "WHERE network = ? AND author = ? AND current = 0 ORDER BY seq LIMIT 1)",
            who,
        )
