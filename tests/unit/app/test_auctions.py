"""Sealed bids: what a node refuses to put its money into, and what it does by itself until the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from custom_lab import BUDGET, DEPOSIT, STAGE_S, CustomLab, Maker, custom_lab
from ledger_lab import CREDIT, Clock

from openstall.app.services.custom import auctions as module
from openstall.app.services.custom.bidding import auction_terms
from openstall.ledger.auction import AuctionClient
from openstall.ledger.chain import Chain
from openstall.ledger.credit import CreditClient
from openstall.ledger.model_escrow import ModelRules
from openstall.market import ids
from openstall.market.errors import ChainError, Conflict, InvalidOrder, MoneyError, OpenstallError, Refused
from openstall.market.fields import body_as_dict
from openstall.market.orders.documents import Order, sign_contract, write_contract
from openstall.market.records import Peer

BID = 20 * CREDIT


async def bids_on_chain(lab: CustomLab, cid: str) -> list[Any]:
    return list((await lab.buyer.custom.auctions.view(cid))["bids"])


async def test_bids_are_sealed_opened_by_themselves_and_the_second_price_is_paid(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        cid = await lab.ask()
        assert lab.buyer.gain == -BUDGET
        for side, amount in ((lab.ada, 20 * CREDIT), (lab.ben, 30 * CREDIT)):
            view = await side.custom.auctions.bid(cid, amount)
            assert view["own_bid"] == {"amount_micro": amount, "state": "open"}
            assert side.gain == -DEPOSIT
        await lab.look()
        assert [bid["amount_micro"] for bid in await bids_on_chain(lab, cid)] == [None, None]
        body = await lab.terms_of(cid)
        lab.pass_to(body.commit_by)
        await lab.look()
        assert [bid["amount_micro"] for bid in await bids_on_chain(lab, cid)] == [20 * CREDIT, 30 * CREDIT]
        lab.pass_to(body.reveal_by + 10)
        await lab.look(lab.ben)  # anybody settles where the requester has not
        await lab.look()
        view = await lab.buyer.custom.auctions.view(cid)
        assert (view["state"], view["winner"]) == ("settled", lab.ada.wallet.address.lower())
        assert view["price_micro"] == 30 * CREDIT
        order = await lab.order(view["order_id"])
        assert order.contract.custom.price_micro == 30 * CREDIT
        states = [
            (await side.custom.auctions.items(role="bidder"))[0]["own_bid"]["state"]
            for side in (lab.ada, lab.ben)
        ]
        assert states == ["won", "lost"]
        assert (lab.ada.gain, lab.ben.gain) == (0, 0)


async def test_no_bid_is_opened_before_the_chain_takes_no_more(tmp_path: Path) -> None:
    """A host whose clock is behind would see the amount, and could still bid a little less."""
    async with custom_lab(tmp_path) as lab:
        cid = await lab.ask()
        await lab.ada.custom.auctions.bid(cid, BID)
        body, clock = await lab.terms_of(cid), lab.trade.clock
        host: Any = lab.trade.chain.host
        behind = body.commit_by - clock.now() - 30
        clock.ahead_s += behind + 60
        host._clock = lambda: clock() - 60
        heard: list[str] = []
        handle = lab.ada.custom.auctions.chain._transport

        def hear(method: str, params: list[Any]) -> Any:
            heard.append(str(params))
            return handle(method, params)

        lab.ada.custom.auctions.chain._transport = hear
        await lab.look(lab.ada)
        row = lab.ada.custom.auctions.books.get(cid)
        assert heard
        assert not any(row.data["salt"] in said for said in heard)
        clock.ahead_s += 60
        await lab.look(lab.ada)
        assert [bid["amount_micro"] for bid in await bids_on_chain(lab, cid)] == [BID]


async def test_a_bid_that_cannot_be_paid_or_comes_twice_late_or_from_inside_is_refused(
    tmp_path: Path,
) -> None:
    async with custom_lab(tmp_path) as lab:
        cid = await lab.ask()
        lab.trade.chain.do(
            lab.ben.wallet,
            CreditClient(lab.trade.chain.chain).transfer(
                lab.trade.chain.outsider.address, lab.ben.start - DEPOSIT + 1
            ),
        )
        await refused(lab.ben, cid, BID, MoneyError, "insufficient_funds")
        await refused(lab.buyer, cid, BID, Refused, "own_request")
        await refused(lab.evaluators[1], cid, BID, Refused, "own_judgement")
        await refused(lab.arbiter, cid, BID, Refused, "own_judgement")
        await refused(lab.ada, cid, BUDGET + 1, Refused, "bad_bid")
        await refused(lab.ada, cid, 0, Refused, "bad_bid")
        assert await bids_on_chain(lab, cid) == []
        await lab.ada.custom.auctions.bid(cid, BID)
        await refused(lab.ada, cid, BID - 1, Conflict, "already_bid")
        lab.pass_to((await lab.terms_of(cid)).commit_by)
        await refused(lab.arbiter, cid, BID, Refused, "own_judgement")
        await refused(lab.ben, cid, BID, Conflict, "too_late")
        assert [bid["bidder"] for bid in await bids_on_chain(lab, cid)] == [lab.ada.wallet.address.lower()]


async def refused(side: Maker, cid: str, amount: int, kind: type[OpenstallError], code: str) -> None:
    with pytest.raises(kind) as caught:
        await side.custom.auctions.bid(cid, amount)
    assert caught.value.code == code
    kept = side.custom.auctions.books.find(cid)
    assert kept is None or code in ("already_bid", "own_request")


@pytest.mark.parametrize(
    "changes",
    [
        {"budget_micro": BUDGET - 1},
        {"deposit_micro": DEPOSIT - 1},
        {"commit_by": 1},
        {"rules": {"deliver_by": 1}},
        {"rules": {"quorum": 3}},
        {"rules": {"tries": 1}},
        {"rules": {"arbiter": ""}},
    ],
    ids=str,
)
async def test_an_auction_on_the_chain_that_is_not_the_requests_gets_no_bid(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """A requester with another program announces one thing, and puts another on the chain."""
    async with custom_lab(tmp_path) as lab:
        body = await lab.terms_of(await lab.ask())
        record = await lab.buyer.catalogue.publish("request", "other", body_as_dict(body), life_s=90_000)
        terms = auction_terms(body)
        rules: ModelRules = replace(terms.rules, **shifted(terms.rules, changes.get("rules", {})))
        own = {name: value for name, value in changes.items() if name != "rules"}
        terms = replace(terms, **shifted(terms, own), rules=rules)
        client = AuctionClient(lab.trade.chain.chain)
        named = ids.digest_in_cid(record.cid)
        lab.trade.chain.do(lab.buyer.wallet, client.open(lab.buyer.wallet, named, terms))
        await refused(lab.ada, record.cid, BID, Refused, "no_auction")
        assert lab.ada.gain == 0


def shifted(terms: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Deadlines are moved by so many seconds, other terms are replaced."""
    return {
        name: getattr(terms, name) + value if name.endswith("_by") else value
        for name, value in changes.items()
    }


