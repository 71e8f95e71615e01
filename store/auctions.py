"""The auctions that this node takes part in: those of its own requests, and those in which it bids."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openstall.market.errors import NotFound
from openstall.store.database import Store

_COLUMNS = "request_cid, role, state, record, data, created_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionRow:
    """`role` is `requester` or `bidder`; `record` the signed request; a bidder's `data` has bid and salt."""

    request_cid: str
    role: str
    state: str
    record: bytes
    data: dict[str, Any]
    created_at: int


class Auctions:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, request_cid: str, *, role: str, record: bytes, data: dict[str, Any], at: int) -> AuctionRow:
        """Keep an auction; one that is there already is returned as it is."""
        with self._store.write() as db:
            db.execute(
                "INSERT OR IGNORE INTO auctions (request_cid, role, state, record, data, created_at) "
                "VALUES (?, ?, 'open', ?, ?, ?)",
                [request_cid, role, record, _text(data), at],
            )
            return self._in(db, request_cid)

    def get(self, request_cid: str) -> AuctionRow:
        """The auction. Raises NotFound."""
        with self._store.read() as db:
            return self._in(db, request_cid)

    def find(self, request_cid: str) -> AuctionRow | None:
        """The auction, or None."""
        try:
            return self.get(request_cid)
        except NotFound:
            return None

    def items(self, *, role: str = "", open_only: bool = False) -> list[AuctionRow]:
        """Newest first (500 at most)."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM auctions WHERE (? = '' OR role = ?) AND (? = 0 OR state = 'open') "
                "ORDER BY created_at DESC, request_cid LIMIT 500",
                [role, role, int(open_only)],
            ).fetchall()
        return [_row(row) for row in rows]

    def patch(self, request_cid: str, **data: Any) -> None:
        """Change what is known of it."""
        with self._store.write() as db:
            known = {**self._in(db, request_cid).data, **data}
            db.execute("UPDATE auctions SET data = ? WHERE request_cid = ?", [_text(known), request_cid])

    def close(self, request_cid: str, state: str) -> None:
        """Nothing is left to do: it was `awarded`, `lost`, `void` or `expired`."""
        with self._store.write() as db:
            db.execute("UPDATE auctions SET state = ? WHERE request_cid = ?", [state, request_cid])

    @staticmethod
    def _in(db: Any, request_cid: str) -> AuctionRow:
        row = db.execute(f"SELECT {_COLUMNS} FROM auctions WHERE request_cid = ?", [request_cid]).fetchone()
        if row is None:
            raise NotFound("no_such_auction", "This node takes no part in that auction.")
        return _row(row)


def _row(row: Any) -> AuctionRow:
    return AuctionRow(
        request_cid=row[0],
        role=row[1],
        state=row[2],
        record=bytes(row[3]),
        data=json.loads(row[4]),
        created_at=row[5],
    )


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
