"""Signed entries of the transcripts of orders; none is ever changed or removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlite_utils import Database

from openstall.store.database import Store

Value = dict[str, Any]
"""An entry with its signature, as it is sent."""


class Transcripts:
    """Thread-safe; every method blocks on the disk, and what it kept is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(
        self, order_id: str, choose: Callable[[list[Value]], Sequence[Value]], *, at: int
    ) -> list[Value]:
        """Add what `choose` makes of all that is held, in one transaction; returns all that is held then."""
        with self._store.write() as db:
            for value in choose(_of(db, order_id)):
                entry = value["entry"]
                db.execute(
                    "INSERT INTO transcripts (order_id, author, seq, doc, kept_at) VALUES (?, ?, ?, ?, ?)",
                    [order_id, entry["author"], entry["seq"], json.dumps(value, sort_keys=True), at],
                )
            return _of(db, order_id)

    def of_order(self, order_id: str) -> list[Value]:
        """All entries, each author's in their order, the first that came first."""
        with self._store.read() as db:
            return _of(db, order_id)


def _of(db: Database, order_id: str) -> list[Value]:
    rows = db.execute(
        "SELECT doc FROM transcripts WHERE order_id = ? ORDER BY kept_at, author, seq", [order_id]
    ).fetchall()
    return [json.loads(row[0]) for row in rows]
