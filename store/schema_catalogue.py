"""The tables of a catalogue that converges: slots, proofs of contradiction, and who takes how much room."""

from __future__ import annotations

from sqlite_utils import Database

from openstall.market.leaves import leaf_of
from openstall.store.schema import run_all
from openstall.store.schema_mail import migrations

__all__ = ["migrations"]


@migrations()
def m0016_converging_catalogue(db: Database) -> None:
    """A record and what withdraws it share one slot; the digest tree has 65,536 leaves."""
    run_all(
        db,
        (
            "ALTER TABLE records ADD COLUMN prev TEXT NOT NULL DEFAULT ''",
            """ALTER TABLE records ADD COLUMN slot_type TEXT
               GENERATED ALWAYS AS (coalesce(target_type, type)) VIRTUAL""",
            """ALTER TABLE records ADD COLUMN slot_key TEXT
               GENERATED ALWAYS AS (coalesce(target_key, key)) VIRTUAL""",
            "DROP INDEX records_by_key",
            "DROP INDEX records_by_target",
            "CREATE INDEX records_by_slot ON records (network, author, slot_type, slot_key, seq)",
            "CREATE INDEX records_by_place ON records (network, author, slot_type, seq) WHERE current = 1",
            "CREATE INDEX records_live_by_expiry ON records (expires) WHERE current = 1",
            # What was superseded is live again when its successor expires first.
            """CREATE TRIGGER records_index_back AFTER UPDATE OF current ON records
               WHEN old.current = 0 AND new.current = 1 AND old.target_key IS NULL BEGIN
                 INSERT INTO records_fts (rowid, title, words) VALUES (old.id, old.title, old.words);
               END""",
            """UPDATE records SET prev = coalesce((SELECT json_extract(CAST(raw AS TEXT), '$.record.prev')
               FROM record_bodies b WHERE b.id = records.id AND json_valid(CAST(raw AS TEXT))), '')""",
            """UPDATE records SET current = 0 WHERE current = 1 AND id NOT IN (SELECT id FROM (
               SELECT id, row_number() OVER (PARTITION BY network, author, slot_type, slot_key
               ORDER BY seq DESC, cid) AS place FROM records) WHERE place = 1)""",
        ),
    )
    for row in db.execute("SELECT id, cid FROM records").fetchall():
        db.execute("UPDATE records SET bucket = ? WHERE id = ?", [leaf_of(row[1]), row[0]])


@migrations()
def m0017_contradictions(db: Database) -> None:
    """One proof for each author that has signed two things which cannot both be."""
    run_all(
        db,
        (
            """CREATE TABLE contradictions (
                id INTEGER PRIMARY KEY,
                cid TEXT NOT NULL,
                network TEXT NOT NULL,
                author TEXT NOT NULL,
                kind TEXT NOT NULL,
                seq INTEGER NOT NULL,
                bucket INTEGER NOT NULL,
                until INTEGER NOT NULL,
                found_at INTEGER NOT NULL,
                raw BLOB NOT NULL,
                UNIQUE (network, author)
            ) STRICT""",
            "CREATE INDEX contradictions_by_bucket ON contradictions (network, bucket, cid)",
            "CREATE INDEX contradictions_by_cid ON contradictions (cid)",
        ),
    )


@migrations()
def m0018_holdings(db: Database) -> None:
    """How much of the disk each author takes, who brought it, and how well it is known here."""
    run_all(
        db,
        (
            """CREATE TABLE record_authors (
                network TEXT NOT NULL,
                author TEXT NOT NULL,
                records INTEGER NOT NULL DEFAULT 0,
                bytes INTEGER NOT NULL DEFAULT 0,
                brought_by TEXT NOT NULL DEFAULT '',
                trust INTEGER NOT NULL DEFAULT 0,
                seen_at INTEGER NOT NULL DEFAULT 0,
                PRIMARY KEY (network, author)
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX record_authors_by_bringer ON record_authors (network, brought_by, bytes, trust)",
            "CREATE INDEX record_authors_by_worth ON record_authors (network, trust, seen_at, bytes DESC)",
            """CREATE TABLE record_usage (
                network TEXT PRIMARY KEY,
                records INTEGER NOT NULL,
                bytes INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            """INSERT INTO record_authors (network, author, records, bytes)
               SELECT network, author, count(*), sum(size) FROM records GROUP BY network, author""",
            """INSERT INTO record_usage (network, records, bytes)
               SELECT network, count(*), sum(size) FROM records GROUP BY network""",
            """CREATE TRIGGER records_counted AFTER INSERT ON records BEGIN
                 INSERT INTO record_authors (network, author, records, bytes)
                 VALUES (new.network, new.author, 1, new.size) ON CONFLICT (network, author)
                 DO UPDATE SET records = records + 1, bytes = bytes + new.size;
                 INSERT INTO record_usage (network, records, bytes) VALUES (new.network, 1, new.size)
                 ON CONFLICT (network) DO UPDATE SET records = records + 1, bytes = bytes + new.size;
               END""",
            """CREATE TRIGGER records_discounted AFTER DELETE ON records BEGIN
                 UPDATE record_authors SET records = records - 1, bytes = bytes - old.size
                 WHERE network = old.network AND author = old.author;
                 UPDATE record_usage SET records = records - 1, bytes = bytes - old.size
                 WHERE network = old.network;
               END""",
            # What was removed for want of room, so that it is not fetched again at once.
            """CREATE TABLE records_pruned (
                hash INTEGER PRIMARY KEY,
                until INTEGER NOT NULL
            ) STRICT""",
            "CREATE INDEX records_pruned_by_time ON records_pruned (until)",
        ),
    )
