"""The tables of letters: kept for others, waiting to be sent, and seen."""

from __future__ import annotations

from sqlite_utils import Database

from openstall.store.schema import run_all
from openstall.store.schema_transcripts import migrations

__all__ = ["migrations"]


@migrations()
def m0015_mail(db: Database) -> None:
    """Letters of others in this node's mailbox; its own outbox; letters that it got; records to announce."""
    run_all(
        db,
        (
            """CREATE TABLE mailbox (
                n INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                recipient TEXT NOT NULL,
                sender TEXT NOT NULL,
                expires INTEGER NOT NULL,
                letter BLOB NOT NULL
            ) STRICT""",
            "CREATE INDEX mailbox_by_recipient ON mailbox (recipient, n)",
            "CREATE INDEX mailbox_by_sender ON mailbox (sender)",
            "CREATE INDEX mailbox_by_expiry ON mailbox (expires)",
            """CREATE TABLE outbox (
                n INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                key TEXT NOT NULL UNIQUE,
                recipient TEXT NOT NULL,
                protocol TEXT NOT NULL,
                what TEXT NOT NULL,
                order_id TEXT NOT NULL,
                body BLOB NOT NULL,
                answers TEXT NOT NULL,
                state TEXT NOT NULL,
                written INTEGER NOT NULL,
                expires INTEGER NOT NULL,
                sealed BLOB,
                mailbox TEXT NOT NULL DEFAULT '',
                changed_at INTEGER NOT NULL,
                answer BLOB,
                trouble TEXT NOT NULL DEFAULT ''
            ) STRICT""",
            "CREATE INDEX outbox_by_recipient ON outbox (recipient, n)",
            """CREATE TABLE letters_seen (
                sender TEXT NOT NULL,
                id TEXT NOT NULL,
                until INTEGER NOT NULL,
                protocol TEXT NOT NULL,
                answer BLOB,
                PRIMARY KEY (sender, id)
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX letters_seen_by_time ON letters_seen (until)",
            """CREATE TABLE records_due (
                cid TEXT PRIMARY KEY,
                type TEXT NOT NULL,
                key TEXT NOT NULL,
                at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
        ),
    )
