"""The line of paid jobs that wait for a place on this machine: whoever has paid first starts first."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class JobLine:
    """Order ids with the moment at which their money was there; each leaves by its own order's next step."""

    _since: dict[str, int] = field(default_factory=dict)

    def enter(self, order_id: str, paid_at: int) -> None:
        """The order is paid and waits; entering twice changes nothing."""
        self._since.setdefault(order_id, paid_at)

    def leave(self, order_id: str) -> None:
        """The order has a place now, or needs none any more."""
        self._since.pop(order_id, None)

    def ahead(self, order_id: str) -> int:
        """How many were there before; 0 for one that does not wait."""
        return len(self.before(order_id))

    def before(self, order_id: str) -> list[str]:
        """Who was there before, the first one first; nobody for one that does not wait."""
        mine = self._since.get(order_id)
        if mine is None:
            return []
        waiting = sorted((since, other) for other, since in self._since.items())
        return [other for since, other in waiting if (since, other) < (mine, order_id)]

    @property
    def first(self) -> str | None:
        """Who is next."""
        return min(self._since, key=lambda order_id: (self._since[order_id], order_id), default=None)
