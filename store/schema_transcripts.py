"""The table of transcripts: what the parties of orders told each other beside the contract."""

from __future__ import annotations

from sqlite_utils import Database

from openstall.store.schema import run_all
from openstall.store.schema_disputes import migrations

__all__ = ["migrations"]


@migrations()
def m0014_transcripts(db: Database) -> None:
    """Signed entries, one chain a party; see `market.orders.transcript`."""
    run_all(
        db,
        (
            """CREATE TABLE transcripts (
                order_id TEXT NOT NULL,
                author TEXT NOT NULL,
                seq INTEGER NOT NULL,
                doc TEXT NOT NULL,
                kept_at INTEGER NOT NULL,
                PRIMARY KEY (order_id, author, seq)
            ) STRICT, WITHOUT ROWID""",
        ),
    )
