"""Auctions, model orders and contests in a token that takes fees, blocks receivers and calls back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hostile_token import HostileToken
from ledger_lab import CREDIT, Lab, order_hash
from request_lab import BUDGET, DEPOSIT, RequestLab

from openstall.ledger.abi import codec
from openstall.ledger.auction import AuctionClient, auction_key
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.contest import contest_id, ranking
from openstall.ledger.model_escrow import ModelTerms, model_order_key
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError

PRICE = 9 * CREDIT


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """The same chain with parties of their own: what a test leaves in the contracts is missed by no other."""
    return Lab(lab.host, lab.clock)


@pytest.fixture
def token(lab: Lab) -> HostileToken:
    return HostileToken(lab)


@pytest.fixture
def room(lab: Lab, token: HostileToken) -> RequestLab:
    """The parties have money in this token, and let the three contracts take it."""
    params = lab.host.params
    for wallet in (lab.buyer, lab.seller, lab.outsider):
        token.give(wallet, 1_000 * CREDIT, params.auction, params.model_escrow, params.contest)
    return RequestLab(lab, token.chain)


def hook(token: HostileToken, request: TxRequest) -> None:
    """From now on the token makes this call, which anyone could make, whenever it moves."""
    token.do("setCall", request.to, request.data)


def held(token: HostileToken) -> list[int]:
    params = token.chain.params
    return [token.read("balanceOf", one) for one in (params.auction, params.model_escrow, params.contest)]


def collect(lab: Lab, token: HostileToken, contract: str, address: str, by: Wallet) -> bool:
    data = codec(contract).call_data("collect", token.address)
    return lab.send(by, TxRequest(to=address, data=data, gas=200_000, what="collect")).ok


def with_two_bids(room: RequestLab, amounts: tuple[int, int]) -> tuple[bytes, bytes, list[TxRequest]]:
    named, terms = order_hash(), room.auction_terms()
    key = room.opened(terms, named)
    pairs = zip((room.lab.seller, room.lab.outsider), amounts, strict=True)
    bids = [room.bid(wallet, key, amount) for wallet, amount in pairs]
    room.pass_to(terms.commit_by)
    return key, named, [room.auctions.reveal(key, bid) for bid in bids]


def test_a_token_that_takes_a_fee_is_refused_when_the_money_comes_in(
    lab: Lab, token: HostileToken, room: RequestLab
) -> None:
    key = room.opened(room.auction_terms())
    named = order_hash()
    lab.do(lab.buyer, room.contests.open(lab.buyer, named, room.contest_terms()))
    token.do("setFee", 100)
    terms = ModelTerms(seller=lab.seller.address, amount_micro=PRICE, rules=room.rules())
    entry = contest_id(lab.buyer.address, named)
    for refuse in (
        lambda: room.opened(room.auction_terms()),
        lambda: room.bid(lab.seller, key, CREDIT),
        lambda: lab.do(lab.buyer, room.escrow.fund(lab.buyer, order_hash(), terms)),
        lambda: lab.do(lab.buyer, room.contests.open(lab.buyer, order_hash(), room.contest_terms())),
        lambda: lab.do(
            lab.seller, room.contests.enter(lab.seller, entry, order_hash(), deposit_micro=DEPOSIT)
        ),
    ):
        with pytest.raises(ChainError, match="takes a fee on every transfer"):
            refuse()
    assert held(token) == [BUDGET, 0, BUDGET]


def test_a_fee_that_comes_later_keeps_an_award_off_and_the_budget_still_goes_back(
    lab: Lab, token: HostileToken, room: RequestLab
) -> None:
    key, named, reveals = with_two_bids(room, (PRICE, 2 * PRICE))
    rules = room.auctions.opened(key).terms.rules
    lab.do(lab.outsider, reveals[0])
    room.pass_to(room.auctions.auction(key).reveal_by)
    lab.do(lab.outsider, room.auctions.settle(key))
    token.do("setFee", 100)
    assert not lab.send(lab.outsider, room.auctions.award(lab.buyer.address, named, rules)).ok
    room.pass_to(rules.deliver_by)
    lab.do(lab.outsider, room.auctions.expire(key))
    assert held(token) == [0, 0, 0]


def test_a_blocked_receiver_holds_nobody_up_and_collects_later(
    lab: Lab, token: HostileToken, room: RequestLab
) -> None:
    params = lab.host.params
    key, named, reveals = with_two_bids(room, (PRICE, 2 * PRICE))
    rules = room.auctions.opened(key).terms.rules
    for wallet in (lab.buyer, lab.seller):
        token.do("setBlocked", wallet.address, True)
    lab.do(lab.outsider, reveals[0])
    room.pass_to(room.auctions.auction(key).reveal_by)
    lab.do(lab.outsider, room.auctions.settle(key))
    lab.do(lab.outsider, room.auctions.award(lab.buyer.address, named, rules))
    assert held(token) == [2 * DEPOSIT, BUDGET, 0], "a single bid is paid the budget"
    order = model_order_key(payer=params.auction, buyer=lab.buyer.address, request_hash=named)
    lab.do(lab.seller, room.escrow.cancel(order))
    assert room.escrow.order_by_key(order).state == "refunded"
    entries = order_hash()
    token.do("setBlocked", lab.buyer.address, False)
    assert collect(lab, token, "ModelEscrow", params.model_escrow, lab.buyer)
    lab.do(lab.buyer, room.contests.open(lab.buyer, entries, room.contest_terms()))
    found_id = contest_id(lab.buyer.address, entries)
    lab.do(lab.seller, room.contests.enter(lab.seller, found_id, order_hash(), deposit_micro=DEPOSIT))
    room.pass_to(room.contests.contest(found_id).entry_by)
    found = ranking(found_id, {lab.seller.address: PRICE})
    lab.do(lab.outsider, room.contests.judge(found, room.ranked(found)))
    lab.do(lab.seller, room.contests.claim(found, lab.seller.address, b"key"))
    assert held(token) == [2 * DEPOSIT, 0, BUDGET + DEPOSIT]
    assert not collect(lab, token, "Contest", params.contest, lab.seller), "still blocked"
    token.do("setBlocked", lab.seller.address, False)
    assert collect(lab, token, "Contest", params.contest, lab.seller)
    assert collect(lab, token, "SealedBidAuction", params.auction, lab.seller)
    for contract, address in (("Contest", params.contest), ("SealedBidAuction", params.auction)):
        assert not collect(lab, token, contract, address, lab.seller), "once"
    assert held(token) == [0, 0, BUDGET - PRICE]
    earned = token.read("balanceOf", lab.seller.address) - 1_000 * CREDIT
    assert earned == PRICE + DEPOSIT, "the prize, and the deposit of the bid that stayed sealed"


def test_a_token_that_calls_back_gets_into_no_contract_a_second_time(
    lab: Lab, token: HostileToken, room: RequestLab
) -> None:
    """Each call below would pass for anybody at that moment: only the guard keeps it out."""

    def while_it_moves(step: TxRequest, by: Wallet, inner: TxRequest, *, passes_now: bool = True) -> None:
        if passes_now:
            lab.chain.simulate(inner, lab.outsider.address)
        hook(token, inner)
        tried = token.read("callsTried")
        lab.do(by, step)
        token.do("setCall", "0x" + "00" * 20, b"")
        assert token.read("callsTried") > tried
        assert token.read("callsPassed") == 0
        if passes_now:
            lab.do(lab.outsider, inner)

    key, named, reveals = with_two_bids(room, (PRICE, 2 * PRICE))
    rules = room.auctions.opened(key).terms.rules
    while_it_moves(reveals[0], lab.outsider, reveals[1])
    other, _, opening = with_two_bids(room, (PRICE, 2 * PRICE))
    lab.do(lab.outsider, opening[0])  # the second stays sealed, so that settling pays somebody
    room.pass_to(room.auctions.auction(other).reveal_by)
    while_it_moves(room.auctions.settle(other), lab.outsider, room.auctions.settle(key))
    award = room.auctions.award(lab.buyer.address, named, rules)
    order = model_order_key(payer=lab.host.params.auction, buyer=lab.buyer.address, request_hash=named)
    while_it_moves(award, lab.outsider, award, passes_now=False)
    stale, _ = room.funded(PRICE)
    room.pass_to(max(rules.deliver_by, room.escrow.order_by_key(stale).terms.rules.deliver_by))
    while_it_moves(room.escrow.cancel(order), lab.seller, room.escrow.refund(stale))
    while_it_moves(room.auctions.expire(other), lab.outsider, room.auctions.expire(other), passes_now=False)

    entries = order_hash()
    lab.do(lab.buyer, room.contests.open(lab.buyer, entries, room.contest_terms()))
    found_id = contest_id(lab.buyer.address, entries)
    for wallet in (lab.seller, lab.outsider):
        entry = room.contests.enter(wallet, found_id, order_hash(), deposit_micro=DEPOSIT)
        while_it_moves(entry, wallet, room.contests.close(found_id), passes_now=False)
    deadline = room.contests.contest(found_id).deadline_at
    assert deadline is not None
    room.pass_to(deadline)
    closing = room.contests.close(found_id)
    while_it_moves(
        closing, lab.outsider, room.contests.withdraw(found_id, lab.seller.address), passes_now=False
    )
    back = [room.contests.withdraw(found_id, one.address) for one in (lab.seller, lab.outsider)]
    while_it_moves(back[0], lab.outsider, back[1])
    assert held(token) == [0, 0, 0]
    assert [token.read("balanceOf", one.address) for one in (lab.buyer, lab.seller, lab.outsider)] == [
        1_000 * CREDIT,
        1_000 * CREDIT + DEPOSIT,
        1_000 * CREDIT - DEPOSIT,
    ]


def test_an_escrow_of_the_requesters_own_gets_no_more_than_the_price_and_no_silent_award(
    lab: Lab, token: HostileToken, room: RequestLab
) -> None:
    """One that takes nothing would leave the price in the auction, for nobody."""
    params = replace(token.chain.params, model_escrow=token.address)
    own = AuctionClient(Chain(params, lab.host.handle, clock=lab.clock))
    named, terms = order_hash(), room.auction_terms()
    lab.do(lab.buyer, own.open(lab.buyer, named, terms))
    key = auction_key(lab.buyer.address, named)
    seen = own.auction(key)
    assert not seen.matches(
        requester=lab.buyer.address, terms=terms, token=token.address, escrow=lab.host.params.model_escrow
    ), "a bidder's node sees it"
    bid = room.bid(lab.seller, key, PRICE)
    room.pass_to(terms.commit_by)
    lab.do(lab.seller, own.reveal(key, bid))
    room.pass_to(terms.reveal_by)
    lab.do(lab.seller, own.settle(key))
    with pytest.raises(ChainError, match="did not take the price"):
        lab.do(lab.seller, own.award(lab.buyer.address, named, terms.rules))
    room.pass_to(terms.rules.deliver_by)
    lab.do(lab.outsider, own.expire(key))
    assert held(token) == [0, 0, 0]
