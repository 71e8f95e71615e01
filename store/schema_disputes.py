"""The tables of messages and evidence."""

from __future__ import annotations

from sqlite_utils import Database

from openstall.store.schema import migrations, run_all

__all__ = ["migrations"]


@migrations()
def m0013_disputes(db: Database) -> None:
    """What is written about orders, to whom it still has to go, and what was shown about a dispute."""
    run_all(
        db,
        (
            """CREATE TABLE messages (
                id INTEGER PRIMARY KEY,
                order_id TEXT NOT NULL,
                author TEXT NOT NULL,
                seq INTEGER NOT NULL,
                hash TEXT NOT NULL,
                doc TEXT NOT NULL,
                signature TEXT NOT NULL,
                kept_at INTEGER NOT NULL,
                unread INTEGER NOT NULL,
                UNIQUE (order_id, author, seq)
            ) STRICT""",
            "CREATE INDEX messages_unread ON messages (order_id) WHERE unread = 1",
            """CREATE TABLE messages_due (
                order_id TEXT NOT NULL,
                recipient TEXT NOT NULL,
                seq INTEGER NOT NULL,
                PRIMARY KEY (order_id, recipient, seq)
            ) STRICT, WITHOUT ROWID""",
            """CREATE TABLE evidence (
                order_id TEXT NOT NULL,
                author TEXT NOT NULL,
                raw BLOB NOT NULL,
                at INTEGER NOT NULL,
                PRIMARY KEY (order_id, author)
            ) STRICT, WITHOUT ROWID""",
        ),
    )
