"""What those in a contest, and strangers, can get out of one another's nodes; and what practice tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from contest_lab import ContestLab, contest_lab
from custom_asks import rename_training
from custom_lab import Maker

from openstall.app.services.contests import practice, wire
from openstall.market import canonical
from openstall.market.errors import Conflict, InvalidOrder, OpenstallError, PeerError
from openstall.market.schema import from_wire

NOBODY = "b" + "a" * 58
PLAIN: dict[str, Any] = {"wallet": "", "delivery": None, "key": ""}
STRANGER = "no_such_contest"


async def ask(asker: Maker, asked: Maker, **message: Any) -> dict[str, Any]:
    raw = await asker.host.request(
        asked.host.peer_id,
        wire.PROTOCOL,
        canonical.encode(PLAIN | message),
        timeout_s=10,
        max_response=wire.MAX_ANSWER,
    )
    found: dict[str, Any] = canonical.decode(raw, max_bytes=wire.MAX_ANSWER)
    return found


def sheet_of(answer: dict[str, Any]) -> wire.SheetAnswer:
    return from_wire(canonical.encode(answer), wire.SheetAnswer, most=wire.MAX_ANSWER)


async def refusal(asker: Maker, asked: Maker, **message: Any) -> str:
    with pytest.raises(PeerError) as caught:
        await ask(asker, asked, **message)
    return caught.value.code


async def test_strangers_and_rivals_learn_nothing(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        ada, ben, cleo = room.developers
        judge = room.evaluators[0]
        await room.look(judge)
        hers = {"do": "delivery", "request": cid, "wallet": ada.wallet.address.lower()}
        for asker, asked, message in (
            (ben, ada, hers),
            (cleo, ada, hers),
            (ben, judge, hers),
            (ben, room.buyer, hers),
            (ada, room.buyer, {"do": "rows", "request": cid}),
            (room.buyer, judge, {"do": "rows", "request": cid}),
            (ben, judge, {"do": "training", "request": cid}),
            (ben, judge, {"do": "sheet", "request": cid}),  # the chain has no ranking yet
            (ben, ada, {"do": "practice", "request": cid, "key": "ab" * 32, "delivery": {}}),
            (ben, ada, {"do": "board", "request": cid}),
            (ben, cleo, {"do": "training", "request": cid}),
            (judge, room.buyer, {"do": "rows", "request": NOBODY}),
        ):
            assert await refusal(asker, asked, **message) == STRANGER, (asker.folder.name, message)
        assert (await ask(room.buyer, ada, **hers))["key"] == ""
        assert (await ask(room.buyer, judge, **hers))["key"] == ""  # it has paid for nothing yet
        assert (await ask(cleo, room.buyer, do="training", request=cid))["key"]


async def test_nobody_has_a_key_before_the_time_to_enter_is_over(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.ask()
        ada, judge = room.developers[0], room.evaluators[0]
        await room.enter(ada, cid, 40)
        hers = {"do": "delivery", "request": cid, "wallet": ada.wallet.address.lower()}
        assert await refusal(judge, ada, **hers) == "not_now"
        assert await refusal(room.buyer, ada, **hers) == "not_now"
        room.lab.pass_to((await room.lab.terms_of(cid)).commit_by)
        assert (await ask(judge, ada, **hers))["key"]
        await room.judge(cid)
        await room.look(ada)
        assert (await ask(room.buyer, judge, **hers))["key"]  # it is paid for now
        await room.close()
        assert await refusal(judge, room.evaluators[1], **hers) == "nothing_there"  # none is kept


async def test_messages_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40)
        ada, judge = room.developers[0], room.evaluators[0]
        good: dict[str, Any] = {"do": "delivery", "request": cid, "wallet": ada.wallet.address.lower()}
        assert (await ask(judge, ada, **good))["key"]
        for wrong in (
            {"do": "give"},
            {"request": "../../etc"},
            {"wallet": ada.wallet.address.upper()},
            {"wallet": 7},
            {"key": "AB" * 32},
            {"delivery": []},
            {"more": 1},
        ):
            assert await refusal(judge, ada, **(good | wrong)) == "bad_schema", wrong
        with pytest.raises(PeerError):
            await ask(judge, ada, **good, delivery={"x": "A" * wire.MAX_ASK})


async def test_rankings_that_are_not_what_they_say_are_passed_by(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        one, other, _third = room.evaluators
        await room.look(one)
        mine = await ask(other, one, do="sheet", request=cid)
        sheets = other.custom.contests.sheets
        desk = other.custom.contests.desk
        found = await desk.find(cid)
        assert found is not None
        facts = found.facts(await desk.look(found.body, cid))
        assert (await sheets._checked(found, facts, sheet_of(mine))).author == one.wallet.address.lower()
        forged = dict(mine["sheet"]) | {"at": 1}
        theirs = mine["signed"][0]["signature"]
        for code, changes in (
            ("not_signed", {"sheet": forged}),
            ("not_signed", {"signature": theirs}),
            ("not_signed", {"signed": [{"place": 1, "signature": theirs}]}),
            ("not_signed", {"signed": [{"place": 15, "signature": theirs}]}),
            ("not_signed", {"signed": [{"place": 0, "signature": mine["signature"]}]}),
        ):
            with pytest.raises(InvalidOrder) as caught:
                await sheets._checked(found, facts, sheet_of(mine | changes))
            assert caught.value.code == code, changes
        for wrong in ({"signature": "ab" * 64}, {"signed": [{"place": -1, "signature": theirs}]}):
            with pytest.raises(InvalidOrder):
                sheet_of(mine | wrong)


async def test_training_data_has_a_name_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The requester would else put a file of any name and content into folders of all developers."""
    rename_training(monkeypatch)
    async with contest_lab(tmp_path) as room:
        cid, ada, folder = await room.ask(), room.developers[0], tmp_path / "data"
        saved = await ada.custom.contests.save_training(cid, folder, ada.progress())
        assert saved["path"] == str(folder / "training.csv")
        assert [one.name for one in await trio.Path(folder).iterdir()] == ["training.csv"]
        with pytest.raises(Conflict, match="exists already"):
            await ada.custom.contests.save_training(cid, folder, ada.progress())


