"""Honest trades beside an attack, and what an honest node must look like after it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from stage import CREDIT, RULES, START_MICRO, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer
from openstall.ledger.vouchers import channel_id_of

ATTACKER = Path(__file__).with_name("bad_campaign.py")
WIDE = {"task": "classification", "label": LABEL, "epochs": 1, "hidden": [1024, 1024], "seed": 7}
"""A model of four megabytes: a package of several chunks, which several sources are asked for."""
SMALL = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
PRICE_MICRO = CREDIT // 10
"""The buyer must be able to buy as long as it is attacked."""
ENDS_S = 120.0
"""How long the attacker may take to end once it was told to."""
LONGEST_S = 3_000.0
AGAIN_S, TRIES = 5.0, 18
"""A buyer who is told that the machine is busy tries again, for three times as long as a signature holds."""


@dataclass(slots=True, kw_only=True)
class Trades:
    """The honest parties at work, with a file in which the attacker can read what they do."""

    market: Market
    model: Path
    live: Path
    sales: int = 0
    jobs: int = 0
    known: dict[str, list[Any]] = field(
        default_factory=lambda: {"orders": [], "private": [], "packages": [], "deals": []}
    )

    def tell(self, **found: Any) -> None:
        """Let the attacker know: more than a stranger ever would."""
        for name, value in found.items():
            self.known[name].append(value)
        part = self.live.with_suffix(".part")
        part.write_text(json.dumps(self.known))
        part.replace(self.live)

    def sale(self) -> str:
        """A model is published, bought, compared byte by byte, and paid; the cid of its listing."""
        market = self.market
        before = balances(market)
        cid = market.publish(self.model, title=f"Model number {self.sales + 1}", price_micro=PRICE_MICRO)
        listing = market.buyer.get(f"/v1/catalogue/{cid}")["body"]
        self.tell(packages=listing["blob"]["cid"])
        order_id = market.buyer.post("/v1/orders/buy", listing_cid=cid)["order_id"]
        self.tell(orders=order_id)
        order = market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 180)
        self.tell(deals=deal(market, order))
        agreed(order, listing)
        got = (Path(order["library_path"]) / "model.onnx").read_bytes()
        assert got == self.model.read_bytes()
        assert hashlib.sha256(got).hexdigest() in {one["sha256"] for one in listing["files"]}
        market.buyer.post(f"/v1/orders/{order_id}/complete")
        market.seller.order_until(order_id, lambda o: o["state"] == "completed", 120)
        market.buyer.order_until(order_id, lambda o: o["state"] == "completed", 120)
        changed(market, before, buyer=-PRICE_MICRO, seller=PRICE_MICRO)
        self.sales += 1
        return cid

    def let_in(self, offer: str, **job: Any) -> str:
        """Rent, and again later while signatures of others hold every place, as the buyer is told to."""
        for _ in range(TRIES):
            order_id = self.market.rent(offer, **job)
            order = self.market.seller.order_until(order_id, lambda o: o["state"] != "proposed", 60)
            if order["state"] != "declined":
                return order_id
            assert order["outcome"]["reason"] == "machine_busy"
            time.sleep(AGAIN_S)
        raise AssertionError("strangers keep the machine from an honest buyer")

    def job(self, offer: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """A job is rented, run and paid by the second; the order as its buyer sees it."""
        market = self.market
        before = balances(market)
        data = market.small_data(120)
        order_id = self.let_in(offer, inputs={"data.csv": str(data)}, params=params or SMALL)
        self.tell(orders=order_id)
        order = market.seller.get(f"/v1/orders/{order_id}")
        self.tell(private=order["terms"]["inputs"][0]["blob"]["cid"], deals=deal(market, order))
        order = market.seller.order_until(
            order_id,
            lambda o: o["state"] == "settled" and bool((o["job"]["artefacts"] or [{}])[0].get("path")),
            240,
        )
        market.provider.order_until(order_id, lambda o: o["state"] == "settled", 120)
        job = order["job"]
        assert job["result"]["state"] == "done"
        assert {one["name"] for one in job["artefacts"]} >= {"model.onnx", "report.json"}
        paid = order["paid_micro"]
        assert paid == job["seconds"] * RULES["price_per_s_micro"] <= job["cap_micro"]
        papers = market.folder / f"{order_id[:16]}.papers"
        market.seller.post(f"/v1/orders/{order_id}/papers", path=str(papers))
        for one in json.loads(papers.read_text())["report"]["report"]["outputs"]:
            self.tell(private=one["blob"]["cid"])
        for one in job["artefacts"]:
            assert hashlib.sha256(Path(one["path"]).read_bytes()).hexdigest() == one["sha256"]
        changed(market, before, seller=-paid, provider=paid)
        self.jobs += 1
        return order


def agreed(order: dict[str, Any], listing: dict[str, Any]) -> None:
    """The signed terms are those of the listing that was looked at."""
    terms = order["terms"]
    for name in ("title", "files", "blob", "key_sha256", "price_micro", "escrow", "arbiter", "review_s"):
        assert terms[name] == listing[name], name


def balances(market: Market) -> dict[str, int]:
    """Everybody's money."""
    return {peer.name: peer.balance_micro() for peer in market.peers}