@pytest.mark.parametrize("name", ["auction", "escrow", "chain_id"])
async def test_a_request_that_names_other_contracts_gets_no_bid(tmp_path: Path, name: str) -> None:
    """Its auction may be there all the same: the contract of the order would name the other escrow."""
    async with custom_lab(tmp_path) as lab:
        body = await lab.terms_of(await lab.ask())
        other = body.chain_id + 1 if name == "chain_id" else "0x" + "77" * 20
        forged = msgspec.structs.replace(body, **{name: other})
        record = await lab.buyer.catalogue.publish("request", "other", body_as_dict(forged), life_s=90_000)
        client, named = AuctionClient(lab.trade.chain.chain), ids.digest_in_cid(record.cid)
        lab.trade.chain.do(lab.buyer.wallet, client.open(lab.buyer.wallet, named, auction_terms(body)))
        await refused(lab.ada, record.cid, BID, Refused, "other_auction")


async def test_where_nobody_opened_a_bid_everybody_has_the_money_back(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        cid = await lab.ask()
        for side in (lab.ada, lab.ben):
            await side.custom.auctions.bid(cid, BID)
        lab.pass_to((await lab.terms_of(cid)).reveal_by)  # every node was off while bids could be opened
        await lab.look()
        await lab.look()
        assert [side.custom.auctions.books.get(cid).state for side in (lab.buyer, lab.ada, lab.ben)] == [
            "void"
        ] * 3
        assert [side.gain for side in (lab.buyer, lab.ada, lab.ben)] == [0, 0, 0]
        lab.check_conserved()


async def test_a_bid_that_was_kept_but_not_sent_is_sent_after_a_restart_and_in_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with custom_lab(tmp_path) as lab:
        cid = await lab.ask()
        with monkeypatch.context() as patched:
            patched.setattr(module.AuctionService, "_commit", killed)
            for side in (lab.ada, lab.ben):
                with pytest.raises(ChainError, match="killed"):
                    await side.custom.auctions.bid(cid, BID)
        lab.ada.start_custom()
        await lab.look(lab.ada)
        (seen,) = await bids_on_chain(lab, cid)
        assert seen["bidder"] == lab.ada.wallet.address.lower()
        lab.pass_to((await lab.terms_of(cid)).commit_by)
        lab.ben.start_custom()
        await lab.look(lab.ben)
        assert lab.ben.custom.auctions.books.get(cid).state == "expired"
        assert lab.ben.gain == 0


async def test_a_bid_on_its_way_when_the_time_for_bids_ends_is_still_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The computer's clock runs ahead of the chain's; an unopened bid would lose its deposit."""

    def cut(*_args: object) -> None:
        raise ChainError("chain_unreachable", "The line is cut.")

    async with custom_lab(tmp_path) as lab:
        cid = await lab.ask()
        ahead = Clock()
        ahead.ahead_s = lab.trade.clock.ahead_s + STAGE_S + 60
        with monkeypatch.context() as patched:
            patched.setattr(Chain, "broadcast", cut)
            with pytest.raises(ChainError, match="cut"):
                await lab.ada.custom.auctions.bid(cid, BID)
            patched.setattr(lab.ada.desk, "clock", ahead)
            with trio.move_on_after(1):
                await lab.look(lab.ada)
        await lab.ada.transactions.resume()
        assert lab.ada.gain == -DEPOSIT
        lab.pass_to((await lab.terms_of(cid)).commit_by)
        await lab.look(lab.ada)
        assert [bid["amount_micro"] for bid in await bids_on_chain(lab, cid)] == [BID]
        assert lab.ada.gain == 0


async def killed(*_args: object, **_kwargs: object) -> None:
    raise ChainError("killed", "The node was killed here.")


@pytest.mark.parametrize("moment", ["_keep", "_open"])
async def test_a_requester_killed_between_announcing_and_paying_pays_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    async with custom_lab(tmp_path) as lab:
        with monkeypatch.context() as patched:
            patched.setattr(module.AuctionService, moment, killed)
            with pytest.raises(ChainError, match="killed"):
                await lab.ask()
        (cid,) = [one.cid for one in lab.shelf.records.values() if one.record.type == "request"]
        assert lab.buyer.gain == 0
        lab.buyer.start_custom()
        await lab.buyer.custom.requests.resume()
        await lab.look(lab.buyer)
        assert (await lab.ada.custom.auctions.view(cid))["state"] == "open"
        assert lab.buyer.gain == -BUDGET
        lab.buyer.start_custom()
        await lab.buyer.custom.requests.resume()  # once more: it was paid already, although less is left
        await lab.look(lab.buyer)
        assert lab.buyer.gain == -BUDGET


async def test_a_requester_without_the_money_announces_nothing(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        with pytest.raises(MoneyError):
            await lab.ask(budget_micro=lab.buyer.start + 1)
        assert [one for one in lab.shelf.records.values() if one.record.type == "request"] == []


async def test_a_request_whose_budget_was_spent_meanwhile_can_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with custom_lab(tmp_path) as lab:
        publish = lab.buyer.catalogue.publish

        async def spend_first(*args: Any, **rest: Any) -> Any:
            chain = lab.trade.chain
            chain.do(lab.buyer.wallet, CreditClient(chain.chain).transfer(lab.ben.wallet.address, CREDIT))
            return await publish(*args, **rest)

        with monkeypatch.context() as patched:
            patched.setattr(type(lab.buyer.catalogue), "publish", staticmethod(spend_first))
            with pytest.raises(MoneyError):
                await lab.ask(budget_micro=lab.buyer.start)
        service = lab.buyer.custom.requests
        (row,) = await service.items()
        assert (await service.withdraw(row["request_id"]))["state"] == "withdrawn"


async def test_a_request_that_a_kill_left_without_an_auction_can_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node comes back after the time for bids: nothing was paid, and there is nothing to wait for."""
    async with custom_lab(tmp_path) as lab:
        with monkeypatch.context() as patched:
            patched.setattr(module.AuctionService, "_keep", killed)
            with pytest.raises(ChainError, match="killed"):
                await lab.ask()
        lab.pass_to(lab.now() + STAGE_S)
        lab.buyer.start_custom()
        service = lab.buyer.custom.requests
        await service.resume()
        (row,) = await service.items()
        assert (await service.withdraw(row["request_id"]))["state"] == "withdrawn"
        assert lab.buyer.gain == 0


async def test_a_winner_that_nobody_knows_strands_no_money(tmp_path: Path) -> None:
    """Its peer record has gone: no order can be written, so the budget comes back at the last moment."""
    async with custom_lab(tmp_path) as lab:
        cid, _known = await won_by_a_stranger(lab)
        view = await lab.buyer.custom.auctions.view(cid)
        assert (view["order_id"], view["trouble"]["code"]) == (None, "winner_unknown")
        lab.pass_to((await lab.terms_of(cid)).deliver_by)
        await lab.look(lab.buyer)
        assert lab.buyer.custom.auctions.books.get(cid).state == "expired"
        lab.check_conserved()
        assert lab.buyer.gain == 0


async def test_a_winner_that_becomes_known_gets_its_order(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        cid, known = await won_by_a_stranger(lab)
        lab.shelf.records[known.cid] = known
        await lab.look(lab.buyer)
        view = await lab.buyer.custom.auctions.view(cid)
        assert view["order_id"] is not None
        assert view["trouble"] is None


async def test_a_price_that_a_stranger_had_moved_comes_back_too(tmp_path: Path) -> None:
    """Whoever won moves the price into escrow by itself, and there is still no order."""
    async with custom_lab(tmp_path) as lab:
        cid, _known = await won_by_a_stranger(lab)
        body = await lab.terms_of(cid)
        client = AuctionClient(lab.trade.chain.chain)
        rules = auction_terms(body).rules
        lab.trade.chain.do(
            lab.ada.wallet, client.award(lab.buyer.wallet.address, ids.digest_in_cid(cid), rules)
        )
        lab.pass_to(body.deliver_by)
        await lab.look(lab.buyer)
        assert lab.buyer.custom.auctions.books.get(cid).state == "expired"
        lab.check_conserved()
        assert lab.buyer.gain == 0


async def won_by_a_stranger(lab: CustomLab) -> tuple[str, Any]:
    """An auction whose winner has no peer record (any more); the request, and that record."""
    cid = await lab.ask()
    await lab.ada.custom.auctions.bid(cid, BID)
    (known,) = [
        one
        for one in lab.shelf.records.values()
        if isinstance(one.body, Peer) and one.record.author == lab.ada.host.peer_id
    ]
    del lab.shelf.records[known.cid]
    body = await lab.terms_of(cid)
    lab.pass_to(body.commit_by)
    await lab.look()
    lab.pass_to(body.reveal_by)
    await lab.look()
    return cid, known


async def test_a_developer_signs_only_the_order_that_it_won(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order = await lab.order(await lab.won(await lab.ask(), ada=20 * CREDIT, ben=30 * CREDIT))
        await lab.ada.custom.auctions.check_contract(order.contract)
        plain: dict[str, Any] = msgspec.to_builtins(order.contract.order)

        async def code(side: Maker, **changes: Any) -> str:
            terms = plain["terms"] | {
                name: changes.pop(name) for name in list(changes) if name in plain["terms"]
            }
            contract = write_contract(msgspec.convert(plain | changes | {"terms": terms}, Order))
            with pytest.raises(InvalidOrder) as caught:
                await side.custom.auctions.check_contract(contract)
            return caught.value.code

        assert await code(lab.ben) == "not_the_winner"
        assert await code(lab.arbiter) == "no_bid"
        for changes in (
            {"price_micro": 29 * CREDIT},
            {"threshold": "0.99"},
            {"tries": 1},
            {"rows_root": "00" * 32},
            {"evaluators": [lab.buyer.wallet.address], "quorum": 1},
            {"buyer": lab.ben.host.peer_id},
            {"seller_wallet": lab.ben.wallet.address},
        ):
            assert await code(lab.ada, **changes) == "terms_differ", changes


async def test_an_order_is_not_signed_before_its_auction_is_over(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order = await lab.order(await lab.won(await lab.ask(), ada=BID))
        cid = await lab.ask()
        await lab.ada.custom.auctions.bid(cid, BID)
        plain: dict[str, Any] = msgspec.to_builtins(order.contract.order)
        early = msgspec.convert(plain | {"terms": plain["terms"] | {"request": cid}}, Order)
        contract = write_contract(early)
        signature = sign_contract(contract, lab.buyer.seed)
        early_order = await lab.buyer.desk.create(
            contract, role="buyer", buyer_signature=signature, words="x", actor="you"
        )
        with pytest.raises(Refused) as caught:
            await lab.buyer.negotiation.propose(early_order)
        assert caught.value.code == "not_settled"
        assert await lab.ada.desk.find(contract.order_id) is None
