"""Finished jobs are done again: an honest provider is found to be that, and one that made it up is caught."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from stage import RULES, Market, open_market, trick, typed

from openstall.app.demo.dataset import LABEL
from openstall.app.services.orders.job_check import FEW
from openstall.market import canonical
from openstall.market.errors import OpenstallError
from openstall.store.database import Store
from openstall.store.settings import Settings

RECIPE = {"task": "classification", "label": LABEL, "epochs": 400, "seed": 7, "checkpoint_s": 0}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """The seller buys jobs; the provider makes its results up, the buyer is a provider who does not."""
    with open_market(tmp_path_factory.mktemp("market"), provider=trick("made_up_result")) as opened:
        yield opened


@pytest.fixture(scope="module")
def liar(market: Market) -> str:
    return market.offer()


@pytest.fixture(scope="module")
def honest(market: Market) -> str:
    return market.seen_by(market.seller, market.buyer.post("/v1/compute/sell", **RULES)["cid"])


def done(market: Market, order_id: str) -> dict[str, Any]:
    return market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
    )


@pytest.fixture(scope="module")
def trained(market: Market, honest: str) -> dict[str, Any]:
    """A training that brought checkpoints home, by the honest provider."""
    return done(market, market.rent(honest, params=RECIPE))


@pytest.fixture(scope="module")
def inputs(market: Market, trained: dict[str, Any]) -> dict[str, str]:
    model = next(file["path"] for file in trained["job"]["artefacts"] if file["name"] == "model.onnx")
    return {"model.onnx": model, "rows.csv": str(market.holdout)}


def infer(market: Market, offer: str, inputs: dict[str, str], **params: Any) -> str:
    order_id = market.rent(offer, kind="infer", inputs=inputs, params={"label": LABEL, **params})
    done(market, order_id)
    return order_id


def check(market: Market, order_id: str, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = market.seller.operate(f"/v1/orders/{order_id}/check", **how)
    return found


def test_a_provider_who_makes_its_result_up_is_caught_here(
    market: Market, liar: str, inputs: dict[str, str]
) -> None:
    order_id = infer(market, liar, inputs)
    found = json.loads(typed(market.seller, "--json", "job", "check", order_id, status=1).stdout)
    assert (found["outcome"], found["odd"], found["part"]) == ("different", "the provider", "the whole job")
    assert found["pairs"][0]["figures"]["unequal"] > 50
    shown = typed(market.seller, "order", "show", order_id).stdout
    assert "The result was not found again" in shown
    assert "The odd one out is the provider." in shown


def test_two_of_three_decide_and_both_signed_reports_are_kept(
    market: Market, liar: str, honest: str, inputs: dict[str, str]
) -> None:
    order_id = infer(market, liar, inputs)
    with pytest.raises(OpenstallError, match="the provider itself"):
        check(market, order_id, offers=[liar])
    before = market.seller.balance_micro()
    found = check(market, order_id, offers=[honest])
    assert (found["outcome"], found["odd"]) == ("different", "the provider")
    assert [pair["outcome"] for pair in found["pairs"]] == ["different", "different", "same"]
    names = [opinion["name"] for opinion in found["opinions"]]
    assert names == ["the provider", "the second provider", "this computer"]
    for opinion, peer in zip(found["opinions"], (market.provider, market.buyer), strict=False):
        report = canonical.decode(base64.b64decode(opinion["report"]))["report"]
        signed = {item["name"]: item["blob"]["sha256"] for item in report["outputs"]}
        assert (opinion["peer"], report["order"]) == (peer.peer_id, opinion["order"])
        assert signed == opinion["hashes"]
    again = found["opinions"][1]["order"]
    order = done(market, again)
    assert (order["job"]["check_of"], order["job"]["checks"]) == (order_id, [])
    assert market.seller.get(f"/v1/orders/{order_id}")["job"]["checks"] == [found]
    # asked once more, nothing is paid twice
    paid = market.seller.balance_micro()
    assert before - paid == order["paid_micro"]
    assert check(market, order_id, offers=[honest])["opinions"][1]["order"] == again
    assert market.seller.balance_micro() == paid


def test_a_second_provider_who_lies_harms_only_itself(
    market: Market, liar: str, honest: str, inputs: dict[str, str]
) -> None:
    order_id = infer(market, honest, inputs)
    found = check(market, order_id, offers=[liar])
    assert (found["outcome"], found["odd"]) == ("same", "the second provider")
    theirs = market.seller.get(f"/v1/orders/{found['opinions'][1]['order']}")
    assert theirs["job"]["checks"] == [found]


def test_a_known_provider_is_checked_by_a_stretch_that_it_could_not_foresee(
    market: Market, honest: str, inputs: dict[str, str], trained: dict[str, Any]
) -> None:
    order_id = infer(market, honest, inputs)
    for _ in range(FEW):
        assert check(market, order_id)["outcome"] == "same"
    some = check(market, infer(market, honest, inputs, batch_size=4))
    # sixteen batches of four, or fifteen and the last one of three
    assert some["part"] in ("64 of 171 rows, drawn at random", "63 of 171 rows, drawn at random")
    assert some["outcome"] == "same"
    found = check(market, trained["order_id"])
    assert found["part"].startswith("epochs ")
    assert found["outcome"] in ("same", "within_tolerance")
    whole = check(market, trained["order_id"], whole=True)
    assert (whole["part"], whole["outcome"]) == ("the whole job", "same")


def test_nobody_is_accused_for_a_part_of_the_rows_alone(
    market: Market, liar: str, inputs: dict[str, str]
) -> None:
    store = Store(market.seller.home / "store.sqlite")
    try:
        known = Settings(store).get("checks.agreed", {}) | {market.provider.peer_id: FEW}
        Settings(store).set("checks.agreed", known)
        found = check(market, infer(market, liar, inputs, batch_size=4))
        assert (found["part"], found["outcome"], found["odd"]) == (
            "the whole job",
            "different",
            "the provider",
        )
        assert market.provider.peer_id not in Settings(store).get("checks.agreed")
    finally:
        store.close()
