"""What makes the books of two parties differ: rows of one order are lost, or set back to an older copy."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

TABLES = (
    "orders",
    "order_events",
    "transactions",
    "vouchers",
    "messages",
    "messages_due",
    "evidence",
    "transcripts",
)
Copy = dict[str, list[tuple[Any, ...]]]


def copy_of(db: Any, order_id: str) -> Copy:
    """All rows of an order, as an older copy of the store would have them."""
    return {
        table: db.execute(f"SELECT * FROM {table} WHERE order_id = ?", [order_id]).fetchall()
        for table in TABLES
    }


def set_back(db: Any, order_id: str, copy: Copy | None = None) -> None:
    """Lose an order, or set it back to a copy; the guards of the history stand aside for it."""
    guards = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'order_events'"
    ).fetchall()
    for name, _sql in guards:
        db.execute(f"DROP TRIGGER {name}")
    for table in reversed(TABLES):
        db.execute(f"DELETE FROM {table} WHERE order_id = ?", [order_id])
    for table, rows in (copy or {}).items():
        for row in rows:
            db.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", list(row))
    for _name, sql in guards:
        db.execute(sql)


def copy_at(home: Path, order_id: str) -> Copy:
    """The rows of an order in the store of a node that may be running."""
    with sqlite3.connect(home / "store.sqlite") as db:
        return copy_of(db, order_id)


def set_back_at(home: Path, order_id: str, copy: Copy | None = None) -> None:
    """The same for a node that does not run."""
    with sqlite3.connect(home / "store.sqlite") as db:
        set_back(db, order_id, copy)