async def practised(room: ContestLab, who: Maker, cid: str, right: int) -> dict[str, Any]:
    """One try, while the evaluator who keeps the board looks at it."""
    told: dict[str, Any] = {}

    async def act() -> None:
        path = room.model(who, right)
        told.update(await who.custom.contests.practise(cid, path, who.progress()))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(act)
        while not told:
            await room.look(room.evaluators[0])
            await trio.sleep(0.02)
    return told


async def test_practice_tells_no_more_than_the_ladder_and_survives_a_kill(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.ask(tries=4)
        ada, ben, _cleo = room.developers
        keeper = room.evaluators[0]
        assert (await practised(room, ada, cid, 30))["figure"] == "0.75"
        keeper.start_custom()
        worse = await practised(room, ada, cid, 20)
        assert (worse["figure"], worse["tries_left"]) == ("0.75", 2)  # a worse model is not told
        assert (await practised(room, ada, cid, 34))["figure"] == "0.85"
        assert len(keeper.blobs.all()) == 1  # the rows; no model that was tried takes room any longer
        keeper.start_custom()
        assert (await practised(room, ada, cid, 34))["tries_left"] == 0
        with pytest.raises(OpenstallError) as caught:
            await ada.custom.contests.practise(cid, room.model(ada, 40), ada.progress())
        assert caught.value.code == "no_tries_left"
        assert (await practised(room, ben, cid, 10))["figure"] == "0.25"
        for who in (room.buyer, ada, keeper, room.lab.arbiter):
            board = (await room.view(who, cid))["board"]
            assert [(one["name"], one["figure"], one["tries_used"]) for one in board] == [
                ("ada", "0.85", 4),
                ("ben", "0.25", 1),
            ]
        assert (await room.view(ben, cid))["tries_left"] == 3


async def test_practice_has_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.ask()
        ada, ben, _cleo = room.developers
        keeper = room.evaluators[0]

        async def code(who: Maker, request: str = cid) -> str:
            with pytest.raises(OpenstallError) as caught:
                await who.custom.contests.practise(request, room.model(who, 30), who.progress())
            return caught.value.code

        assert await code(room.buyer) == "own_request"
        assert await code(keeper) == "own_judgement"
        sent: dict[str, Any] = {"do": "practice", "request": cid, "key": "ab" * 32}
        assert await refusal(ben, keeper, **sent, delivery={"x": 1}) == "bad_schema"
        assert await refusal(room.buyer, keeper, **sent, delivery={"x": 1}) == "own_judgement"
        assert await refusal(ben, room.evaluators[1], **sent, delivery={"x": 1}) == STRANGER
        monkeypatch.setattr(practice, "MOST_QUESTIONS", 1)
        assert (await practised(room, ada, cid, 30))["tries_used"] == 1
        assert await code(ben) == "no_tries_left"
        room.lab.pass_to((await room.lab.terms_of(cid)).commit_by)
        assert await code(ben) == "too_late"
