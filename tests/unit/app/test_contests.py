"""Contests from the request to the prizes, on a real chain: what each node does by itself, and when."""

from __future__ import annotations

from pathlib import Path

from contest_lab import DEPOSIT, POOL, contest_lab


async def test_the_best_are_paid_by_rank_and_the_rest_have_their_deposit_back(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30, 10)
        await room.judge(cid)
        await room.look()
        first, second, third = room.developers
        assert (first.gain, second.gain, third.gain) == (POOL * 6 // 10, POOL * 3 // 10, 0)
        await room.look(room.buyer)
        view = await room.view(room.buyer, cid)
        assert [entry["place"] for entry in view["entries"]] == [1, 2, None]
        assert [entry["figure"]["value"] for entry in view["entries"]] == ["1.00", "0.75", "0.25"]
        assert [entry["passed"] for entry in view["entries"]] == [True, True, False]
        assert all(entry["claimed"] for entry in view["entries"])
        assert sorted((Path(path) / "model-40.onnx").exists() for path in view["library_paths"]) == [
            False,
            True,
        ]
        await room.close()
        assert room.buyer.gain == -POOL * 9 // 10
        room.check_conserved()
        assert (await room.view(room.buyer, cid))["state"] == "closed"


async def test_silent_evaluators_send_everything_back(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        assert room.buyer.gain == -POOL
        assert room.developers[0].gain == -DEPOSIT
        body = await room.lab.terms_of(cid)
        room.lab.pass_to(body.reveal_by + body.review_s)
        await room.look(room.buyer)
        await room.look(*room.developers)
        assert [side.gain for side in (room.buyer, *room.developers)] == [0, 0, 0, 0]
        room.check_conserved()
