"""Small named values that outlive the process: the joined group, the node's name, flags."""

from __future__ import annotations

import json
from typing import Any

from openstall.store.database import Store


class Settings:
    """JSON values by name. No secret is ever stored here."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default` where none was set."""
        with self._store.read() as db:
            row = db.execute("SELECT value FROM settings WHERE name = ?", [name]).fetchone()
        return default if row is None else json.loads(row[0])

    def set(self, name: str, value: Any) -> None:
        """Replace the value; on disk when this returns."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO settings (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [name, json.dumps(value, separators=(",", ":"), sort_keys=True)],
            )

    def names(self, prefix: str) -> list[str]:
        """Names that begin with a prefix, in order."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT name FROM settings WHERE substr(name, 1, ?) = ? ORDER BY name", [len(prefix), prefix]
            ).fetchall()
        return [row[0] for row in rows]

    def remove(self, name: str) -> None:
        """Forget the value; no error where none was set."""
        with self._store.write() as db:
            db.execute("DELETE FROM settings WHERE name = ?", [name])
