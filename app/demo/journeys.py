"""The two journeys of the demo: a model is trained on a rented machine, then sold to a stranger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, wait_for
from openstall.market.errors import OpenstallError

PRICE_PER_S_MICRO = 20_000
JOB_CAP_MICRO = 5_000_000
JOB_MAX_S = 200
MODEL_PRICE_MICRO = 25_000_000
WORTHY = 0.9
"""The demo fails if the bought model is right on fewer of the rows it never saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The three peers; the provider also hosts the chain and is the sale's arbiter."""

    provider: DemoPeer
    seller: DemoPeer
    buyer: DemoPeer

    @property
    def all(self) -> list[DemoPeer]:
        """In the order of the receipt."""
        return [self.provider, self.seller, self.buyer]


@dataclass(slots=True)
class Story:
    """What happened, for the receipt."""

    tell: Callable[[str, float | None], None]
    """Is given the words of each step: without a time when it begins, with its seconds when it is done."""
    picture: Callable[[DemoPeer, str, str], None]
    steps: list[tuple[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, words: str) -> Iterator[None]:
        """A step with its duration in seconds."""
        self.tell(words, None)
        begun = time.monotonic()
        yield
        took = time.monotonic() - begun
        self.steps.append((words, took))
        self.tell(words, took)


def open_market(story: Story, cast: Cast) -> None:
    """The provider hosts a group; the others join by invitation; everybody takes the group's play money."""
    provider, seller, buyer = cast.all
    with story.step("The provider opens a group with its own chain"):
        provider.operate("/v1/group/create", name="Demo market")
        invitation = provider.get("/v1/group")["invitation"]
    for peer in (seller, buyer):
        with story.step(f"The {peer.name} joins by invitation"):
            peer.operate("/v1/group/join", invitation=invitation)
    with story.step("Everybody takes 1,000 credits of play money"):
        for peer in (provider, seller, buyer):
            peer.operate("/v1/wallet/faucet")
            peer.notes["before_micro"] = peer.balance_micro()


def offer_machine(story: Story, cast: Cast) -> None:
    """The provider rents its machine out."""
    with story.step("The provider checks its sandbox and puts its machine on offer"):
        # else the demo would wait until nobody uses this computer
        cast.provider.post("/v1/compute/house", rules={})
        cast.provider.post(
            "/v1/compute/sell",
            price_per_s_micro=PRICE_PER_S_MICRO,
            max_job_s=600,
            memory_bytes=2 * 2**30,
            threads=1,
            kinds=["infer", "train", "evaluate"],
            ttl_s=3600,
        )
    story.picture(cast.provider, "sell", "provider-sell-compute")


def rent_and_train(story: Story, cast: Cast, train: Path, folder: Path) -> Path:
    """Journey 3: the seller trains its model as a job on the provider's machine; returns the model."""
    provider, seller = cast.provider, cast.seller
    with story.step("The seller finds the offer"):
        offer = first(seller, "offer", "")
    with story.step("The seller trains on the provider's machine, in the sandbox, paid by the second"):
        order_id = seller.post(
            "/v1/orders/job",
            offer_cid=offer["cid"],
            kind="train",
            inputs={"data.csv": str(train)},
            params={"task": "classification", "label": LABEL, "epochs": 300, "seed": 7},
            max_s=JOB_MAX_S,
            cap_micro=JOB_CAP_MICRO,
        )["order_id"]
        order = seller.order_until(order_id, lambda o: o["state"] == "settled" and fetched(o), 300)
    result = order["job"]["result"]
    if result["state"] != "done":
        raise OpenstallError(
            result["reason"], f"The training job ended as “{result['state']}”: {result['words']}"
        )
    story.facts["job"] = order
    story.facts["job_gas"] = order["transactions"] + provider.get(f"/v1/orders/{order_id}")["transactions"]
    story.picture(seller, f"orders:{order_id}", "seller-job")
    seller.post(f"/v1/orders/{order_id}/save", folder=str(folder))
    return folder / "model.onnx"


def list_model(story: Story, cast: Cast, model: Path) -> dict[str, Any]:
    """The seller puts the model on sale; returns the listing as the buyer's catalogue has it."""
    seller, buyer = cast.seller, cast.buyer
    report = json.loads((model.parent / "report.json").read_text())
    metrics = [{**found, "data": "the seller's own test split"} for found in report["metrics"]]
    with story.step("The seller publishes the model"):
        package = model.parent / "package"
        package.mkdir()
        (package / "model.onnx").write_bytes(model.read_bytes())
        seller.operate(
            "/v1/models/publish",
            path=str(package),
            title="Breast cancer screening from cell measurements",
            summary="Tells benign from malignant by 30 measurements of a fine needle aspirate. Small, fast.",
            licence="Apache-2.0",
            price_micro=MODEL_PRICE_MICRO,
            card={
                "intended_use": "Teaching and comparison. Not a medical device.",
                "training_data": "70 % of the Wisconsin diagnostic breast cancer data (UCI, CC BY 4.0).",
                "limits": "One hospital, 1990s images; other laboratories measure differently.",
                "metrics": metrics,
            },
            review_s=86_400,
            deliver_s=600,
            arbiter=cast.provider.wallet,
        )
    with story.step("The buyer finds it by search"):
        return first(buyer, "listing", "breast cancer")


def buy_and_check(story: Story, cast: Cast, listing: dict[str, Any], holdout: Path) -> None:
    """Journey 1: the buyer buys the model, checks it on rows that the seller never had, and accepts it."""
    seller, buyer = cast.seller, cast.buyer
    story.picture(buyer, "market", "buyer-market")
    story.picture(buyer, f"model:{listing['cid']}", "buyer-model-page")
    with story.step("The buyer pays into escrow, gets the package and then the key"):
        order_id = buyer.post("/v1/orders/buy", listing_cid=listing["cid"])["order_id"]
        order = buyer.order_until(
            order_id, lambda o: o["state"] == "delivered" and o["verified"] is True, 120
        )
    story.picture(buyer, f"orders:{order_id}", "buyer-order-delivered")
    with story.step("The buyer runs it in the sandbox on 171 rows that the seller never had"):
        run = buyer.operate("/v1/models/run", order_id=order_id, rows_path=str(holdout), label=LABEL)
    accuracy = metric(run["report"], "accuracy")
    story.facts |= {"accuracy": accuracy, "rows": run["rows"], "listing": listing}
    if accuracy < WORTHY:
        raise OpenstallError("weak_model", f"The bought model is right on only {accuracy:.1%} of the rows.")
    with story.step("The buyer accepts; the seller is paid from escrow"):
        buyer.post(f"/v1/orders/{order_id}/complete")
        order = buyer.order_until(order_id, lambda o: o["state"] == "completed", 60)
        seller.order_until(order_id, lambda o: o["state"] == "completed", 60)
    story.facts["sale"] = order
    story.facts["sale_gas"] = order["transactions"] + seller.get(f"/v1/orders/{order_id}")["transactions"]
    story.picture(buyer, "wallet", "buyer-wallet")
    story.picture(buyer, "network", "buyer-network")


def metric(report: dict[str, Any], name: str) -> float:
    """A metric of a job's report."""
    return float(next(found["value"] for found in report["metrics"] if found["name"] == name))


def first(peer: DemoPeer, kind: str, query: str) -> dict[str, Any]:
    """The first record of a kind that a peer finds, once there is one."""

    def found() -> dict[str, Any] | None:
        items = peer.get("/v1/catalogue", type=kind, q=query)["items"]
        return items[0] if items else None

    item: dict[str, Any] = wait_for(found, 60, f"{peer.name}: a {kind} in the catalogue")
    return item


def fetched(order: dict[str, Any]) -> bool:
    """Whether the results of a job are on the disk."""
    artefacts = order["job"]["artefacts"]
    return all(item["path"] for item in artefacts) and order["job"]["result"] is not None
