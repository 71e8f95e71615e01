"""Batches: one model on many tables, each table an order or more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openstall.market.errors import NotFound
from openstall.store.database import Store

OPEN = ("running", "cancelling")
_COLUMNS = "batch_id, state, plan, parts, created_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """`plan` is what was asked for; `parts` what is known of each part, by its number as text."""

    batch_id: str
    state: str
    plan: dict[str, Any]
    parts: dict[str, dict[str, Any]]
    created_at: int


class Batches:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, batch_id: str, plan: dict[str, Any], *, at: int) -> None:
        """Keep a new batch."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO batches (batch_id, state, plan, parts, created_at, changed_at) "
                "VALUES (?, 'running', ?, '{}', ?, ?)",
                [batch_id, _text(plan), at, at],
            )

    def get(self, batch_id: str) -> BatchRow:
        """The batch. Raises NotFound."""
        with self._store.read() as db:
            return self._in(db, batch_id)

    def items(self, *, open_only: bool = False) -> list[BatchRow]:
        """Batches, newest first (200 at most)."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM batches WHERE ? = 0 OR state IN (?, ?) "
                "ORDER BY created_at DESC, batch_id LIMIT 200",
                [int(open_only), *OPEN],
            ).fetchall()
        return [_row(row) for row in rows]

    def note(self, batch_id: str, part: int, *, at: int, **known: Any) -> None:
        """Add to what is known of one part."""
        with self._store.write() as db:
            parts = self._in(db, batch_id).parts
            parts[str(part)] = {**parts.get(str(part), {}), **known}
            db.execute(
                "UPDATE batches SET parts = ?, changed_at = ? WHERE batch_id = ?",
                [_text(parts), at, batch_id],
            )

    def move(self, batch_id: str, state: str, *, at: int) -> None:
        """Into another state."""
        with self._store.write() as db:
            db.execute(
                "UPDATE batches SET state = ?, changed_at = ? WHERE batch_id = ?", [state, at, batch_id]
            )

    @staticmethod
    def _in(db: Any, batch_id: str) -> BatchRow:
        row = db.execute(f"SELECT {_COLUMNS} FROM batches WHERE batch_id = ?", [batch_id]).fetchone()
        if row is None:
            raise NotFound("no_such_batch", "There is no such batch here.")
        return _row(row)


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _row(row: tuple[Any, ...]) -> BatchRow:
    return BatchRow(
        batch_id=row[0],
        state=row[1],
        plan=json.loads(row[2]),
        parts=json.loads(row[3]),
        created_at=row[4],
    )
