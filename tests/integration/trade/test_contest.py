"""Contests between real nodes: real models, measured unseen, paid by rank; and one that nobody judges."""

from __future__ import annotations

from pathlib import Path

from contest_stage import DEPOSIT, ENTER_S, JUDGE_S, NOBODY, POOL, REVIEW_S, open_arena
from stage import START_MICRO, typed

RANKS = [6_000, 3_000, 1_000]


def test_contests_are_judged_paid_and_handed_over(tmp_path: Path) -> None:
    """Two run side by side with one that nobody judges; requester and evaluator are killed on the way."""
    with open_arena(tmp_path) as arena:
        market, ben, vera = arena.market, arena.ben, arena.vera
        buyer, seller = market.buyer, market.seller
        named = [one.wallet for one in arena.evaluators]
        ranked = arena.ask("Cells told apart", "0.5", weights=RANKS, evaluators=named)
        strict = arena.ask("Cells told apart well", "0.93", weights=[], evaluators=named)
        silent = arena.ask_by_command("Nobody judges", "0.5", "--weights", "10000", "--evaluator", NOBODY)
        assert buyer.balance_micro() == START_MICRO - 3 * POOL
        for one in arena.evaluators:
            for cid in (ranked, strict):
                arena.until(one, cid, lambda view: view["role"] == "evaluator", "a contest to judge")
        tried = ben.operate(f"/v1/contests/{ranked}/practice", path=str(arena.models / "fair.onnx"))
        assert (tried["tries_used"], tried["tries_left"]) == (1, 1)
        assert 0.7 < float(tried["figure"]) < 0.95
        assert seller.get(f"/v1/contests/{ranked}")["board"][0]["figure"] == tried["figure"]
        for cid in (ranked, strict, silent):
            arena.enter(seller, cid, "strong")
            arena.enter(ben, cid, "fair")
        buyer.kill()
        vera.kill()
        arena.pass_by(ENTER_S + 2)
        vera.start_again()
        buyer.start_again()
        for cid in (ranked, strict):
            arena.until(buyer, cid, lambda view: view["state"] == "judged", "the ranking")
        for cid in (ranked, strict):
            for peer in (seller, ben):
                arena.until(peer, cid, lambda view: all(one["claimed"] for one in view["entries"]), "claims")
        told = typed(ben, "contest", "show", strict).stdout
        assert "not good enough" in told
        assert "Ben" in told or "ben" in told
        assert strict in typed(seller, "contest", "list").stdout
        view = arena.until(buyer, ranked, lambda view: len(view["library_paths"]) == 2, "both models")
        received = {
            path.name: path.read_bytes() for one in view["library_paths"] for path in Path(one).iterdir()
        }
        assert received == {path.name: path.read_bytes() for path in arena.models.glob("[sf]*.onnx")}
        first, second = view["entries"]
        assert (first["place"], first["prize_micro"]) == (1, POOL * 6 // 10)
        assert (second["place"], second["prize_micro"]) == (2, POOL * 3 // 10)
        best, loser = buyer.get(f"/v1/contests/{strict}")["entries"]
        assert (best["prize_micro"], best["passed"]) == (POOL, True)
        assert (loser["prize_micro"], loser["passed"], loser["claimed"]) == (0, False, True)
        assert seller.balance_micro() == START_MICRO + POOL * 16 // 10 - DEPOSIT
        assert ben.balance_micro() == START_MICRO + POOL * 3 // 10 - DEPOSIT
        arena.pass_by(JUDGE_S + 2 * REVIEW_S + 60)
        for cid, end in ((ranked, "closed"), (strict, "closed"), (silent, "void")):
            arena.until(buyer, cid, lambda view, end=end: view["state"] == end, end)
        for peer in (seller, ben):
            arena.until(peer, silent, lambda view: view["own"]["state"] == "over", "its deposit")
        assert ben.balance_micro() == START_MICRO + POOL * 3 // 10
        assert buyer.balance_micro() == START_MICRO - POOL * 19 // 10
        assert arena.money() == 5 * START_MICRO
