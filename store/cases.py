"""Complaints about providers with a bond, as their complainer and as the oracles keep them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openstall.market.errors import NotFound
from openstall.store.database import Store

OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """One case; `file` is what was signed (a JSON object), `data` what this node found out since."""

    case_hash: str
    role: str
    state: str
    file: dict[str, Any]
    data: dict[str, Any]
    created_at: int


class Cases:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, *, case_hash: str, role: str, file: dict[str, Any], at: int) -> bool:
        """Keep a new open case; False (and nothing changes) where it is known in this role."""
        with self._store.write() as db:
            cursor = db.execute(
                "INSERT INTO cases (case_hash, role, state, file, data, created_at, changed_at) "
                "VALUES (?, ?, ?, ?, '{}', ?, ?) ON CONFLICT (case_hash, role) DO NOTHING",
                [case_hash, role, OPEN, _text(file), at, at],
            )
            return int(cursor.rowcount) == 1

    def get(self, case_hash: str, role: str) -> CaseRow:
        """The case.

        Raises:
            NotFound: there is none in this role.
        """
        with self._store.read() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM cases WHERE case_hash = ? AND role = ?", [case_hash, role]
            ).fetchone()
        if row is None:
            raise NotFound("no_such_case", "There is no such case here.")
        return _row(row)

    def items(self, *, role: str = "", open_only: bool = False) -> list[CaseRow]:
        """Cases, oldest first (1,000 at most)."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM cases WHERE (? = '' OR role = ?) AND (? = 0 OR state = ?) "
                "ORDER BY created_at, case_hash LIMIT 1000",
                [role, role, int(open_only), OPEN],
            ).fetchall()
        return [_row(row) for row in rows]

    def count_since(self, role: str, at: int) -> int:
        """How many cases came in since a moment."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT count(*) FROM cases WHERE role = ? AND created_at > ?", [role, at]
            ).fetchone()
        return int(row[0])

    def patch(self, case_hash: str, role: str, *, at: int, state: str = "", **data: Any) -> CaseRow:
        """Add to what is known, and move on if a state is given."""
        with self._store.write() as db:
            held = self.get_in(db, case_hash, role)
            db.execute(
                "UPDATE cases SET state = ?, data = ?, changed_at = ? WHERE case_hash = ? AND role = ?",
                [state or held.state, _text({**held.data, **data}), at, case_hash, role],
            )
            return self.get_in(db, case_hash, role)

    @staticmethod
    def get_in(db: Any, case_hash: str, role: str) -> CaseRow:
        """The case inside a transaction; NotFound like `get`."""
        row = db.execute(
            f"SELECT {_COLUMNS} FROM cases WHERE case_hash = ? AND role = ?", [case_hash, role]
        ).fetchone()
        if row is None:
            raise NotFound("no_such_case", "There is no such case here.")
        return _row(row)


_COLUMNS = "case_hash, role, state, file, data, created_at"


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _row(row: tuple[Any, ...]) -> CaseRow:
    return CaseRow(
        case_hash=row[0],
        role=row[1],
        state=row[2],
        file=json.loads(row[3]),
        data=json.loads(row[4]),
        created_at=row[5],
    )
