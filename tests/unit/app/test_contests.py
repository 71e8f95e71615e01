"""Contests from the request to the prizes, on a real chain: what each node does by itself, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contest_lab import DEPOSIT, POOL, REVIEW_S, ContestLab, contest_lab
from custom_lab import Maker

from openstall.app.services.contests.desk import ContestDesk, Room
from openstall.app.services.contests.entering import Entering
from openstall.app.services.contests.judging import Judging
from openstall.app.services.sealing import seal_key
from openstall.ledger.credit import CreditClient
from openstall.market.errors import ChainError, Conflict, MoneyError, OpenstallError, Refused
from openstall.market.requests.ranking import Facts


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
        assert received(view) == {"model-40.onnx", "model-30.onnx"}
        await room.close()
        assert room.buyer.gain == -POOL * 9 // 10
        room.check_conserved()
        assert (await room.view(room.buyer, cid))["state"] == "closed"


def received(view: dict[str, Any]) -> set[str]:
    return {path.name for folder in view["library_paths"] for path in Path(folder).iterdir()}


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


async def test_a_pool_is_shared_by_quality(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 20, 10, weights_bps=())
        await room.judge(cid)
        await room.look(*room.developers)
        assert [side.gain for side in room.developers] == [POOL * 2 // 3, POOL // 3, 0]


async def test_without_a_good_model_the_pool_comes_back(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(10, 5)
        await room.judge(cid)
        await room.look(*room.developers)
        await room.close()
        assert [side.gain for side in (room.buyer, *room.developers)] == [0, 0, 0, 0]
        assert (await room.view(room.buyer, cid))["library_paths"] == []
        room.check_conserved()


async def test_who_shows_its_model_to_one_evaluator_has_shown_it_to_all(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        first, *_others = room.evaluators
        await room.look(first)
        await room.lab.cut_off(room.developers[0])
        await room.judge(cid)
        view = await room.view(first, cid)
        assert [entry["place"] for entry in view["entries"]] == [1, 2]
        held = await first.custom.contests.sheets.all(*await the_room(first, cid))
        assert any(len(one.signed) >= 2 for one in held)


async def the_room(who: Maker, cid: str) -> Any:
    desk = who.custom.contests.desk
    found = await desk.find(cid)
    assert found is not None
    return found, found.facts(await desk.look(found.body, cid))


async def test_who_shows_its_model_to_nobody_holds_up_nobody(tmp_path: Path) -> None:
    """It has no prize; its deposit comes back."""
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30, 25)
        await room.lab.cut_off(room.developers[0])
        await room.look(*room.evaluators)
        for one in room.evaluators:  # the first half of the time is the entrants'
            assert await one.custom.contests.sheets.all(*await the_room(one, cid)) == []
        body = await room.lab.terms_of(cid)
        room.lab.pass_to((body.commit_by + body.reveal_by) // 2)
        await room.judge(cid)
        await room.look(room.buyer, *room.developers[1:])
        assert [side.gain for side in room.developers[1:]] == [POOL * 6 // 10, POOL * 3 // 10]
        await room.close()
        assert room.developers[0].gain == 0
        room.check_conserved()


async def test_a_key_that_opens_nothing_gains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The winner is paid by the contract; the requester has the right key from the evaluators."""

    async def wrong(_self: Entering, _room: Room) -> bytes:
        return seal_key(bytes(32), BOX)

    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        await room.judge(cid)
        with monkeypatch.context() as patched:
            patched.setattr(Entering, "sealed_key", wrong)
            await room.look(room.developers[0])
        assert room.developers[0].gain == POOL * 6 // 10
        await room.look(room.buyer)
        assert received(await room.view(room.buyer, cid)) == {"model-40.onnx"}


BOX = "09" + "00" * 31
"""The base point: a key that is nobody's."""


