"""IPFS beside real nodes: a seller pins its package on a node of IPFS, a buyer has a gateway with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from ipfs_lab import helia_gateway, rpc_server
from stage import Market, typed

from openstall.app.demo.peers import DemoPeer


def said(peer: DemoPeer, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(typed(peer, "--json", "blobs", *words).stdout)
    return found


@pytest.mark.slow
def test_a_package_is_pinned_and_bought_with_a_gateway_beside_the_seller(
    market: Market, model: Path, tmp_path: Path
) -> None:
    seller, buyer = market.seller, market.buyer
    listing = market.publish(model, deliver_s=3600)
    body = seller.get(f"/v1/catalogue/{listing}")["body"]
    cid, address = body["blob"]["cid"], body["ipfs"]
    assert "blobs ipfs --node" in typed(seller, "blobs", "ipfs-pin", cid, status=1).stderr
    with rpc_server(tmp_path / "repository") as rpc:
        assert said(seller, "ipfs", "--node", rpc) == {"gateway": "", "node": rpc, "pins": []}
        assert said(seller, "ipfs-pin", cid) == {"cid": cid, "ipfs": address}
        assert {one["cid"]: one["ipfs"] for one in said(seller, "list")["items"]}[cid] == address
        kept = httpx.post(f"{rpc}/api/v0/pin/ls", params={"arg": address}, timeout=30).json()
        assert len(kept["Keys"]) == 1
        files = [one["cid"] for one in said(seller, "list")["items"] if not one["sealed"]]
        refused = typed(seller, "blobs", "ipfs-pin", files[0], status=1).stderr
        assert "not encrypted" in refused
        assert said(seller, "ipfs-unpin", cid)["ipfs"] == address
    seller.operate("/v1/blobs/export", cid=cid, folder=str(tmp_path))
    with helia_gateway(tmp_path / cid) as (base, addresses):
        assert addresses == [address]
        for wrong in ("http://10.0.0.1:8080", "http://example.org"):
            told = typed(buyer, "blobs", "ipfs", "--gateway", wrong, status=1).stderr
            assert "not the address" in told
        assert said(buyer, "ipfs", "--gateway", base)["gateway"] == base
        order_id = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
        buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 120)
        assert said(buyer, "list")["blamed"] == []
