"""The highest voucher of each payment channel: what the provider may claim, what the buyer has signed."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.market.errors import Conflict
from openstall.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherRow:
    """A cumulative promise; `count` is how many were kept so far, this one included."""

    channel_id: str
    order_id: str
    amount_micro: int
    signature: bytes
    count: int


class Vouchers:
    """Thread-safe; every method blocks on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(
        self, *, channel_id: str, order_id: str, amount_micro: int, signature: bytes, at: int
    ) -> VoucherRow:
        """Keep a voucher; on disk when this returns. The same one twice changes nothing.

        Raises:
            Conflict: a higher one, or another with this amount, is kept already.
        """
        with self._store.write() as db:
            held = db.execute(
                "SELECT amount_micro, signature FROM vouchers WHERE channel_id = ?", [channel_id]
            ).fetchone()
            if held is not None and (amount_micro, signature) != (held[0], bytes(held[1])):
                if amount_micro <= held[0]:
                    raise Conflict(
                        "voucher_not_higher", "A voucher may only promise more than the one before."
                    )
                held = None
            if held is None:
                db.execute(
                    "INSERT INTO vouchers (channel_id, order_id, amount_micro, signature, count, changed_at) "
                    "VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (channel_id) DO UPDATE SET "
                    "amount_micro = excluded.amount_micro, signature = excluded.signature, "
                    "count = count + 1, changed_at = excluded.changed_at",
                    [channel_id, order_id, amount_micro, signature, at],
                )
        kept = self.highest(channel_id)
        if kept is None:
            raise RuntimeError("a voucher that was just kept is gone")
        return kept

    def highest(self, channel_id: str) -> VoucherRow | None:
        """The voucher that counts, or None before the first."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT channel_id, order_id, amount_micro, signature, count FROM vouchers "
                "WHERE channel_id = ?",
                [channel_id],
            ).fetchone()
        if row is None:
            return None
        return VoucherRow(
            channel_id=row[0], order_id=row[1], amount_micro=row[2], signature=bytes(row[3]), count=row[4]
        )

    def promised(self, order_id: str) -> int:
        """The highest amount of an order's vouchers, in micro-credits; 0 before the first."""
        with self._store.read() as db:
            row = db.execute(
                "SELECT max(amount_micro) FROM vouchers WHERE order_id = ?", [order_id]
            ).fetchone()
        return int(row[0] or 0)
