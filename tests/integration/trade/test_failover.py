"""A provider dies in the middle of a job: another goes on from the last checkpoint, under the same cap."""

from __future__ import annotations

import json
from typing import Any

from stage import CREDIT, RULES, START_MICRO, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, wait_for

EPOCHS = 4_000
CAP_MICRO = 3 * CREDIT
RECIPE = {"task": "classification", "label": LABEL, "epochs": EPOCHS, "seed": 5, "checkpoint_s": 1}


def offer_of(market: Market, provider: DemoPeer, **changes: Any) -> str:
    """A peer puts its machine on offer; returns the offer's cid as the seller's node sees it."""
    cid = provider.post("/v1/compute/sell", **{**RULES, **changes})["cid"]
    return market.seen_by(market.seller, cid)


def until(peer: DemoPeer, order_id: str, what: str, look: Any, timeout_s: float = 120) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        order = peer.get(f"/v1/orders/{order_id}")
        return order if look(order) else None

    order: dict[str, Any] = wait_for(found, timeout_s, f"{peer.name}: {what}")
    return order


def test_a_provider_who_does_not_answer_is_passed_over(market: Market) -> None:
    dead, short = market.buyer, {**RECIPE, "epochs": 3}
    offer = offer_of(market, dead)
    offer_of(market, market.provider)
    dead.kill()
    first = market.rent(offer, params=short, tries=2, patience_s=10)
    second = until(market.seller, first, "another provider", lambda o: o["continued_by"])["continued_by"]
    order = market.seller.order_until(second, lambda o: o["state"] == "settled", 120)
    assert order["job"]["result"]["state"] == "done"
    assert until(market.seller, first, "nothing paid", lambda o: o["paid_micro"] == 0)["state"] == "proposed"
    dead.start_again()


def test_without_leave_a_job_stays_with_its_provider(market: Market) -> None:
    offer = offer_of(market, market.buyer, jobs_at_once=1)
    offer_of(market, market.provider)
    before_it = market.rent(offer, params=RECIPE)
    market.seller.order_until(before_it, lambda o: o["state"] == "running", 60)
    first = market.rent(offer, params=RECIPE)
    order = until(market.seller, first, "declined", lambda o: o["final"])
    assert (order["state"], order["continued_by"]) == ("declined", None)
    market.seller.post(f"/v1/orders/{before_it}/cancel")
    market.seller.order_until(before_it, lambda o: o["state"] == "settled", 60)


def test_a_job_goes_on_with_a_second_provider_and_is_paid_once(market: Market) -> None:
    """Here the seller of models orders the job, and the buyer of models is the provider who dies."""
    buyer, dying = market.seller, market.buyer
    # Time enough for the dead one to come back for its pay, however long the second job takes.
    first_offer = offer_of(market, dying, withdraw_delay_s=3600)
    offer_of(market, market.provider)
    before = buyer.balance_micro()
    first = market.rent(first_offer, params=RECIPE, cap_micro=CAP_MICRO, max_s=300, tries=2, patience_s=10)
    kept = until(buyer, first, "a checkpoint", lambda o: o["job"]["checkpoint"])["job"]["checkpoint"]
    until(dying, first, "a voucher", lambda o: o["paid_micro"])
    dying.kill()

    second = until(buyer, first, "another provider", lambda o: o["continued_by"])["continued_by"]
    left = buyer.get(f"/v1/orders/{first}")
    assert left["job"]["checkpoint"]["done"] >= kept["done"]
    order = buyer.order_until(
        second,
        lambda o: o["state"] == "settled" and o["job"]["artefacts"] and o["job"]["artefacts"][0]["path"],
        400,
    )
    assert order["continues"] == first
    assert order["job"]["result"]["state"] == "done"
    assert order["contract"]["seller"] == market.provider.peer_id
    lines = [line["text"] for line in buyer.get(f"/v1/orders/{second}/log")["lines"]]
    assert f"goes on from a checkpoint after epoch {left['job']['checkpoint']['done']}" in lines
    assert order["job"]["cap_micro"] <= CAP_MICRO - left["paid_micro"]

    buyer.post(f"/v1/orders/{second}/save", folder=str(market.folder / "rest"))
    report = json.loads((market.folder / "rest" / "report.json").read_text())
    assert float(next(one["value"] for one in report["metrics"] if one["name"] == "accuracy")) > 0.9

    # The dead one comes back and is paid for what it did; the last voucher may have died with it.
    dying.start_again()
    ended = until(buyer, first, "settled", lambda o: o["state"] == "settled")
    assert 0 < ended["paid_micro"] <= left["paid_micro"]
    assert buyer.balance_micro() == before - ended["paid_micro"] - order["paid_micro"]
    assert ended["paid_micro"] + order["paid_micro"] <= CAP_MICRO
    assert market.money() == 3 * START_MICRO
