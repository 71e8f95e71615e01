"""How the price of this machine's offer moved by itself, each change with its working."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openstall.store.database import Store

MAX_KEPT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChange:
    """One change; `working` is a JSON value: what it was worked out from."""

    at: int
    old_micro: int
    new_micro: int
    working: dict[str, Any]


class PriceChanges:
    """Thread-safe; every method blocks on the disk. Keeps the newest thousand."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, change: PriceChange, *, setting: str, field: str) -> bool:
        """Note a change and make it in a setting, both or neither.

        Where the setting is gone, or does not hold the old price any more, nothing happens: False.
        """
        with self._store.write() as db:
            row = db.execute("SELECT value FROM settings WHERE name = ?", [setting]).fetchone()
            kept = None if row is None else json.loads(row[0])
            if kept is None or kept.get(field) != change.old_micro:
                return False
            value = json.dumps(kept | {field: change.new_micro}, separators=(",", ":"), sort_keys=True)
            db.execute("UPDATE settings SET value = ? WHERE name = ?", [value, setting])
            db.execute(
                "INSERT INTO price_changes (at, old_micro, new_micro, working) VALUES (?, ?, ?, ?)",
                [change.at, change.old_micro, change.new_micro, json.dumps(change.working)],
            )
            db.execute(
                "DELETE FROM price_changes WHERE id <= (SELECT max(id) FROM price_changes) - ?", [MAX_KEPT]
            )
            return True

    def newest(self, limit: int) -> list[PriceChange]:
        """Newest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT at, old_micro, new_micro, working FROM price_changes ORDER BY id DESC LIMIT ?",
                [limit],
            ).fetchall()
        return [
            PriceChange(at=row[0], old_micro=row[1], new_micro=row[2], working=json.loads(row[3]))
            for row in rows
        ]
