"""What jobs printed, line by line, with a cap per job: a flood costs its own log, not the disk."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.store.database import Store

MAX_LINE_CHARS = 4_000
MAX_LOG_BYTES = 16 * 1024 * 1024
LINE_COST_BYTES = 64
"""Counted for each line besides its text, so that empty lines are not free."""
CUT_WORDS = "[The log is full; what follows is not kept.]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line; `seq` counts from 0 without gaps."""

    seq: int
    at: int
    text: str


class JobLog:
    """Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store, *, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._store = store
        self._max_bytes = max_bytes

    def append(self, order_id: str, *texts: str, at: int) -> int:
        """Add lines; returns the number that the next one will have. Beyond the cap lines are dropped."""
        with self._store.write() as db:
            row = db.execute(
                "SELECT size_bytes, is_full FROM job_log_state WHERE order_id = ?", [order_id]
            ).fetchone()
            size, full = (0, 0) if row is None else row
            seq = db.execute(
                "SELECT coalesce(max(seq) + 1, 0) FROM job_log WHERE order_id = ?", [order_id]
            ).fetchone()[0]
            for text in texts:
                if full:
                    break
                line = text[:MAX_LINE_CHARS].replace("\0", "\ufffd")
                size += len(line.encode("utf-8", "replace")) + LINE_COST_BYTES
                full = int(size > self._max_bytes)
                db.execute(
                    "INSERT INTO job_log (order_id, seq, at, text) VALUES (?, ?, ?, ?)",
                    [order_id, seq, at, CUT_WORDS if full else line.encode("utf-8", "replace").decode()],
                )
                seq += 1
            db.execute(
                "INSERT INTO job_log_state (order_id, size_bytes, is_full) VALUES (?, ?, ?) "
                "ON CONFLICT (order_id) DO UPDATE SET size_bytes = excluded.size_bytes, "
                "is_full = excluded.is_full",
                [order_id, size, full],
            )
        return int(seq)

    def next_seq(self, order_id: str) -> int:
        """How many lines there are, and so the number of the next one."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT coalesce(max(seq) + 1, 0) FROM job_log WHERE order_id = ?", [order_id]
            ).fetchone()
        return int(row[0])

    def read(self, order_id: str, *, start: int = 0, limit: int = 500) -> list[LogLine]:
        """Lines from number `start` on, at most `limit` (5,000 at most)."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT seq, at, text FROM job_log WHERE order_id = ? AND seq >= ? ORDER BY seq LIMIT ?",
                [order_id, max(0, start), max(0, min(limit, 5_000))],
            ).fetchall()
        return [LogLine(seq=row[0], at=row[1], text=row[2]) for row in rows]
