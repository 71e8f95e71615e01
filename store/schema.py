"""The tables, as migrations: each is applied once, in its own transaction."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("openstall")


def run_all(db: Database, statements: tuple[str, ...]) -> None:
    """Run the statements of one migration, in order."""
    for statement in statements:
        db.execute(statement)


@migrations()
def m0001_records(db: Database) -> None:
    """Records, their bodies apart (so that a scan stays small), and the full-text index."""
    run_all(
        db,
        (
            """CREATE TABLE records (
                id INTEGER PRIMARY KEY,
                cid TEXT NOT NULL UNIQUE,
                network TEXT NOT NULL,
                type TEXT NOT NULL,
                author TEXT NOT NULL,
                key TEXT NOT NULL,
                seq INTEGER NOT NULL,
                issued INTEGER NOT NULL,
                expires INTEGER NOT NULL,
                target_type TEXT,
                target_key TEXT,
                current INTEGER NOT NULL,
                bucket INTEGER NOT NULL,
                size INTEGER NOT NULL,
                received_at INTEGER NOT NULL,
                title TEXT NOT NULL,
                words TEXT NOT NULL
            ) STRICT""",
            "CREATE INDEX records_by_key ON records (network, author, type, key, seq)",
            "CREATE INDEX records_by_author ON records (network, author, seq)",
            """CREATE INDEX records_by_target ON records (network, author, target_type, target_key)
               WHERE target_key IS NOT NULL""",
            """CREATE INDEX records_by_bucket ON records (network, bucket, cid)
               WHERE current = 1""",
            """CREATE INDEX records_by_issue ON records (network, type, issued DESC)
               WHERE current = 1 AND target_key IS NULL""",
            """CREATE INDEX records_by_age ON records (network, issued DESC)
               WHERE current = 1 AND target_key IS NULL""",
            "CREATE INDEX records_by_expiry ON records (expires)",
            """CREATE TABLE record_bodies (
                id INTEGER PRIMARY KEY REFERENCES records (id) ON DELETE CASCADE,
                raw BLOB NOT NULL
            ) STRICT""",
            """CREATE VIRTUAL TABLE records_fts USING fts5 (
                title, words, content = 'records', content_rowid = 'id',
                tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
            )""",
            # Only what a search may find is in the index: current and not withdrawn.
            """CREATE TRIGGER records_index_new AFTER INSERT ON records
               WHEN new.current = 1 AND new.target_key IS NULL BEGIN
                 INSERT INTO records_fts (rowid, title, words)
                 VALUES (new.id, new.title, new.words);
               END""",
            """CREATE TRIGGER records_index_gone AFTER UPDATE OF current ON records
               WHEN old.current = 1 AND new.current = 0 AND old.target_key IS NULL BEGIN
                 INSERT INTO records_fts (records_fts, rowid, title, words)
                 VALUES ('delete', old.id, old.title, old.words);
               END""",
            """CREATE TRIGGER records_index_deleted AFTER DELETE ON records
               WHEN old.current = 1 AND old.target_key IS NULL BEGIN
                 INSERT INTO records_fts (records_fts, rowid, title, words)
                 VALUES ('delete', old.id, old.title, old.words);
               END""",
        ),
    )


@migrations()
def m0002_orders(db: Database) -> None:
    """Orders, their append-only history, and the transactions that move their money."""
    run_all(
        db,
        (
            """CREATE TABLE orders (
                order_id TEXT PRIMARY KEY,
                kind TEXT NOT NULL,
                role TEXT NOT NULL,
                other TEXT NOT NULL,
                state TEXT NOT NULL,
                doc BLOB NOT NULL,
                buyer_signature TEXT NOT NULL,
                seller_signature TEXT NOT NULL,
                data TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                changed_at INTEGER NOT NULL
            ) STRICT""",
            "CREATE INDEX orders_by_state ON orders (state, role)",
            "CREATE INDEX orders_by_age ON orders (created_at DESC)",
            """CREATE TABLE order_events (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                order_id TEXT NOT NULL REFERENCES orders (order_id),
                at INTEGER NOT NULL,
                event TEXT NOT NULL,
                from_state TEXT NOT NULL,
                to_state TEXT NOT NULL,
                actor TEXT NOT NULL,
                words TEXT NOT NULL,
                tx TEXT
            ) STRICT""",
            "CREATE INDEX order_events_by_order ON order_events (order_id, id)",
            """CREATE TRIGGER order_events_keep BEFORE UPDATE ON order_events BEGIN
                 SELECT RAISE (ABORT, 'order events are append-only');
               END""",
            """CREATE TRIGGER order_events_stay BEFORE DELETE ON order_events BEGIN
                 SELECT RAISE (ABORT, 'order events are append-only');
               END""",
            """CREATE TABLE transactions (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                network TEXT NOT NULL,
                sender TEXT NOT NULL,
                order_id TEXT NOT NULL,
                purpose TEXT NOT NULL,
                nonce INTEGER NOT NULL,
                tx_hash TEXT NOT NULL UNIQUE,
                raw BLOB NOT NULL,
                state TEXT NOT NULL,
                receipt TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                changed_at INTEGER NOT NULL
            ) STRICT""",
            # A purpose has at most one transaction that is alive; a failed one may be repeated.
            """CREATE UNIQUE INDEX transactions_once
               ON transactions (network, order_id, purpose) WHERE state IN ('pending', 'final')""",
            """CREATE UNIQUE INDEX transactions_nonce
               ON transactions (network, sender, nonce) WHERE state <> 'replaced'""",
        ),
    )


@migrations()
def m0003_jobs(db: Database) -> None:
    """Vouchers of metered jobs and the jobs' logs."""
    run_all(
        db,
        (
            """CREATE TABLE vouchers (
                channel_id TEXT PRIMARY KEY,
                order_id TEXT NOT NULL,
                amount_micro INTEGER NOT NULL,
                signature BLOB NOT NULL,
                count INTEGER NOT NULL,
                changed_at INTEGER NOT NULL
            ) STRICT""",
            """CREATE TABLE job_log (
                order_id TEXT NOT NULL,
                seq INTEGER NOT NULL,
                at INTEGER NOT NULL,
                text TEXT NOT NULL,
                PRIMARY KEY (order_id, seq)
            ) STRICT, WITHOUT ROWID""",
            """CREATE TABLE job_log_state (
                order_id TEXT PRIMARY KEY,
                size_bytes INTEGER NOT NULL,
                is_full INTEGER NOT NULL
            ) STRICT""",
        ),
    )


