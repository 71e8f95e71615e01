"""Jobs with a service level that this node watches, and what it saw of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openstall.market.errors import NotFound
from openstall.store.database import Store

_COLUMNS = (
    "order_id, role, buyer, bond, penalty_micro, contract, sightings, telemetry, report, paid_at, ends_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRow:
    """One job: `contract` with both signatures, what was seen, what the provider signed last of it."""

    order_id: str
    role: str
    buyer: str
    bond: str
    penalty_micro: int
    contract: dict[str, Any]
    sightings: list[dict[str, Any]]
    telemetry: dict[str, Any]
    report: dict[str, Any]
    paid_at: int
    ends_at: int


class Watches:
    """Thread-safe; every method blocks on the disk, and what it changed is there when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, row: WatchRow) -> bool:
        """Begin to watch; False (and nothing changes) where the job is watched already."""
        with self._store.write() as db:
            cursor = db.execute(
                f"INSERT INTO watches ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (order_id) DO NOTHING",
                [
                    *(row.order_id, row.role, row.buyer, row.bond, row.penalty_micro),
                    *(_text(row.contract), _text(row.sightings), _text(row.telemetry), _text(row.report)),
                    *(row.paid_at, row.ends_at),
                ],
            )
            return int(cursor.rowcount) == 1

    def find(self, order_id: str) -> WatchRow | None:
        """The job, if it is watched."""
        with self._store.read() as db:
            found = db.execute(f"SELECT {_COLUMNS} FROM watches WHERE order_id = ?", [order_id]).fetchone()
        return None if found is None else _row(found)

    def get(self, order_id: str) -> WatchRow:
        """The job.

        Raises:
            NotFound: it is not watched here.
        """
        found = self.find(order_id)
        if found is None:
            raise NotFound("not_watched", "This peer does not watch that job.")
        return found

    def items(self) -> list[WatchRow]:
        """All jobs, the first to end first (1,000 at most)."""
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM watches ORDER BY ends_at, order_id LIMIT 1000"
            ).fetchall()
        return [_row(row) for row in rows]

    def count(self, role: str, *, buyer: str = "", provider: str = "") -> int:
        """How many jobs are watched in a role, for one buyer and of one provider, or for and of all."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT count(*) FROM watches WHERE role = ? AND (? = '' OR buyer = ?) "
                "AND (? = '' OR json_extract(contract, '$.order.seller') = ?)",
                [role, buyer, buyer, provider, provider],
            ).fetchone()
        return int(row[0])

    def pledged(self, bond: str) -> int:
        """What a bond may have to pay for all jobs that are watched here, in micro-credits."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT coalesce(sum(penalty_micro), 0) FROM watches WHERE bond = ?", [bond]
            ).fetchone()
        return int(row[0])

    def saw(
        self,
        order_id: str,
        sightings: list[dict[str, Any]],
        *,
        telemetry: dict[str, Any],
        report: dict[str, Any],
    ) -> None:
        """Keep what was seen; a job that is no longer watched is left alone."""
        with self._store.write() as db:
            db.execute(
                "UPDATE watches SET sightings = ?, telemetry = ?, report = ? WHERE order_id = ?",
                [_text(sightings), _text(telemetry), _text(report), order_id],
            )

    def forget_ended(self, at: int) -> int:
        """Remove what no complaint can be about any more; how many there were."""
        with self._store.write() as db:
            return int(db.execute("DELETE FROM watches WHERE ends_at < ?", [at]).rowcount)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _row(row: tuple[Any, ...]) -> WatchRow:
    return WatchRow(
        order_id=row[0],
        role=row[1],
        buyer=row[2],
        bond=row[3],
        penalty_micro=row[4],
        contract=json.loads(row[5]),
        sightings=json.loads(row[6]),
        telemetry=json.loads(row[7]),
        report=json.loads(row[8]),
        paid_at=row[9],
        ends_at=row[10],
    )
