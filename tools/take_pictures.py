"""Takes the pictures of the guides from the real window on a real market: docs/images/*.png.

    python3 dev.py pictures [name ...]

Real nodes play the journeys; at each stage the window of one of them is photographed, 1280 by 800,
light; where a page is longer, once as a whole. With names, only these are taken, and what is not needed
for them is not played.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from openstall.app.demo.dataset import LABEL, write_data
from openstall.app.demo.journeys import Cast, Story, list_model, offer_machine, open_market, rent_and_train
from openstall.app.demo.peers import DemoPeer, running_peer, wait_for
from openstall.app.demo.workshop import CREDIT, STAGE_S, workshop
from openstall.compute_agent.runtime import find_runtime

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
LIMITS = {
    "threads_cap": 1,
    "memory_free_bytes_min": 2 * 2**30,
    "disk_free_bytes_min": 10 * 2**30,
    "tariff_micro_per_kwh": 350_000_000,
    "stated_w": 60,
}
LONG_JOB = {"task": "classification", "label": LABEL, "epochs": 10_000, "seed": 7}


@dataclass(frozen=True, slots=True)
class Camera:
    """Takes the pictures that are wanted; all, if none is named."""

    wanted: frozenset[str]

    def wants(self, *names: str) -> bool:
        """Whether one of these is to be taken."""
        return not self.wanted or not self.wanted.isdisjoint(names)

    def take(self, home: Path, view: str, name: str, theme: str = "light", size: str = "1280x800") -> None:
        """Photograph one view of the window on a home folder."""
        if not self.wants(name):
            return
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-P", "-m", "openstall.ui.capture", "--home", str(home), "--out", out]
            subprocess.run(
                [*command, "--views", view, "--theme", theme, "--size", size],
                check=True,
                capture_output=True,
                env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
            )
            (picture,) = Path(out).glob("*.png")
            (IMAGES / f"{name}.png").write_bytes(picture.read_bytes())
        print(f"  docs/images/{name}.png", flush=True)


def tell(words: str, took_s: float | None) -> None:
    """Say how far it is."""
    if took_s is None:
        print(words, flush=True)


def no_picture(_peer: DemoPeer, _view: str, _name: str) -> None:
    """The pictures of the demo itself are not wanted here."""


def provider_pages(camera: Camera, cast: Cast) -> None:
    """What a provider sees, with a stranger's job on the machine."""
    provider, seller = cast.provider, cast.seller
    offer = seller.get("/v1/catalogue", type="offer")["items"][0]["cid"]
    camera.take(cast.buyer.home, f"rent:{offer}", "rent")
    order_id = seller.post(
        "/v1/orders/job",
        offer_cid=offer,
        kind="train",
        inputs={"data.csv": str(cast.provider.home.parent / "train.csv")},
        params=LONG_JOB,
        max_s=300,
        cap_micro=6_000_000,
    )["order_id"]
    seller.order_until(order_id, lambda o: o["state"] == "running" and o["job"]["seconds"] > 2, 120)
    camera.take(provider.home, "sell", "sell-compute")
    camera.take(seller.home, f"orders:{order_id}", "job")
    provider.post("/v1/compute/pause")
    camera.take(provider.home, "sell", "sell-compute-paused")
    provider.post("/v1/compute/resume")
    seller.post(f"/v1/orders/{order_id}/cancel")
    seller.order_until(order_id, lambda o: o["state"] == "settled", 120)
    camera.take(provider.home, "sell", "sell-compute-whole", size="1280x1640")
    camera.take(provider.home, "house", "house-rules")
    camera.take(provider.home, "wallet", "wallet")
    camera.take(cast.buyer.home, "demand", "why-no-job")


