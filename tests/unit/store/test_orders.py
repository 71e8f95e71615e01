"""The order book: append-only, compare-and-set, one transaction a step."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest

from openstall.market.errors import NotFound
from openstall.store.database import Store
from openstall.store.orders import OrderRow, Orders


@pytest.fixture
def orders(store: Store) -> Orders:
    return Orders(store)


def add(orders: Orders, order_id: str = "o1", **changes: Any) -> OrderRow:
    fields: dict[str, Any] = {
        "order_id": order_id,
        "kind": "sale",
        "role": "buyer",
        "other": "peer",
        "state": "proposed",
        "doc": b"signed bytes",
        "buyer_signature": "sig",
        "seller_signature": "",
        "data": {"a": 1},
        "at": 100,
        "words": "You signed.",
        "actor": "you",
    }
    return orders.add(**{**fields, **changes})


def move(orders: Orders, source: str, target: str, **changes: Any) -> OrderRow:
    fields: dict[str, Any] = {
        "from_state": source,
        "to_state": target,
        "event": "step",
        "actor": "you",
        "words": "w",
        "tx": None,
        "at": 200,
        "data": {},
    }
    return orders.transition("o1", **{**fields, **changes})


def test_entering_twice_changes_nothing(orders: Orders) -> None:
    first = add(orders)
    again = add(orders, state="other", doc=b"other")
    assert first == again
    assert len(orders.events("o1")) == 1


def test_a_step_changes_state_data_and_history_together(orders: Orders) -> None:
    add(orders)
    row = move(orders, "proposed", "agreed", data={"b": 2}, tx="0x1", seller_signature="theirs")
    assert (row.state, row.data, row.seller_signature, row.changed_at) == (
        "agreed",
        {"a": 1, "b": 2},
        "theirs",
        200,
    )
    assert [(one.from_state, one.to_state, one.tx) for one in orders.events("o1")] == [
        ("", "proposed", None),
        ("proposed", "agreed", "0x1"),
    ]
    assert row.doc == b"signed bytes"


def test_a_step_from_a_state_that_is_gone_does_nothing(orders: Orders) -> None:
    add(orders)
    move(orders, "proposed", "agreed")
    row = move(orders, "proposed", "lapsed", data={"x": 1})
    assert (row.state, "x" in row.data) == ("agreed", False)
    assert len(orders.events("o1")) == 2


def test_of_two_racing_steps_one_wins(orders: Orders) -> None:
    add(orders)
    results: list[str] = []
    barrier = threading.Barrier(4)

    def race(target: str) -> None:
        barrier.wait()
        results.append(move(orders, "proposed", target).state)

    threads = [threading.Thread(target=race, args=(f"s{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(orders.events("o1")) == 2


def test_patch_keeps_the_time_of_the_state(orders: Orders) -> None:
    add(orders)
    row = orders.patch("o1", {"a": None, "c": [1]})
    assert (row.data, row.changed_at) == ({"c": [1]}, 100)


def test_events_cannot_be_changed_or_deleted(store: Store, orders: Orders) -> None:
    add(orders)
    for statement in ("UPDATE order_events SET words = 'x'", "DELETE FROM order_events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), store.write() as db:
            db.execute(statement)
    assert orders.events("o1")[0].words == "You signed."


def test_lists(orders: Orders) -> None:
    add(orders, "o1", at=1)
    add(orders, "o2", at=2, role="seller", kind="compute")
    add(orders, "o3", at=3, state="done")
    assert orders.list_ids() == ["o3", "o2", "o1"]
    assert orders.list_ids(role="seller") == ["o2"]
    assert orders.list_ids(kind="sale", state="done") == ["o3"]
    assert orders.open_ids(["done"]) == ["o1", "o2"]
    assert orders.count_open("peer", ["done"]) == 2


def test_unknown_order(orders: Orders) -> None:
    assert orders.find("nope") is None
    for call in (
        lambda: orders.get("nope"),
        lambda: orders.patch("nope", {}),
        lambda: move(orders, "a", "b"),
    ):
        with pytest.raises(NotFound):
            call()
