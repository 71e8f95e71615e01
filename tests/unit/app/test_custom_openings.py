"""Reports checked again: rows that a later block draws are opened, replayed, and kept from everybody else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from custom_asks import NOBODY, PLAIN, STRANGER, ask, refusal
from custom_lab import REVIEW_S, ROWS, CustomLab, Maker, custom_lab

from openstall.app.services.custom import replaying, wire
from openstall.app.services.custom.finding import check_shown
from openstall.app.services.custom.judged import judged_as, report_of
from openstall.app.services.custom.trials import kept_as
from openstall.market import canonical
from openstall.market.errors import Conflict, InvalidOrder, InvalidRecord, PeerError
from openstall.market.requests.openings import OPENED, read_openings

FEW = 4
"""A tenth of the lab's rows: what a developer is shown where one evaluator is named."""


def quiet(_stage: str, _done: int = 0, _total: int = 0, _unit: str = "") -> None:
    """Nobody looks on."""


@asynccontextmanager
async def openers(lab: CustomLab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The evaluators open what they are asked for, as their nodes do."""
    monkeypatch.setattr(replaying, "ASK_AGAIN_S", 0.01)
    async with trio.open_nursery() as nursery:
        for side in lab.everybody:
            nursery.start_soon(side.custom.opener.run)
        yield
        nursery.cancel_scope.cancel()


async def replay(side: Maker, order_id: str, **given: Any) -> dict[str, Any]:
    return await side.custom.replaying.replay(order_id, quiet, **given)


async def judged(lab: CustomLab, order_id: str) -> None:
    """The evaluators that the order names measure, and everybody sees the verdict."""
    watching = lab.watching(await lab.order(order_id))
    await lab.measured(order_id, *(side for side in watching if side is not lab.arbiter))
    await lab.buyer.step(order_id)
    await lab.see(order_id)


async def delivered(lab: CustomLab, right: int, **terms: Any) -> str:
    """An order whose model passed, is handed over, and is opened at the buyer."""
    order_id = await lab.submitted(right, **terms)
    await judged(lab, order_id)
    await lab.buyer.step(order_id)
    await lab.ada.step(order_id)
    order = await lab.buyer.step(order_id)
    assert (order.state, order.data["verified"]) == ("delivered", True)
    await lab.see(order_id)
    return order_id


def alone(lab: CustomLab) -> dict[str, Any]:
    """Terms with one evaluator."""
    return {"evaluators": (lab.evaluators[0].wallet.address,)}


async def test_an_honest_report_answers_as_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buyer asks each evaluator whose report is on the chain; each runs the model once, however often."""
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        order_id = await delivered(lab, 37)
        found = await replay(lab.buyer, order_id)
        assert (found["confirmed"], found["doubted"], found["what_next"]) == (True, False, "")
        assert {check["opened"] for check in found["checks"]} == {OPENED}
        assert found["checks"][0]["words"].startswith("30 of 30 opened rows answer as reported. 2")
        on_chain = [one for one in lab.evaluators if one.wallet.address.lower() in str(found["checks"])]
        assert len(on_chain) == len(found["checks"]) >= 2
        await replay(lab.buyer, order_id)
        by_arbiter = await replay(lab.arbiter, order_id)
        assert {check["outcome"] for check in by_arbiter["checks"]} == {"rows_only"}
        assert [one.sandbox.opened for one in on_chain] == [1] * len(on_chain)
        shown = (await lab.order(order_id)).data
        assert sum(name.startswith("replay 1 ") for name in shown) == len(on_chain)
        for one in lab.evaluators:
            assert list((one.folder / "jobs" / "assessing").glob("*")) == []


async def test_made_up_answers_are_found_and_the_arbiter_can_prove_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluator says 40 of 40; 25 it is. Its answers are as committed, but the model gives others."""
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        liar = lab.evaluators[0]
        liar.sandbox.said = ROWS
        order_id = await delivered(lab, 25, **alone(lab))
        found = await replay(lab.buyer, order_id)
        (check,) = found["checks"]
        assert (check["outcome"], found["doubted"]) == ("differs", True)
        opened = read_openings(await lab.buyer.custom.talk.openings(await lab.order(order_id), peer(liar)))
        assert check["wrong"] == [entry.index for entry in opened.opened if entry.index >= 25]
        assert "answer otherwise than reported" in check["words"]
        assert "Call the arbiter before the review time is over" in found["what_next"]
        await lab.buyer.made_to_order.dispute(await lab.order(order_id), "The report is made up.")
        await lab.see(order_id)
        await lab.cut_off(liar)  # what the buyer has saved is enough
        away = await replay(lab.arbiter, order_id)
        assert away["checks"][0]["outcome"] == "no_answer"
        file, model = Path(check["proof"]), lab.ada.folder / "model-25.onnx"
        by_rows = await replay(lab.arbiter, order_id, given=file)
        assert by_rows["checks"][0]["outcome"] == "rows_only"
        proved = await replay(lab.arbiter, order_id, given=file, model=model)
        assert (proved["checks"][0]["outcome"], proved["checks"][0]["wrong"]) == ("differs", check["wrong"])
        assert proved["what_next"] == "Take it into account when you rule."
        with pytest.raises(InvalidOrder, match="not the one that was handed in"):
            await replay(lab.arbiter, order_id, given=file, model=file)


def peer(side: Maker) -> str:
    return side.host.peer_id


async def test_a_proof_that_was_changed_or_is_of_another_order_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        order_id = await delivered(lab, 40, **alone(lab))
        other_id = await delivered(lab, 40, **alone(lab))
        (check,) = (await replay(lab.buyer, order_id))["checks"]
        whole = json.loads(await trio.Path(check["proof"]).read_bytes())
        first = whole["openings"]["opened"][0]
        turned = first | {"output": first["output"] | {"cells": ["neither"]}}
        openings = whole["openings"] | {"opened": [turned, *whole["openings"]["opened"][1:]]}
        other_block = whole["openings"] | {"block_hash": "ab" * 32}
        file = tmp_path / "given.json"
        for change in ({"openings": openings}, {"openings": other_block}):
            file.write_bytes(canonical.encode(whole | change))
            found = await replay(lab.arbiter, order_id, given=file)
            assert found["checks"][0]["outcome"] == "not_committed"
        for change in (
            {"order_id": other_id},
            {"attempt": 2},
            {"evaluator": lab.ben.wallet.address.lower()},
            {"statement": "e30="},
        ):
            file.write_bytes(canonical.encode(whole | change))
            with pytest.raises(InvalidOrder, match="does not belong here"):
                await replay(lab.arbiter, order_id, given=file)
        file.write_bytes(canonical.encode(whole | {"order_id": other_id}))
        with pytest.raises(InvalidOrder, match="names another report"):
            await replay(lab.arbiter, other_id, given=file)
        for garbage in (b"", b"{}", b"[" * 5_000, canonical.encode(whole | {"more": 1}), b" " * 2_000_000):
            file.write_bytes(garbage)
            with pytest.raises(InvalidOrder, match="no proof"):
                await replay(lab.arbiter, order_id, given=file)


async def test_a_count_that_the_true_answers_do_not_bear_out_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said to have missed with 8 of 40 right; all of the few rows that the developer sees are right."""
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        lab.evaluators[0].sandbox.counted = 0
        order_id = await lab.submitted(40, tries=1, **alone(lab))
        await judged(lab, order_id)
        assert await lab.states(order_id) == {"failed"}
        found = await replay(lab.ada, order_id)
        (check,) = found["checks"]
        assert (check["outcome"], check["opened"]) == ("unlikely", FEW)
        assert f"Of {FEW} opened answers {FEW} are right" in check["words"]
        assert "so many would be seen once in 1,000,000 times" in check["words"]
        assert "Call the arbiter" in found["what_next"]
        by_arbiter = await replay(lab.arbiter, order_id)  # without the model
        assert (by_arbiter["checks"][0]["outcome"], by_arbiter["checks"][0]["opened"]) == ("unlikely", OPENED)
        given = await replay(lab.arbiter, order_id, given=Path(check["proof"]))
        assert (given["checks"][0]["outcome"], given["checks"][0]["opened"]) == ("unlikely", FEW)


async def test_an_evaluator_that_cannot_open_what_it_committed_to_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        liar = lab.evaluators[0]
        liar.sandbox.said = ROWS
        order_id = await delivered(lab, 25, **alone(lab))
        liar.sandbox.said = None  # it had made the root up, and has nothing that fits it
        for _ in range(2):
            found = await replay(lab.buyer, order_id)
            assert (found["checks"][0]["outcome"], found["doubted"]) == ("not_shown", True)
            assert "cannot bring the answers again" in found["checks"][0]["words"]
        assert liar.sandbox.opened == 1  # and asking again does not make it run again


async def test_who_is_shown_rows_and_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers none; buyer and arbiter those that are drawn; a developer few, of a model that missed."""
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        one, two, _ = lab.evaluators
        order_id = await lab.submitted(35, tries=2, **alone(lab))
        message = {"do": "openings", "order_id": order_id, "attempt": 1}
        for asker in (lab.buyer, lab.ada, lab.arbiter, lab.ben, two):  # no verdict yet
            assert await refusal(asker, one, **message) == STRANGER
        await judged(lab, order_id)
        for asker in (lab.ada, lab.ben, two):  # the developer has a try left
            assert await refusal(asker, one, **message) == STRANGER
        with pytest.raises(Conflict, match="once no other can be handed in"):
            await replay(lab.ada, order_id)
        for asked in (lab.ada, lab.arbiter, two):  # who has reported nothing opens nothing
            assert await refusal(lab.buyer, asked, **message) == STRANGER
        assert await refusal(lab.arbiter, one, **(message | {"order_id": NOBODY})) == STRANGER
        assert await refusal(lab.arbiter, one, **(message | {"attempt": 2})) == STRANGER
        by_arbiter = (await replay(lab.arbiter, order_id))["checks"][0]
        assert by_arbiter["opened"] == OPENED
        await lab.submit(order_id, 34)
        assert await refusal(lab.arbiter, one, **message) == STRANGER  # the try before is over
        await judged(lab, order_id)
        by_developer = (await replay(lab.ada, order_id))["checks"][0]
        assert (by_developer["outcome"], by_developer["opened"]) == ("as_reported", FEW)
        asked = message | {"attempt": 2}
        few = {entry["index"] for entry in (await ask(lab.ada, one, **asked))["opened"]}
        many = {entry["index"] for entry in (await ask(lab.buyer, one, **asked))["opened"]}
        assert (len(few), len(many)) == (FEW, OPENED)
        assert few < many


async def test_rows_are_drawn_by_a_block_that_was_made_after_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sends anything on this chain: who asks makes the block come."""
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        one, chain = lab.evaluators[0], lab.trade.chain.chain
        order_id = await lab.submitted(35, tries=1, **alone(lab))
        await one.step(order_id)
        await lab.see(order_id)
        order = await lab.order(order_id)
        verdict_at = order.data[judged_as(1)]["block"]
        assert chain.head().number == verdict_at
        message = {"do": "openings", "order_id": order_id, "attempt": 1}
        assert (await refusal(lab.buyer, one, **message))[0] == "no_block_yet"
        assert (await refusal(lab.buyer, one, **message))[0] == "no_block_yet"
        assert one.sandbox.opened == 0
        assert (await replay(lab.buyer, order_id))["checks"][0]["opened"] == OPENED
        assert chain.head().number == verdict_at + 1
        told = await ask(lab.buyer, one, **message)
        assert told["block_hash"] == chain.block(verdict_at + 1).hash.removeprefix("0x")
        lab.trade.next_block()
        assert await ask(lab.buyer, one, **message) == told  # one draw, whatever comes later


async def test_what_was_measured_is_kept_sealed_and_only_until_the_order_is_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        one = lab.evaluators[0]
        order_id = await lab.submitted(35, tries=1, **alone(lab))
        await judged(lab, order_id)
        held = await one.desk.load(order_id)
        sealed = one.custom.evaluating.trials.kept(held, 1)
        books = (one.folder / "store.sqlite").read_bytes() + (one.folder / "store.sqlite-wal").read_bytes()
        for secret in (sealed.shown.key, sealed.rows.key, sealed.rows.seed):
            assert secret not in books
            assert secret.hex().encode() not in books
        assert all(one.blobs.have(cid) for cid in sealed.cids)
        one.start_custom()  # a restart between verdict and question
        lab.trade.next_block()
        message = {"do": "openings", "order_id": order_id, "attempt": 1}
        assert (await refusal(lab.buyer, one, **message))[0] == "being_opened"
        await one.custom.opener.work_off()
        assert len((await ask(lab.buyer, one, **message))["opened"]) == OPENED
        lab.pass_to(lab.now() + REVIEW_S)
        await lab.buyer.step(order_id)
        await one.step(order_id)
        assert await one.state(order_id) == "refunded"
        assert kept_as(1) not in (await one.desk.load(order_id)).data
        assert not any(one.blobs.have(cid) for cid in sealed.cids)
        assert await refusal(lab.buyer, one, **message) == STRANGER
        with pytest.raises(Conflict, match="The order is final"):
            await replay(lab.buyer, order_id)


async def test_an_evaluator_keeps_its_own_files_whoever_hands_them_in(tmp_path: Path) -> None:
    """A developer that bought the evaluator's package hands in that very blob, and has the key to it."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(10, tries=1)
        one = lab.evaluators[0]
        blob = (await lab.ada.desk.load(order_id)).data["handed_in"]["1"]["doc"]["blob"]["cid"]
        await one.blobs.add_file(lab.ada.blobs.path(blob))  # what the evaluator itself sells
        await lab.judged(order_id)
        rows = one.custom.opener.trials.kept(await one.desk.load(order_id), 1).cids[1]
        assert one.blobs.have(rows)
        lab.pass_to(lab.now() + REVIEW_S)
        await lab.buyer.step(order_id)
        assert (await one.step(order_id)).state == "refunded"
        assert one.blobs.have(blob)
        assert not one.blobs.have(rows)


async def test_an_evaluator_that_was_killed_in_between_forgets_at_its_next_start(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        one = lab.evaluators[0]
        order_id = await lab.submitted(35, tries=1, **alone(lab))
        await judged(lab, order_id)
        cids = one.custom.evaluating.trials.kept(await one.desk.load(order_id), 1).cids
        lab.pass_to(lab.now() + REVIEW_S)
        await lab.buyer.step(order_id)
        await lab.see(order_id)  # final in the books, and killed before it forgot
        assert kept_as(1) in (await one.desk.load(order_id)).data
        await one.custom.opener.sweep()
        assert kept_as(1) not in (await one.desk.load(order_id)).data
        assert not any(one.blobs.have(cid) for cid in cids)


async def test_the_package_that_was_paid_for_stays_the_buyers_second_source(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        one = lab.evaluators[0]
        order_id = await delivered(lab, 40, **alone(lab))
        model, rows = one.custom.evaluating.trials.kept(await one.desk.load(order_id), 1).cids
        await lab.buyer.made_to_order.do(await lab.order(order_id), "complete")
        await one.step(order_id)
        assert (one.blobs.have(model), one.blobs.have(rows)) == (True, False)
        assert kept_as(1) not in (await one.desk.load(order_id)).data


async def test_the_arbiter_gets_each_report_by_itself(tmp_path: Path) -> None:
    """Also one that was away; and only what an evaluator signed, while it matters."""
    async with custom_lab(tmp_path) as lab:
        one, two, three = lab.evaluators
        order_id = await lab.submitted(40)
        await one.step(order_id)
        held = (await lab.arbiter.desk.load(order_id)).data
        assert [name for name in held if name.startswith("verdict")] == [entry_of(one)]
        assert (
            held[entry_of(one)]["statement"]
            == (await one.desk.load(order_id)).data[entry_of(one)]["statement"]
        )
        lab.arbiter.host.stop()
        while any(side.host.peer(lab.arbiter.host.peer_id) for side in lab.evaluators):
            await trio.testing.wait_all_tasks_blocked(0.01)
        await two.step(order_id)
        await lab.buyer.step(order_id)
        lab.pass_to(lab.now() + 12)
        await lab.buyer.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"passed"}
        assert "told 1 arbiter" not in (await two.desk.load(order_id)).data
        raw = entry_of(three)
        assert raw not in (await lab.arbiter.desk.load(order_id)).data


def entry_of(side: Maker) -> str:
    return f"verdict 1 {side.wallet.address.lower()}"


async def test_a_late_report_is_taken_once_and_only_if_it_counts(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        one = lab.evaluators[0]
        order_id = await lab.submitted(40)
        await judged(lab, order_id)
        entry = (await one.desk.load(order_id)).data[entry_of(one)]
        message = {
            "do": "verdict",
            "order_id": order_id,
            "attempt": 1,
            "statement": entry["statement"],
            "signature": entry["signature"],
        }
        assert (await refusal(one, lab.arbiter, **message))[0] == "not_now"  # it has it
        await lab.arbiter.desk.patch(order_id, **{entry_of(one): None})
        await one.desk.patch(order_id, **{"told 1 arbiter": None})
        one.custom.evaluating._looked_for.clear()
        await one.step(order_id)
        assert (await lab.arbiter.desk.load(order_id)).data[entry_of(one)]["statement"] == entry["statement"]
        found = (await lab.arbiter.desk.load(order_id)).data[judged_as(1)]
        place = str(entry["place"])
        without = found | {"reports": {at: report for at, report in found["reports"].items() if at != place}}
        await lab.arbiter.desk.patch(order_id, **{entry_of(one): None, judged_as(1): without})
        assert (await refusal(one, lab.arbiter, **message))[0] == "not_now"  # the others were enough
        lab.trade.next_block()
        asked = {"do": "openings", "order_id": order_id, "attempt": 1}
        assert (await refusal(lab.buyer, one, **asked))[0] == "being_opened"
        await one.desk.patch(order_id, **{judged_as(1): without})
        assert await refusal(lab.buyer, one, **asked) == STRANGER  # nor is such a one opened


async def test_an_answer_that_is_no_opening_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A modified evaluator sends what it likes: garbage, too much, other rows."""
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        one = lab.evaluators[0]
        order_id = await delivered(lab, 40, **alone(lab))
        honest = one.custom.talk.open_rows
        await replay(lab.buyer, order_id)
        raw: dict[str, Any] = canonical.decode(await honest(await one.desk.load(order_id), peer(lab.buyer)))
        first, *rest = raw["opened"]
        narrow = first | {"row": first["row"] | {"cells": ["1"]}}
        for answer in (
            b"",
            b"[" * 100_000,
            b"{}",
            canonical.encode(raw | {"opened": rest}),
            canonical.encode(raw | {"opened": [first, *raw["opened"]]}),
            canonical.encode(raw | {"opened": [narrow, *rest]}),
            canonical.encode(raw | {"network": "other:1"}),
            canonical.encode(raw | {"more": "x"}),
        ):
            one.custom.talk.open_rows = answering(answer)
            found = await replay(lab.buyer, order_id)
            assert found["checks"][0]["outcome"] == "not_committed", answer[:40]
        one.custom.talk.open_rows = answering(b" " * (wire.MOST_ANSWER + 1))
        found = await replay(lab.buyer, order_id)
        assert found["checks"][0]["outcome"] == "not_shown"
        with pytest.raises(PeerError):
            await one.host.request(
                peer(lab.buyer),
                wire.PROTOCOL,
                canonical.encode(PLAIN | {"do": "openings", "order_id": order_id, "rows": [1, 2]}),
                timeout_s=10,
                max_response=wire.MOST_ANSWER,
            )


class OtherBlock:
    """A draw that its evaluator likes better."""

    async def block_hash(self, _order: Any) -> str:
        return "ab" * 32


async def test_rows_of_another_draw_or_other_columns_prove_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it as committed to, and true; but the evaluator has chosen which rows to show."""
    async with custom_lab(tmp_path) as lab, openers(lab, monkeypatch):
        one = lab.evaluators[0]
        order_id = await delivered(lab, 40, **alone(lab))
        one.custom.opener.draws = OtherBlock()  # type: ignore[assignment]
        (check,) = (await replay(lab.buyer, order_id))["checks"]
        assert check["outcome"] == "not_committed"
        assert "not drawn by the block of the verdict" in check["words"]
        order = await lab.order(order_id)
        raw = await lab.buyer.custom.talk.openings(order, peer(one))
        report, terms = report_of(order, one.wallet.address.lower()), order.contract.custom
        assert report is not None
        assert len(check_shown(raw, report, "ab" * 32, (OPENED,), terms)) == OPENED
        fewer = msgspec.structs.replace(terms, features=terms.features[:1])
        with pytest.raises(InvalidRecord, match="other columns than the request"):
            check_shown(raw, report, "ab" * 32, (OPENED,), fewer)


def answering(answer: bytes) -> Any:
    async def open_rows(_order: Any, _peer_id: str) -> bytes:
        return answer

    return open_rows
