"""From click to final: how long a person waits for money to move on the group chain, between real nodes."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from table import Row

from openstall.app.demo.peers import DemoPeer, running_peer, wait_for

ROUNDS = 5
AIM_S = 1.0
MODEL_BYTES = 200_000
CARD = {"intended_use": "benchmark", "training_data": "none", "limits": "none", "metrics": []}


def rows() -> Iterable[Row]:
    """Seller hosts the chain, buyer reaches it over libp2p: the slower of the two places to click."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        seller, buyer = (stack.enter_context(running_peer(name, home / name)) for name in ("seller", "buyer"))
        _open_market(seller, buyer)
        listing = _publish(seller, buyer, home)
        delivered, settled = [], []
        for _round in range(ROUNDS):
            begun = time.monotonic()
            order_id = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
            buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)
            delivered.append(time.monotonic() - begun)
            begun = time.monotonic()
            answer = buyer.post(f"/v1/orders/{order_id}/complete")
            settled.append(time.monotonic() - begun)
            if answer["state"] != "completed":
                raise RuntimeError(f"the order is {answer['state']}")
    yield _row("order settled, click to final", settled)
    yield _row("model bought, click to verified files", delivered)


def _row(name: str, seconds: list[float]) -> Row:
    median = statistics.median(seconds)
    note = f"median of {len(seconds)}, slowest {max(seconds):.2f} s, polled every 50 ms"
    return Row(name=name, value=median, unit="s", limit="< 1 s", ok=median < AIM_S, note=note)


def _open_market(seller: DemoPeer, buyer: DemoPeer) -> None:
    seller.operate("/v1/group/create", name="Benchmark")
    buyer.operate("/v1/group/join", invitation=seller.get("/v1/group")["invitation"])
    for peer in (seller, buyer):
        peer.operate("/v1/wallet/faucet")


def _publish(seller: DemoPeer, buyer: DemoPeer, home: Path) -> str:
    """A safetensors file with one tensor: the smallest honest package."""
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (MODEL_BYTES, MODEL_BYTES)
    model = home / "model.safetensors"
    model.write_bytes(len(header).to_bytes(8, "little") + header + bytes(MODEL_BYTES))
    request: dict[str, Any] = {
        "title": "Benchmark model",
        "summary": "One tensor.",
        "licence": "CC0-1.0",
        "card": CARD,
    }
    cid: str = seller.operate("/v1/models/publish", path=str(model), price_micro=1_000_000, **request)["cid"]

    def seen() -> bool | None:
        return any(item["cid"] == cid for item in buyer.get("/v1/catalogue", type="listing")["items"]) or None

    wait_for(seen, 60, "the listing reaches the buyer")
    return cid
