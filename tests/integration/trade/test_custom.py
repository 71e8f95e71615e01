"""Journey 2 between real nodes: sealed bids, a model trained on a rented machine, measured unseen, paid."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from custom_stage import BUDGET, Commission
from stage import CREDIT, START_MICRO, Market, open_market, state_in_books, trick, typed

from openstall.app.demo.peers import DemoPeer, running_peer, wait_for
from openstall.market.orders.machine import CUSTOM

ADA, BEN = 20 * CREDIT, 30 * CREDIT
"""The two bids; the lower one wins, and is paid the other."""
FEE = BUDGET * 200 // 10_000
"""What the arbiter takes for a ruling."""


def join(market: Market, peer: DemoPeer) -> DemoPeer:
    peer.operate("/v1/group/join", invitation=market.provider.get("/v1/group")["invitation"])
    peer.operate("/v1/wallet/faucet")
    return peer


def test_a_model_is_ordered_measured_and_paid_and_another_refunded(tmp_path: Path) -> None:
    """Two requests side by side; one of three evaluators is killed before there is anything to measure.

    A third is measured by one evaluator alone, which makes its second report up, and is found out.
    """
    with (
        open_market(tmp_path) as market,
        running_peer("ben", tmp_path / "ben", trick("made_up_report")) as ben,
        running_peer("oracle", tmp_path / "oracle") as oracle,
    ):
        room = Commission(
            market=market,
            evaluators=[market.buyer, oracle, market.provider],
            others=[join(market, ben), join(market, oracle)],
        )
        good, bad = (room.ask("Cells told apart", threshold, arbiter=None) for threshold in ("0.9", "1"))
        ben.post("/v1/evaluator", on=True)
        alone = room.ask("Judged alone", "1", evaluators=[ben.wallet], tries=2, review_s=3600)
        for cid in (good, bad):
            room.bid(market.seller, cid, ADA)
            room.bid(ben, cid, BEN)
        room.bid(market.seller, alone, ADA)
        sealed = ben.get(f"/v1/requests/{good}/auction")["bids"]
        assert [bid["amount_micro"] for bid in sealed] == [None, None]
        job = market.rent(market.offer())  # the machine of one who will measure is rented to train
        trained = market.seller.order_until(
            job, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 180
        )
        market.seller.post(f"/v1/orders/{job}/save", folder=str(tmp_path / "trained"))
        orders = {cid: room.order_of(cid) for cid in (good, bad)}
        for order_id in orders.values():
            room.until([oracle], order_id, "funded")
            oracle_has = oracle.get(f"/v1/orders/{order_id}")
            assert (oracle_has["role"], oracle_has["actions"]) == ("evaluator", [])
        oracle.kill()
        judged_alone = room.order_of(alone)
        for order_id in (*orders.values(), judged_alone):
            room.hand_in(market.seller, order_id, tmp_path / "trained" / "model.onnx")
        check_found_out(room, judged_alone, tmp_path / "trained" / "model.onnx")
        paid = room.until([market.seller, market.buyer], orders[good], "completed")
        back = room.until([market.seller, market.buyer], orders[bad], "refunded")
        assert state_in_books(oracle, orders[good]) == "funded"
        check_paid(room, good, paid)
        check_refunded(room, bad, back)
        market.buyer.order_until(orders[good], lambda o: o["verified"] is True, 60)
        job_cost = trained["paid_micro"]
        assert market.buyer.balance_micro() == START_MICRO - BEN - FEE
        assert market.seller.balance_micro() == START_MICRO + BEN - job_cost
        assert ben.balance_micro() == START_MICRO
        oracle.start_again()
        room.until([oracle], orders[good], "completed")
        room.until([oracle], orders[bad], "refunded")
        assert room.money() == 5 * START_MICRO


def check_found_out(room: Commission, order_id: str, model: Path) -> None:
    """The first report is honest; the second is not, and the developer gets nothing for it."""
    buyer, seller, arbiter = room.market.buyer, room.market.seller, room.market.provider
    room.until([buyer, arbiter], order_id, "failed")
    assert not seller.get(f"/v1/orders/{order_id}")["custom"]["may_replay"]  # it has a try left
    told = json.loads(typed(buyer, "--json", "order", "replay", order_id).stdout)
    assert [(check["outcome"], check["opened"]) for check in told["checks"]] == [("rows_only", 30)]
    seller.operate(f"/v1/orders/{order_id}/hand-in", path=str(model))
    buyer.order_until(
        order_id, lambda order: order["state"] == "delivered" and order["verified"] is True, 120
    )
    refused = typed(buyer, "order", "replay", order_id, status=1)
    assert "opened rows answer otherwise than reported" in refused.stdout
    assert "Call the arbiter before the review time is over" in refused.stderr
    buyer.post(f"/v1/orders/{order_id}/dispute", reason="The report is made up.")
    room.until([arbiter], order_id, "disputed")
    signed = wait_for(partial(reports_at, arbiter, order_id), 60, "the arbiter has both reports")
    assert [(signed[at]["passed"], signed[at]["on_chain"]) for at in (1, 2)] == [(False, True), (True, True)]
    file = buyer.get(f"/v1/orders/{order_id}")["custom"]["verdicts"][0]["replay"]["proof"]
    found = arbiter.operate(f"/v1/orders/{order_id}/replay", proof=file, model=str(model))
    assert [check["outcome"] for check in found["checks"]] == ["differs"]
    assert "checked again: " in typed(arbiter, "order", "show", order_id).stdout
    arbiter.post(f"/v1/orders/{order_id}/rule", buyer_bps=10_000)
    room.until([buyer], order_id, "ruled")


def reports_at(arbiter: DemoPeer, order_id: str) -> dict[int, dict[str, Any]] | None:
    """The reports on both tries, which their evaluator has sent by itself."""
    verdicts = arbiter.get(f"/v1/orders/{order_id}")["custom"]["verdicts"]
    return {verdict["attempt"]: verdict for verdict in verdicts} if len(verdicts) == 2 else None


def check_paid(room: Commission, cid: str, order: dict[str, Any]) -> None:
    """The second price, two of three signatures, a figure with its interval, and nobody's click."""
    market = room.market
    auction = market.buyer.get(f"/v1/requests/{cid}/auction")
    assert (auction["state"], auction["price_micro"]) == ("awarded", BEN)
    assert auction["winner"] == market.seller.wallet.lower()
    assert sorted(bid["amount_micro"] for bid in auction["bids"]) == [ADA, BEN]
    assert order["paid_micro"] == BEN
    verdicts = order["custom"]["verdicts"]
    measured = {market.buyer.wallet.lower(), market.provider.wallet.lower()}
    assert {verdict["evaluator"] for verdict in verdicts} == measured
    assert all(verdict["passed"] for verdict in verdicts)
    (figure,) = verdicts[0]["figures"]
    assert float(figure["low"]) <= float(figure["value"]) <= float(figure["high"])
    assert float(figure["value"]) >= 0.9
    assert order["final"]
    assert order["actions"] == []


def check_refunded(room: Commission, cid: str, order: dict[str, Any]) -> None:
    """The evaluators agree that it misses; the buyer has all of its budget back."""
    assert order["paid_micro"] == 0
    assert not any(verdict["passed"] for verdict in order["custom"]["verdicts"])
    assert order["state"] in CUSTOM.final
    assert room.market.buyer.get(f"/v1/requests/{cid}/auction")["budget_micro"] == BUDGET
