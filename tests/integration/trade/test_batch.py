"""One model on many tables: spread over two providers, one of which fails, through a kill of the buyer."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stage import CREDIT, RULES, START_MICRO, Market, open_market, trick

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import wait_for
from openstall.market.errors import OpenstallError

CAP = 2 * CREDIT


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Two providers; the agent of the second is lost in the middle of each job."""
    with open_market(tmp_path_factory.mktemp("market"), buyer=trick("loses_agent")) as opened:
        opened.buyer.post("/v1/compute/house", rules={})
        yield opened


@pytest.fixture(scope="module")
def model(market: Market) -> Path:
    order_id = market.rent(market.offer(jobs_at_once=2, queue=4))
    market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 180
    )
    folder = market.folder / "trained"
    market.seller.post(f"/v1/orders/{order_id}/save", folder=str(folder))
    return folder / "model.onnx"


def finished(market: Market, batch_id: str) -> dict[str, Any]:
    seller = market.seller

    def look() -> dict[str, Any] | None:
        found = seller.get(f"/v1/batches/{batch_id}")
        return found if found["state"] in ("ended", "cancelled") else None

    found: dict[str, Any] = wait_for(look, 240, "the batch ends")
    return found


def predictions(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_a_table_in_parts_over_two_providers_and_a_kill(market: Market, model: Path) -> None:
    seller = market.seller
    bad = market.buyer.post("/v1/compute/sell", **{**RULES, "jobs_at_once": 2, "price_per_s_micro": 9_000})
    market.seen_by(seller, bad["cid"])
    rows = len(market.holdout.read_text().splitlines()) - 1
    folder = market.folder / "batch"
    batch_id = seller.post(
        "/v1/batches",
        model=str(model),
        files=[str(market.holdout)],
        folder=str(folder),
        cap_micro=CAP,
        rows_per_part=rows // 3,
        label=LABEL,
        max_s=60,
        at_once=2,
    )["batch_id"]
    wait_for(lambda: seller.get(f"/v1/batches/{batch_id}")["parts"][1]["order_id"], 60, "two orders")
    seller.kill()
    seller.start_again()
    found = finished(market, batch_id)
    assert (found["done"], found["failed"]) == (found["total"], 0)
    assert found["total"] in (3, 4)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["state"] == "ended"
    assert manifest["model_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    listed = [item for part in manifest["parts"] for item in part["files"]] + manifest["joined"]
    for item in listed:
        assert hashlib.sha256((folder / item["name"]).read_bytes()).hexdigest() == item["sha256"]
    names = {path.name for path in folder.iterdir()}
    assert names == {"manifest.json", *(item["name"] for item in listed)}
    # what came in parts is what comes in one
    whole = market.rent(
        market.offer(jobs_at_once=2, queue=4),
        kind="infer",
        inputs={"model.onnx": str(model), "rows.csv": str(market.holdout)},
        params={"label": LABEL},
    )
    order = seller.order_until(
        whole, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
    )
    expected = next(Path(item["path"]) for item in order["job"]["artefacts"] if "predictions" in item["name"])
    assert predictions(folder / "predictions.csv") == predictions(expected)

    orders = seller.get("/v1/orders")["items"]
    used = {item["other"] for item in orders if item["kind"] == "compute"}
    assert used == {market.provider.peer_id, market.buyer.peer_id}
    wait_for(
        lambda: all(item["final"] for item in seller.get("/v1/orders")["items"]) or None, 120, "all settled"
    )
    after = seller.get(f"/v1/batches/{batch_id}")
    assert 0 < after["spent_micro"] <= CAP
    assert market.money() == 3 * START_MICRO


def test_a_table_that_cannot_be_run_is_not_tried_again(market: Market, model: Path) -> None:
    bad, good = market.folder / "bad.csv", market.folder / "good.csv"
    bad.write_text("a,b\n1,x\n")
    good.write_text(market.holdout.read_text())
    batch_id = market.seller.post(
        "/v1/batches",
        model=str(model),
        files=[str(bad), str(good)],
        folder=str(market.folder / "two"),
        cap_micro=CREDIT,
        label=LABEL,
        offers=[market.offer(jobs_at_once=2, queue=4)],
    )["batch_id"]
    found = finished(market, batch_id)
    assert [part["state"] for part in found["parts"]] == ["failed", "done"]
    assert "rows.csv" in found["parts"][0]["words"]
    assert [part["tries"] for part in found["parts"]] == [1, 1]
    assert [part["name"] for part in found["parts"]] == ["001-bad", "002-good"]


def test_a_batch_that_is_cancelled_orders_nothing_more(market: Market, model: Path) -> None:
    seller = market.seller
    batch_id = seller.post(
        "/v1/batches",
        model=str(model),
        files=[str(market.holdout)],
        folder=str(market.folder / "cancelled"),
        cap_micro=CAP,
        rows_per_part=2,
        label=LABEL,
        at_once=1,
    )["batch_id"]
    seller.post(f"/v1/batches/{batch_id}/cancel")
    found = finished(market, batch_id)
    assert found["state"] == "cancelled"
    assert found["done"] < found["total"]
    assert any(part["state"] == "waiting" for part in found["parts"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"folder": "."}, "folder_in_use"),
        ({"files": ["missing.csv"]}, "no_such_file"),
        ({"rows_per_part": 1, "cap_micro": 100}, "cap_too_low"),
        ({"rows_per_part": 5, "files": ["a.csv", "a.csv"]}, "bad_batch"),
        ({"at_once": 99}, "invalid_request"),
    ],
)
def test_what_cannot_be_done_is_refused_with_words(
    market: Market, model: Path, changes: dict[str, Any], code: str
) -> None:
    (market.folder / "a.csv").write_text("a\n" + "1\n" * 150)
    given = {"files": ["a.csv"], "folder": "new", **changes}
    given["files"] = [str(market.folder / name) for name in given["files"]]
    given["folder"] = str(market.folder / given["folder"])
    with pytest.raises(OpenstallError) as caught:
        market.seller.post("/v1/batches", **{"model": str(model), "cap_micro": CREDIT, **given})
    assert caught.value.code == code
    assert not list((market.seller.home / "library").glob("batch-*"))
