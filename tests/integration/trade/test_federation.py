"""Two rounds of federated averaging by orders: data on rented machines, put together at home."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from stage import CREDIT, Market

from openstall.app.demo.dataset import LABEL
from openstall.market.errors import OpenstallError


def halves(market: Market) -> list[Path]:
    lines = market.train.read_text().splitlines()
    paths = [market.folder / f"party{number}.csv" for number in range(2)]
    for number, path in enumerate(paths):
        path.write_text("\n".join([lines[0], *lines[1 + number :: 2]]) + "\n")
    return paths


def recipe_of(market: Market) -> dict[str, Any]:
    rows = list(csv.DictReader(market.holdout.read_text().splitlines()))
    features = [name for name in rows[0] if name != LABEL]
    columns = [[float(row[name]) for row in rows] for name in features]
    return {
        "task": "classification",
        "label": LABEL,
        "features": features,
        "classes": sorted({row[LABEL] for row in rows}),
        "mean": [f"{sum(column) / len(column):.6f}" for column in columns],
        "spread": [f"{max(column) - min(column):.6f}" for column in columns],
        "hidden": [16],
        "epochs": 3,
        "clip": "20",
        "seed": 3,
    }


def run_round(market: Market, offer: str, recipe: dict[str, Any], weights: Path | None) -> list[str]:
    """Order a step for each party; the ids once the changes are here."""
    more = {"global.safetensors": str(weights)} if weights else {}
    params = {**recipe, "resume": True} if weights else recipe
    ids = [
        market.rent(
            offer,
            kind="federate",
            inputs={"data.csv": str(path), **more},
            params=params,
            cap_micro=CREDIT,
            max_s=100,
        )
        for path in halves(market)
    ]
    for order_id in ids:
        order = market.seller.order_until(
            order_id, lambda o: o["state"] == "settled" and bool(o["job"]["result"]), 120
        )
        assert order["job"]["result"]["state"] == "done"
        market.seller.order_until(order_id, lambda o: bool(o["job"]["artefacts"][0]["path"]), 60)
    return ids


def test_two_rounds_and_the_model_that_comes_of_them(market: Market) -> None:
    seller, recipe = market.seller, recipe_of(market)
    offer = market.offer(kinds=["federate", "evaluate"], jobs_at_once=2, queue=4)
    first = run_round(market, offer, recipe, None)
    one = market.folder / "round1"
    done = seller.operate("/v1/rounds/average", orders=first, folder=str(one))
    rows = len(market.train.read_text().splitlines()) - 1
    assert sum(party["rows"] for party in done["report"]["parties"]) == rows
    second = run_round(market, offer, recipe, one / "global.safetensors")
    wrong = [
        ({"orders": second, "folder": str(market.folder / "x")}, "bad_round"),
        ({"orders": [first[0], second[0]], "folder": str(market.folder / "x")}, "bad_round"),
        ({"orders": [first[0], first[0]], "folder": str(market.folder / "x")}, "bad_round"),
        ({"orders": first, "folder": str(one)}, "folder_in_use"),
        (
            {"orders": second, "weights": str(one / "model.onnx"), "folder": str(market.folder / "x")},
            "bad_round",
        ),
    ]
    for body, code in wrong:
        with pytest.raises(OpenstallError) as caught:
            seller.operate("/v1/rounds/average", **body)
        assert caught.value.code == code
    two = market.folder / "round2"
    seller.operate(
        "/v1/rounds/average", orders=second, weights=str(one / "global.safetensors"), folder=str(two)
    )
    order_id = market.rent(
        offer,
        kind="evaluate",
        inputs={"model.onnx": str(two / "model.onnx"), "rows.csv": str(market.holdout)},
        params={"label": LABEL},
    )
    order = seller.order_until(
        order_id, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
    )
    report = Path(order["job"]["artefacts"][0]["path"]).read_text()
    accuracy = report.partition('"accuracy"')[2].partition('"value": "')[2].partition('"')[0]
    assert float(accuracy) > 0.9
