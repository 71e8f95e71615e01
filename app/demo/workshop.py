"""Journey 2 of the demo: the buyer asks for models that do not exist; three developers bid in sealed bids.

Two requests run side by side, because their auctions and reviews take minutes: one that can be reached,
and one that asks for more than any model has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.journeys import JOB_CAP_MICRO, JOB_MAX_S, Cast, Story, fetched, first
from openstall.app.demo.peers import DemoPeer, running_peer, wait_for
from openstall.market.errors import OpenstallError

CREDIT = 1_000_000
BUDGET_MICRO = 50 * CREDIT
BIDS_MICRO = {"seller": 38 * CREDIT, "ada": 26 * CREDIT, "ben": 31 * CREDIT}
"""The lowest is Ada's; she is paid Ben's."""
RECIPES: dict[str, dict[str, Any]] = {
    "ada": {"hidden": [32, 16], "epochs": 120, "seed": 11},
    "ben": {"hidden": [8], "epochs": 40, "seed": 12},
}
STAGE_S = 60
"""The shortest that the contracts know: for bids, for their opening, for the review."""
REACHABLE, OUT_OF_REACH = "0.9", "1"
ENDS = {"reachable": ("delivered", "completed"), "out_of_reach": ("failed", "refunded")}
"""The states that show the outcome of each request, the last one when the money has moved."""


@dataclass(slots=True)
class Workshop:
    """The developers, and what they were asked for."""

    developers: dict[str, DemoPeer]
    requests: dict[str, str] = field(default_factory=dict)
    """The cids of the two requests: `reachable` and `out_of_reach`."""
    opened_at: float = 0.0


@contextmanager
def workshop(story: Story, cast: Cast, folder: Path) -> Iterator[Workshop]:
    """Two more developers join the group."""
    with ExitStack() as stack:
        with story.step("Two more developers, Ada and Ben, join the group"):
            found = {"seller": cast.seller}
            for name in RECIPES:
                peer = found[name] = stack.enter_context(running_peer(name, folder / name))
                peer.operate("/v1/group/join", invitation=cast.provider.get("/v1/group")["invitation"])
                peer.operate("/v1/wallet/faucet")
                peer.notes["before_micro"] = peer.balance_micro()
        yield Workshop(found)


def ask_and_bid(story: Story, cast: Cast, shop: Workshop, holdout: Path) -> None:
    """The buyer asks for two models, each measured on rows that no developer sees; everybody bids."""
    with story.step("The provider agrees to measure models for others"):
        cast.provider.post("/v1/evaluator", on=True)
    for name, threshold in (("reachable", REACHABLE), ("out_of_reach", OUT_OF_REACH)):
        with story.step(f"The buyer asks for a model that is right on {float(threshold):.0%} of sealed rows"):
            asked: dict[str, Any] = {
                "path": str(holdout),
                "target": LABEL,
                "metric": "accuracy",
                "threshold": threshold,
                "terms": {
                    "title": f"Cells told apart, {float(threshold):.0%} right",
                    "summary": "Tells benign from malignant by 30 measurements.",
                    "licence": "MIT",
                    "budget_micro": BUDGET_MICRO,
                    "deposit_micro": BUDGET_MICRO // 20,
                    "bid_s": STAGE_S,
                    "reveal_s": STAGE_S,
                    "deliver_s": 1800,
                    "evaluate_s": 600,
                    "review_s": STAGE_S,
                    "tries": 1,
                    "evaluators": [cast.provider.wallet],
                },
            }
            seen = cast.buyer.operate("/v1/requests/preview", **asked)["file_sha256"]
            made = cast.buyer.operate("/v1/requests", **asked, file_sha256=seen)
            shop.requests[name] = made["cid"]
    with story.step("Three developers make sealed bids for both; each bid has its deposit"):
        for cid in shop.requests.values():
            for name, developer in shop.developers.items():
                wait_for(partial(_sees, developer, cid), 60, "the request")
                developer.post(f"/v1/requests/{cid}/bid", amount_micro=BIDS_MICRO[name])
    shop.opened_at = time.monotonic()


def train_models(story: Story, shop: Workshop, train: Path, folder: Path) -> dict[str, Path]:
    """Ada and Ben train different models, each as a job on the provider's machine."""
    found = {}
    for name, recipe in RECIPES.items():
        developer = shop.developers[name]
        with story.step(f"{name.title()} trains another model on the provider's machine"):
            offer = first(developer, "offer", "")
            order_id = developer.post(
                "/v1/orders/job",
                offer_cid=offer["cid"],
                kind="train",
                inputs={"data.csv": str(train)},
                params={"task": "classification", "label": LABEL, **recipe},
                max_s=JOB_MAX_S,
                cap_micro=JOB_CAP_MICRO,
            )["order_id"]
            developer.order_until(order_id, lambda o: o["state"] == "settled" and fetched(o), 300)
            developer.post(f"/v1/orders/{order_id}/save", folder=str(folder / name))
        found[name] = folder / name / "model.onnx"
    return found


