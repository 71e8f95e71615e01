"""This node's own requests for models: what was asked, and how far it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openstall.market.errors import Conflict, NotFound
from openstall.store.database import Store

_COLUMNS = "request_id, state, cid, body, data, created_at"
MOST_LISTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request. `body` is what is signed, `data` what only this node knows; `cid` empty in a draft."""

    request_id: str
    state: str
    cid: str
    body: dict[str, Any]
    data: dict[str, Any]
    created_at: int


class Requests:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def draft(self, request_id: str, body: dict[str, Any], data: dict[str, Any], *, at: int) -> None:
        """Keep what is about to be signed, in the state `draft`."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO requests (request_id, state, cid, body, data, created_at, changed_at) "
                "VALUES (?, 'draft', '', ?, ?, ?, ?)",
                [request_id, _text(body), _text(data), at, at],
            )

    def get(self, request_id: str) -> RequestRow:
        """The request, by its id or its cid. Raises NotFound."""
        with self._store.read() as db:
            return self._in(db, request_id)

    def items(self, *, states: Sequence[str] = ()) -> list[RequestRow]:
        """Newest first (1,000 at most)."""
        marks = ",".join("?" * len(states))
        where = f"WHERE state IN ({marks})" if states else ""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM requests {where} "
                f"ORDER BY created_at DESC, request_id LIMIT {MOST_LISTED}",
                list(states),
            ).fetchall()
        return [_row(row) for row in rows]

    def move(
        self, request_id: str, before: Sequence[str], state: str, *, at: int, cid: str = "", **data: Any
    ) -> RequestRow:
        """Into another state, if it is in one of `before`; the check and the step are one transaction.

        Raises:
            NotFound: there is no such request.
            Conflict: `wrong_state`.
        """
        with self._store.write() as db:
            held = self._in(db, request_id)
            if held.state not in before:
                raise Conflict(
                    "wrong_state",
                    f"The request is {held.state.replace('_', ' ')}; this cannot be done any more.",
                    "Look at it again.",
                )
            db.execute(
                "UPDATE requests SET state = ?, cid = ?, data = ?, changed_at = ? WHERE request_id = ?",
                [state, cid or held.cid, _text({**held.data, **data}), at, held.request_id],
            )
            return self._in(db, held.request_id)

    def note(self, request_id: str, **data: Any) -> None:
        """Add to what only this node knows."""
        with self._store.write() as db:
            held = self._in(db, request_id)
            db.execute(
                "UPDATE requests SET data = ? WHERE request_id = ?",
                [_text({**held.data, **data}), held.request_id],
            )

    def remove_draft(self, request_id: str) -> None:
        """Forget a draft that was never published."""
        with self._store.write() as db:
            db.execute("DELETE FROM requests WHERE request_id = ? AND state = 'draft'", [request_id])

    @staticmethod
    def _in(db: Any, request_id: str) -> RequestRow:
        row = db.execute(
            f"SELECT {_COLUMNS} FROM requests WHERE request_id = ? OR (cid = ? AND cid <> '')",
            [request_id, request_id],
        ).fetchone()
        if row is None:
            raise NotFound(
                "no_such_request", "You have no such request.", "openstall request list shows yours."
            )
        return _row(row)


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _row(row: tuple[Any, ...]) -> RequestRow:
    return RequestRow(
        request_id=row[0],
        state=row[1],
        cid=row[2],
        body=json.loads(row[3]),
        data=json.loads(row[4]),
        created_at=row[5],
    )
