"""What a party, an evaluator or a stranger with a changed client gains in a model made to order."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from custom_asks import rename_training
from custom_lab import EVALUATE_S, Maker, custom_lab
from custom_parts import Catalogue
from ledger_lab import CREDIT

from openstall.app.services.custom import evaluating, trials
from openstall.app.services.custom.model_desk import rules_of
from openstall.app.services.orders import copies
from openstall.ledger.auction import AuctionClient
from openstall.ledger.model_escrow import ModelEscrowClient, model_order_key
from openstall.market import ids
from openstall.market.errors import InvalidOrder, OpenstallError, PeerError, Refused, SandboxError
from openstall.market.orders.documents import Contract, Order, sign_contract, write_contract
from openstall.market.requests.delivery import Delivery, read_delivery

PRICE = 30 * CREDIT


async def test_a_verdict_that_is_told_again_and_again_does_not_keep_it_from_the_chain(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.measured(order_id)
        one = lab.evaluators[0]
        order = await one.desk.load(order_id)
        own = order.data[f"verdict 1 {one.wallet.address.lower()}"]
        raw, signature = base64.b64decode(own["statement"]), bytes.fromhex(own["signature"])
        await one.custom.talk.verdict(order, lab.ada.host.peer_id, raw, signature)
        await lab.ada.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"passed"}


async def test_an_auction_has_one_order(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        order = await lab.order(order_id)
        terms: dict[str, Any] = order.contract.order.terms | {"box_key": "09" + "00" * 31}
        other = write_contract(
            msgspec.structs.replace(order.contract.order, nonce="00" * 16, terms=dict(terms))
        )
        message = {
            "do": "propose",
            "order": msgspec.to_builtins(other.order),
            "buyer_signature": sign_contract(other, lab.buyer.seed),
        }
        with pytest.raises(Refused) as caught:
            await lab.buyer.negotiation._ask(lab.ada.host.peer_id, message)
        assert caught.value.code == "other_order"
        assert await lab.ada.desk.find(other.order_id) is None


async def test_a_developer_signs_for_nobody_else(tmp_path: Path) -> None:
    """Its wallet is in the order, but judges would ask another peer for the model."""
    async with custom_lab(tmp_path) as lab:
        order = await lab.order(await lab.won(await lab.ask(), ada=20 * CREDIT))
        named = msgspec.structs.replace(order.contract.order, seller=lab.ben.host.peer_id)
        contract = forged(named, lab.buyer)
        message = {
            "do": "propose",
            "order": msgspec.to_builtins(contract.order),
            "buyer_signature": sign_contract(contract, lab.buyer.seed),
        }
        with pytest.raises(Refused) as caught:
            await lab.buyer.negotiation._ask(lab.ada.host.peer_id, message)
        assert caught.value.code == "not_my_order"
        await lab.buyer.step(order.order_id)
        assert (await lab.order(order.order_id)).seller_signature != ""


async def test_many_orders_at_once_are_measured_one_after_the_other(tmp_path: Path) -> None:
    """Each takes gigabytes of memory and disk, and whoever names an evaluator pays nothing for it."""
    async with custom_lab(tmp_path) as lab:
        orders = [await lab.submitted(40), await lab.submitted(40)]
        one = lab.evaluators[0]
        measure, busy = one.sandbox.evaluate, []

        async def evaluate(*args: Any, **rest: Any) -> Any:
            busy.append(len(busy))
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert len(busy) == 1
            busy.pop()
            return await measure(*args, **rest)

        one.sandbox.evaluate = evaluate  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            for order_id in orders:
                nursery.start_soon(one.step, order_id)
        assert one.sandbox.measured == 2


async def test_files_that_do_not_open_are_not_opened_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be gigabytes, and a step is repeated every few seconds for as long as the order stands."""
    opened: list[Path] = []
    unseal = trials.unseal

    def counted(blob: Path, *rest: Any) -> Any:
        opened.append(blob)
        return unseal(blob, *rest)

    monkeypatch.setattr(trials, "unseal", counted)
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        one = lab.evaluators[0]
        found = (await lab.ada.desk.load(order_id)).data["handed_in"]["1"]["doc"]["blob"]["cid"]
        await one.transfer.fetch(found, [lab.ada.host.peer_id], expected_size_max=2**20)
        one.blobs.path(found).write_bytes(bytes(one.blobs.info(found).size))
        for at in (1, 2):
            with pytest.raises(InvalidOrder):
                await one.step(order_id)
            assert len(opened) == 1, at
        lab.pass_to(lab.now() + evaluating.REST_S)
        with pytest.raises(InvalidOrder):
            await one.step(order_id)
        assert len(opened) == 2