def deliver(story: Story, cast: Cast, shop: Workshop, models: dict[str, Path]) -> None:
    """The bids are opened, the winner hands its model in, evaluators measure, the money follows by itself."""
    developer = shop.developers["ada"]
    with story.step("The time for bids ends, the nodes open them, the lowest wins at the second price"):
        orders = {
            name: wait_for(partial(_won, developer, cid), 4 * STAGE_S, "the end of an auction")
            for name, cid in shop.requests.items()
        }
    with story.step("Ada hands her model in for both; the evaluator measures it in its sandbox"):
        for order_id in orders.values():
            developer.operate(f"/v1/orders/{order_id}/hand-in", path=str(models["ada"]))
        for name, states in ENDS.items():
            cast.buyer.order_until(orders[name], partial(_is_in, states), 240)
    story.picture(cast.buyer, f"orders:{orders['reachable']}", "buyer-assessment")
    with story.step("Nobody disputes: one is paid, for the other the buyer has its money back"):
        for name, states in ENDS.items():
            order = cast.buyer.order_until(orders[name], partial(_is_in, states[-1:]), 4 * STAGE_S)
            story.facts[name] = _facts(cast, shop, shop.requests[name], order)
    paid = [story.facts[name]["paid_micro"] for name in ENDS]
    if paid != [sorted(BIDS_MICRO.values())[1], 0]:
        raise OpenstallError("wrong_price", f"The buyer paid {paid} micro-credits for the two models.")


def _facts(cast: Cast, shop: Workshop, cid: str, order: dict[str, Any]) -> dict[str, Any]:
    """What the receipt says of one request: bids, price, measurement, gas."""
    auction = cast.buyer.get(f"/v1/requests/{cid}/auction")
    peers = {peer.wallet: peer for peer in (*cast.all, *shop.developers.values())}
    gas = [
        item for peer in peers.values() for item in peer.get(f"/v1/requests/{cid}/auction")["transactions"]
    ]
    for peer in (cast.buyer, shop.developers["ada"], cast.provider):
        gas += peer.get(f"/v1/orders/{order['order_id']}")["transactions"]
    names = {developer.wallet.lower(): name for name, developer in shop.developers.items()}
    (verdict,) = order["custom"]["verdicts"]
    (figure,) = verdict["figures"]
    return {
        "order_id": order["order_id"],
        "request": cid,
        "state": order["state"],
        "bids": [
            {"who": names[bid["bidder"]], "amount_micro": bid["amount_micro"]} for bid in auction["bids"]
        ],
        "winner": names[auction["winner"]],
        "price_micro": auction["price_micro"],
        "paid_micro": order["paid_micro"],
        "metric": figure,
        "threshold": order["terms"]["threshold"],
        "passed": verdict["passed"],
        "rows": order["terms"]["rows"],
        "transactions": gas,
    }


def _sees(peer: DemoPeer, cid: str) -> bool | None:
    items = peer.get("/v1/catalogue", type="request", limit=100)["items"]
    auction = any(item["cid"] == cid for item in items) and peer.get(f"/v1/requests/{cid}/auction")
    return True if auction and auction["state"] == "open" else None


def _won(peer: DemoPeer, cid: str) -> str | None:
    for order in peer.get("/v1/orders", role="seller")["items"]:
        if order["kind"] == "custom" and order["state"] == "funded":
            found = peer.get(f"/v1/orders/{order['order_id']}")
            if found["terms"]["request"] == cid:
                return str(order["order_id"])
    return None


def _is_in(states: tuple[str, ...], order: dict[str, Any]) -> bool:
    return order["state"] in states
