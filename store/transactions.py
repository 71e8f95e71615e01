"""Signed transactions, kept before they are sent, so that a crash never sends the same money twice.

The same purpose of the same order yields the same bytes again; only one that failed for good may be
signed anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from openstall.market.errors import Conflict
from openstall.store.database import Store

PENDING, FINAL, FAILED, REPLACED = "pending", "final", "failed", "replaced"

_COLUMNS = (
    "id, network, sender, order_id, purpose, nonce, tx_hash, raw, state, receipt, created_at, changed_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One signed transaction and what is known of it; `receipt` is a JSON object once it is final."""

    id: int
    network: str
    sender: str
    order_id: str
    purpose: str
    nonce: int
    tx_hash: str
    raw: bytes
    state: str
    receipt: dict[str, Any]
    created_at: int
    changed_at: int


class Transactions:
    """Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        *,
        network: str,
        sender: str,
        order_id: str,
        purpose: str,
        nonce: int,
        tx_hash: str,
        raw: bytes,
        at: int,
    ) -> Intent:
        """Keep a signed transaction; on disk when this returns, and only then may it be sent.

        Raises:
            Conflict: the purpose has a living transaction, or the nonce is taken.
        """
        with self._store.write() as db:
            if _alive(db, network, order_id, purpose) is not None:
                raise Conflict(
                    "already_sent", f"The transaction “{purpose}” of this order was signed already."
                )
            taken = db.execute(
                "SELECT 1 FROM transactions WHERE network = ? AND sender = ? AND nonce = ? AND state <> ?",
                [network, sender, nonce, REPLACED],
            ).fetchone()
            if taken:
                raise Conflict(
                    "nonce_taken", f"The wallet has signed another transaction with number {nonce}."
                )
            db.execute(
                "INSERT INTO transactions (network, sender, order_id, purpose, nonce, tx_hash, raw, state, "
                "receipt, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{}', ?, ?)",
                [network, sender, order_id, purpose, nonce, tx_hash, raw, PENDING, at, at],
            )
            kept = _alive(db, network, order_id, purpose)
            if kept is None:
                raise RuntimeError("a row that was just inserted is gone")
            return kept

    def alive(self, network: str, order_id: str, purpose: str) -> Intent | None:
        """The pending or final transaction of a purpose, or None."""
        with self._store.read() as db:
            return _alive(db, network, order_id, purpose)

    def of_order(self, network: str, order_id: str) -> list[Intent]:
        """All transactions of an order that were not replaced, oldest first."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM transactions WHERE network = ? AND order_id = ? AND state <> ? "
                "ORDER BY id",
                [network, order_id, REPLACED],
            ).fetchall()
        return [_intent(row) for row in rows]

    def settle(self, tx_hash: str, state: str, *, receipt: dict[str, Any], at: int) -> bool:
        """Record how a pending transaction ended; False if it had ended before."""
        if state not in (FINAL, FAILED, REPLACED):
            raise ValueError(f"a transaction cannot end as {state}")
        with self._store.write() as db:
            cursor = db.execute(
                "UPDATE transactions SET state = ?, receipt = ?, changed_at = ? "
                "WHERE tx_hash = ? AND state = ?",
                [state, json.dumps(receipt, sort_keys=True), at, tx_hash, PENDING],
            )
        return int(cursor.rowcount) == 1

    def pending(self, network: str, sender: str) -> list[Intent]:
        """Transactions whose end is not known yet, in the order of their numbers."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM transactions "
                "WHERE network = ? AND sender = ? AND state = ? ORDER BY nonce",
                [network, sender, PENDING],
            ).fetchall()
        return [_intent(row) for row in rows]

    def by_hash(self, network: str) -> dict[str, Intent]:
        """All living transactions of a network by hash, for the wallet's history."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM transactions WHERE network = ? AND state <> ?", [network, REPLACED]
            ).fetchall()
        return {row[6]: _intent(row) for row in rows}


def _alive(db: Database, network: str, order_id: str, purpose: str) -> Intent | None:
    row = db.execute(
        f"SELECT {_COLUMNS} FROM transactions WHERE network = ? AND order_id = ? AND purpose = ? "
        "AND state IN ('pending', 'final')",
        [network, order_id, purpose],
    ).fetchone()
    return None if row is None else _intent(row)


def _intent(row: tuple[Any, ...]) -> Intent:
    return Intent(
        id=row[0],
        network=row[1],
        sender=row[2],
        order_id=row[3],
        purpose=row[4],
        nonce=row[5],
        tx_hash=row[6],
        raw=bytes(row[7]),
        state=row[8],
        receipt=json.loads(row[9]),
        created_at=row[10],
        changed_at=row[11],
    )
