"""Both journeys between strangers: a model is trained on a rented machine, then sold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stage import CREDIT, PRICE_MICRO, RULES, START_MICRO, Market, typed

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.journeys import metric
from openstall.app.demo.peers import wait_for
from openstall.market.errors import OpenstallError


def test_a_job_trains_a_real_model_and_is_paid_by_the_second(market: Market) -> None:
    before = {peer.name: peer.balance_micro() for peer in market.peers}
    order_id = market.rent(market.offer())
    order = market.seller.order_until(order_id, lambda o: o["state"] == "settled" and o["job"]["result"], 180)
    job = order["job"]
    assert job["result"]["state"] == "done"
    assert {item["name"] for item in job["artefacts"]} >= {"model.onnx", "report.json"}
    assert order["paid_micro"] == job["seconds"] * RULES["price_per_s_micro"] <= job["cap_micro"]
    assert job["vouchers"] >= 1
    log = market.seller.get(f"/v1/orders/{order_id}/log")
    assert log["ended"]
    assert [line["seq"] for line in log["lines"]] == list(range(len(log["lines"])))
    assert len(log["lines"]) > 2
    market.provider.order_until(order_id, lambda o: o["state"] == "settled", 30)
    assert market.seller.balance_micro() == before["seller"] - order["paid_micro"]
    assert market.provider.balance_micro() == before["provider"] + order["paid_micro"]


def test_a_model_is_found_bought_checked_and_paid(market: Market, model: Path) -> None:
    cid = market.publish(model)
    found = market.buyer.get("/v1/catalogue", type="listing", q="screening")["items"]
    assert [item["cid"] for item in found] == [cid]
    before = {peer.name: peer.balance_micro() for peer in market.peers}
    order_id = market.buyer.post("/v1/orders/buy", listing_cid=cid)["order_id"]
    order = market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)
    assert market.buyer.get("/v1/wallet")["held_micro"] == PRICE_MICRO
    bought = Path(order["library_path"]) / "model.onnx"
    assert bought.read_bytes() == model.read_bytes()
    run = market.buyer.operate(
        "/v1/models/run", order_id=order_id, rows_path=str(market.holdout), label=LABEL
    )
    assert run["rows"] == 171
    assert metric(run["report"], "accuracy") > 0.9
    market.buyer.post(f"/v1/orders/{order_id}/complete")
    market.seller.order_until(order_id, lambda o: o["state"] == "completed", 30)
    assert market.buyer.balance_micro() == before["buyer"] - PRICE_MICRO
    assert market.seller.balance_micro() == before["seller"] + PRICE_MICRO
    assert market.money() == 3 * START_MICRO


def test_what_was_bought_stays_encrypted_in_the_store_and_its_listing_names_mirrors(
    market: Market, model: Path, tmp_path: Path
) -> None:
    mirror = "https://127.0.0.1:9/models/{cid}"
    with pytest.raises(OpenstallError) as caught:
        market.publish(model, mirrors=["http://example.org/{cid}"])
    assert caught.value.code == "bad_url"
    cid = market.publish(model, title="Mirrored model", mirrors=[mirror])
    body = market.buyer.get(f"/v1/catalogue/{cid}")["body"]
    package = body["blob"]["cid"]
    assert body["mirrors"] == [mirror.replace("{cid}", package)]
    assert body["ipfs"].startswith("bafkrei"), "the package has one leaf"
    order_id = market.buyer.post("/v1/orders/buy", listing_cid=cid)["order_id"]
    market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)
    market.buyer.post(f"/v1/orders/{order_id}/complete")
    market.seller.order_until(order_id, lambda o: o["state"] == "completed", 30)
    found = json.loads(typed(market.buyer, "blobs", "list", "--json").stdout)
    kept = next(item for item in found["items"] if item["cid"] == package)
    assert kept["sealed"]
    assert not kept["shared"]
    assert "bought" in kept["kept"]
    plain = model.read_bytes()
    for blob in (market.buyer.home / "blobs").glob("*.data"):
        assert plain[1000:1064] not in blob.read_bytes()
    typed(market.buyer, "blobs", "limit", "--share", "--up", "50")
    shared = json.loads(typed(market.buyer, "blobs", "list", "--json").stdout)
    assert next(item for item in shared["items"] if item["cid"] == package)["shared"]
    assert shared["limits"]["up_per_s"] == 50 * 2**20
    typed(market.buyer, "blobs", "export", package, str(tmp_path))
    assert (tmp_path / package).stat().st_size == body["blob"]["size"]
    assert json.loads(typed(market.buyer, "blobs", "gc", "--all", "--json").stdout)["removed"] >= 0
    still = json.loads(typed(market.buyer, "blobs", "list", "--json").stdout)["items"]
    assert package in [item["cid"] for item in still]


def test_a_disputed_sale_is_split_by_the_arbiter(market: Market, model: Path, tmp_path: Path) -> None:
    """It is called while it is away, and the chain with it; both sides show it their evidence."""
    cid = market.publish(model, title="Disputed model", review_s=3600)
    before = {peer.name: peer.balance_micro() for peer in market.peers}
    order_id = market.buyer.post("/v1/orders/buy", listing_cid=cid)["order_id"]
    market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)
    typed(market.buyer, "order", "say", order_id, "It does not reach its accuracy.")
    market.seller.order_until(order_id, lambda o: o["unread"] == 1, 60)
    market.provider.kill()  # the arbiter, who also hosts the chain
    said = typed(market.buyer, "order", "dispute", order_id, "Not what the card says.").stdout
    assert said.startswith("The arbiter is called as soon as the chain can be reached.")
    called = market.buyer.get(f"/v1/orders/{order_id}")
    assert (called["state"], called["calls_arbiter"], called["actions"]) == ("delivered", True, ["complete"])
    market.provider.start_again()
    seen = market.provider.order_until(
        order_id, lambda o: o["state"] == "disputed" and bool(o["dispute_reason"]), 90
    )
    assert seen["dispute_reason"] == "Not what the card says."
    check_both_are_heard(market, order_id, tmp_path / "dispute.evidence")
    market.provider.post(f"/v1/orders/{order_id}/rule", buyer_bps=5_000)
    market.buyer.order_until(order_id, lambda o: o["state"] == "ruled", 30)
    fee = PRICE_MICRO * 200 // 10_000
    half = (PRICE_MICRO - fee) // 2
    assert market.provider.balance_micro() == before["provider"] + fee
    assert market.buyer.balance_micro() == before["buyer"] - PRICE_MICRO + half
    assert market.money() == 3 * START_MICRO


def check_both_are_heard(market: Market, order_id: str, file: Path) -> None:
    """The arbiter has both sides' evidence, all of which holds, and writes with both."""

    def shown() -> list[dict[str, Any]] | None:
        items: list[dict[str, Any]] = market.provider.get(f"/v1/orders/{order_id}/evidence")["items"]
        return items if len(items) == 2 else None

    both = wait_for(shown, 60, "both sides have shown their evidence")
    assert [(one["by"], one["holds"]) for one in both] == [("buyer", True), ("seller", True)]
    assert {"what": "hash of the dispute", "holds": True} in [
        {name: one[name] for name in ("what", "holds")} for one in both[0]["findings"]
    ]
    market.buyer.order_until(order_id, lambda o: o["state"] == "disputed", 60)
    market.buyer.post(f"/v1/orders/{order_id}/say", text="I can show it.")
    market.provider.order_until(order_id, lambda o: o["unread"] == 1, 60)
    page = typed(market.provider, "order", "talk", order_id).stdout
    assert "I can show it." in page
    assert "It does not reach its accuracy." not in page  # written before there was a dispute
    market.provider.post(f"/v1/orders/{order_id}/say", text="Then do.")
    market.seller.order_until(order_id, lambda o: o["unread"] == 3, 60)
    typed(market.buyer, "order", "evidence", order_id, "--to", str(file))
    checked = typed(market.seller, "order", "check-evidence", str(file)).stdout
    assert "DOES NOT HOLD" not in checked
    file.write_bytes(file.read_bytes().replace(b"I can show it.", b"I cannot show "))
    typed(market.seller, "order", "check-evidence", str(file), status=1)