@migrations()
def m0004_node(db: Database) -> None:
    """What the node keeps for itself: library of packages, settings."""
    run_all(
        db,
        (
            """CREATE TABLE library (
                package_id TEXT PRIMARY KEY,
                order_id TEXT,
                listing_cid TEXT,
                title TEXT NOT NULL,
                path TEXT NOT NULL,
                files TEXT NOT NULL,
                bought_at INTEGER,
                added_at INTEGER NOT NULL
            ) STRICT""",
            """CREATE TABLE settings (
                name TEXT PRIMARY KEY,
                value TEXT NOT NULL
            ) STRICT, WITHOUT ROWID""",
        ),
    )


@migrations()
def m0005_lost_jobs(db: Database) -> None:
    """Jobs that went elsewhere, and why."""
    run_all(
        db,
        (
            """CREATE TABLE lost_jobs (
                key TEXT PRIMARY KEY,
                at INTEGER NOT NULL,
                chosen TEXT NOT NULL,
                amount_micro INTEGER NOT NULL,
                reasons TEXT NOT NULL,
                seen TEXT NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX lost_jobs_at ON lost_jobs (at DESC, key)",
        ),
    )


@migrations()
def m0006_cases(db: Database) -> None:
    """Complaints to the oracles of a bond, on either side, and what challenges of this node have shown."""
    run_all(
        db,
        (
            """CREATE TABLE cases (
                case_hash TEXT NOT NULL,
                role TEXT NOT NULL,
                state TEXT NOT NULL,
                file TEXT NOT NULL,
                data TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                changed_at INTEGER NOT NULL,
                PRIMARY KEY (case_hash, role)
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX cases_by_state ON cases (state, role)",
            """CREATE TABLE verdicts (
                challenge TEXT PRIMARY KEY,
                provider TEXT NOT NULL,
                claim TEXT NOT NULL,
                order_id TEXT NOT NULL,
                outcome TEXT NOT NULL,
                document TEXT NOT NULL,
                at INTEGER NOT NULL
            ) STRICT""",
            "CREATE INDEX verdicts_by_claim ON verdicts (claim, at DESC)",
            "CREATE INDEX verdicts_by_order ON verdicts (order_id, at DESC)",
        ),
    )


@migrations()
def m0007_provider_log(db: Database) -> None:
    """What a provider's reliability rests on beside its orders, and how its price moved by itself."""
    run_all(
        db,
        (
            """CREATE TABLE challenges_met (
                challenge TEXT PRIMARY KEY,
                order_id TEXT NOT NULL,
                outcome TEXT NOT NULL,
                elapsed_ms INTEGER NOT NULL,
                allowed_ms INTEGER NOT NULL,
                at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX challenges_met_at ON challenges_met (at DESC)",
            """CREATE TABLE bonds_paid (
                bond TEXT NOT NULL,
                case_hash TEXT NOT NULL,
                wallet TEXT NOT NULL,
                amount_micro INTEGER NOT NULL,
                at INTEGER NOT NULL,
                PRIMARY KEY (bond, case_hash)
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX bonds_paid_by_wallet ON bonds_paid (wallet, at DESC)",
            "CREATE INDEX verdicts_by_provider ON verdicts (provider, at DESC)",
            "CREATE INDEX orders_by_other ON orders (other, role)",
            """CREATE TABLE price_changes (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                at INTEGER NOT NULL,
                old_micro INTEGER NOT NULL,
                new_micro INTEGER NOT NULL,
                working TEXT NOT NULL
            ) STRICT""",
        ),
    )


@migrations()
def m0008_watches(db: Database) -> None:
    """Jobs with a service level that this node watches, as their buyer or as an oracle, and what it saw."""
    run_all(
        db,
        (
            """CREATE TABLE watches (
                order_id TEXT PRIMARY KEY,
                role TEXT NOT NULL,
                buyer TEXT NOT NULL,
                bond TEXT NOT NULL,
                penalty_micro INTEGER NOT NULL,
                contract TEXT NOT NULL,
                sightings TEXT NOT NULL,
                telemetry TEXT NOT NULL,
                report TEXT NOT NULL,
                paid_at INTEGER NOT NULL,
                ends_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX watches_by_bond ON watches (bond, role)",
            "CREATE INDEX watches_by_buyer ON watches (buyer, role)",
        ),
    )


@migrations()
def m0009_batches(db: Database) -> None:
    """One model on many tables: what was asked for, and what has become of each part."""
    run_all(
        db,
        (
            """CREATE TABLE batches (
                batch_id TEXT PRIMARY KEY,
                state TEXT NOT NULL,
                plan TEXT NOT NULL,
                parts TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                changed_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX batches_by_state ON batches (state, created_at)",
        ),
    )


@migrations()
def m0010_auctions(db: Database) -> None:
    """Auctions of this node's own requests, and those in which it bids; the salt of a bid is its secret."""
    run_all(
        db,
        (
            """CREATE TABLE auctions (
                request_cid TEXT PRIMARY KEY,
                role TEXT NOT NULL,
                state TEXT NOT NULL,
                record BLOB NOT NULL,
                data TEXT NOT NULL,
                created_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX auctions_by_role ON auctions (role, created_at DESC)",
        ),
    )


@migrations()
def m0011_requests(db: Database) -> None:
    """This node's own requests for models, from the draft on."""
    run_all(
        db,
        (
            """CREATE TABLE requests (
                request_id TEXT PRIMARY KEY,
                state TEXT NOT NULL,
                cid TEXT NOT NULL,
                body TEXT NOT NULL,
                data TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                changed_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX requests_by_state ON requests (state, created_at)",
            "CREATE UNIQUE INDEX requests_by_cid ON requests (cid) WHERE cid <> ''",
        ),
    )


@migrations()
def m0012_contests(db: Database) -> None:
    """Contests that this node runs, enters or judges; and its own notes on entries, sheets and practice."""
    run_all(
        db,
        (
            """CREATE TABLE contests (
                request_cid TEXT PRIMARY KEY,
                role TEXT NOT NULL,
                state TEXT NOT NULL,
                record BLOB NOT NULL,
                data TEXT NOT NULL,
                created_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX contests_by_state ON contests (state, created_at DESC)",
            """CREATE TABLE contest_notes (
                request_cid TEXT NOT NULL REFERENCES contests (request_cid),
                kind TEXT NOT NULL,
                name TEXT NOT NULL,
                data TEXT NOT NULL,
                PRIMARY KEY (request_cid, kind, name)
            ) STRICT, WITHOUT ROWID""",
        ),
    )