async def test_a_winner_who_keeps_its_model_loses_prize_and_deposit(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        await room.judge(cid)
        await room.look(room.developers[1])
        room.lab.pass_to(room.lab.now() + REVIEW_S + 10)
        await room.look(room.buyer)
        entries = (await room.view(room.buyer, cid))["entries"]
        assert [entry["claimed"] for entry in entries] == [False, True]
        await room.close()
        assert [side.gain for side in room.developers] == [-DEPOSIT, POOL * 3 // 10, 0]
        assert room.buyer.gain == -POOL * 3 // 10
        room.check_conserved()


async def test_one_dishonest_evaluator_of_three_changes_nothing(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        liar = room.evaluators[0]
        liar.sandbox.said = 39
        cid = await room.entered(30, 40)
        await room.judge(cid)
        await room.look(*room.developers)
        assert [side.gain for side in room.developers[:2]] == [POOL * 3 // 10, POOL * 6 // 10]
        view = await room.view(room.buyer, cid)
        await room.look(room.buyer)
        assert [entry["place"] for entry in view["entries"]] in ([2, 1], [None, None])


async def test_evaluators_who_contradict_one_another_decide_nothing(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        one, other, _third = room.evaluators
        other.sandbox.said = 20
        cid = await room.entered(40, 30, evaluators=(one.wallet.address, other.wallet.address))
        with pytest.raises(AssertionError, match="nobody judged"):
            await room.judge(cid)
        body = await room.lab.terms_of(cid)
        room.lab.pass_to(body.reveal_by + body.review_s)
        await room.look(room.buyer)
        await room.look(*room.developers)
        assert [side.gain for side in (room.buyer, *room.developers)] == [0, 0, 0, 0]
        room.check_conserved()


async def test_the_requester_brings_what_the_evaluators_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Judging.bring

    async def lazy(self: Judging, room: Room, facts: Facts) -> None:
        if room.row.role == "requester":
            await honest(self, room, facts)

    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        monkeypatch.setattr(Judging, "bring", lazy)
        for _round in range(3):
            await room.look(*room.evaluators)
            room.lab.pass_to(room.lab.now() + 130)
        await room.look(room.buyer)
        room.lab.pass_to(room.lab.now() + 20)
        await room.look(room.buyer)
        assert (await room.view(room.buyer, cid))["state"] == "judged"


@pytest.mark.parametrize("moment", ["keep", "send"])
async def test_a_kill_of_the_requester_pays_the_pool_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    async with contest_lab(tmp_path) as room:
        with monkeypatch.context() as patched:
            patched.setattr(ContestDesk, moment, killed)
            with pytest.raises(ChainError, match="killed"):
                await room.ask()
        assert room.buyer.gain == 0
        room.buyer.start_custom()
        await room.buyer.custom.requests.resume()
        await room.look(room.buyer)
        assert room.buyer.gain == -POOL
        room.buyer.start_custom()
        await room.buyer.custom.requests.resume()
        await room.look(room.buyer)
        assert room.buyer.gain == -POOL


async def killed(*_args: Any, **_more: Any) -> None:
    raise ChainError("killed", "killed")


async def test_a_kill_of_an_entrant_enters_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.ask()
        ada = room.developers[0]
        with monkeypatch.context() as patched:
            patched.setattr(ContestDesk, "send", killed)
            with pytest.raises(ChainError, match="killed"):
                await room.enter(ada, cid, 40)
        assert ada.gain == 0
        for _kill in range(2):
            ada.access._public.clear()  # it lies in memory alone
            ada.start_custom()
            await ada.custom.contests.restore()
            await room.look(ada)
            assert ada.gain == -DEPOSIT
        with pytest.raises(Conflict, match="cannot be changed"):
            await room.enter(ada, cid, 30)
        await room.lab.cut_off(room.lab.ben)
        room.lab.pass_to((await room.lab.terms_of(cid)).commit_by)
        await room.judge(cid)  # what was entered before the kill can still be fetched
        await room.look(ada)
        assert ada.gain == POOL * 6 // 10


async def test_kills_of_everybody_between_all_steps_change_nothing(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        everybody = [room.buyer, *room.developers, *room.evaluators]

        def kill_all() -> None:
            for side in everybody:
                side.start_custom()

        cid = await room.ask()
        kill_all()
        for who, right in zip(room.developers, (40, 30, 10), strict=True):
            await room.enter(who, cid, right)
        kill_all()
        room.lab.pass_to((await room.lab.terms_of(cid)).commit_by)
        for _round in range(8):
            for one in room.evaluators:
                await room.look(one)
                kill_all()
            if (await room.view(room.buyer, cid))["state"] == "judged":
                break
            room.lab.pass_to(room.lab.now() + 130)
        assert all(one.sandbox.measured <= 3 for one in room.evaluators)
        for _round in range(2):
            await room.look()
            kill_all()
        await room.close()
        kill_all()
        await room.look()
        assert [side.gain for side in room.developers] == [POOL * 6 // 10, POOL * 3 // 10, 0]
        assert room.buyer.gain == -POOL * 9 // 10
        assert received(await room.view(room.buyer, cid)) == {"model-40.onnx", "model-30.onnx"}
        room.check_conserved()


async def test_who_may_not_enter_pays_nothing(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.ask(deposit_micro=POOL)
        auction = await room.lab.ask()

        async def code(who: Maker, request: str = cid) -> str:
            with pytest.raises(OpenstallError) as caught:
                await room.enter(who, request, 30)
            return caught.value.code

        assert await code(room.buyer) == "own_request"
        assert await code(room.evaluators[0]) == "own_judgement"
        assert await code(room.developers[0], auction) == "no_contest"
        body = await room.lab.terms_of(cid)
        room.lab.pass_to(body.commit_by)
        assert await code(room.developers[0]) == "too_late"
        assert [side.gain for side in room.developers] == [0, 0, 0]


async def test_a_contest_without_its_money_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contest_lab(tmp_path) as room:
        with monkeypatch.context() as patched:
            patched.setattr(ContestDesk, "send", killed)
            with pytest.raises(ChainError):
                await room.ask()
        (cid,) = [one.cid for one in room.lab.shelf.records.values() if one.record.type == "request"]
        with pytest.raises(Refused) as caught:
            await room.enter(room.developers[0], cid, 30)
        assert caught.value.code == "no_contest"
        await room.look(*room.evaluators)
        assert [await one.custom.contests.items() for one in room.evaluators] == [[], [], []]


async def test_nobody_is_made_an_evaluator_against_its_will(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        await room.evaluators[0].custom.willing.set(on=False)
        await room.ask()
        held = [len(await one.custom.contests.items()) for one in room.evaluators]
        assert held == [0, 1, 1]


async def test_without_the_deposit_nothing_is_entered(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.ask()
        ada = room.developers[0]
        balance = ada.start
        await drain(room, ada, balance - DEPOSIT + 1)
        with pytest.raises(MoneyError):
            await room.enter(ada, cid, 30)


async def drain(room: ContestLab, who: Maker, amount: int) -> None:
    chain = room.lab.trade.chain
    chain.do(who.wallet, CreditClient(chain.chain).transfer(room.buyer.wallet.address, amount))
