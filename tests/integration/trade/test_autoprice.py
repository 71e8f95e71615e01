"""A price that follows the market by itself, among real nodes: who moves it, who does not, and a crash."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from stage import RULES, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import PROGRAM, DemoPeer, wait_for
from openstall.store.database import Store
from openstall.store.price_changes import PriceChange, PriceChanges

QUICK = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
LIMITS = {"floor_micro": 5_000, "ceiling_micro": 60_000}
PATH = "/v1/compute/autoprice"


def asked(peer: DemoPeer, provider: DemoPeer) -> list[int]:
    """What the provider asks, as a peer's catalogue has it."""
    items = peer.get("/v1/catalogue", type="offer", limit=200)["items"]
    return [item["body"]["price_per_s_micro"] for item in items if item["author"] == provider.peer_id]


def until_asked(peer: DemoPeer, provider: DemoPeer, price: int) -> None:
    wait_for(lambda: asked(peer, provider) == [price] or None, 60, f"{peer.name} sees the price {price}")


def serve(market: Market, provider: DemoPeer, buyer: DemoPeer, offer: str) -> None:
    """One short job."""
    market.seen_by(buyer, offer)
    order_id = buyer.post(
        "/v1/orders/job",
        offer_cid=offer,
        kind="train",
        inputs={"data.csv": str(market.small_data(60))},
        params=QUICK,
        max_s=200,
        cap_micro=2_000_000,
    )["order_id"]
    buyer.order_until(order_id, lambda o: o["state"] == "settled" and bool(o["job"]["result"]), 120)
    provider.order_until(order_id, lambda o: o["state"] == "settled", 60)


def test_only_rivals_who_have_served_or_posted_a_bond_move_the_price_by_one_step(market: Market) -> None:
    provider, cheap = market.provider, market.buyer
    market.offer(price_per_s_micro=20_000)
    cheap.post("/v1/compute/house", rules={})
    theirs = cheap.post("/v1/compute/sell", **{**RULES, "price_per_s_micro": 1})["cid"]
    market.seen_by(provider, theirs)
    off = provider.get(PATH)
    assert (off["on"], off["rules"], off["price_micro"]) == (False, None, 20_000)

    found = provider.post(PATH, on=True, rules=LIMITS)
    assert (found["step"]["rivals"], found["step"]["why"]) == (0, "nothing_known")
    assert found["changes"]["total"] == 0

    provider.post(PATH, on=False)
    serve(market, cheap, provider, theirs)
    found = provider.get(PATH)
    assert (found["step"]["rivals"], found["step"]["middle_micro"], found["step"]["new_micro"]) == (
        1,
        1,
        19_000,
    )
    assert asked(market.seller, provider) == [20_000], "off means off"

    provider.post(PATH, on=True)
    until_asked(market.seller, provider, 19_000)
    found = provider.get(PATH)
    [change] = found["changes"]["items"]
    assert (change["old_micro"], change["new_micro"], change["working"]["why"]) == (20_000, 19_000, "rivals")
    assert change["working"]["least_micro"] == 5_000
    assert found["step"]["why"] == "too_soon"
    assert found["next_at"] >= change["at"] + 3_600
    assert [one["price_per_s_micro"] for one in offers_on_disk(provider)] == [19_000]


def test_the_command_line_says_what_the_node_says(market: Market) -> None:
    provider, buyer = market.provider, market.buyer
    served = cli(provider, "compute", "reliability", buyer.peer_id)
    assert (served["counts"], served["peer_id"]) == ({"done": 1}, buyer.peer_id)
    own = cli(buyer, "compute", "reliability")
    assert own["score"] == served["score"] > 0
    assert own["items"][0]["words"] == "Job done."
    assert "Job done." in typed(buyer, "compute", "reliability").stdout
    assert cli(provider, "compute", "autoprice", "off")["on"] is False
    found = cli(provider, "compute", "autoprice", "on", "--step-percent", "3", "--every-hours", "2")
    assert found["rules"] == LIMITS | {"step_bps": 300, "pace_s": 7_200}
    assert "The price follows the market: yes." in typed(provider, "compute", "autoprice", "show").stdout
    refused = typed(provider, "--json", "compute", "autoprice", "on", "--ceiling", "0.001")
    assert (refused.returncode, json.loads(refused.stderr)["error"]["code"]) == (1, "bad_price_rules")


def typed(peer: DemoPeer, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, "--home", str(peer.home), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def cli(peer: DemoPeer, *words: str) -> dict[str, Any]:
    done = typed(peer, "--json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def offers_on_disk(provider: DemoPeer) -> list[dict[str, Any]]:
    items = provider.get("/v1/catalogue", type="offer", limit=200)["items"]
    return [item["body"] for item in items if item["mine"]]


def test_a_crash_between_the_note_and_the_offer_leaves_one_offer_at_the_new_price(market: Market) -> None:
    provider = market.provider
    provider.post(PATH, on=False)
    market.offer(price_per_s_micro=30_000)
    until_asked(market.seller, provider, 30_000)
    provider.kill()
    store = Store(provider.home / "store.sqlite")
    change = PriceChange(at=1, old_micro=30_000, new_micro=28_500, working={"words": "x"})
    assert PriceChanges(store).make(change, setting="renting", field="price_per_s_micro")
    store.close()
    provider.start_again()
    until_asked(market.seller, provider, 28_500)
    assert [one["price_per_s_micro"] for one in offers_on_disk(provider)] == [28_500]