def buyer_pages(camera: Camera, cast: Cast, listing: str) -> None:
    """What a buyer of a model sees."""
    buyer = cast.buyer
    camera.take(buyer.home, "market", "market")
    camera.take(buyer.home, f"model:{listing}", "model")
    camera.take(buyer.home, f"buy:{listing}", "confirm")
    order_id = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"] is True, 120)
    camera.take(buyer.home, f"orders:{order_id}", "order")
    camera.take(buyer.home, f"orders:{order_id}", "order-dark", "dark")
    camera.take(buyer.home, "library", "library")


def network_page(camera: Camera, cast: Cast, folder: Path) -> None:
    """What a buyer sees of the network, a peer with an odd name among the others."""
    buyer = cast.buyer
    with running_peer("Openstall support", folder / "stranger") as stranger:
        stranger.operate("/v1/group/join", invitation=cast.provider.get("/v1/group")["invitation"])
        stranger.post("/v1/peers/connect", addr=buyer.get("/v1/peers")["self"]["addrs"][0])
        cast.seller.post("/v1/peers/connect", addr=buyer.get("/v1/peers")["self"]["addrs"][0])
        everybody = {cast.provider.peer_id, cast.seller.peer_id, stranger.peer_id}
        wait_for(partial(_measured, buyer, everybody), 120, "the peers")
        camera.take(buyer.home, "network", "network")


def _measured(peer: DemoPeer, others: set[str]) -> bool | None:
    """Whether it is connected to all of them, and knows how quickly they answer."""
    items = peer.get("/v1/peers")["items"]
    return others <= {one["peer_id"] for one in items if one["latency_ms"] is not None} or None


def made_to_order_pages(camera: Camera, cast: Cast, folder: Path, model: Path, holdout: Path) -> None:
    """What is seen of a model made to order, from the request to a dispute about it."""
    story = Story(tell=tell, picture=no_picture)
    buyer, seller = cast.buyer, cast.seller
    with workshop(story, cast, folder) as shop:
        ada, ben = shop.developers["ada"], shop.developers["ben"]
        cast.provider.post("/v1/evaluator", on=True)
        camera.take(buyer.home, "ask", "ask")
        asked: dict[str, Any] = {
            "path": str(holdout),
            "target": LABEL,
            "metric": "accuracy",
            "threshold": "0.9",
        }
        terms = {
            "title": "Cells told apart, 90 % right",
            "summary": "Tells benign from malignant by 30 measurements.",
            "licence": "MIT",
            "budget_micro": 50 * CREDIT,
            "deposit_micro": 2 * CREDIT,
            "bid_s": 2 * STAGE_S,
            "reveal_s": STAGE_S,
            "deliver_s": 1800,
            "evaluate_s": 600,
            "review_s": 10 * STAGE_S,
            "tries": 2,
            "evaluators": [cast.provider.wallet],
            "arbiter": ben.wallet,
        }
        seen = buyer.operate("/v1/requests/preview", **asked, terms=terms)["file_sha256"]
        cid = buyer.operate("/v1/requests", **asked, terms=terms, file_sha256=seen)["cid"]
        wait_for(lambda: _open_auction(ada, cid), 60, "the request")
        wait_for(lambda: _open_auction(seller, cid), 60, "the request")
        camera.take(ada.home, f"bid:{cid}", "bid")
        ada.post(f"/v1/requests/{cid}/bid", amount_micro=26 * CREDIT)
        seller.post(f"/v1/requests/{cid}/bid", amount_micro=38 * CREDIT)
        camera.take(buyer.home, f"request:{cid}", "request-own")
        order_id = wait_for(lambda: _custom_order(ada), 300, "the end of the auction")
        camera.take(ada.home, f"orders:{order_id}", "hand-in")
        ada.operate(f"/v1/orders/{order_id}/hand-in", path=str(model))
        buyer.order_until(order_id, lambda o: o["state"] == "delivered", 240)
        camera.take(buyer.home, f"orders:{order_id}", "assessment")
        buyer.post(f"/v1/orders/{order_id}/dispute", reason="Wrong on all samples of our new scanner.")
        for peer in (buyer, ada, ben):
            peer.order_until(order_id, lambda o: o["state"] == "disputed", 120)
        buyer.post(f"/v1/orders/{order_id}/say", text="It calls all samples of our new scanner malignant.")
        ada.post(f"/v1/orders/{order_id}/say", text="Your rows have no column for the scanner.")
        for peer in (buyer, ben):
            wait_for(partial(_both_wrote, peer, order_id), 120, "messages")
        camera.take(ben.home, f"orders:{order_id}", "arbiter", size="1280x2000")


