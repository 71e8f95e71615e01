"""Three real nodes trade where no two of them but the public one can dial each other; see `test_strangers`.

Run inside namespaces of its own as `python strangers.py FOLDER`; the result is one JSON line. A public
machine hosts the group, relays and keeps letters. Seller and buyer each sit behind a router that gives every
connection another port, so that no hole can be punched.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peer import enter
from stage import CARD, CREDIT, RULES
from world import World

from openstall.app.demo.dataset import LABEL, write_data
from openstall.app.demo.peers import DemoPeer, running_peer, wait_for
from openstall.compute_agent.runtime import find_runtime

MIB = 1 << 20
EVERYWHERE = "/ip4/0.0.0.0/tcp/4001"
PRICE_MICRO = 25 * CREDIT
PATIENCE_S = 180
MODEL_MIB = 40
"""More than one circuit carries."""


@dataclass(slots=True)
class Stranger:
    """A node in a place of its own. Its local API is on the loopback of that place, so we go there to ask."""

    place: str
    node: DemoPeer

    def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        enter(self.place)
        return self.node.get(path, **params)

    def post(self, path: str, /, **body: Any) -> dict[str, Any]:
        enter(self.place)
        return self.node.post(path, **body)

    def operate(self, path: str, /, **body: Any) -> Any:
        enter(self.place)
        return self.node.operate(path, **body)

    def order(self, order_id: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        enter(self.place)
        return self.node.order_until(order_id, done, PATIENCE_S)

    def off(self) -> None:
        enter(self.place)
        self.node.stop()

    def on(self) -> None:
        enter(self.place)
        self.node.start_again()

    def reach(self) -> dict[str, Any]:
        return self.get("/v1/peers/reach")

    def way_to(self, other: Stranger) -> str:
        """`relayed`, `direct`, `punched`, or nothing."""
        return next(
            (one["path"] for one in self.reach()["peers"] if one["peer_id"] == other.node.peer_id), ""
        )

    def sees(self, cid: str) -> str:
        """Wait until a record is in this node's catalogue."""

        def look() -> str | None:
            items = self.get("/v1/catalogue", limit=200)["items"]
            return cid if any(item["cid"] == cid for item in items) else None

        found: str = wait_for(look, PATIENCE_S, f"{self.place} sees {cid[:12]}")
        return found


@dataclass(slots=True)
class Street:
    """Who lives there."""

    hall: Stranger
    seller: Stranger
    buyer: Stranger
    folder: Path
    world: World

    def money(self) -> int:
        wallets = [one.get("/v1/wallet") for one in (self.hall, self.seller, self.buyer)]
        return sum(wallet["balance_micro"] + wallet["held_micro"] for wallet in wallets)

    def carried(self) -> dict[str, int]:
        found: dict[str, int] = self.hall.reach()["relay"]
        return found


def until(look: Callable[[], Any], what: str) -> Any:
    return wait_for(lambda: look() or None, PATIENCE_S, what)


@contextmanager
def street(folder: Path) -> Iterator[Street]:
    """Build the internet, start the nodes, found a group, give everybody credits."""
    world = World(folder)
    world.place("hall")
    world.cable("hall", "eth0")
    for router in ("r1", "r22", "r333"):
        world.router(router, how="fully-random")
    for name, router in (("seller", "r1"), ("buyer", "r22")):
        world.behind(world.place(name), router)
    with ExitStack() as stack:

        def start(place: str) -> Stranger:
            enter(place)
            node = stack.enter_context(running_peer(place, folder / f"home-{place}", listen=EVERYWHERE))
            stack.callback(enter, place)  # before it is stopped
            return Stranger(place, node)

        hall, seller, buyer = map(start, ("hall", "seller", "buyer"))
        hall.operate("/v1/group/create", name="Street")
        invitation = hall.get("/v1/group")["invitation"]
        for one in (seller, buyer):
            one.operate("/v1/group/join", invitation=invitation)
        for one in (hall, seller, buyer):
            one.operate("/v1/wallet/faucet")
        seller.post("/v1/compute/house", rules={})
        yield Street(hall, seller, buyer, folder, world)


