"""Packages that this node may use: bought ones and its own, opened into folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openstall.market.errors import NotFound
from openstall.store.database import Store

_COLUMNS = "package_id, order_id, listing_cid, title, path, files, bought_at, added_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An opened package; `files` are objects with name, size and sha256."""

    package_id: str
    order_id: str | None
    listing_cid: str | None
    title: str
    path: str
    files: list[dict[str, Any]]
    bought_at: int | None


class Library:
    """Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        *,
        package_id: str,
        title: str,
        path: str,
        files: list[dict[str, Any]],
        order_id: str | None = None,
        listing_cid: str | None = None,
        bought_at: int | None = None,
    ) -> Package:
        """Enter a package, or replace what is known of it."""
        with self._store.write() as db:
            db.execute(
                f"INSERT INTO library ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, unixepoch()) "
                "ON CONFLICT (package_id) DO UPDATE SET title = excluded.title, path = excluded.path, "
                "files = excluded.files, listing_cid = excluded.listing_cid",
                [
                    package_id,
                    order_id,
                    listing_cid,
                    title,
                    path,
                    json.dumps(files, sort_keys=True),
                    bought_at,
                ],
            )
        return self.get(package_id)

    def find(self, package_id: str) -> Package | None:
        """The package, or None."""
        found = self._rows("WHERE package_id = ?", [package_id])
        return found[0] if found else None

    def get(self, package_id: str) -> Package:
        """The package; NotFound if it is not in the library."""
        package = self.find(package_id)
        if package is None:
            raise NotFound(
                "no_such_package", "That package is not in your library.", "Buy it first, or publish it."
            )
        return package

    def items(self) -> list[Package]:
        """All packages, newest first."""
        return self._rows("ORDER BY added_at DESC, package_id", [])

    def _rows(self, where: str, values: list[str]) -> list[Package]:
        with self._store.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM library {where}", values).fetchall()
        return [
            Package(
                package_id=row[0],
                order_id=row[1],
                listing_cid=row[2],
                title=row[3],
                path=row[4],
                files=json.loads(row[5]),
                bought_at=row[6],
            )
            for row in rows
        ]
