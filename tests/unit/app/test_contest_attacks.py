"""What hostile entrants and evaluators can do in a contest, and that it gains them nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import trio
from contest_lab import POOL, STAGE_S, contest_lab
from msgspec import structs

from openstall.app.services.contests import measuring
from openstall.app.services.contests.desk import ContestDesk
from openstall.app.services.contests.entering import Entering
from openstall.app.services.contests.talk import ENTRY, SHEET
from openstall.app.services.custom.sealed_model import SealedModel
from openstall.ledger.contest import ContestClient
from openstall.market.errors import ChainError, PeerError
from openstall.market.fields import BlobRef
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobInfo


async def killed(*_args: Any, **_more: Any) -> None:
    raise ChainError("killed", "killed")


async def test_a_ranking_that_comes_too_late_keeps_nobody_from_its_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        with monkeypatch.context() as patched:
            patched.setattr(ContestDesk, "send", killed)
            for _round in range(2):
                await room.look(room.buyer, *room.evaluators)
                room.lab.pass_to(room.lab.now() + 130)
        body = await room.lab.terms_of(cid)
        room.lab.pass_to(body.reveal_by + body.review_s + 60)
        await room.look(room.buyer)
        assert (await room.view(room.buyer, cid))["state"] == "void"
        assert room.buyer.gain == 0


async def test_a_model_that_breaks_its_run_off_holds_up_nobody(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        for one in room.evaluators:
            one.sandbox.breaks[13] = "crashed"
        cid = await room.entered(13, 40, 30)
        await room.look(*room.evaluators)
        room.lab.pass_to(room.lab.now() + STAGE_S // 2)
        await room.judge(cid)
        await room.look(*room.developers)
        assert [side.gain for side in room.developers] == [0, POOL * 6 // 10, POOL * 3 // 10]
        assert all(one.sandbox.measured <= 4 for one in room.evaluators)  # it is not run again and again


async def test_an_evaluator_keeps_its_own_files_whoever_names_them(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.ask()
        ada, (judge, other, _third) = room.developers[0], room.evaluators
        await room.enter(ada, cid, 40)
        (blob,) = ada.blobs.all()
        await judge.blobs.add_file(ada.blobs.path(blob.cid))  # as if that were what it sells itself
        room.lab.pass_to((await room.lab.terms_of(cid)).commit_by)
        await room.judge(cid)
        await room.close()
        assert judge.blobs.have(blob.cid)
        assert not other.blobs.have(blob.cid)


async def test_an_entry_that_names_a_private_file_of_an_evaluator_opens_it_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An oracle knows the names and hashes of a job's inputs: it must not get them by an entry."""
    async with contest_lab(tmp_path) as room:
        cid = await room.ask()
        ada, judge = room.developers[0], room.evaluators[0]
        secret = tmp_path / "input of a job"
        secret.write_bytes(b"another customer's rows")
        private = await judge.blobs.add_file(secret)
        named = BlobRef(cid=private.cid, size=private.size, sha256=private.sha256)
        entering = ada.custom.contests.entering
        seal = entering.seal

        async def sealed(*args: Any) -> SealedModel:
            model = await seal(*args)
            return dataclasses.replace(model, delivery=structs.replace(model.delivery, blob=named))

        monkeypatch.setattr(Entering, "seal", lambda _self, *args: sealed(*args))
        await room.enter(ada, cid, 40)
        room.lab.pass_to((await room.lab.terms_of(cid)).commit_by)
        await room.look(judge)
        desk = room.buyer.custom.contests.desk
        found = await desk.find(cid)
        assert found is not None
        (entry,) = (await desk.look(found.body, cid)).entries
        shown = await room.buyer.custom.contests.talk.delivery(
            found, judge.host.peer_id, entry.entrant, entry.model_hash
        )
        assert shown.delivery.blob == named
        assert not judge.access.allowed(private.cid, room.buyer.host.peer_id)