def changed(market: Market, before: dict[str, int], **by: int) -> None:
    """Everybody's money after a trade, to the micro-credit."""
    assert balances(market) == {name: amount + by.get(name, 0) for name, amount in before.items()}
    assert market.money() == 3 * START_MICRO


def deal(market: Market, order: dict[str, Any]) -> dict[str, Any]:
    """What an order is called on the chain."""
    terms, contract = order["terms"], order["contract"]
    found = {
        "kind": order["kind"],
        "order_id": order["order_id"],
        "buyer_wallet": contract["buyer_wallet"],
    }
    if order["kind"] != "compute":
        return found
    name = channel_id_of(
        chain_id=contract["chain_id"],
        contract=terms["channel"],
        payer=contract["buyer_wallet"],
        payee=contract["seller_wallet"],
        token=market.provider.get("/v1/group")["contracts"]["credit"],
        withdraw_delay_s=terms["withdraw_delay_s"],
        salt=bytes.fromhex(order["order_id"]),
    )
    return found | {"channel": name.hex()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a node's process holds."""

    memory: int
    files: int
    threads: int
    children: int

    @classmethod
    def of(cls, peer: DemoPeer) -> Held:
        """As it is now."""
        process = psutil.Process(peer.process.pid)
        with process.oneshot():
            return cls(
                memory=process.memory_info().rss,
                files=process.num_fds(),
                threads=process.num_threads(),
                children=len(process.children(recursive=True)),
            )


@contextmanager
def attacked(settings: dict[str, Any], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The attacker at work; its process, and the file of what it says."""
    where, said = folder / "attack.json", folder / "attack.jsonl"
    where.write_text(json.dumps(settings))
    with said.open("wb") as out, (folder / "attack.err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, str(ATTACKER), str(where)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=os.environ | {"PYTHONPATH": str(ATTACKER.parent)},
        )
        try:
            yield process, said
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(ENDS_S)


def settings_of(market: Market, *, live: Path, listing: str, offer: str, **more: Any) -> dict[str, Any]:
    """What the attacker is told of the market."""
    group = market.provider.get("/v1/group")
    return {
        "network": group["network"],
        "chain_id": group["chain_id"],
        "contracts": group["contracts"],
        "invitation": group["invitation"],
        "targets": [
            {
                "name": peer.name,
                "peer_id": peer.peer_id,
                "addr": peer.get("/v1/peers")["self"]["addrs"][0],
                "wallet": peer.wallet,
            }
            for peer in market.peers
        ],
        "listing": listing,
        "offer": offer,
        "live": str(live),
        "quick": False,
        "rounds": 1,
        **more,
    }


def lines(said: Path) -> list[dict[str, Any]]:
    """What the attacker has said so far."""
    return [json.loads(one) for one in said.read_text().splitlines() if one.endswith("}")]


def unharmed(market: Market, said: list[dict[str, Any]]) -> None:
    """Every honest node answers, all its parts run, and it blames nobody honest; who was due is shut out."""
    honest = {peer.peer_id for peer in market.peers}
    for peer in market.peers:
        status = peer.get("/v1/status")
        assert all(state == "ready" for state in status["parts"].values()), (peer.name, status["parts"])
        connected = {one["peer_id"] for one in peer.get("/v1/peers")["items"]}
        assert honest - {peer.peer_id} <= connected, peer.name
        found = peer.get("/v1/peers/banned")
        assert not honest & {one["what"] for one in found["items"]}, found["items"]
        assert not honest & {one["peer_id"] for one in found["recent"]}, found["recent"]
        shut_out = {one["what"] for one in found["items"] if one["by"] == "node"}
        due = {who for line in said for where, who in line["shut_out"] if where == peer.name}
        assert due <= shut_out, f"{peer.name} has let in again whom it had to shut out"
        log = "\n".join(one.read_text() for one in (peer.home / "log").glob("node.jsonl*"))
        # A lie can come when the file is whole already, and nobody hears it; not each time it is told.
        lies = [one for line in said for one in line["blamed"] if one[0] == peer.name]
        heard = {reason for _, who, reason in lies if f"peer {who}: {reason} (+" in log}
        assert heard == {reason for _, _, reason in lies}, (lies, heard)


def wait_through(
    process: subprocess.Popen[bytes], work: Callable[[], object], least: int, most: int = 10_000
) -> int:
    """Work until the attacker has ended, so often at least and at most; how often that was beside it."""
    beside = done = 0
    end = time.monotonic() + LONGEST_S
    while process.poll() is None or done < least:
        assert time.monotonic() < end, "the attacker does not come to an end"
        if done >= most:
            process.wait(LONGEST_S)
            break
        work()
        done += 1
        beside += process.poll() is None
    return beside
