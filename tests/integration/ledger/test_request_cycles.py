"""A model asked for, bid on, measured and paid, and a contest, on real anvil: money, gas and history."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_lab import CREDIT, Clock, Lab, order_hash
from request_lab import BUDGET, DEPOSIT, RequestLab

from openstall.app.services.chain_code import check_contracts
from openstall.app.services.held import held_micro
from openstall.ledger.auction import AuctionClient
from openstall.ledger.chain import Chain
from openstall.ledger.contest import contest_id, ranking
from openstall.ledger.group_host import GroupHost
from openstall.ledger.history import history
from openstall.ledger.model_escrow import model_order_key
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError

HostAt = Callable[[Path], GroupHost]


@pytest.fixture
def lab(tmp_path: Path, host_at: HostAt, clock: Clock) -> Lab:
    host = host_at(tmp_path / "chain")
    host.create("Requests")
    return Lab(host, clock)


def kinds(lab: Lab, wallet: Wallet) -> list[str]:
    return [entry.kind for entry in history(lab.chain, wallet.address)]


def held(lab: Lab, wallet: Wallet) -> int:
    return held_micro(lab.chain, wallet.address, history(lab.chain, wallet.address))


def in_contracts(lab: Lab) -> int:
    params = lab.host.params
    return sum(map(lab.balance, (params.auction, params.model_escrow, params.contest)))


def test_a_model_is_asked_for_bid_on_measured_and_paid(lab: Lab) -> None:
    room, named = RequestLab(lab), order_hash()
    terms, loser, silent = room.auction_terms(), room.rich(), room.rich()
    key = room.opened(terms, named)
    gas: dict[str, int] = {}
    bids = {}
    for bidder, price in ((lab.seller, 12), (loser, 20), (silent, 5)):
        bids[bidder.address] = room.bid(bidder, key, price * CREDIT)
    assert [held(lab, one) for one in (lab.buyer, loser, silent)] == [BUDGET, DEPOSIT, DEPOSIT]
    room.pass_to(terms.commit_by)
    for bidder in (lab.seller, loser):
        lab.do(lab.outsider, room.auctions.reveal(key, bids[bidder.address]))
    room.pass_to(terms.reveal_by)
    gas["settle"] = lab.do(lab.outsider, room.auctions.settle(key)).gas_used
    lab.do(lab.outsider, room.auctions.award(lab.buyer.address, named, terms.rules))
    assert [held(lab, one) for one in (lab.buyer, loser, silent)] == [20 * CREDIT, 0, 0]
    order = model_order_key(payer=lab.host.params.auction, buyer=lab.buyer.address, request_hash=named)
    lab.do(lab.seller, room.escrow.submit(order, order_hash()))
    room.assess(order, False)
    lab.do(lab.seller, room.escrow.submit(order, order_hash()))
    room.assess(order, True)
    lab.do(lab.seller, room.escrow.hand_over(order, bytes(80)))
    deadline = room.escrow.order_by_key(order).deadline_at
    assert deadline is not None
    room.pass_to(deadline)
    lab.do(lab.outsider, room.escrow.claim(order))
    assert room.escrow.handed_over(order) == [bytes(80)]
    assert gas["settle"] <= 85_000
    assert in_contracts(lab) == 0
    assert held(lab, lab.buyer) == 0
    assert [lab.balance(one) // CREDIT for one in (lab.buyer, lab.seller, loser, silent)] == [
        980,
        1_022,
        1_000,
        998,
    ]
    assert kinds(lab, lab.buyer) == ["faucet", "auction_paid", "auction_returned"]
    assert kinds(lab, loser) == ["faucet", "auction_paid", "auction_returned"]
    assert kinds(lab, silent) == ["faucet", "auction_paid"]
    assert kinds(lab, lab.seller) == [
        "faucet",
        "auction_paid",
        "auction_returned",
        "auction_earned",
        "model_earned",
    ]


def test_a_refund_and_an_arbiters_fee_are_told_apart(lab: Lab) -> None:
    room = RequestLab(lab)
    key, terms = room.funded()
    assert held(lab, lab.buyer) == 9 * CREDIT
    lab.do(lab.seller, room.escrow.submit(key, order_hash()))
    room.assess(key, False)
    lab.do(lab.seller, room.escrow.dispute(key, order_hash()))
    lab.do(lab.arbiter, room.escrow.rule(key, 5_000))
    assert kinds(lab, lab.buyer) == ["faucet", "model_paid", "model_refund"]
    assert kinds(lab, lab.seller) == ["faucet", "model_earned"]
    assert kinds(lab, lab.arbiter) == ["faucet", "arbiter_fee"]
    assert held(lab, lab.buyer) == 0
    assert terms.rules.arbiter_fee_bps == 200
    assert lab.balance(lab.arbiter) == 1_000 * CREDIT + 180_000


def test_a_contest_pays_its_winner_against_the_key(lab: Lab) -> None:
    room, named = RequestLab(lab), order_hash()
    terms, loser = room.contest_terms(), room.rich()
    lab.do(lab.buyer, room.contests.open(lab.buyer, named, terms))
    found_id = contest_id(lab.buyer.address, named)
    for entrant in (lab.seller, loser):
        entry = room.contests.enter(entrant, found_id, order_hash(), deposit_micro=DEPOSIT)
        lab.do(entrant, entry)
    assert [held(lab, one) for one in (lab.buyer, lab.seller)] == [BUDGET, DEPOSIT]
    assert [one.entrant for one in room.contests.entries(found_id)] == [
        lab.seller.address.lower(),
        loser.address.lower(),
    ]
    room.pass_to(terms.entry_by)
    found = ranking(found_id, {lab.seller.address: 30 * CREDIT, loser.address: 0})
    lab.do(lab.outsider, room.contests.judge(found, room.ranked(found)))
    lab.do(lab.seller, room.contests.claim(found, lab.seller.address, bytes(80)))
    assert held(lab, lab.buyer) == 20 * CREDIT
    deadline = room.contests.contest(found_id).deadline_at
    assert deadline is not None
    room.pass_to(deadline)
    lab.do(lab.outsider, room.contests.close(found_id))
    lab.do(lab.outsider, room.contests.withdraw(found_id, loser.address))
    assert in_contracts(lab) == 0
    assert kinds(lab, lab.buyer) == ["faucet", "contest_paid", "contest_returned"]
    assert kinds(lab, lab.seller) == ["faucet", "contest_paid", "contest_earned"]
    assert kinds(lab, loser) == ["faucet", "contest_paid", "contest_returned"]
    assert held(lab, loser) == 0


def test_the_contracts_of_a_new_group_are_the_ones_we_trust(lab: Lab) -> None:
    check_contracts(lab.chain)
    for name in ("auction", "model_escrow", "contest"):
        params = replace(lab.host.params, **{name: lab.host.params.escrow})
        with pytest.raises(ChainError) as refusal:
            check_contracts(Chain(params, lab.host.handle, clock=lab.clock))
        assert refusal.value.code == "foreign_contracts"


def test_a_group_that_was_founded_before_models_could_be_asked_for_goes_on(
    tmp_path: Path, host_at: HostAt, clock: Clock
) -> None:
    """Its chain file says nothing of them, and its contracts stay where they are."""
    later = ("auction", "model_escrow", "contest")
    host = host_at(tmp_path / "chain")
    params = host.create("An old group")
    host.stop()
    path = tmp_path / "chain" / "chain.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in kept.items() if name not in later}))
    again = host_at(tmp_path / "chain")
    assert again.start() == replace(params, auction="", model_escrow="", contest="")
    lab = Lab(again, clock)
    lab.do(lab.buyer, lab.escrow.fund(lab.buyer, order_hash(), lab.terms()))
    assert kinds(lab, lab.buyer) == ["faucet", "escrow_paid"]
    check_contracts(lab.chain)
    with pytest.raises(ChainError) as refusal:
        AuctionClient(lab.chain).auction(bytes(32))
    assert refusal.value.code == "no_requests"
