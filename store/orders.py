"""The order book: what both parties signed, the state it is in, and every step that led there.

A transition is one transaction: the state changes only if it still is what the caller saw, and its
event is appended with it. Events can neither be changed nor deleted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from openstall.market.errors import NotFound
from openstall.store.database import Store

MAX_LISTED = 1_000

_COLUMNS = (
    "order_id, kind, role, other, state, doc, buyer_signature, seller_signature, data, created_at, changed_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """An order as stored; `changed_at` is when it entered its present state (Unix seconds)."""

    order_id: str
    kind: str
    role: str
    other: str
    state: str
    doc: bytes
    buyer_signature: str
    seller_signature: str
    data: dict[str, Any]
    created_at: int
    changed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEvent:
    """One step of an order's history; `tx` is the transaction that made it, if one did."""

    at: int
    event: str
    from_state: str
    to_state: str
    actor: str
    words: str
    tx: str | None


class Orders:
    """Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        *,
        order_id: str,
        kind: str,
        role: str,
        other: str,
        state: str,
        doc: bytes,
        buyer_signature: str,
        seller_signature: str,
        data: dict[str, Any],
        at: int,
        words: str,
        actor: str,
    ) -> OrderRow:
        """Enter an order with its first event; an order that is there already is returned unchanged."""
        with self._store.write() as db:
            cursor = db.execute(
                f"INSERT INTO orders ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (order_id) DO NOTHING",
                [
                    order_id,
                    kind,
                    role,
                    other,
                    state,
                    doc,
                    buyer_signature,
                    seller_signature,
                    _dump(data),
                    at,
                    at,
                ],
            )
            if cursor.rowcount == 1:
                _append(
                    db, order_id, at=at, event="create", moved=("", state), actor=actor, words=words, tx=None
                )
            return _need(db, order_id)

    def transition(
        self,
        order_id: str,
        *,
        from_state: str,
        to_state: str,
        event: str,
        actor: str,
        words: str,
        tx: str | None,
        at: int,
        data: dict[str, Any],
        seller_signature: str | None = None,
    ) -> OrderRow:
        """Move an order on and append the event; where it is not in `from_state` any more, nothing changes.

        Args:
            data: merged into the order's private data.
            seller_signature: kept with the order, where this step brought it.

        Raises:
            NotFound: there is no such order.
        """
        with self._store.write() as db:
            row = _need(db, order_id)
            if row.state != from_state:
                return row
            db.execute(
                "UPDATE orders SET state = ?, changed_at = ?, data = ?, seller_signature = ? "
                "WHERE order_id = ?",
                [
                    to_state,
                    at,
                    _dump(row.data | data),
                    row.seller_signature if seller_signature is None else seller_signature,
                    order_id,
                ],
            )
            _append(
                db,
                order_id,
                at=at,
                event=event,
                moved=(from_state, to_state),
                actor=actor,
                words=words,
                tx=tx,
            )
            return _need(db, order_id)

    def sign(self, order_id: str, seller_signature: str) -> OrderRow:
        """Keep the seller's signature where there is none yet. NotFound if there is no order."""
        with self._store.write() as db:
            db.execute(
                "UPDATE orders SET seller_signature = ? WHERE order_id = ? AND seller_signature = ''",
                [seller_signature, order_id],
            )
            return _need(db, order_id)

    def patch(self, order_id: str, data: dict[str, Any]) -> OrderRow:
        """Merge values into the order's private data; a None removes one. NotFound if there is no order."""
        with self._store.write() as db:
            merged = _need(db, order_id).data | data
            kept = {name: value for name, value in merged.items() if value is not None}
            db.execute("UPDATE orders SET data = ? WHERE order_id = ?", [_dump(kept), order_id])
            return _need(db, order_id)

    def find(self, order_id: str) -> OrderRow | None:
        """The order, or None."""
        with self._store.read() as db:
            return _find(db, order_id)

    def get(self, order_id: str) -> OrderRow:
        """The order; NotFound if there is none."""
        with self._store.read() as db:
            return _need(db, order_id)

    def list_ids(
        self,
        *,
        role: str | None = None,
        state: str | None = None,
        kind: str | None = None,
        other: str | None = None,
    ) -> list[str]:
        """Ids, newest first, at most 1,000."""
        filters = {"role": role, "state": state, "kind": kind, "other": other}
        chosen = {name: value for name, value in filters.items() if value}
        where = " AND ".join(f"{name} = ?" for name in chosen) or "1"
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT order_id FROM orders WHERE {where} ORDER BY created_at DESC, order_id LIMIT ?",
                [*chosen.values(), MAX_LISTED],
            ).fetchall()
        return [row[0] for row in rows]

    def ids_for(self, request: str) -> list[str]:
        """Ids of the orders that answer to one request, at most 1,000."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT order_id FROM orders WHERE kind = 'custom' "
                "AND json_extract(CAST(doc AS TEXT), '$.terms.request') = ? LIMIT ?",
                [request, MAX_LISTED],
            ).fetchall()
        return [row[0] for row in rows]

    def open_ids(self, final: Sequence[str]) -> list[str]:
        """Ids of the orders in none of the final states, oldest first."""
        marks = ",".join("?" * len(final))
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT order_id FROM orders WHERE state NOT IN ({marks}) ORDER BY created_at, order_id",
                list(final),
            ).fetchall()
        return [row[0] for row in rows]

    def count_open(self, other: str, final: Sequence[str]) -> int:
        """How many orders with one peer are in none of the final states."""
        marks = ",".join("?" * len(final))
        with self._store.read() as db:
            row = db.execute(
                f"SELECT count(*) FROM orders WHERE other = ? AND state NOT IN ({marks})", [other, *final]
            ).fetchone()
        return int(row[0])

    def events(self, order_id: str) -> list[OrderEvent]:
        """The order's history, oldest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT at, event, from_state, to_state, actor, words, tx FROM order_events "
                "WHERE order_id = ? ORDER BY id",
                [order_id],
            ).fetchall()
        return [
            OrderEvent(
                at=row[0],
                event=row[1],
                from_state=row[2],
                to_state=row[3],
                actor=row[4],
                words=row[5],
                tx=row[6],
            )
            for row in rows
        ]


def _append(
    db: Database,
    order_id: str,
    *,
    at: int,
    event: str,
    moved: tuple[str, str],
    actor: str,
    words: str,
    tx: str | None,
) -> None:
    db.execute(
        "INSERT INTO order_events (order_id, at, event, from_state, to_state, actor, words, tx) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [order_id, at, event, *moved, actor, words, tx],
    )


def _find(db: Database, order_id: str) -> OrderRow | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM orders WHERE order_id = ?", [order_id]).fetchone()
    if row is None:
        return None
    return OrderRow(
        order_id=row[0],
        kind=row[1],
        role=row[2],
        other=row[3],
        state=row[4],
        doc=bytes(row[5]),
        buyer_signature=row[6],
        seller_signature=row[7],
        data=json.loads(row[8]),
        created_at=row[9],
        changed_at=row[10],
    )


def _need(db: Database, order_id: str) -> OrderRow:
    row = _find(db, order_id)
    if row is None:
        raise NotFound("no_such_order", f"There is no order {order_id[:70]} here.")
    return row


def _dump(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), sort_keys=True)
