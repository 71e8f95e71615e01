"""Full-text search over the live records of a network."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlite_utils import Database

from openstall.store.database import Store
from openstall.store.records import ROW_COLUMNS, RecordRow, row_of

MAX_QUERY_CHARS = 200
MAX_TERMS = 12
MAX_LIMIT = 200
MAX_RANKED = 2_000
TITLE_WEIGHT = 8.0
WORDS_WEIGHT = 1.0

_TERM = re.compile(r"\w+", re.UNICODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of results and the number of all that match."""

    items: list[RecordRow]
    total: int
    exact: bool
    """False where more matched than were ranked: `total` is then `MAX_RANKED`."""


def match_expression(query: str) -> str:
    """FTS5 expression of what a person typed: all words must occur, the last one may be unfinished.

    Every term is quoted, so no character of the query can act as an operator.
    """
    terms = _TERM.findall(query[:MAX_QUERY_CHARS])[:MAX_TERMS]
    if not terms:
        return ""
    quoted = [f'"{term}"' for term in terms]
    if query[:MAX_QUERY_CHARS][-1:].isalnum() and len(terms[-1]) >= 2:
        quoted[-1] += "*"
    return " AND ".join(quoted)


class Search:
    """Finds live records by words, type and author; newest first where no words are given."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(
        self,
        network: str,
        *,
        now: int,
        query: str = "",
        types: tuple[str, ...] = (),
        author: str = "",
        limit: int = 50,
        offset: int = 0,
    ) -> Page:
        """Best matches first; `limit` is capped at 200.

        Words that match more than `MAX_RANKED` records are not worth weighing: what has them in its
        title comes first, then what came in last. So the most common word costs no more than a rare one.
        """
        limit = max(0, min(limit, MAX_LIMIT))
        offset = max(0, offset)
        expression = match_expression(query)
        if query.strip() and not expression:
            return Page(items=[], total=0, exact=True)
        where, values = _filter(network, now, types, author)
        with self._store.read() as db:
            hits = _matching(db, expression, where, values) if expression else _newest(db, where, values)
            exact = len(hits) <= MAX_RANKED
            if expression and exact:
                hits = _ranked(db, expression, where, values)
            elif expression:
                titled = _matching(db, f"title : ({expression})", where, values)
                hits = list(dict.fromkeys([*titled, *hits]))
            hits = hits[:MAX_RANKED]
            wanted = hits[offset : offset + limit]
            marks = ",".join("?" * len(wanted))
            rows = db.execute(
                f"SELECT r.id, {ROW_COLUMNS} FROM records r WHERE r.id IN ({marks})", wanted
            ).fetchall()
        by_id = {row[0]: row_of(row[1:]) for row in rows}
        return Page(items=[by_id[hit] for hit in wanted if hit in by_id], total=len(hits), exact=exact)

    def peer_bound_to(self, network: str, wallet: str, *, now: int) -> str | None:
        """The author of the newest live peer record that names this wallet, or None.

        The name of a peer is not looked at: whoever is called like a wallet must not hide its owner.
        """
        where, values = _filter(network, now, ("peer",), "")
        expression = f"words : ({match_expression(f'{wallet} ')})"
        with self._store.read() as db:
            row = db.execute(
                f"SELECT r.author {_MATCHES} AND {where} ORDER BY r.issued DESC, r.id LIMIT 1",
                [expression, *values],
            ).fetchone()
        return None if row is None else str(row[0])


# CROSS JOIN keeps the index of words outermost; the planner would scan the records instead.
_MATCHES = "FROM records_fts f CROSS JOIN records r ON r.id = f.rowid WHERE records_fts MATCH ?"


def _matching(db: Database, expression: str, where: str, values: list[str | int]) -> list[int]:
    rows = db.execute(
        f"SELECT r.id {_MATCHES} AND {where} ORDER BY f.rowid DESC LIMIT ?",
        [expression, *values, MAX_RANKED + 1],
    ).fetchall()
    return [row[0] for row in rows]


def _ranked(db: Database, expression: str, where: str, values: list[str | int]) -> list[int]:
    rows = db.execute(
        f"SELECT r.id, bm25(records_fts, {TITLE_WEIGHT}, {WORDS_WEIGHT}), r.issued {_MATCHES} AND {where}",
        [expression, *values],
    ).fetchall()
    rows.sort(key=lambda row: (row[1], -row[2], row[0]))
    return [row[0] for row in rows]


def _newest(db: Database, where: str, values: list[str | int]) -> list[int]:
    rows = db.execute(
        f"SELECT r.id FROM records r WHERE {where} ORDER BY r.issued DESC LIMIT ?",
        [*values, MAX_RANKED + 1],
    ).fetchall()
    return [row[0] for row in rows]


def _filter(network: str, now: int, types: tuple[str, ...], author: str) -> tuple[str, list[str | int]]:
    where = "r.network = ? AND r.current = 1 AND r.target_key IS NULL AND r.expires > ?"
    values: list[str | int] = [network, now]
    if types:
        where += f" AND r.type IN ({','.join('?' * len(types))})"
        values += types
    if author:
        where += " AND r.author = ?"
        values.append(author)
    return where, values
