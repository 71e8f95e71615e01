"""How others have kept their orders for models with this node, by this node's own books."""

from __future__ import annotations

from openstall.market.mechanisms.reliability import Evidence, explain
from openstall.market.mechanisms.reliability_words import What
from openstall.market.requests.matching import Standing
from openstall.store.orders import Orders

_KINDS = ("sale", "custom")
_MEANS: dict[tuple[str, str], What] = {
    ("buyer", "completed"): "done",
    ("seller", "completed"): "done",
    ("buyer", "refunded"): "late",
}
"""Seen as a buyer, money that came back by the deadline weighs against the seller."""


def standing_of(orders: Orders, peer_id: str, *, role: str, now: int) -> Standing:
    """What this node has seen of a peer in orders where it was itself `role` (buyer or seller)."""
    evidence = []
    for (own_role, state), what in _MEANS.items():
        if own_role != role:
            continue
        for kind in _KINDS:
            for order_id in orders.list_ids(role=role, kind=kind, state=state, other=peer_id):
                called_off = any(event.event == "cancel" for event in orders.events(order_id))
                if not (state == "refunded" and called_off):
                    at = orders.get(order_id).changed_at
                    evidence.append(Evidence(at=at, what=what, order_id=order_id))
    found = explain(evidence, now)
    return Standing(
        score=found.score, good_milli=found.good_milli, bad_milli=found.bad_milli, is_new=found.is_new
    )
