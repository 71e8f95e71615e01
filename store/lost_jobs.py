"""Jobs of the group that went to other providers, or that this machine turned away, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openstall.store.database import Store

MAX_KEPT = 1_000
_COLUMNS = "key, at, chosen, amount_micro, reasons, seen"
_NEWEST = "FROM lost_jobs ORDER BY at DESC, key LIMIT ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostJob:
    """`key` names the job (a transaction or an order id); `chosen` is the wallet that got it, empty for none.

    `reasons` and `seen` are JSON values: why, and the offers that it was concluded from.
    """

    key: str
    at: int
    chosen: str
    amount_micro: int
    reasons: list[dict[str, Any]]
    seen: dict[str, Any]


class LostJobs:
    """Thread-safe; every method blocks on the disk. Keeps the newest thousand."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, job: LostJob) -> None:
        """Keep a job; one that is known already stays as it was."""
        reasons, seen = json.dumps(job.reasons), json.dumps(job.seen)
        with self._store.write() as db:
            db.execute(
                f"INSERT INTO lost_jobs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                [job.key, job.at, job.chosen, job.amount_micro, reasons, seen],
            )
            db.execute(f"DELETE FROM lost_jobs WHERE key NOT IN (SELECT key {_NEWEST})", [MAX_KEPT])

    def newest(self, limit: int) -> list[LostJob]:
        """Newest first."""
        with self._store.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS} {_NEWEST}", [limit]).fetchall()
        return [
            LostJob(
                key=key,
                at=at,
                chosen=chosen,
                amount_micro=amount,
                reasons=json.loads(reasons),
                seen=json.loads(seen),
            )
            for key, at, chosen, amount, reasons, seen in rows
        ]

    def count(self) -> int:
        """How many are kept."""
        with self._store.read() as db:
            return int(db.execute("SELECT count(*) FROM lost_jobs").fetchone()[0])
