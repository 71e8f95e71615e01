"""Takes the pictures of the guides from the real window on a real market: docs/images/*.png.

    python3 dev.py pictures

Three nodes play both journeys; at each stage the window of one of them is photographed, 1280 by 800,
light; where a page is longer, once as a whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from openstall.app.demo.dataset import LABEL, write_data
from openstall.app.demo.journeys import Cast, Story, list_model, offer_machine, open_market, rent_and_train
from openstall.app.demo.peers import DemoPeer, running_peer, wait_for
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


def take(home: Path, view: str, name: str, theme: str = "light", size: str = "1280x800") -> None:
    """Photograph one view of the window on a home folder."""
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


def provider_pages(cast: Cast) -> None:
    """What a provider sees, with a stranger's job on the machine."""
    provider, seller = cast.provider, cast.seller
    offer = seller.get("/v1/catalogue", type="offer")["items"][0]["cid"]
    take(cast.buyer.home, f"rent:{offer}", "rent")
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
    take(provider.home, "sell", "sell-compute")
    take(seller.home, f"orders:{order_id}", "job")
    provider.post("/v1/compute/pause")
    take(provider.home, "sell", "sell-compute-paused")
    provider.post("/v1/compute/resume")
    seller.post(f"/v1/orders/{order_id}/cancel")
    seller.order_until(order_id, lambda o: o["state"] == "settled", 120)
    take(provider.home, "sell", "sell-compute-whole", size="1280x1640")
    take(provider.home, "house", "house-rules")
    take(provider.home, "wallet", "wallet")
    take(cast.buyer.home, "demand", "why-no-job")


def buyer_pages(cast: Cast, listing: str) -> None:
    """What a buyer of a model sees."""
    buyer = cast.buyer
    take(buyer.home, "market", "market")
    take(buyer.home, f"model:{listing}", "model")
    take(buyer.home, f"buy:{listing}", "confirm")
    order_id = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"] is True, 120)
    take(buyer.home, f"orders:{order_id}", "order")
    take(buyer.home, f"orders:{order_id}", "order-dark", "dark")
    take(buyer.home, "library", "library")
    take(buyer.home, "network", "network")


def main() -> None:
    """Play, and photograph."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="openstall-pictures-") as name, ExitStack() as stack:
        folder = Path(name)
        newcomer = folder / "newcomer"
        take(newcomer, "now", "first-run")
        subprocess.run(
            [sys.executable, "-m", "openstall.app.cli.main", "--home", str(newcomer), "node", "stop"],
            check=True,
            capture_output=True,
        )
        write_data(find_runtime(), folder)
        peers = {
            who: stack.enter_context(running_peer(who, folder / who))
            for who in ("provider", "seller", "buyer")
        }
        cast, story = Cast(**peers), Story(tell=tell, picture=no_picture)
        open_market(story, cast)
        take(cast.provider.home, "sell", "sell-compute-off")
        offer_machine(story, cast)
        cast.provider.post("/v1/compute/house", rules=LIMITS)
        model = rent_and_train(story, cast, folder / "train.csv", folder / "trained")
        listing = list_model(story, cast, model)
        wait_for(lambda: cast.buyer.get("/v1/catalogue", type="offer")["items"] or None, 60, "the offer")
        provider_pages(cast)
        buyer_pages(cast, listing["cid"])


if __name__ == "__main__":
    main()
