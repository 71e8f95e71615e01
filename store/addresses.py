"""Address book: where peers were last reached, so that a restart finds them without bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.store.database import Store

MAX_ADDRESSES_PER_PEER = 8
MAX_ADDRESSES = 4_096
MAX_ADDRESS_CHARS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One way to dial a peer. `source` is who told us: invitation, bootstrap, record, connected."""

    peer_id: str
    addr: str
    source: str
    seen_at: int
    failures: int


class Addresses:
    """Bounded per peer and in all: the oldest give way."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def remember(self, peer_id: str, addrs: list[str], *, source: str, now: int) -> None:
        """Add or refresh; over-long addresses are dropped without a word."""
        kept = [addr for addr in addrs if len(addr) <= MAX_ADDRESS_CHARS]
        with self._store.write() as db:
            for addr in kept[:MAX_ADDRESSES_PER_PEER]:
                db.execute(
                    "INSERT INTO addresses (peer_id, addr, source, seen_at, failures) "
                    "VALUES (?, ?, ?, ?, 0) ON CONFLICT (peer_id, addr) DO UPDATE SET "
                    "seen_at = excluded.seen_at, source = excluded.source, failures = 0",
                    [peer_id, addr, source, now],
                )
            db.execute(
                "DELETE FROM addresses WHERE peer_id = ? AND addr NOT IN (SELECT addr FROM "
                "addresses WHERE peer_id = ? ORDER BY failures, seen_at DESC LIMIT ?)",
                [peer_id, peer_id, MAX_ADDRESSES_PER_PEER],
            )
            db.execute(
                "DELETE FROM addresses WHERE (peer_id, addr) IN (SELECT peer_id, addr FROM "
                "addresses ORDER BY seen_at DESC LIMIT -1 OFFSET ?)",
                [MAX_ADDRESSES],
            )

    def failed(self, peer_id: str, addr: str) -> None:
        """Count a dial that did not connect, so that better addresses come first."""
        with self._store.write() as db:
            db.execute(
                "UPDATE addresses SET failures = failures + 1 WHERE peer_id = ? AND addr = ?",
                [peer_id, addr],
            )

    def of(self, peer_id: str) -> list[Address]:
        """The peer's addresses, best first."""
        return self._rows("WHERE peer_id = ? ORDER BY failures, seen_at DESC", [peer_id])

    def recent(self, *, limit: int) -> list[Address]:
        """Addresses over all peers, most recently seen first."""
        return self._rows("ORDER BY failures, seen_at DESC LIMIT ?", [limit])

    def _rows(self, where: str, values: list[str] | list[int]) -> list[Address]:
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT peer_id, addr, source, seen_at, failures FROM addresses {where}", values
            ).fetchall()
        return [
            Address(peer_id=r[0], addr=r[1], source=r[2], seen_at=r[3], failures=r[4]) for r in rows
        ]
