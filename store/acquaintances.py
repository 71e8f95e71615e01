"""Whom this node knows from its own order book: who was paid or paid, and whose rulings it agreed to."""

from __future__ import annotations

from openstall.store.database import Store

MOST = 300
_NO_TRADE = ("proposed", "agreed", "declined", "lapsed", "cancelled")
"""States that cost nothing to reach: whoever only proposes is not yet somebody one trades with."""


class Acquaintances:
    """Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def partners(self) -> list[str]:
        """Peers with whom money has been moved, the latest first."""
        marks = ",".join("?" * len(_NO_TRADE))
        with self._store.read() as db:
            rows = db.execute(
                "SELECT other, max(created_at) AS latest FROM orders WHERE role IN ('buyer', 'seller') "
                f"AND state NOT IN ({marks}) GROUP BY other ORDER BY latest DESC LIMIT ?",
                [*_NO_TRADE, MOST],
            ).fetchall()
        return [row[0] for row in rows]

    def arbiters(self) -> list[str]:
        """Wallets that the signed orders here name as arbiter, lower case, the latest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT lower(json_extract(CAST(doc AS TEXT), '$.terms.arbiter')) AS wallet, "
                "max(created_at) AS latest FROM orders WHERE wallet <> '' GROUP BY wallet "
                "ORDER BY latest DESC LIMIT ?",
                [MOST],
            ).fetchall()
        return [row[0] for row in rows]
