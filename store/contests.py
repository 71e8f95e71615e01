"""The contests that this node takes part in, with its notes on their entries, rankings and practice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlite_utils import Database

from openstall.store.parts import PartRow, Parts, as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What this node knows of one entry, sheet or developer of a contest."""

    kind: str
    name: str
    data: dict[str, Any]


class Contests(Parts):
    """Roles are `requester`, `entrant` and `evaluator`; a contest ends as `closed`, `void` or `expired`."""

    table: ClassVar[str] = "contests"
    noun: ClassVar[str] = "contest"

    def add(
        self,
        request_cid: str,
        *,
        role: str,
        record: bytes,
        data: dict[str, Any],
        at: int,
        note: Note | None = None,
    ) -> PartRow:
        """As for any part; a first note is kept in the same transaction."""
        with self._store.write() as db:
            row = self._add(db, request_cid, role=role, record=record, data=data, at=at)
            if note is not None:
                _note(db, request_cid, note)
            return row

    def note(self, request_cid: str, kind: str, name: str, data: dict[str, Any], *, drop: str = "") -> None:
        """Keep a note, and in the same transaction forget the one of the same name and the kind `drop`."""
        with self._store.write() as db:
            _note(db, request_cid, Note(kind=kind, name=name, data=data))
            _drop(db, request_cid, drop, name)

    def notes(self, request_cid: str, kind: str) -> dict[str, dict[str, Any]]:
        """All notes of a kind, by name."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT name, data FROM contest_notes WHERE request_cid = ? AND kind = ? ORDER BY name",
                [request_cid, kind],
            ).fetchall()
        return {row[0]: json.loads(row[1]) for row in rows}

    def noted(self, request_cid: str, kind: str, name: str) -> dict[str, Any] | None:
        """One note, or None."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT data FROM contest_notes WHERE request_cid = ? AND kind = ? AND name = ?",
                [request_cid, kind, name],
            ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def forget(self, request_cid: str, kind: str, name: str) -> None:
        """Delete a note."""
        with self._store.write() as db:
            _drop(db, request_cid, kind, name)

    def forget_all(self, request_cid: str, kind: str) -> None:
        """Delete all notes of a kind."""
        with self._store.write() as db:
            db.execute("DELETE FROM contest_notes WHERE request_cid = ? AND kind = ?", [request_cid, kind])


def _note(db: Database, request_cid: str, note: Note) -> None:
    db.execute(
        "INSERT INTO contest_notes (request_cid, kind, name, data) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (request_cid, kind, name) DO UPDATE SET data = excluded.data",
        [request_cid, note.kind, note.name, as_text(note.data)],
    )


def _drop(db: Database, request_cid: str, kind: str, name: str) -> None:
    db.execute(
        "DELETE FROM contest_notes WHERE request_cid = ? AND kind = ? AND name = ?", [request_cid, kind, name]
    )