async def test_a_model_that_breaks_its_run_off_is_not_run_again_at_once(tmp_path: Path) -> None:
    """One model is measured at a time: it would keep every other order waiting, a quarter of an hour each."""
    async with custom_lab(tmp_path) as lab:
        one = lab.evaluators[0]
        one.sandbox.breaks[13] = "crashed"
        order_id = await lab.submitted(13)
        for _step in range(2):
            with pytest.raises(SandboxError):
                await one.step(order_id)
            assert one.sandbox.measured == 1
        lab.pass_to(lab.now() + evaluating.REST_S)
        with pytest.raises(SandboxError):
            await one.step(order_id)
        assert one.sandbox.measured == 2


def forged(order: Order, buyer: Maker, **terms: Any) -> Contract:
    """An order for another's money: its wallets, but peers and terms of one's own choice."""
    plain: dict[str, Any] = order.terms | terms
    return write_contract(msgspec.structs.replace(order, buyer=buyer.host.peer_id, terms=plain))


async def test_an_evaluator_measures_nothing_but_what_the_request_says(tmp_path: Path) -> None:
    """The developer writes an order of its own for the money in escrow: other rows, another threshold.

    Evaluators sign for the escrow; if they took the terms from whoever brings them, the verdict on rows that
    the developer made up would release the price.
    """
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        order = (await lab.order(order_id)).contract.order
        for contract in (
            forged(order, lab.ben, rows_root="00" * 32),
            forged(order, lab.ben),
            forged(order, lab.buyer, threshold="0.1"),
        ):
            by = lab.ben if contract.order.buyer == lab.ben.host.peer_id else lab.buyer
            message = {
                "do": "copy",
                "order": msgspec.to_builtins(contract.order),
                "buyer_signature": sign_contract(contract, by.seed),
                "seller_signature": sign_contract(contract, lab.ada.seed),
            }
            for watcher in (lab.evaluators[0], lab.arbiter):
                with pytest.raises(Refused) as caught:
                    await lab.ada.negotiation._ask(watcher.host.peer_id, message)
                assert caught.value.code == "terms_differ"
                assert await watcher.desk.find(contract.order_id) is None


async def test_a_requester_does_not_shake_its_arbiter_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It floods the catalogue until its old request is dropped from it, so that no order can be checked."""
    held = Catalogue.held

    async def lost(self: Catalogue, cid: str, *, at: int | None = None) -> Any:
        return await held(self, cid, at=at) if self.side.folder.name in ("buyer", "ada", "ben") else None

    monkeypatch.setattr(Catalogue, "held", lost)
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.won(await lab.ask(), ada=20 * CREDIT)
        for _ in ("the developer signs", "the price goes into escrow"):
            await lab.buyer.step(order_id)
        assert (await lab.arbiter.desk.load(order_id)).seller_signature != ""
        assert await lab.evaluators[0].desk.find(order_id) is None


async def test_a_winner_that_never_signs_is_not_paid_for_it(tmp_path: Path) -> None:
    """It moves the price, hands in a hash of nothing, and calls an arbiter who has never heard of it."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.won(await lab.ask(), ada=20 * CREDIT, ben=30 * CREDIT)
        order = await lab.order(order_id)

        async def refuse(_peer: str, _contract: Any, _signature: str) -> str:
            raise Refused("not_now", "No.")

        lab.ada.negotiation._consider = refuse
        with pytest.raises(OpenstallError):
            await lab.buyer.step(order_id)
        models = lab.ada.custom.models
        await models.award(order)
        await models.submit(order, bytes([7]) * 32, 1)
        with pytest.raises(OpenstallError):
            await lab.buyer.step(order_id)
        for judge in (lab.arbiter, *lab.evaluators):
            assert (await judge.desk.load(order_id)).seller_signature == ""
        lab.pass_to(lab.now() + EVALUATE_S)
        await models.dispute(order, bytes(32))
        await lab.see(order_id)
        held = await lab.arbiter.desk.load(order_id)
        assert held.state == "disputed"
        await lab.arbiter.disputes.gathering.gather(held)
        (shown,) = (await lab.arbiter.disputes.gathering.view(order_id))["items"]
        assert (shown["by"], shown["holds"]) == ("buyer", True)
        await lab.arbiter.made_to_order.rule(held, 10_000)
        assert lab.ada.gain == 0


