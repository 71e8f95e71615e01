"""What this node has seen of others in orders for models: nobody else's word counts, and no other kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openstall.app.services.requests.standing import standing_of
from openstall.market.requests.matching import Standing
from openstall.store.database import Store
from openstall.store.orders import Orders

NOW = 1_800_000_000
DAY = 86_400


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Orders]:
    store = Store(tmp_path / "s.sqlite")
    yield Orders(store)
    store.close()


def ended(orders: Orders, name: str, state: str, event: str, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "order_id": name,
        "kind": "sale",
        "role": "buyer",
        "other": "maker",
        "state": "funded",
        "doc": b"signed bytes",
        "buyer_signature": "a",
        "seller_signature": "b",
        "data": {},
        "at": NOW - DAY,
        "words": "w",
        "actor": "you",
    }
    orders.add(**fields | changes)
    orders.transition(
        name,
        from_state="funded",
        to_state=state,
        event=event,
        actor="other",
        words="w",
        tx=None,
        at=NOW - DAY,
        data={},
    )


def of(orders: Orders, *, role: str = "buyer", now: int = NOW) -> Standing:
    return standing_of(orders, "maker", role=role, now=now)


def test_nothing_seen_is_a_newcomer(orders: Orders) -> None:
    assert of(orders) == Standing(score=0, good_milli=0, bad_milli=0, is_new=True)


def test_orders_that_ended_well_make_it_known_and_age(orders: Orders) -> None:
    for number in range(6):
        ended(orders, f"o{number}", "completed", "complete")
    found = of(orders)
    assert (found.is_new, found.bad_milli) == (False, 0)
    assert 6_000 < found.score < 8_000
    assert of(orders, now=NOW + 400 * DAY).is_new, "what is long ago says little"


def test_money_that_came_back_by_the_deadline_counts_against_it(orders: Orders) -> None:
    ended(orders, "late", "refunded", "refund")
    assert (of(orders).good_milli, of(orders).bad_milli > 900) == (0, True)


def test_an_order_that_the_seller_gave_back_says_nothing(orders: Orders) -> None:
    ended(orders, "back", "refunded", "cancel")
    assert (of(orders).good_milli, of(orders).bad_milli) == (0, 0)


def test_other_peers_other_roles_and_rented_machines_do_not_count(orders: Orders) -> None:
    ended(orders, "a", "completed", "complete", other="somebody")
    ended(orders, "b", "completed", "complete", role="seller")
    ended(orders, "c", "completed", "complete", kind="compute")
    assert of(orders).good_milli == 0
    assert of(orders, role="seller").good_milli > 900


def test_a_model_made_to_order_counts_like_one_that_was_sold(orders: Orders) -> None:
    ended(orders, "a", "completed", "claim", kind="custom")
    assert of(orders).good_milli > 900
