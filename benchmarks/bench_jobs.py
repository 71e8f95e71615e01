"""Rented jobs: how long from the click to the first line of the log, and whether a long line loses any.

Real nodes. For the cold start the provider offers so little memory that no sandbox with torch can wait ahead.
"""

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
COLD_AIM_S, WARM_AIM_S = 10.0, 1.0
REFILL_S = 8.0
"""A sandbox that waits is used once; people order further apart than it takes to make the next."""
BUYERS, EACH = 10, 20
GIB = 2**30
RECIPE = {"task": "classification", "label": "y", "epochs": 2, "hidden": [8]}
TERMS = {"price_per_s_micro": 1_000, "max_job_s": 120, "threads": 1, "kinds": ["train"], "queue": 256}


def rows() -> Iterable[Row]:
    """The provider hosts the chain; the buyers reach it over libp2p."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        table = home / "data.csv"
        table.write_text("a,b,y\n" + "".join(f"{n % 7},{n % 5},{n % 2}\n" for n in range(60)))
        provider = stack.enter_context(running_peer("provider", home / "provider"))
        provider.operate("/v1/group/create", name="Benchmark")
        provider.operate("/v1/wallet/faucet")
        provider.post("/v1/compute/house", rules={})
        buyers = [stack.enter_context(running_peer(f"buyer {n}", home / f"buyer-{n}")) for n in range(BUYERS)]
        invitation = provider.get("/v1/group")["invitation"]
        for buyer in buyers:
            buyer.operate("/v1/group/join", invitation=invitation)
            buyer.operate("/v1/wallet/faucet")
        yield from _first_lines(provider, buyers[0], table)
        yield _long_line(provider, buyers, table)


def _first_lines(provider: DemoPeer, buyer: DemoPeer, table: Path) -> Iterable[Row]:
    for name, memory, aim_s in (("cold", GIB // 2, COLD_AIM_S), ("warm", 4 * GIB, WARM_AIM_S)):
        offer = _offer(provider, [buyer], memory_bytes=memory)
        took = [_click_to_line(buyer, offer, table, warm=name == "warm") for _ in range(ROUNDS)]
        median = statistics.median(took)
        note = (
            f"median of {ROUNDS}, slowest {max(took):.2f} s; signing, paying, fetching and starting included"
        )
        yield Row(
            name=f"job ordered to first line of its log at the buyer, {name}",
            value=median,
            unit="s",
            limit=f"< {aim_s:.0f} s",
            ok=median < aim_s,
            note=note,
        )


def _click_to_line(buyer: DemoPeer, offer: str, table: Path, *, warm: bool) -> float:
    if warm:
        time.sleep(REFILL_S)
    begun = time.monotonic()
    order_id = _order(buyer, offer, table)

    def heard() -> bool | None:
        return buyer.get(f"/v1/orders/{order_id}")["job"]["log_lines"] > 0 or None

    wait_for(heard, 120, "the first line")
    took = time.monotonic() - begun
    buyer.order_until(order_id, lambda o: o["state"] == "settled", 120)
    return took


def _long_line(provider: DemoPeer, buyers: list[DemoPeer], table: Path) -> Row:
    peers = [provider, *buyers]
    before = _money(peers)
    offer = _offer(provider, buyers, memory_bytes=GIB, jobs_at_once=2)
    begun = time.monotonic()
    orders = [(buyer, _order(buyer, offer, table)) for _ in range(EACH) for buyer in buyers]
    done = 0
    for buyer, order_id in orders:
        order = buyer.order_until(order_id, lambda o: o["state"] == "settled" and o["outcome"], 1200)
        done += order["outcome"]["state"] == "done"
    took = time.monotonic() - begun
    wait_for(lambda: _money(peers) == before or None, 60, "the money adds up")
    return Row(
        name="paid jobs of ten buyers in one line, done",
        value=done,
        unit="",
        limit=f"{len(orders)}",
        ok=done == len(orders),
        note=f"two at a time, in {took:.0f} s; the money of all eleven wallets added up before and after",
    )


def _offer(provider: DemoPeer, buyers: list[DemoPeer], **changes: Any) -> str:
    cid: str = provider.post("/v1/compute/sell", **{**TERMS, **changes})["cid"]
    for buyer in buyers:
        _await_offer(buyer, cid)
    return cid


def _await_offer(buyer: DemoPeer, cid: str) -> None:
    def seen() -> bool | None:
        return any(item["cid"] == cid for item in buyer.get("/v1/catalogue", type="offer")["items"]) or None

    wait_for(seen, 60, "the offer reaches a buyer")


def _order(buyer: DemoPeer, offer: str, table: Path) -> str:
    order_id: str = buyer.post(
        "/v1/orders/job",
        offer_cid=offer,
        kind="train",
        inputs={"data.csv": str(table)},
        params=RECIPE,
        max_s=60,
        cap_micro=60_000,
    )["order_id"]
    return order_id


def _money(peers: list[DemoPeer]) -> int:
    wallets = [peer.get("/v1/wallet") for peer in peers]
    return sum(wallet["balance_micro"] + wallet["held_micro"] for wallet in wallets)
