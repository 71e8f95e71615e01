"""What waits to be sent to peers that are off, the answers to it, and which letters have come already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openstall.market.errors import Conflict
from openstall.store.database import Store

WAITING = "waiting"
"""Here, and nowhere else."""
POSTED = "posted"
"""In a mailbox of the recipient; the answer has not come."""
ANSWERED = "answered"
MOST_ROWS = 5_000
MOST_ANSWERS = 200
"""Answers that wait for one peer: a stranger's many letters do not fill the disk with refusals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """Something to send. `sealed` are the bytes of its letter, once it was written; times in Unix seconds."""

    n: int = 0
    id: str
    key: str
    recipient: str
    protocol: str
    what: str
    order_id: str
    body: bytes
    answers: str
    state: str
    written: int
    expires: int
    sealed: bytes | None = None
    mailbox: str = ""
    changed_at: int
    answer: bytes | None = None
    trouble: str = ""


_COLUMNS = (
    "n, id, key, recipient, protocol, what, order_id, body, answers, state, written, expires, sealed, "
    "mailbox, changed_at, answer, trouble"
)


class Outbox:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, row: OutboxRow) -> OutboxRow:
        """Keep something to send; what is here under the same key stays as it is.

        Raises:
            Conflict: the outbox is full.
        """
        with self._store.write() as db:
            if not db.execute("SELECT 1 FROM outbox WHERE key = ?", [row.key]).fetchone():
                if db.execute("SELECT count(*) FROM outbox").fetchone()[0] >= MOST_ROWS:
                    raise Conflict(
                        "outbox_full", "The outbox is full.", "It empties itself when the others are back."
                    )
                self._insert(db, row)
        found = self.by_key(row.key)
        return found if found is not None else row

    @staticmethod
    def _insert(db: Any, row: OutboxRow) -> None:
        db.execute(
            "INSERT INTO outbox (id, key, recipient, protocol, what, order_id, body, answers, state, "
            "written, expires, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                row.id,
                row.key,
                row.recipient,
                row.protocol,
                row.what,
                row.order_id,
                row.body,
                row.answers,
                row.state,
                row.written,
                row.expires,
                row.changed_at,
            ],
        )

    def by_key(self, key: str) -> OutboxRow | None:
        """The row of a key, if there is one."""
        return self._one("key = ?", [key])

    def by_id(self, id_: str) -> OutboxRow | None:
        """The row of a letter, if there is one."""
        return self._one("id = ?", [id_])

    def _one(self, where: str, values: list[str]) -> OutboxRow | None:
        with self._store.read() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM outbox WHERE {where}", values).fetchone()
        return None if row is None else _row(row)

    def all(self) -> list[OutboxRow]:
        """Everything, oldest first."""
        with self._store.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM outbox ORDER BY n").fetchall()
        return [_row(row) for row in rows]

    def to_send(self, *, posted_before: int) -> list[OutboxRow]:
        """What is here only, and what was posted so long ago that it may be lost."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM outbox WHERE state = ? OR (state = ? AND changed_at < ?) ORDER BY n",
                [WAITING, POSTED, posted_before],
            ).fetchall()
        return [_row(row) for row in rows]

    def unanswered(self, recipient: str) -> list[OutboxRow]:
        """All that a peer has not answered."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM outbox WHERE recipient = ? AND state <> ? ORDER BY n",
                [recipient, ANSWERED],
            ).fetchall()
        return [_row(row) for row in rows]

    def keep_sealed(self, id_: str, sealed: bytes) -> None:
        """The letter was written: the same bytes are brought wherever it goes."""
        with self._store.write() as db:
            db.execute("UPDATE outbox SET sealed = ? WHERE id = ?", [sealed, id_])

    def posted(self, id_: str, mailbox: str, *, at: int) -> None:
        """A mailbox has it. An answer has reached its end by that: its asker asks again if it is lost."""
        with self._store.write() as db:
            db.execute("DELETE FROM outbox WHERE id = ? AND answers <> ''", [id_])
            db.execute(
                "UPDATE outbox SET state = ?, mailbox = ?, changed_at = ?, trouble = '' "
                "WHERE id = ? AND state <> ?",
                [POSTED, mailbox, at, id_, ANSWERED],
            )

    def answered(self, id_: str, answer: bytes, *, at: int) -> bool:
        """The answer came; whether it was waited for."""
        with self._store.write() as db:
            cursor = db.execute(
                "UPDATE outbox SET state = ?, answer = ?, changed_at = ?, trouble = '' "
                "WHERE id = ? AND answers = '' AND state <> ?",
                [ANSWERED, answer, at, id_, ANSWERED],
            )
            return cursor.rowcount > 0

    def set_trouble(self, id_: str, words: str) -> None:
        """Why it could not be sent."""
        with self._store.write() as db:
            db.execute("UPDATE outbox SET trouble = ? WHERE id = ? AND trouble <> ?", [words, id_, words])

    def remove(self, id_: str) -> None:
        """It needs to be sent no more."""
        with self._store.write() as db:
            db.execute("DELETE FROM outbox WHERE id = ?", [id_])

    def purge(self, *, now: int) -> int:
        """Remove what has expired."""
        with self._store.write() as db:
            db.execute("DELETE FROM letters_seen WHERE until <= ?", [now])
            return int(db.execute("DELETE FROM outbox WHERE expires <= ?", [now]).rowcount)

    # --- letters that came ---

    def seen(self, sender: str, id_: str) -> tuple[str, bytes] | None:
        """Protocol and answer of a letter that came before; None of a new one."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT protocol, answer FROM letters_seen WHERE sender = ? AND id = ?", [sender, id_]
            ).fetchone()
        return None if row is None else (row[0], bytes(row[1]))

    def take(
        self, sender: str, id_: str, *, protocol: str, answer: bytes, until: int, reply: OutboxRow
    ) -> None:
        """Note a letter with its answer, and keep the answer to be sent, in one transaction."""
        with self._store.write() as db:
            db.execute(
                "INSERT OR IGNORE INTO letters_seen VALUES (?, ?, ?, ?, ?)",
                [sender, id_, until, protocol, answer],
            )
            waiting = db.execute(
                "SELECT count(*) FROM outbox WHERE recipient = ? AND answers <> ''", [sender]
            ).fetchone()[0]
            known = db.execute("SELECT 1 FROM outbox WHERE key = ?", [reply.key]).fetchone()
            if waiting < MOST_ANSWERS and not known:
                self._insert(db, reply)

    # --- records that nobody else has heard of yet ---

    def record_due(self, cid: str, type_: str, key: str, *, at: int) -> None:
        """One's own record that was published while nobody was there; it takes the place of an older one."""
        with self._store.write() as db:
            db.execute("DELETE FROM records_due WHERE type = ? AND key = ?", [type_, key])
            db.execute("INSERT OR IGNORE INTO records_due VALUES (?, ?, ?, ?)", [cid, type_, key, at])

    def records_due(self) -> list[tuple[str, str, int]]:
        """Cid, type and time of those records, oldest first."""
        with self._store.read() as db:
            rows = db.execute("SELECT cid, type, at FROM records_due ORDER BY at, cid").fetchall()
        return [(row[0], row[1], int(row[2])) for row in rows]

    def record_told(self, cid: str) -> None:
        """Others have it."""
        with self._store.write() as db:
            db.execute("DELETE FROM records_due WHERE cid = ?", [cid])


def _row(row: Any) -> OutboxRow:
    names = [name.strip() for name in _COLUMNS.split(",")]
    values = dict(zip(names, row, strict=True))
    for name in ("body", "sealed", "answer"):
        values[name] = None if values[name] is None else bytes(values[name])
    return OutboxRow(**values)
