"""The node's SQLite file: one writer, several readers, durable at every commit.

A commit is on disk when `Store.write` returns (WAL with synchronous=FULL), so `kill -9` at any
moment loses nothing that a caller was told is saved. All methods are thread-safe and block; the
node calls them from worker threads.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from openstall.market.errors import StoreError
from openstall.store.schema_catalogue import migrations

BUSY_TIMEOUT_MS = 5_000
WRITER_CACHE_KIB = 16_384
READER_CACHE_KIB = 4_096
"""Each of the readers'; what the system's own cache holds is not counted as ours."""
READER_CONNECTIONS = 4


class Store:
    """Connections to `store.sqlite`; the tables are in `store.schema`."""

    def __init__(self, path: Path, *, readers: int = READER_CONNECTIONS) -> None:
        """Open or create the file and bring it to the present schema; raises StoreError."""
        self.path = path
        self._lock = threading.RLock()
        self._closed = False
        self._spare_readers: queue.LifoQueue[Database] = queue.LifoQueue()
        self._reader_slots = threading.BoundedSemaphore(readers)
        with translate_errors(path):
            # A new file is private from its first byte: it holds orders and addresses.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._writer = _connect(path, cache_kib=WRITER_CACHE_KIB)
            self._writer.execute("PRAGMA journal_mode=WAL")
            migrations.apply(self._writer)
            self._writer.execute("PRAGMA query_only=OFF")

    @contextmanager
    def write(self) -> Iterator[Database]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Nested use by the same thread joins the outer transaction.
        """
        with self._lock, translate_errors(self.path):
            if self._closed:
                raise StoreError("store_closed", "The store is closed.", "Start the node again.")
            if self._writer.conn.in_transaction:
                yield self._writer
                return
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.conn.rollback()
                raise
            try:
                self._writer.conn.commit()
            except BaseException:
                self._writer.conn.rollback()
                raise

    @contextmanager
    def read(self) -> Iterator[Database]:
        """A read-only connection; sees every transaction that was committed before."""
        with self._reader_slots, translate_errors(self.path):
            if self._closed:
                raise StoreError("store_closed", "The store is closed.", "Start the node again.")
            try:
                reader = self._spare_readers.get_nowait()
            except queue.Empty:
                reader = _connect(self.path, cache_kib=READER_CACHE_KIB)
                reader.execute("PRAGMA query_only=ON")
            try:
                yield reader
            finally:
                if self._closed:
                    reader.close()
                else:
                    self._spare_readers.put(reader)

    def check(self) -> None:
        """Raise StoreError if SQLite finds the file damaged (reads all of it: slow)."""
        with self.read() as db:
            found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreError(
                "store_damaged", f"The store {self.path} is damaged: {found}", _WHAT_NEXT_DAMAGED
            )

    def close(self) -> None:
        """Close all connections; SQLite folds the write-ahead log into the file."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            while True:
                try:
                    self._spare_readers.get_nowait().close()
                except queue.Empty:
                    break
            self._writer.close()


_WHAT_NEXT_DAMAGED = (
    "Stop the node, keep a copy of the file, and start with a new home folder restored from your 24 words."
)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into StoreError with words; bugs pass unchanged."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.OperationalError as error:
        raise _from_operational(path, error) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise
        raise StoreError(
            "store_damaged", f"The store {path} cannot be read: {error}", _WHAT_NEXT_DAMAGED
        ) from error
    except OSError as error:
        raise StoreError(
            "store_unavailable",
            f"The store {path} cannot be opened: {error.strerror}",
            "Check that the folder exists, is yours, and that the disk has room.",
        ) from error


def _from_operational(path: Path, error: sqlite3.OperationalError) -> BaseException:
    code = error.sqlite_errorcode & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            "disk_full",
            f"The disk is full: nothing was saved to {path}, and what was there is unharmed.",
            "Free some space, then try again.",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            "store_busy",
            f"Another program holds {path}.",
            "Close it, then try again.",
        )
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return StoreError(
            "store_unavailable",
            f"The store {path} cannot be used: {error}",
            "Check that the folder exists, is yours, and that the disk has room.",
        )
    return error


def _connect(path: Path, *, cache_kib: int) -> Database:
    # Calls are serialised by the writer lock or by handing a reader to one thread at a time.
    conn = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False, cached_statements=256
    )
    db = Database(conn, execute_plugins=False)
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        f"cache_size=-{cache_kib}",
    ):
        db.execute(f"PRAGMA {pragma}")
    return db
