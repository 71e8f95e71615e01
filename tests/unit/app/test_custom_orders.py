"""Orders for models made to order: what each node does by itself, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from custom_lab import EVALUATE_S, REVIEW_S, CustomLab, Maker, custom_lab
from custom_parts import Sandbox
from ledger_lab import CREDIT

from openstall.app.services.custom import hand_in
from openstall.app.services.orders import negotiation
from openstall.app.services.requests.service import RequestService
from openstall.ledger.model_escrow import ModelEscrowClient
from openstall.market.errors import ChainError, Conflict, InvalidOrder, PeerError, SandboxError
from openstall.market.orders.agree import ARBITER_S

PRICE = 30 * CREDIT
"""The second bid, which is what the winner of a lab's auction is paid."""


async def test_a_model_that_passes_is_handed_over_and_paid_by_itself(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(37)
        await lab.judged(order_id)
        await lab.ada.step(order_id)
        order = await lab.buyer.step(order_id)
        assert order.state == "delivered"
        assert order.data["verified"] is True
        lab.pass_to(lab.now() + REVIEW_S)
        await lab.ada.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"completed"}
        assert (lab.buyer.gain, lab.ada.gain, lab.ben.gain) == (-PRICE, PRICE, 0)
        lab.check_conserved()


async def test_a_model_that_misses_may_be_handed_in_again(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(35)
        await fail(lab, order_id)
        await lab.submit(order_id, 36)  # 36 of 40 are the 90 % that were asked for
        assert await lab.states(order_id) == {"submitted"}
        await lab.judged(order_id)
        assert await lab.states(order_id) == {"passed"}
        order = await lab.buyer.desk.load(order_id)
        assert order.data["attempt"] == 2
        assert {one["passed"] for name, one in order.data.items() if name.startswith("verdict 1")} == {False}
        await finish(lab, order_id)
        assert (lab.buyer.gain, lab.ada.gain) == (-PRICE, PRICE)


async def test_a_model_that_misses_the_last_time_gives_the_buyer_its_money_back(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(35, tries=1)
        await fail(lab, order_id)
        with pytest.raises(Conflict) as caught:
            await lab.ada.hand_in(order_id, 40)
        assert caught.value.code == "no_tries_left"
        await lab.buyer.step(order_id)
        assert await lab.states(order_id) == {"failed"}  # the developer may still call the arbiter
        lab.pass_to(lab.now() + REVIEW_S)
        await lab.buyer.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"refunded"}
        assert await last_event(lab.ada, order_id) == "refund"
        assert (lab.buyer.gain, lab.ada.gain) == (0, 0)
        lab.check_conserved()


async def fail(lab: CustomLab, order_id: str) -> None:
    await lab.judged(order_id)
    assert await lab.states(order_id) == {"failed"}


async def finish(lab: CustomLab, order_id: str) -> None:
    """From passed to paid."""
    await lab.ada.step(order_id)
    await lab.buyer.step(order_id)
    lab.pass_to(lab.now() + REVIEW_S)
    await lab.ada.step(order_id)
    await lab.see(order_id)
    assert await lab.states(order_id) == {"completed"}
    lab.check_conserved()


async def last_event(side: Maker, order_id: str) -> str:
    return side.desk.orders.events(order_id)[-1].event


async def test_one_verdict_is_none_and_one_liar_of_three_changes_nothing(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(35)
        liar, *honest = lab.evaluators
        liar.sandbox.said = 40
        await lab.measured(order_id, liar)
        for side in (lab.buyer, lab.ada, honest[0]):
            await side.custom.evaluating.bring(await side.desk.load(order_id))
        assert lab.on_chain(await lab.order(order_id)) == "submitted"
        await lab.measured(order_id, honest[0])
        await lab.ada.step(order_id)
        assert lab.on_chain(await lab.order(order_id)) == "submitted"  # one against one
        await lab.measured(order_id, honest[1])
        await lab.buyer.step(order_id)  # the developer has no interest in bringing it
        await lab.see(order_id)
        assert await lab.states(order_id) == {"failed"}


async def test_two_of_three_are_enough(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.measured(order_id, *lab.evaluators[1:])
        await lab.ada.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"passed"}
        await lab.evaluators[0].step(order_id)
        assert lab.evaluators[0].sandbox.measured == 0  # too late to be of use


@pytest.mark.parametrize("caller", ["buyer", "ada"])
async def test_where_the_evaluators_are_silent_either_side_may_call_the_arbiter(
    tmp_path: Path, caller: str
) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        side: Maker = getattr(lab, caller)
        with pytest.raises(ChainError) as caught:
            await side.made_to_order.dispute(await side.desk.load(order_id), "Too slow.")
        assert caught.value.code == "contract_refuses"
        lab.pass_to(lab.now() + EVALUATE_S)
        await side.made_to_order.dispute(await side.desk.load(order_id), "No verdict came.")
        await side.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"disputed"}
        held = await lab.arbiter.desk.load(order_id)
        assert held.data["dispute_reason"] == "No verdict came."
        await lab.arbiter.made_to_order.rule(held, 2_500)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"ruled"}
        fee = PRICE * 200 // 10_000
        back = (PRICE - fee) // 4
        assert (lab.buyer.gain, lab.arbiter.gain) == (back - PRICE, fee)
        assert lab.ada.gain == PRICE - fee - back
        lab.check_conserved()


