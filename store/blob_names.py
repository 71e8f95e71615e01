"""Which blobs the books still speak of, and in what capacity: those are never removed by themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from openstall.store.database import Store

_CID = re.compile(rb"bafkr4i[a-z2-7]{52}")
_APART = re.compile(r"^(records?(_.*)?|contradictions|orders|order_events|job_log.*|_?sqlite_.*)$")
"""Others' statements, and tables that are read in a way of their own."""
NOT_A_USE = ("package.", "blobs.")
"""Settings that name a blob without needing it: salts of all packages ever sealed, and the owner's pins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An encrypted package that this node buys or bought, and who sold it."""

    cid: str
    seller: str
    order_id: str


class BlobNames:
    """Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def uses(self, *, author: str, final: Sequence[str], now: int, kept_s: int) -> dict[str, set[str]]:
        """Cids with the reasons: `listed`, `order`, `bought`, `work`.

        `final` are the states in which an order needs nothing any more, once it has been in one for
        `kept_s`: until then the other party may still fetch. What any other table names is `work`.
        """
        found: dict[str, set[str]] = defaultdict(set)

        def note(reason: str, texts: Iterable[object]) -> None:
            for text in texts:
                raw = text if isinstance(text, bytes) else str(text).encode()
                for name in _CID.findall(raw):
                    found[name.decode()].add(reason)

        marks = ",".join("?" * len(final))
        with self._store.read() as db:
            note(
                "listed",
                _cells(
                    db,
                    "SELECT raw FROM record_bodies JOIN records USING (id) "
                    "WHERE author = ? AND current = 1 AND target_key IS NULL AND expires > ?",
                    [author, now],
                ),
            )
            note(
                "order",
                _cells(
                    db,
                    f"SELECT doc, data FROM orders WHERE state NOT IN ({marks}) OR changed_at > ?",
                    [*final, now - kept_s],
                ),
            )
            note(
                "bought",
                _cells(db, "SELECT doc, data FROM orders JOIN library USING (order_id)", []),
            )
            for table in db.table_names():
                if not _APART.match(table):
                    note("work", _work(db, table))
        return dict(found)

    def sealed(self) -> list[Sealed]:
        """The packages of all sales in which this node is the buyer, newest first."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT json_extract(CAST(doc AS TEXT), '$.terms.blob.cid'), other, order_id FROM orders "
                "WHERE kind = 'sale' AND role = 'buyer' ORDER BY created_at DESC"
            ).fetchall()
        return [Sealed(cid=row[0], seller=row[1], order_id=row[2]) for row in rows]


def _cells(db: Database, query: str, values: list[object]) -> Iterable[object]:
    for row in db.execute(query, values):
        yield from row


def _work(db: Database, table: str) -> Iterable[object]:
    if table != "settings":
        yield from _cells(db, f"SELECT * FROM [{table}]", [])
        return
    for name, value in db.execute("SELECT name, value FROM settings"):
        if not name.startswith(NOT_A_USE):
            yield f"{name} {value}"