@pytest.mark.parametrize("when", ["at once", "at the last moment"])
async def test_a_winner_that_hides_is_not_paid_for_it(tmp_path: Path, when: str) -> None:
    """Its peer record is gone, so it cannot be asked to sign; what it does on the chain is seen."""
    async with custom_lab(tmp_path) as lab:
        cid = await lab.ask()
        await lab.ada.custom.auctions.bid(cid, 20 * CREDIT)
        gone = [one.cid for one in lab.shelf.records.values() if one.record.author == lab.ada.host.peer_id]
        for record in gone:
            del lab.shelf.records[record]
        body = await lab.terms_of(cid)
        lab.pass_to(body.commit_by)
        await lab.look(lab.ada)
        lab.pass_to(body.reveal_by)
        await lab.look(lab.buyer)
        chain, ada = lab.trade.chain, lab.ada.wallet
        named, rules = ids.digest_in_cid(cid), rules_of(body)
        chain.do(ada, AuctionClient(chain.chain).award(lab.buyer.wallet.address, named, rules))
        await lab.look(lab.buyer)
        assert (await lab.buyer.custom.auctions.view(cid))["trouble"]["code"] == "winner_unknown"
        if when == "at the last moment":
            lab.pass_to(body.deliver_by - 10)
        payer = chain.chain.params.auction
        key = model_order_key(payer=payer, buyer=lab.buyer.wallet.address, request_hash=named)
        escrow = ModelEscrowClient(chain.chain)
        chain.do(ada, escrow.submit(key, bytes([7]) * 32))
        if when == "at the last moment":
            lab.pass_to(body.deliver_by)
        await lab.look(lab.buyer)
        order_id = (await lab.buyer.custom.auctions.view(cid))["order_id"]
        with pytest.raises(PeerError):
            await lab.buyer.step(order_id)
        lab.pass_to(lab.now() + EVALUATE_S)
        chain.do(ada, escrow.dispute(key, bytes(32)))
        await lab.see(order_id)
        held = await lab.arbiter.desk.load(order_id)
        assert held.state == "disputed"
        await lab.arbiter.made_to_order.rule(held, 10_000)
        assert lab.ada.gain == 0


async def test_a_buyer_cannot_fill_the_books_of_its_judges(tmp_path: Path) -> None:
    """Money for one order is there; the buyer and a friend sign as many as they like."""
    async with custom_lab(tmp_path) as lab:
        order = (await lab.order(await lab.funded())).contract.order
        judge = lab.evaluators[0]
        for number in (1, 2):
            contract = forged(msgspec.structs.replace(order, nonce=f"{number:032x}"), lab.buyer)
            for seller_signature in ("", sign_contract(contract, lab.ada.seed)):
                message = {
                    "do": "copy",
                    "order": msgspec.to_builtins(contract.order),
                    "buyer_signature": sign_contract(contract, lab.buyer.seed),
                    "seller_signature": seller_signature,
                }
                with pytest.raises(Refused) as caught:
                    await lab.buyer.negotiation._ask(judge.host.peer_id, message)
                assert caught.value.code == "other_order"
        assert len(judge.desk.orders.list_ids()) == 1