async def test_where_the_arbiter_is_silent_too_each_side_has_half(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(35)
        await fail(lab, order_id)
        await lab.ada.made_to_order.dispute(await lab.ada.desk.load(order_id), "Measured wrongly.")
        lab.pass_to(lab.now() + ARBITER_S)
        await lab.see(order_id)
        with pytest.raises(ChainError):
            await lab.arbiter.made_to_order.rule(await lab.arbiter.desk.load(order_id), 0)
        await lab.buyer.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"ruled"}
        assert await last_event(lab.arbiter, order_id) == "settle_silent"
        assert (lab.buyer.gain, lab.ada.gain, lab.arbiter.gain) == (-PRICE // 2, PRICE // 2, 0)
        lab.check_conserved()


async def test_where_the_evaluators_stay_silent_the_buyer_has_its_money_back(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        lab.pass_to(lab.now() + EVALUATE_S + REVIEW_S)
        await lab.buyer.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"refunded"}
        assert (lab.buyer.gain, lab.ada.gain) == (0, 0)
        lab.check_conserved()


async def test_a_developer_that_hands_in_and_goes_away_keeps_no_money(tmp_path: Path) -> None:
    """The buyer measures itself, and cannot fetch the model; its deadline is taken all the same."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40, evaluators=(lab.buyer.wallet.address,))
        await lab.cut_off(lab.ada)
        with pytest.raises(PeerError):
            await lab.buyer.step(order_id)
        lab.pass_to(lab.now() + EVALUATE_S + REVIEW_S)
        order = await lab.buyer.step(order_id)
        assert order.state == "refunded"
        assert lab.buyer.gain == 0
        lab.check_conserved()


async def not_heard(lab: CustomLab, order_id: str) -> None:
    """As if the developer had shown the buyer nothing while the model was measured."""
    await lab.buyer.desk.patch(order_id, delivery=None)


async def test_a_model_that_the_developer_keeps_to_itself_goes_to_the_arbiter(tmp_path: Path) -> None:
    """It handed the key over, but does not let the buyer fetch the package: the node objects in time."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.judged(order_id)
        await not_heard(lab, order_id)
        await lab.ada.step(order_id)
        await lab.cut_off(lab.ada)
        with pytest.raises(PeerError):
            await lab.buyer.step(order_id)
        assert await lab.buyer.state(order_id) == "delivered"
        lab.pass_to(lab.now() + REVIEW_S * 6 // 10)
        with pytest.raises(PeerError):
            await lab.buyer.step(order_id)
        assert await lab.buyer.state(order_id) == "disputed"
        with pytest.raises(PeerError):
            await lab.buyer.step(order_id)
        held = await lab.arbiter.step(order_id)
        assert held.data["dispute_reason"] == "The model that is paid for cannot be fetched."
        lab.pass_to(lab.now() + ARBITER_S)
        order = await lab.buyer.step(order_id)  # its own deadline is taken, reachable or not
        assert (order.state, lab.buyer.gain) == ("ruled", -PRICE // 2)


async def test_a_developer_that_passes_and_goes_away_keeps_no_money(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.judged(order_id)
        await not_heard(lab, order_id)
        await lab.cut_off(lab.ada)
        with pytest.raises(PeerError):
            await lab.buyer.step(order_id)
        lab.pass_to(lab.now() + REVIEW_S)
        order = await lab.buyer.step(order_id)
        assert (order.state, lab.buyer.gain) == ("refunded", 0)
        lab.check_conserved()


async def test_a_developer_that_goes_away_after_the_key_takes_nothing_along(tmp_path: Path) -> None:
    """The buyer had the encrypted package before the key was there."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.judged(order_id)
        await lab.buyer.step(order_id)
        await lab.ada.step(order_id)
        await lab.cut_off(lab.ada)
        order = await lab.buyer.step(order_id)
        assert (order.state, order.data["verified"]) == ("delivered", True)


async def test_a_wrong_key_is_disputed_by_the_buyers_node_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = hand_in.seal_key
    monkeypatch.setattr(hand_in, "seal_key", lambda _key, box: honest(b"x" * 32, box))
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.judged(order_id)
        await lab.ada.step(order_id)
        with pytest.raises(InvalidOrder) as caught:
            await lab.buyer.step(order_id)
        assert caught.value.code == "wrong_key"
        order = await lab.buyer.step(order_id)
        assert (order.state, order.data["verified"]) == ("disputed", False)
        await lab.see(order_id)
        held = await lab.arbiter.desk.load(order_id)
        assert held.data["dispute_reason"] == caught.value.message
        await lab.arbiter.made_to_order.rule(held, 10_000)
        assert lab.buyer.gain == -PRICE * 200 // 10_000
        lab.check_conserved()


async def test_the_right_key_that_comes_in_a_dispute_opens_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a developer is paid by the arbiter for a model that its buyer's node never opened."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.judged(order_id)
        with monkeypatch.context() as patched:
            honest = hand_in.seal_key
            patched.setattr(hand_in, "seal_key", lambda _key, box: honest(b"x" * 32, box))
            await lab.ada.step(order_id)
        with pytest.raises(InvalidOrder):
            await lab.buyer.step(order_id)
        order = await lab.buyer.step(order_id)
        assert (order.state, order.data["verified"]) == ("disputed", False)
        theirs, models = await lab.ada.desk.load(order_id), lab.ada.custom.models
        right = await lab.ada.custom.hand_in.sealed_key(theirs)
        client = ModelEscrowClient(lab.trade.chain.chain)
        lab.trade.chain.do(lab.ada.wallet, client.hand_over(models.key(theirs.contract), right))
        order = await lab.buyer.step(order_id)
        assert (order.state, order.data["verified"], order.data.get("fault")) == ("disputed", True, None)


async def test_another_package_than_the_one_on_the_chain_gets_no_verdict(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(35)
        better = await lab.ada.file("better.onnx", b"40")
        kept = (await lab.ada.desk.load(order_id)).data["handed_in"]
        kept["1"]["doc"]["blob"] = msgspec.to_builtins(better.blob)
        await lab.ada.desk.patch(order_id, handed_in=kept)
        for one in lab.evaluators:
            with pytest.raises(InvalidOrder) as caught:
                await one.step(order_id)
            assert caught.value.code == "wrong_delivery"
            assert one.sandbox.measured == 0
        lab.pass_to(lab.now() + EVALUATE_S)
        await lab.buyer.made_to_order.dispute(await lab.buyer.desk.load(order_id), "Shows another model.")
        assert await lab.buyer.state(order_id) == "disputed"


@pytest.mark.parametrize("other", ["seed_of", "rows_of"])
async def test_other_rows_than_those_committed_to_get_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """The buyer's home gives out harder rows than it had sealed; the developer may call the arbiter."""
    honest = getattr(RequestService, other)

    async def changed(self: RequestService, request_id: str) -> Any:
        found = await honest(self, request_id)
        if other == "seed_of":
            return bytes(32)
        return replace(found, rows=[*found.rows[:-1], (*found.rows[-1][:-1], "bad")])

    monkeypatch.setattr(RequestService, other, changed)
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        for one in lab.evaluators:
            with pytest.raises(InvalidOrder) as caught:
                await one.step(order_id)
            assert caught.value.code == "wrong_rows"
            assert one.sandbox.measured == 0
            assert list((one.folder / "jobs" / "assessing").iterdir()) == []
        lab.pass_to(lab.now() + EVALUATE_S)
        await lab.ada.made_to_order.dispute(await lab.ada.desk.load(order_id), "The rows are others.")
        assert await lab.ada.state(order_id) == "disputed"


async def test_what_a_killed_evaluation_left_in_the_clear_is_removed(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        one = lab.evaluators[0]
        left: list[Path] = []

        async def die(_model: Path, rows: Path, *_args: Any, **_rest: Any) -> Any:
            shutil.copytree(rows.parent.parent, one.folder / "jobs" / "assessing" / "left")
            left.append(one.folder / "jobs" / "assessing" / "left" / "rows" / rows.name)
            raise SandboxError("agent_lost", "The agent is gone.")

        one.sandbox.evaluate = die  # type: ignore[method-assign,assignment]
        with pytest.raises(SandboxError):
            await one.step(order_id)
        assert left[0].exists()
        one.start_custom()
        await one.custom.evaluating.clear()
        assert not left[0].exists()
        one.sandbox = Sandbox()
        one.start_custom()
        await one.step(order_id)
        assert one.sandbox.measured == 1


@pytest.mark.parametrize("state", ["funded", "submitted", "failed", "passed", "delivered", "disputed"])
async def test_the_developer_can_give_all_of_the_price_back(tmp_path: Path, state: str) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await (
            lab.funded() if state == "funded" else lab.submitted(35 if state == "failed" else 40)
        )
        if state not in ("funded", "submitted"):
            await lab.judged(order_id)
        if state in ("delivered", "disputed"):
            await lab.ada.step(order_id)
            await lab.buyer.step(order_id)
        if state == "disputed":
            await lab.buyer.made_to_order.dispute(await lab.order(order_id), "Not what was asked for.")
        if state == "failed":
            lab.pass_to(lab.now() + REVIEW_S)  # a try and time are left, so nobody may refund yet
        await lab.see(order_id)
        assert await lab.states(order_id) == {state}
        await lab.ada.made_to_order.do(await lab.ada.desk.load(order_id), "cancel")
        await lab.see(order_id)
        assert await lab.states(order_id) == {"refunded"}
        assert await last_event(lab.buyer, order_id) == "cancel"
        assert (lab.buyer.gain, lab.ada.gain) == (0, 0)
        lab.check_conserved()


async def test_a_price_that_nobody_moved_in_time_comes_back(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        cid = await lab.ask()
        order_id = await lab.won(cid, ada=20 * CREDIT, ben=30 * CREDIT)
        await lab.buyer.step(order_id)
        assert await lab.states(order_id) == {"agreed"}
        lab.pass_to((await lab.terms_of(cid)).deliver_by)
        for side in (lab.ada, lab.buyer):
            await side.step(order_id)
        assert await lab.states(order_id) == {"refunded"}
        assert await last_event(lab.buyer, order_id) == "expire"
        assert (lab.buyer.gain, lab.ada.gain) == (0, 0)
        lab.check_conserved()


async def test_a_buyer_killed_before_it_had_the_signature_gets_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The developer has signed, and moves the price, before the answer was on the buyer's disk."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.won(await lab.ask(), ada=20 * CREDIT)
        with monkeypatch.context() as patched:
            patched.setattr(negotiation, "check_signature", killed_at_the_buyer())
            with pytest.raises(ChainError, match="killed"):
                await lab.buyer.step(order_id)
        lab.pass_to(lab.now() + 15)
        await lab.ada.step(order_id)
        order = await lab.buyer.step(order_id)
        assert order.state == "funded"
        assert order.seller_signature == (await lab.ada.desk.load(order_id)).seller_signature != ""
        saved = await lab.ada.custom.training.save(order_id, tmp_path, lab.ada.progress())
        given, found = (trio.Path(place) for place in (lab.buyer.folder / "training.csv", saved["path"]))
        assert await found.read_bytes() == await given.read_bytes()


def killed_at_the_buyer() -> Any:
    honest = negotiation.check_signature

    def check(contract: Any, role: str, signature: str) -> None:
        honest(contract, role, signature)
        if role == "seller":
            raise ChainError("killed", "The node was killed here.")

    return check
