"""What is written about orders, to whom it still has to go, and the evidence that was shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from openstall.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A message as stored; `kept_at` is when this node wrote or got it (Unix seconds)."""

    order_id: str
    author: str
    seq: int
    hash: str
    doc: dict[str, Any]
    signature: str
    kept_at: int
    unread: bool


class Messages:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(
        self, order_id: str, make: Callable[[list[MessageRow]], MessageRow], recipients: Sequence[str]
    ) -> MessageRow:
        """Keep this node's next message, and to whom it is due, in one transaction.

        Args:
            make: from all messages of the order, in the order in which they came, to the next one.
        """
        with self._store.write() as db:
            row = make(_of_order(db, order_id))
            _insert(db, row)
            for recipient in recipients:
                db.execute("INSERT INTO messages_due VALUES (?, ?, ?)", [order_id, recipient, row.seq])
            return row

    def keep(self, row: MessageRow, check: Callable[[MessageRow | None], bool]) -> bool:
        """Keep another's message if `check`, given the author's last one, says that it is new."""
        with self._store.write() as db:
            found = _rows(
                db,
                "WHERE order_id = ? AND author = ? ORDER BY seq DESC LIMIT 1",
                [row.order_id, row.author],
            )
            if not check(found[0] if found else None):
                return False
            _insert(db, row)
            return True

    def of_order(self, order_id: str) -> list[MessageRow]:
        """All messages of an order, as they came."""
        with self._store.read() as db:
            return _of_order(db, order_id)

    def due(self) -> list[tuple[str, str]]:
        """Which orders have messages for which recipients; a wallet stands for its peer."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT DISTINCT order_id, recipient FROM messages_due ORDER BY order_id, recipient"
            ).fetchall()
        return [(row[0], row[1]) for row in rows]

    def due_to(self, order_id: str, recipient: str) -> list[int]:
        """The numbers of this node's own messages that a recipient does not have yet, in order."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT seq FROM messages_due WHERE order_id = ? AND recipient = ? ORDER BY seq",
                [order_id, recipient],
            ).fetchall()
        return [int(row[0]) for row in rows]

    def delivered(self, order_id: str, recipient: str, seq: int) -> None:
        """The recipient has it."""
        with self._store.write() as db:
            db.execute(
                "DELETE FROM messages_due WHERE order_id = ? AND recipient = ? AND seq = ?",
                [order_id, recipient, seq],
            )

    def waiting(self, order_id: str) -> set[int]:
        """The numbers of this node's own messages that somebody does not have yet."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT DISTINCT seq FROM messages_due WHERE order_id = ?", [order_id]
            ).fetchall()
        return {int(row[0]) for row in rows}

    def mark_read(self, order_id: str) -> bool:
        """The owner has seen all messages of an order; whether there was a new one."""
        with self._store.write() as db:
            cursor = db.execute(
                "UPDATE messages SET unread = 0 WHERE order_id = ? AND unread = 1", [order_id]
            )
            return cursor.rowcount > 0

    def unread(self) -> dict[str, int]:
        """How many new messages each order has."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT order_id, count(*) FROM messages WHERE unread = 1 GROUP BY order_id"
            ).fetchall()
        return {row[0]: int(row[1]) for row in rows}


class EvidenceBooks:
    """One file an author and order: the opening that this node signed, and what others showed it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, order_id: str, author: str, raw: bytes, *, at: int) -> None:
        """Keep a file in the place of an earlier one of the same author."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO evidence VALUES (?, ?, ?, ?) ON CONFLICT (order_id, author) "
                "DO UPDATE SET raw = excluded.raw, at = excluded.at",
                [order_id, author, raw, at],
            )

    def of(self, order_id: str, author: str) -> bytes | None:
        """The file of an author, if there is one."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT raw FROM evidence WHERE order_id = ? AND author = ?", [order_id, author]
            ).fetchone()
        return None if row is None else bytes(row[0])

    def kept_at(self, order_id: str, author: str) -> int | None:
        """When the file of an author came, if there is one."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT at FROM evidence WHERE order_id = ? AND author = ?", [order_id, author]
            ).fetchone()
        return None if row is None else int(row[0])


_COLUMNS = "order_id, author, seq, hash, doc, signature, kept_at, unread"


def _insert(db: Database, row: MessageRow) -> None:
    db.execute(
        f"INSERT INTO messages ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            row.order_id,
            row.author,
            row.seq,
            row.hash,
            json.dumps(row.doc, separators=(",", ":"), sort_keys=True),
            row.signature,
            row.kept_at,
            int(row.unread),
        ],
    )


def _of_order(db: Database, order_id: str) -> list[MessageRow]:
    return _rows(db, "WHERE order_id = ? ORDER BY id", [order_id])


def _rows(db: Database, where: str, values: list[Any]) -> list[MessageRow]:
    rows = db.execute(f"SELECT {_COLUMNS} FROM messages {where}", values).fetchall()
    return [
        MessageRow(
            order_id=row[0],
            author=row[1],
            seq=row[2],
            hash=row[3],
            doc=json.loads(row[4]),
            signature=row[5],
            kept_at=row[6],
            unread=bool(row[7]),
        )
        for row in rows
    ]