def test_a_rented_inference_job_returns_predictions(market: Market, model: Path) -> None:
    order_id = market.rent(
        market.offer(),
        kind="infer",
        inputs={"model.onnx": str(model), "rows.csv": str(market.holdout)},
        params={"label": LABEL},
    )
    order = market.seller.order_until(order_id, lambda o: o["state"] == "settled" and o["job"]["result"], 120)
    assert order["job"]["result"]["state"] == "done"
    names = {item["name"] for item in order["job"]["artefacts"]}
    assert "predictions.csv" in names


def test_a_running_job_is_cancelled_and_only_its_seconds_are_paid(market: Market) -> None:
    before = market.seller.balance_micro()
    order_id = market.rent_long(market.offer())
    market.seller.order_until(order_id, lambda o: o["job"]["seconds"] >= 2, 90)
    market.seller.post(f"/v1/orders/{order_id}/cancel")
    order = market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and o["job"]["result"] is not None, 90
    )
    assert order["job"]["result"]["state"] == "cancelled"
    assert market.seller.balance_micro() == before - order["paid_micro"] > before - 2 * CREDIT


def test_a_job_never_costs_more_than_its_cap(market: Market) -> None:
    order_id = market.rent_long(market.offer(), cap_micro=30_000)
    order = market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and o["job"]["result"] is not None, 120
    )
    assert order["job"]["result"]["reason"] == "cap"
    assert order["paid_micro"] <= 30_000


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("model.pkl", b"\x80\x04K\x01.", "unsafe_format"),
        ("model.exe", b"MZ\x90\x00", "unsafe_format"),
        ("model.onnx", b"\x80\x04\x95\x00\x00\x00cposix\nsystem\n", "unsafe_model"),
        ("model.onnx", b"\x7fELF\x02\x01\x01", "unsafe_model"),
    ],
)
def test_what_could_run_code_is_not_published(
    market: Market, tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(OpenstallError) as caught:
        market.publish(path)
    assert caught.value.code == code
    assert caught.value.what_next


def test_one_cannot_pay_what_one_does_not_have(market: Market, model: Path) -> None:
    cid = market.publish(model, title="Dear model", price_micro=5_000 * CREDIT)
    with pytest.raises(OpenstallError) as caught:
        market.buyer.post("/v1/orders/buy", listing_cid=cid)
    assert caught.value.code == "insufficient_funds"


def test_finished_sandboxes_wait_while_the_machine_is_on_offer_and_no_longer(market: Market) -> None:
    folder = market.provider.home / "jobs" / "warm-sandboxes"
    market.offer()
    wait_for(lambda: list(folder.glob("slot-*")), 120, "a sandbox waits")
    market.provider.post("/v1/compute/stop")
    wait_for(lambda: not list(folder.glob("slot-*")), 60, "none waits any more")