def _open_auction(peer: DemoPeer, cid: str) -> bool | None:
    items = peer.get("/v1/catalogue", type="request", limit=100)["items"]
    known = any(item["cid"] == cid for item in items)
    return True if known and peer.get(f"/v1/requests/{cid}/auction")["state"] == "open" else None


def _custom_order(peer: DemoPeer) -> str | None:
    for order in peer.get("/v1/orders", role="seller")["items"]:
        if (order["kind"], order["state"]) == ("custom", "funded"):
            return str(order["order_id"])
    return None


def _both_wrote(peer: DemoPeer, order_id: str) -> bool | None:
    return len(peer.get(f"/v1/orders/{order_id}/talk")["items"]) == 2 or None


PROVIDER = (
    "rent", "sell-compute", "job", "sell-compute-paused", "sell-compute-whole", "house-rules", "wallet",
    "why-no-job",
)  # fmt: skip
BUYER = ("market", "model", "confirm", "order", "order-dark", "library")
MADE_TO_ORDER = ("ask", "bid", "request-own", "hand-in", "assessment", "arbiter")
NAMES = ("first-run", "sell-compute-off", *PROVIDER, *BUYER, *MADE_TO_ORDER, "network")


def first_run(camera: Camera, folder: Path) -> None:
    """What a newcomer sees."""
    camera.take(folder, "now", "first-run")
    subprocess.run(
        [sys.executable, "-m", "openstall.app.cli.main", "--home", str(folder), "node", "stop"],
        check=True,
        capture_output=True,
    )


def trade(camera: Camera, story: Story, cast: Cast, folder: Path, holdout: Path) -> None:
    """From the first offer to a dispute."""
    offer_machine(story, cast)
    cast.provider.post("/v1/compute/house", rules=LIMITS)
    model = rent_and_train(story, cast, folder / "train.csv", folder / "trained")
    listing = list_model(story, cast, model)
    wait_for(lambda: cast.buyer.get("/v1/catalogue", type="offer")["items"] or None, 60, "the offer")
    if camera.wants(*PROVIDER):
        provider_pages(camera, cast)
    if camera.wants(*BUYER):
        buyer_pages(camera, cast, listing["cid"])
    if camera.wants(*MADE_TO_ORDER):
        made_to_order_pages(camera, cast, folder, model, holdout)


def main() -> None:
    """Play, and photograph."""
    unknown = sorted(set(sys.argv[1:]) - set(NAMES))
    if unknown:
        sys.exit(f"There is no picture {', '.join(unknown)}. There are: {', '.join(NAMES)}.")
    camera = Camera(frozenset(sys.argv[1:]))
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="openstall-pictures-") as name, ExitStack() as stack:
        folder = Path(name)
        if camera.wants("first-run"):
            first_run(camera, folder / "newcomer")
        _, holdout = write_data(find_runtime(), folder)
        peers = {
            who: stack.enter_context(running_peer(who, folder / who))
            for who in ("provider", "seller", "buyer")
        }
        cast, story = Cast(**peers), Story(tell=tell, picture=no_picture)
        open_market(story, cast)
        camera.take(cast.provider.home, "sell", "sell-compute-off")
        if camera.wants(*PROVIDER, *BUYER, *MADE_TO_ORDER):
            trade(camera, story, cast, folder, holdout)
        if camera.wants("network"):
            network_page(camera, cast, folder)


if __name__ == "__main__":
    main()
