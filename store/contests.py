"""The contests that this node takes part in, with its notes on their entries, rankings and practice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openstall.market.errors import NotFound
from openstall.store.database import Store

_COLUMNS = "request_cid, role, state, record, data, created_at"
OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestRow:
    """`role` is `requester`, `entrant` or `evaluator`; `record` the signed request."""

    request_cid: str
    role: str
    state: str
    record: bytes
    data: dict[str, Any]
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What this node knows of one entry, sheet or developer of a contest."""

    kind: str
    name: str
    data: dict[str, Any]


class Contests:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        request_cid: str,
        *,
        role: str,
        record: bytes,
        data: dict[str, Any],
        at: int,
        note: Note | None = None,
    ) -> ContestRow:
        """Keep a contest, with a first note on it; one that is there already is returned as it is."""
        with self._store.write() as db:
            db.execute(
                f"INSERT OR IGNORE INTO contests ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                [request_cid, role, OPEN, record, _text(data), at],
            )
            if note is not None:
                _note(db, request_cid, note)
            return _in(db, request_cid)

    def get(self, request_cid: str) -> ContestRow:
        """The contest. Raises NotFound."""
        with self._store.read() as db:
            return _in(db, request_cid)

    def find(self, request_cid: str) -> ContestRow | None:
        """The contest, or None."""
        try:
            return self.get(request_cid)
        except NotFound:
            return None

    def items(self, *, role: str = "", open_only: bool = False) -> list[ContestRow]:
        """Newest first; 500 at most, but of the open ones all: each has money in it to see to."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM contests WHERE (? = '' OR role = ?) AND (? = 0 OR state = ?) "
                "ORDER BY created_at DESC, request_cid LIMIT ?",
                [role, role, int(open_only), OPEN, -1 if open_only else 500],
            ).fetchall()
        return [_row(row) for row in rows]

    def patch(self, request_cid: str, **data: Any) -> None:
        """Change what is known of it."""
        with self._store.write() as db:
            known = {**_in(db, request_cid).data, **data}
            db.execute("UPDATE contests SET data = ? WHERE request_cid = ?", [_text(known), request_cid])

    def close(self, request_cid: str, state: str) -> None:
        """Nothing is left to do: it ended as `closed`, `void` or `expired`."""
        with self._store.write() as db:
            db.execute("UPDATE contests SET state = ? WHERE request_cid = ?", [state, request_cid])

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


def _note(db: Any, request_cid: str, note: Note) -> None:
    db.execute(
        "INSERT INTO contest_notes (request_cid, kind, name, data) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (request_cid, kind, name) DO UPDATE SET data = excluded.data",
        [request_cid, note.kind, note.name, _text(note.data)],
    )


def _drop(db: Any, request_cid: str, kind: str, name: str) -> None:
    db.execute(
        "DELETE FROM contest_notes WHERE request_cid = ? AND kind = ? AND name = ?", [request_cid, kind, name]
    )


def _in(db: Any, request_cid: str) -> ContestRow:
    row = db.execute(f"SELECT {_COLUMNS} FROM contests WHERE request_cid = ?", [request_cid]).fetchone()
    if row is None:
        raise NotFound("no_such_contest", "This node takes no part in that contest.")
    return _row(row)


def _row(row: Any) -> ContestRow:
    return ContestRow(
        request_cid=row[0],
        role=row[1],
        state=row[2],
        record=bytes(row[3]),
        data=json.loads(row[4]),
        created_at=row[5],
    )


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
