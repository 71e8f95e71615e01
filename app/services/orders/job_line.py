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
        mine = self._ranks.get(order_id)
        return 0 if mine is None else sum(other < mine for other in self._ranks.values())

    @property
    def first(self) -> str | None:
        """Who is next."""
        return min(self._ranks, key=self._ranks.__getitem__, default=None)
