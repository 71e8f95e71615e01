"""What this node's own challenges have shown, with the signed verdict of each."""

from __future__ import annotations

import json
from typing import Any

from openstall.store.database import Store


class Verdicts:
    """Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, verdict: dict[str, Any], document: dict[str, Any]) -> None:
        """Keep one; `document` is the signed form with its evidence. The same twice changes nothing."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO verdicts (challenge, provider, claim, order_id, outcome, document, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (challenge) DO NOTHING",
                [
                    verdict["challenge"],
                    verdict["provider"],
                    verdict["claim"],
                    verdict["order"],
                    verdict["outcome"],
                    json.dumps(document, separators=(",", ":"), sort_keys=True),
                    verdict["at"],
                ],
            )

    def of(self, *, claim: str = "", order_id: str = "", limit: int = 50) -> list[dict[str, Any]]:
        """Signed verdicts on a claim or an order, newest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT document FROM verdicts WHERE (? = '' OR claim = ?) AND (? = '' OR order_id = ?) "
                "ORDER BY at DESC, challenge LIMIT ?",
                [claim, claim, order_id, order_id, limit],
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def about(self, provider: str, *, limit: int = 1_000) -> list[dict[str, Any]]:
        """Signed verdicts on a provider, whatever it claimed, newest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT document FROM verdicts WHERE provider = ? ORDER BY at DESC, challenge LIMIT ?",
                [provider, limit],
            ).fetchall()
        return [json.loads(row[0]) for row in rows]
