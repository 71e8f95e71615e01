"""Letters that this node keeps for others until they are fetched: sealed, counted, gone when they expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from openstall.market.errors import Refused
from openstall.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What a mailbox holds at most; sizes in bytes of sealed letters."""

    letters: int = 20_000
    size: int = 256 * 2**20
    letters_of_sender: int = 200
    size_of_sender: int = 8 * 2**20
    letters_for_recipient: int = 400
    size_for_recipient: int = 16 * 2**20
    letters_between: int = 100
    """From one sender to one recipient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLetter:
    """A sealed letter; `id` is the SHA-256 of its bytes."""

    id: str
    recipient: str
    sender: str
    expires: int
    letter: bytes


class MailboxBooks:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store, quotas: Quotas | None = None) -> None:
        self._store = store
        self.quotas = quotas or Quotas()

    def keep(self, letter: KeptLetter, *, now: int) -> bool:
        """Keep a letter until it is fetched or expires; False where it is here already.

        Raises:
            Refused: `mailbox_full` or `too_many_letters`.
        """
        with self._store.write() as db:
            db.execute("DELETE FROM mailbox WHERE expires <= ?", [now])
            if db.execute("SELECT 1 FROM mailbox WHERE id = ?", [letter.id]).fetchone():
                return False
            self._check_room(db, letter)
            db.execute(
                "INSERT INTO mailbox (id, recipient, sender, expires, letter) VALUES (?, ?, ?, ?, ?)",
                [letter.id, letter.recipient, letter.sender, letter.expires, letter.letter],
            )
        return True

    def _check_room(self, db: Database, letter: KeptLetter) -> None:
        quotas, size = self.quotas, len(letter.letter)
        by_sender = _count(db, "sender = ?", [letter.sender])
        between = _count(db, "sender = ? AND recipient = ?", [letter.sender, letter.recipient])
        if (
            by_sender[0] >= quotas.letters_of_sender
            or by_sender[1] + size > quotas.size_of_sender
            or between[0] >= quotas.letters_between
        ):
            raise Refused(
                "too_many_letters", "This mailbox keeps no more letters of this sender.", "Try again later."
            )
        for where, values, letters, most in (
            ("recipient = ?", [letter.recipient], quotas.letters_for_recipient, quotas.size_for_recipient),
            ("1 = 1", [], quotas.letters, quotas.size),
        ):
            count, total = _count(db, where, values)
            if count >= letters or total + size > most:
                raise Refused("mailbox_full", "This mailbox is full.", "Try again later.")

    def waiting(self, recipient: str, *, now: int, most_bytes: int) -> tuple[list[KeptLetter], bool]:
        """The oldest letters for a peer, as many as fit (one at least), and whether there are more."""
        found: list[KeptLetter] = []
        size = 0
        with self._store.read() as db:
            rows = db.execute(
                "SELECT id, sender, expires, letter FROM mailbox WHERE recipient = ? AND expires > ? "
                "ORDER BY n LIMIT 129",
                [recipient, now],
            )
            for row in rows:
                size += len(row[3])
                if found and (size > most_bytes or len(found) == 128):
                    return found, True
                found.append(
                    KeptLetter(
                        id=row[0], recipient=recipient, sender=row[1], expires=row[2], letter=bytes(row[3])
                    )
                )
        return found, False

    def remove(self, recipient: str, ids: Sequence[str]) -> None:
        """The recipient has these; others' letters are not touched."""
        marks = ",".join("?" * len(ids))
        with self._store.write() as db:
            db.execute(f"DELETE FROM mailbox WHERE recipient = ? AND id IN ({marks})", [recipient, *ids])

    def purge(self, *, now: int) -> int:
        """Remove what has expired; how many letters that were."""
        with self._store.write() as db:
            return int(db.execute("DELETE FROM mailbox WHERE expires <= ?", [now]).rowcount)

    def totals(self) -> tuple[int, int, int]:
        """Letters, their bytes, and for how many peers they are."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT count(*), coalesce(sum(length(letter)), 0), count(DISTINCT recipient) FROM mailbox"
            ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])


def _count(db: Database, where: str, values: list[str]) -> tuple[int, int]:
    row = db.execute(
        f"SELECT count(*), coalesce(sum(length(letter)), 0) FROM mailbox WHERE {where}", values
    ).fetchone()
    return int(row[0]), int(row[1])