def weights(path: Path) -> Path:
    """A model of many megabytes that nothing can make smaller."""
    size = MODEL_MIB * MIB
    head = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (size // 4, size)
    path.write_bytes(len(head).to_bytes(8, "little") + head + os.urandom(size))
    return path


def publish(there: Street, model: Path) -> str:
    asked = {
        "path": str(model),
        "title": "Weights",
        "summary": "Many numbers.",
        "licence": "Apache-2.0",
        "price_micro": PRICE_MICRO,
        "card": CARD,
        "review_s": 3600,
        "deliver_s": 3600,
        "arbiter": there.hall.node.wallet,
    }
    return there.buyer.sees(there.seller.operate("/v1/models/publish", **asked)["cid"])


def sale(there: Street) -> dict[str, Any]:
    """Found, bought, checked, paid."""
    model = weights(there.folder / "weights.safetensors")
    cid = publish(there, model)
    before = there.carried()
    began = time.monotonic()
    order_id = there.buyer.post("/v1/orders/buy", listing_cid=cid)["order_id"]
    order = there.buyer.order(order_id, lambda o: o["state"] == "delivered" and o["verified"])
    took = time.monotonic() - began
    bought = Path(order["library_path"]) / model.name
    whole = bought.read_bytes() == model.read_bytes()
    way = there.buyer.way_to(there.seller)
    there.buyer.post(f"/v1/orders/{order_id}/complete")
    there.seller.order(order_id, lambda o: o["state"] == "completed")
    after = there.carried()
    return {
        "listing": cid,
        "whole": whole,
        "seconds": round(took, 1),
        "way": way,
        "carried": after["carried"] - before["carried"],
        "circuits": after["joined"] - before["joined"],
        "money": there.money(),
    }


def job(there: Street) -> dict[str, Any]:
    """A job for a machine behind a router, which moves behind another meanwhile; log and result come back."""
    train, _ = write_data(find_runtime(), there.folder)
    offer = there.buyer.sees(there.seller.post("/v1/compute/sell", **RULES)["cid"])
    wanted = {
        "offer_cid": offer,
        "kind": "train",
        "inputs": {"data.csv": str(train)},
        "params": {"task": "classification", "label": LABEL, "epochs": 1500, "seed": 7},
        "max_s": 200,
        "cap_micro": 2 * CREDIT,
    }
    order_id = there.buyer.post("/v1/orders/job", **wanted)["order_id"]
    joined = there.carried()["joined"]
    until(lambda: len(there.buyer.get(f"/v1/orders/{order_id}/log")["lines"]) > 1, "the log comes in")
    at_move = there.buyer.get(f"/v1/orders/{order_id}")["job"]
    there.world.unplug("seller")
    there.world.behind("seller", "r333")
    order = there.buyer.order(order_id, lambda o: o["state"] == "settled" and bool(o["job"]["result"]))
    way = there.buyer.way_to(there.seller)
    log = there.buyer.get(f"/v1/orders/{order_id}/log")
    saved = there.folder / "trained"
    until(
        lambda: there.buyer.get(f"/v1/orders/{order_id}")["job"]["artefacts"][0]["path"], "the files are here"
    )
    there.buyer.post(f"/v1/orders/{order_id}/save", folder=str(saved))
    there.seller.order(order_id, lambda o: o["state"] == "settled")
    return {
        "state": order["job"]["result"]["state"],
        "moved_while_working": not at_move["result"],
        "circuits": there.carried()["joined"] - joined,
        "vouchers": order["job"]["vouchers"],
        "lines": [line["seq"] for line in log["lines"]],
        "ended": log["ended"],
        "files": sorted(one.name for one in saved.iterdir()),
        "paid": order["paid_micro"] == order["job"]["seconds"] * RULES["price_per_s_micro"],
        "way": way,
        "money": there.money(),
    }


def letters(there: Street, listing: str) -> dict[str, Any]:
    """Never both on: an order goes into the mailbox, the answer comes out of it; then the sale goes on."""
    hall, seller, buyer = there.hall, there.seller, there.buyer
    seller.off()
    until(lambda: not buyer.way_to(seller), "the buyer knows that the seller is off")
    order_id = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    until(lambda: hall.get("/v1/mailbox")["kept"]["letters"] == 1, "the order lies in the mailbox")
    buyer.off()
    seller.on()
    seller.order(order_id, lambda o: o["state"] == "agreed")
    until(lambda: hall.get("/v1/mailbox")["kept"]["letters"], "the answer lies in the mailbox")
    seller.off()
    buyer.on()
    buyer.order(order_id, lambda o: o["state"] == "agreed")
    seller.on()
    order = buyer.order(order_id, lambda o: o["state"] == "delivered" and o["verified"])
    buyer.post(f"/v1/orders/{order_id}/complete")
    seller.order(order_id, lambda o: o["state"] == "completed")
    way = until(lambda: buyer.way_to(seller), "buyer and seller are connected")
    until(lambda: hall.get("/v1/mailbox")["kept"]["letters"] == 0, "nothing is kept any more")
    return {"state": order["state"], "way": way, "money": there.money()}


def main() -> None:
    folder = Path(sys.argv[1])
    with street(folder) as there:
        sys.stderr.write("all are members\n")
        found: dict[str, Any] = {}
        for one in (there.seller, there.buyer):
            until(lambda one=one: one.reach()["state"] == "relayed", f"{one.place} is reached over the relay")
        found["states"] = {one.place: one.reach()["state"] for one in (there.hall, there.seller, there.buyer)}
        found["start"] = there.money()
        for name, act in (("sale", sale), ("job", job)):
            found[name] = act(there)
            sys.stderr.write(f"{name}: {found[name]}\n")
        found["letters"] = letters(there, found["sale"]["listing"])
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