async def test_no_key_is_shown_before_the_chain_takes_no_more_entries(tmp_path: Path) -> None:
    """Where the host's clock is behind, an evaluator's friend could else enter the model itself."""
    async with contest_lab(tmp_path) as room:
        cid = await room.ask()
        ada, judge = room.developers[0], room.evaluators[0]
        await room.enter(ada, cid, 40)
        clock, host = room.lab.trade.clock, room.lab.trade.chain.host
        clock.ahead_s += (await room.lab.terms_of(cid)).commit_by - clock.now() + 30
        host._clock = lambda: clock() - 60  # type: ignore[attr-defined]  # the memory host's
        desk = judge.custom.contests.desk
        found = await desk.find(cid)
        assert found is not None
        (entry,) = (await desk.look(found.body, cid)).entries
        with pytest.raises(PeerError, match="not over"):
            await judge.custom.contests.talk.delivery(
                found, ada.host.peer_id, entry.entrant, entry.model_hash
            )
        clock.ahead_s += 60
        await room.look(judge)
        shown = await judge.custom.contests.talk.delivery(
            found, ada.host.peer_id, entry.entrant, entry.model_hash
        )
        assert shown.key


async def test_an_evaluator_who_writes_two_rankings_takes_no_prize_away(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        liar, honest, third = room.evaluators
        await room.look(liar)
        await room.look(honest)
        contests = liar.custom.contests
        found = await contests.desk.find(cid)
        assert found is not None
        facts = found.facts(await contests.desk.look(found.body, cid))
        (first,) = await honest.custom.contests.sheets.all(found, facts)
        assert len(first.signed) == found.body.quorum
        other = [structs.replace(line, statement=None) for line in first.sheet.lines]
        contests.desk.books.forget_all(cid, SHEET)
        await contests.sheets.make(found, facts, structs.replace(first.sheet, lines=other))
        await room.look(third)
        await room.look(honest)  # it hears of the other one, from the third
        signed = [(found.evaluators.index(one), bytes.fromhex(text)) for one, text in first.signed.items()]
        await contests.desk.send(found, "judge", lambda client, _key: client.judge(first.ranking, signed))
        await room.look(honest, third, *room.developers)
        assert [side.gain for side in room.developers[:2]] == [POOL * 6 // 10, POOL * 3 // 10]


async def test_who_copies_an_entry_gains_nothing_even_with_an_evaluators_help(tmp_path: Path) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.ask()
        ada, ben, _cleo = room.developers
        await room.enter(ada, cid, 40)
        desk = ben.custom.contests.desk
        found = await desk.keep(await desk.catalogue.live_record(cid), "entrant")
        (entry,) = (await desk.look(found.body, cid)).entries
        body = found.body
        await desk.send(
            found,
            "enter",
            lambda client, key: client.enter(
                ben.wallet, key, entry.model_hash, deposit_micro=body.deposit_micro, pay_by=body.commit_by
            ),
        )
        room.lab.pass_to(body.commit_by)
        helper = room.evaluators[2]
        await room.look(helper)
        hers = helper.custom.contests.desk.books.noted(cid, ENTRY, ada.wallet.address.lower())
        assert hers is not None
        helper.custom.contests.desk.books.note(cid, ENTRY, ben.wallet.address.lower(), hers)
        await room.look(*room.evaluators[:2])
        room.lab.pass_to(room.lab.now() + STAGE_S // 2)
        await room.judge(cid, without=(helper,))
        await room.look(ada, ben)
        assert ada.gain == POOL * 6 // 10
        assert ben.gain <= 0


async def test_an_entry_that_is_seen_late_is_seen_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40)
        ada = room.developers[0]
        with monkeypatch.context() as patched:
            patched.setattr(ContestClient, "entries", lambda *_args: [])  # its block has not come here yet
            await room.look(ada)
        await room.judge(cid)
        await room.look(ada)
        assert ada.gain == POOL * 6 // 10


async def test_who_sends_its_model_drop_by_drop_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = BlobTransfer.fetch
    async with contest_lab(tmp_path) as room:
        cid = await room.entered(40, 30)
        (slow,) = room.developers[0].blobs.all()

        async def dripping(self: BlobTransfer, blob: str, *args: Any, **more: Any) -> BlobInfo:
            if blob == slow.cid:
                await trio.sleep_forever()
            return await honest(self, blob, *args, **more)

        monkeypatch.setattr(BlobTransfer, "fetch", dripping)
        monkeypatch.setattr(measuring, "MOST_FETCH_S", 1)
        with trio.fail_after(60):
            await room.look(*room.evaluators)
            room.lab.pass_to(room.lab.now() + STAGE_S // 2)
            await room.judge(cid)
        await room.look(*room.developers)
        assert [side.gain for side in room.developers[:2]] == [0, POOL * 6 // 10]
