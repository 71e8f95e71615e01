"""The line of paid jobs that wait for a place on this machine; see `market.orders.line` for who is next."""

from __future__ import annotations

from dataclasses import dataclass, field

from openstall.market.orders.line import Rank, rank


@dataclass(slots=True)
class JobLine:
    """Order ids with their ranks; each leaves by its own order's next step."""

    _ranks: dict[str, Rank] = field(default_factory=dict)

    def enter(self, order_id: str, paid_at: int, head_s: int = 0) -> None:
        """The order is paid and waits, with its head start; entering twice changes nothing."""
        self._ranks.setdefault(order_id, rank(order_id, paid_at=paid_at, head_s=head_s))

    def leave(self, order_id: str) -> None:
        """The order has a place now, or needs none any more."""
        self._ranks.pop(order_id, None)

    def ahead(self, order_id: str) -> int:
        """How many start before; 0 for one that does not wait."""
        return len(self.before(order_id))

    def before(self, order_id: str) -> list[str]:
        """Who starts before, the first one first; nobody for one that does not wait."""
        mine = self._ranks.get(order_id)
        if mine is None:
            return []
        return [
            other for other in sorted(self._ranks, key=self._ranks.__getitem__) if self._ranks[other] < mine
        ]

    @property
    def first(self) -> str | None:
        """Who is next."""
        return min(self._ranks, key=self._ranks.__getitem__, default=None)
