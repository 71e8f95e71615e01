"""The buyer's disk is really full: the order says so, no money is stuck, and with room it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_disk import SmallDisk, small_disk
from stage import PRICE_MICRO, START_MICRO, Market, open_market, restart, trick

from openstall.app.demo.peers import wait_for
from openstall.market.errors import OpenstallError

MODEL_MB = 12
DISK_MB = 96


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    """The disk of the buyer."""
    with small_disk(tmp_path_factory.mktemp("disk") / "small", megabytes=DISK_MB) as found:
        yield found


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, disk: SmallDisk) -> Iterator[Market]:
    """A market whose buyer lives on the small disk."""
    with open_market(tmp_path_factory.mktemp("market"), homes={"buyer": disk.path / "home"}) as opened:
        yield opened


@pytest.fixture(scope="module")
def listing(market: Market) -> str:
    """A model of many megabytes on sale."""
    path = market.folder / "weights.safetensors"
    size = MODEL_MB * 1_000_000
    head = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (size // 4, size)
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(size))
    return market.publish(path, title="Weights", deliver_s=3600, review_s=3600)


@pytest.fixture(autouse=True)
def room_at_the_end(disk: SmallDisk, market: Market) -> Iterator[None]:
    """A test that fails leaves neither a full disk nor a seller who delivers nothing."""
    yield
    (disk.path / "filler").unlink(missing_ok=True)
    if tuple(market.seller.program) == trick("stay_in:seller:funded"):
        restart(market.seller)


def no_room(order: dict[str, Any]) -> bool:
    return order["trouble"] is not None and order["trouble"]["code"] == "disk_full"


def finish(market: Market, order_id: str, before: int) -> None:
    """The order goes on by itself to a checked model; then it is paid, once."""
    order = market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)
    assert order["trouble"] is None
    assert sum(item.stat().st_size for item in Path(order["library_path"]).iterdir()) > MODEL_MB * 1_000_000
    market.buyer.post(f"/v1/orders/{order_id}/complete")
    market.seller.order_until(order_id, lambda o: o["state"] == "completed", 60)
    assert market.buyer.balance_micro() == before - PRICE_MICRO
    assert market.money() == 3 * START_MICRO


def test_no_room_for_the_package_is_told_before_anything_is_paid(
    market: Market, listing: str, disk: SmallDisk
) -> None:
    before = market.buyer.balance_micro()
    disk.fill(leave_bytes=MODEL_MB * 1_000_000 // 2)
    order_id = market.buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    order = market.buyer.order_until(order_id, no_room, 60)
    assert order["state"] == "agreed"
    assert "You have not paid anything yet." in order["trouble"]["message"]
    assert "goes on by itself" in order["trouble"]["what_next"]
    assert "cancel" in order["actions"]
    wallet = market.buyer.get("/v1/wallet")
    assert (wallet["balance_micro"], wallet["held_micro"]) == (before, 0)
    disk.free()
    finish(market, order_id, before)


@pytest.mark.parametrize("leave_bytes", [0, 4_000_000])
def test_no_room_to_unpack_what_was_paid_costs_nothing(
    market: Market, listing: str, disk: SmallDisk, leave_bytes: int
) -> None:
    """Without any room not even the books can be written; with a little the package cannot be opened."""
    before = market.buyer.balance_micro()
    restart(market.seller, trick("stay_in:seller:funded"))
    order_id = market.buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    market.buyer.order_until(order_id, lambda o: o["state"] == "funded", 60)
    disk.fill(leave_bytes=leave_bytes)
    restart(market.seller)
    market.seller.order_until(order_id, lambda o: o["state"] == "delivered", 60)
    order = market.buyer.order_until(order_id, no_room, 60)
    assert order["trouble"]["what_next"]
    if leave_bytes:
        assert order["state"] == "delivered"
        assert "still in escrow" in order["trouble"]["message"]
        assert "review time" in order["trouble"]["what_next"]
        assert {"complete", "dispute"} <= set(order["actions"])
    assert not order["verified"]
    assert not order["library_path"]
    wallet = market.buyer.get("/v1/wallet")
    assert (wallet["balance_micro"], wallet["held_micro"]) == (before - PRICE_MICRO, PRICE_MICRO)
    disk.free()
    finish(market, order_id, before)


def test_a_model_that_was_paid_before_there_was_room_is_opened_later(
    market: Market, listing: str, disk: SmallDisk
) -> None:
    """A buyer may confirm without a look, or let the review time end: what is paid is not lost."""
    before = market.buyer.balance_micro()
    restart(market.seller, trick("stay_in:seller:funded"))
    order_id = market.buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    market.buyer.order_until(order_id, lambda o: o["state"] == "funded", 60)
    disk.fill(leave_bytes=4_000_000)
    restart(market.seller)
    market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and no_room(o), 60)
    market.buyer.post(f"/v1/orders/{order_id}/complete")

    def paid_without_room() -> dict[str, Any] | None:
        order = market.buyer.get(f"/v1/orders/{order_id}")
        return order if order["state"] == "completed" and no_room(order) else None

    order = wait_for(paid_without_room, 60, "the order is paid, and says what it waits for")
    assert not order["library_path"]
    assert order["state_words"].endswith("Its package is not opened yet.")
    market.buyer.kill()
    disk.free()
    market.buyer.start_again()
    opened = wait_for(
        lambda: market.buyer.get(f"/v1/orders/{order_id}")["library_path"] or None, 60, "the model is opened"
    )
    assert sum(item.stat().st_size for item in Path(opened).iterdir()) > MODEL_MB * 1_000_000
    assert market.buyer.balance_micro() == before - PRICE_MICRO
    assert market.money() == 3 * START_MICRO


def test_an_order_that_cannot_be_written_down_is_not_made(
    market: Market, listing: str, disk: SmallDisk
) -> None:
    before = market.buyer.get("/v1/orders")
    disk.fill()
    with pytest.raises(OpenstallError) as caught:
        for _ in range(200):  # what the books have set aside is used up first
            market.buyer.post("/v1/orders/buy", listing_cid=listing)
    assert caught.value.code == "disk_full"
    assert caught.value.what_next
    disk.free()
    assert market.buyer.get("/v1/orders")["total"] >= before["total"]
    assert market.money() == 3 * START_MICRO
