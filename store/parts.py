"""The auctions or contests that this node takes part in: one table for each of the two, of the same form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlite_utils import Database

from openstall.market.errors import NotFound
from openstall.store.database import Store

OPEN = "open"
_COLUMNS = "request_cid, role, state, record, data, created_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """`role` is this node's own in it, `record` the signed request, `data` what only this node knows."""

    request_cid: str
    role: str
    state: str
    record: bytes
    data: dict[str, Any]
    created_at: int


class Parts:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    table: ClassVar[str]
    noun: ClassVar[str]

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, request_cid: str, *, role: str, record: bytes, data: dict[str, Any], at: int) -> PartRow:
        """Take part from now on; a row that is there already is returned as it is."""
        with self._store.write() as db:
            return self._add(db, request_cid, role=role, record=record, data=data, at=at)

    def get(self, request_cid: str) -> PartRow:
        """The row of a request. Raises NotFound."""
        with self._store.read() as db:
            return self._in(db, request_cid)

    def find(self, request_cid: str) -> PartRow | None:
        """The row of a request, or None."""
        try:
            return self.get(request_cid)
        except NotFound:
            return None

    def items(self, *, role: str = "", open_only: bool = False) -> list[PartRow]:
        """Newest first; 500 at most, but of the open ones all: each has money in it to see to."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM {self.table} WHERE (? = '' OR role = ?) AND (? = 0 OR state = ?) "
                "ORDER BY created_at DESC, request_cid LIMIT ?",
                [role, role, int(open_only), OPEN, -1 if open_only else 500],
            ).fetchall()
        return [_row(row) for row in rows]

    def patch(self, request_cid: str, **data: Any) -> None:
        """Change what is known of it."""
        with self._store.write() as db:
            known = {**self._in(db, request_cid).data, **data}
            db.execute(
                f"UPDATE {self.table} SET data = ? WHERE request_cid = ?", [as_text(known), request_cid]
            )

    def close(self, request_cid: str, state: str) -> None:
        """Nothing is left to do; `state` says how it ended."""
        with self._store.write() as db:
            db.execute(f"UPDATE {self.table} SET state = ? WHERE request_cid = ?", [state, request_cid])

    def _add(
        self, db: Database, request_cid: str, *, role: str, record: bytes, data: dict[str, Any], at: int
    ) -> PartRow:
        db.execute(
            f"INSERT OR IGNORE INTO {self.table} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            [request_cid, role, OPEN, record, as_text(data), at],
        )
        return self._in(db, request_cid)

    def _in(self, db: Database, request_cid: str) -> PartRow:
        row = db.execute(
            f"SELECT {_COLUMNS} FROM {self.table} WHERE request_cid = ?", [request_cid]
        ).fetchone()
        if row is None:
            raise NotFound(f"no_such_{self.noun}", f"This node takes no part in that {self.noun}.")
        return _row(row)


def _row(row: Any) -> PartRow:
    return PartRow(
        request_cid=row[0],
        role=row[1],
        state=row[2],
        record=bytes(row[3]),
        data=json.loads(row[4]),
        created_at=row[5],
    )


def as_text(value: dict[str, Any]) -> str:
    """A value as the table has it."""
    return json.dumps(value, sort_keys=True)
