"""Proofs that an author has contradicted itself: one for each, the one that is kept longest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database

from openstall.market.contradictions import Contradiction, address_of, join, keep_until
from openstall.market.leaves import leaf_of
from openstall.store.database import Store
from openstall.store.record_rows import NewRecord

MAX_PROOFS = 20_000
"""In one network; beyond it those that are kept longest stay."""
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """What is known of an author that contradicted itself."""

    author: str
    kind: str
    seq: int
    found_at: int
    until: int
    raw: bytes


def proof_of(record: NewRecord, *, other: tuple[int, int, bytes], kind: str, now: int) -> ProofRow:
    """The proof that a new record makes with a stored one (its seq, issue and bytes)."""
    seq, issued, raw = other
    first, second = sorted([(record.seq, record.raw), (seq, raw)])
    return ProofRow(
        author=record.author,
        kind=kind,
        seq=second[0],
        found_at=now,
        until=keep_until(record.issued, issued),
        raw=join(first[1], second[1]),
    )


def proof_row(proof: Contradiction, *, now: int) -> ProofRow:
    """A proof that somebody else has found."""
    return ProofRow(
        author=proof.author,
        kind=proof.kind,
        seq=max(proof.first.record.seq, proof.second.record.seq),
        found_at=now,
        until=proof.until,
        raw=proof.raw,
    )


def keep_proof(db: Database, proof: ProofRow, network: str, *, changed: set[str]) -> bool:
    """True if this is the first proof against its author. `changed` gains the names that came or went."""
    held = db.conn.execute(
        "SELECT until FROM contradictions WHERE network = ? AND author = ?", [network, proof.author]
    ).fetchone()
    if held is not None and proof.until < held[0] + _DAY_S:
        return False
    if held is None and not _has_room(db, proof, network, changed):
        return False
    cid = address_of(proof.author)
    db.conn.execute(
        "INSERT OR REPLACE INTO contradictions "
        "(cid, network, author, kind, seq, bucket, until, found_at, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            cid, network, proof.author, proof.kind, proof.seq, leaf_of(cid), proof.until, proof.found_at,
            proof.raw,
        ],
    )  # fmt: skip
    changed.add(cid)
    return held is None


def _has_room(db: Database, proof: ProofRow, network: str, changed: set[str]) -> bool:
    count = db.conn.execute("SELECT count(*) FROM contradictions WHERE network = ?", [network]).fetchone()[0]
    if count < MAX_PROOFS:
        return True
    last = db.conn.execute(
        "SELECT id, until, cid FROM contradictions WHERE network = ? ORDER BY until, cid DESC LIMIT 1",
        [network],
    ).fetchone()
    if (proof.until, last[2]) <= (last[1], address_of(proof.author)):
        return False
    db.conn.execute("DELETE FROM contradictions WHERE id = ?", [last[0]])
    changed.add(last[2])
    return True


class Proofs:
    """Reads the proofs. Thread-safe; blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def raw(self, network: str, author: str) -> bytes | None:
        """The wire form of the proof against an author, or None."""
        found = self.all(network, author=author)
        return found[0].raw if found else None

    def all(self, network: str, *, author: str = "", limit: int = 1, offset: int = 0) -> list[ProofRow]:
        """The proofs, newest first; of one author where one is named."""
        where, values = ("AND author = ?", [author]) if author else ("", [])
        with self._store.read() as db:
            rows = db.execute(
                "SELECT author, kind, seq, found_at, until, raw FROM contradictions "
                f"WHERE network = ? {where} ORDER BY found_at DESC, author LIMIT ? OFFSET ?",
                [network, *values, limit, offset],
            ).fetchall()
        return [
            ProofRow(author=row[0], kind=row[1], seq=row[2], found_at=row[3], until=row[4], raw=bytes(row[5]))
            for row in rows
        ]

    def count(self, network: str) -> int:
        """How many authors have contradicted themselves."""
        with self._store.read() as db:
            return int(
                db.execute("SELECT count(*) FROM contradictions WHERE network = ?", [network]).fetchone()[0]
            )

    def kinds(self, network: str, authors: Iterable[str]) -> dict[str, str]:
        """Which of these authors have contradicted themselves, and how."""
        wanted = sorted(set(authors))
        found: dict[str, str] = {}
        with self._store.read() as db:
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                marks = ",".join("?" * len(part))
                rows = db.execute(
                    f"SELECT author, kind FROM contradictions WHERE network = ? AND author IN ({marks})",
                    [network, *part],
                ).fetchall()
                found.update((row[0], row[1]) for row in rows)
        return found