async def test_an_order_that_the_buyer_alone_signed_does_not_keep_out_the_one_of_both(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        judge = lab.evaluators[0]
        await judge.custom.willing.set(on=False)
        order_id = await lab.won(await lab.ask(), ada=20 * CREDIT)
        for _ in ("the developer signs", "the price goes into escrow"):
            await lab.buyer.step(order_id)
        await judge.custom.willing.set(on=True)
        order = await lab.order(order_id)
        contract = forged(
            msgspec.structs.replace(order.contract.order, seller=lab.ben.host.peer_id), lab.buyer
        )
        message = {
            "do": "copy",
            "order": msgspec.to_builtins(contract.order),
            "buyer_signature": sign_contract(contract, lab.buyer.seed),
            "seller_signature": "",
        }
        await lab.buyer.negotiation._ask(judge.host.peer_id, message)
        lab.ada.negotiation._copy_at.clear()
        await lab.ada.step(order.order_id)
        held = {order_id: await judge.desk.load(order_id) for order_id in judge.desk.orders.list_ids()}
        assert {bool(one.seller_signature) for one in held.values()} == {True, False}
        assert order.order_id in held


async def test_nobody_speaks_for_the_party_that_called_the_arbiter(tmp_path: Path) -> None:
    """The developer is quicker: its words, in the place of the buyer's, would be what the arbiter reads."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        contract = (await lab.order(order_id)).contract
        said = await lab.ada.transcripts.say(contract, "reason", words="All is well, pay the developer.")
        message = {"do": "tell", "order_id": order_id, "entries": said}
        lab.pass_to(lab.now() + EVALUATE_S)
        await lab.ada.negotiation._ask(lab.arbiter.host.peer_id, message)
        await lab.buyer.made_to_order.dispute(await lab.order(order_id), "The evaluators are gone.")
        await lab.see(order_id)
        await lab.ada.negotiation._ask(lab.arbiter.host.peer_id, message)
        assert "dispute_reason" not in (await lab.arbiter.desk.load(order_id)).data
        await lab.buyer.step(order_id)
        held = await lab.arbiter.desk.load(order_id)
        assert held.data["dispute_reason"] == "The evaluators are gone."


async def test_no_buyer_keeps_an_evaluator_busy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_OF_A_BUYER", 1)
    async with custom_lab(tmp_path) as lab:
        first = await lab.submitted(40)
        second = await lab.won(await lab.ask(), ada=20 * CREDIT)
        for _ in ("the developer signs", "the price goes into escrow"):
            await lab.buyer.step(second)
        judge = lab.evaluators[0]
        assert await judge.desk.find(second) is None
        assert await lab.arbiter.desk.find(second) is not None
        await lab.ada.made_to_order.do(await lab.ada.desk.load(first), "cancel")
        await lab.see(first)
        lab.ada.negotiation._copy_at.clear()
        await lab.ada.step(second)
        assert await judge.desk.find(second) is not None


async def test_training_data_has_a_name_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buyer would else put a file of any name and content into a folder of the developer's."""
    rename_training(monkeypatch)
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        folder = tmp_path / "data"
        saved = await lab.ada.custom.training.save(order_id, folder, lab.ada.progress())
        assert saved["path"] == str(folder / "training.csv")
        assert [one.name for one in await trio.Path(folder).iterdir()] == ["training.csv"]


@pytest.mark.parametrize("name", ["setup.exe", "weights.pkl", "model.html"])
async def test_what_could_run_code_is_no_delivery(tmp_path: Path, name: str) -> None:
    """An honest client hands in no such file; a changed one might."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        await lab.ada.hand_in(order_id, 40)
        doc = (await lab.ada.desk.load(order_id)).data["handed_in"]["1"]["doc"]
        doc["files"].append({**doc["files"][0], "name": name})
        plain = msgspec.convert(doc, Delivery)
        with pytest.raises(InvalidOrder) as caught:
            read_delivery(doc, request=doc["request"], model_hash=plain.model_hash)
        assert caught.value.code == "unsafe_format"
