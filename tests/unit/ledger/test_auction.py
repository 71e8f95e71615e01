"""Sealed bids on the real bytecode: what wins, what it is paid, and what a cheat gets out of it."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from eth_hash.auto import keccak
from ledger_lab import CREDIT, Lab, order_hash
from request_lab import BUDGET, DEPOSIT, RequestLab

from openstall.ledger.auction import AuctionClient, Bid, auction_key, bid_commitment
from openstall.ledger.bond import SINK
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.model_escrow import MAX_TRIES
from openstall.ledger.typed_data import address_word
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError, InvalidOrder


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """The same chain with parties of their own: what a test leaves in the contracts is missed by no other."""
    return Lab(lab.host, lab.clock)


@pytest.fixture
def room(lab: Lab) -> RequestLab:
    return RequestLab(lab)


def refused(room: RequestLab, wallet: Wallet, request: TxRequest, why: str) -> None:
    """By a simulation with its reason, and by the chain itself: no money moves."""
    before = room.lab.balance(wallet)
    with pytest.raises(ChainError, match=why):
        room.lab.do(wallet, request)
    assert not room.lab.send(wallet, request).ok
    assert room.lab.balance(wallet) == before


def with_fresh_permits(room: RequestLab, wallet: Wallet, key: bytes, bid: Bid) -> TxRequest:
    return room.auctions.commit(wallet, key, bid, deposit_micro=DEPOSIT)


def test_the_lowest_bid_wins_and_is_paid_the_second_lowest(room: RequestLab) -> None:
    lab, auctions = room.lab, room.auctions
    named, terms = order_hash(), room.auction_terms()
    start = lab.balance(lab.buyer)
    key = room.opened(terms, named)
    found = auctions.auction(key)
    token, escrow = lab.host.params.credit, lab.host.params.model_escrow
    assert found.matches(requester=lab.buyer.address, terms=terms, token=token, escrow=escrow)
    assert auctions.opened(key).terms == replace(terms, rules=terms.rules.ordered)
    bidders = [lab.seller, room.rich(), room.rich(), room.rich()]
    first = [lab.balance(bidder) for bidder in bidders]
    prices = (31 * CREDIT, 12 * CREDIT, 20 * CREDIT, 45 * CREDIT)
    bids = [room.bid(bidder, key, price) for bidder, price in zip(bidders, prices, strict=True)]
    assert [auctions.bid_state(key, bidder.address) for bidder in bidders] == ["sealed"] * 4
    assert all(seen.amount_micro is None for seen in auctions.bids(key)), "nobody can read a sealed bid"
    room.pass_to(terms.commit_by)
    for bid in bids[:3]:
        lab.do(lab.outsider, auctions.reveal(key, bid))
    assert [lab.balance(bidder) - was for bidder, was in zip(bidders, first, strict=True)] == [
        0,
        0,
        0,
        -DEPOSIT,
    ]
    assert [seen.amount_micro for seen in auctions.bids(key)] == [*prices[:3], None]
    room.pass_to(terms.reveal_by)
    lab.do(lab.outsider, auctions.settle(key))
    found = auctions.auction(key)
    assert (found.winner, found.price_micro) == (bidders[1].address.lower(), 20 * CREDIT)
    assert lab.balance(bidders[1]) - first[1] == DEPOSIT, "the bid that stayed sealed pays the winner"
    assert start - lab.balance(lab.buyer) == BUDGET, "and not the requester"
    lab.do(lab.outsider, auctions.award(lab.buyer.address, named, terms.rules))
    assert start - lab.balance(lab.buyer) == 20 * CREDIT
    order = room.escrow.order(payer=lab.host.params.auction, buyer=lab.buyer.address, request_hash=named)
    assert order.state == "funded"
    assert order.matches(
        buyer=lab.buyer.address,
        terms=replace(order.terms, seller=bidders[1].address, amount_micro=20 * CREDIT, rules=terms.rules),
        token=token,
    )
    assert auctions.auction(key).state == "awarded"


def test_a_single_bid_is_paid_the_budget(room: RequestLab) -> None:
    named, terms = order_hash(), room.auction_terms()
    key = room.opened(terms, named)
    bid = room.bid(room.lab.seller, key, BUDGET)
    room.pass_to(terms.commit_by)
    room.lab.do(room.lab.seller, room.auctions.reveal(key, bid))
    room.pass_to(terms.reveal_by)
    room.lab.do(room.lab.outsider, room.auctions.settle(key))
    assert room.auctions.auction(key).price_micro == BUDGET
    room.lab.do(room.lab.outsider, room.auctions.award(room.lab.buyer.address, named, terms.rules))


@pytest.mark.parametrize("first", [0, 1])
def test_among_equal_bids_a_hash_fixed_beforehand_decides(room: RequestLab, first: int) -> None:
    terms = room.auction_terms()
    key = room.opened(terms)
    bidders = [room.lab.seller, room.rich()]
    bids = [room.bid(bidder, key, 7 * CREDIT) for bidder in bidders]
    room.pass_to(terms.commit_by)
    for bid in (bids[first], bids[1 - first]):
        room.lab.do(room.lab.outsider, room.auctions.reveal(key, bid))
    found = room.auctions.auction(key)
    smaller = min(bidders, key=lambda wallet: keccak(key + address_word(wallet.address)))
    assert (found.winner, found.price_micro) == (smaller.address.lower(), 7 * CREDIT)


def test_where_nobody_opens_a_bid_everything_goes_back_where_it_came_from(room: RequestLab) -> None:
    lab, terms = room.lab, room.auction_terms()
    before = [lab.balance(wallet) for wallet in (lab.buyer, lab.seller)]
    key = room.opened(terms)
    room.bid(lab.seller, key, CREDIT)
    room.pass_to(terms.reveal_by)
    refused(room, lab.outsider, room.auctions.withdraw(key, lab.seller.address), "moved on")
    lab.do(lab.outsider, room.auctions.settle(key))
    assert room.auctions.auction(key).state == "void"
    lab.do(lab.outsider, room.auctions.withdraw(key, lab.seller.address))
    assert [lab.balance(wallet) for wallet in (lab.buyer, lab.seller)] == before
    assert room.auctions.bid_state(key, lab.seller.address) == "paid_back"
    refused(room, lab.seller, room.auctions.withdraw(key, lab.seller.address), "done before")


def test_where_nobody_awards_in_time_the_budget_goes_back(room: RequestLab) -> None:
    lab, named, terms = room.lab, order_hash(), room.auction_terms()
    start = lab.balance(lab.buyer)
    key = room.opened(terms, named)
    bid = room.bid(lab.seller, key, CREDIT)
    room.pass_to(terms.commit_by)
    lab.do(lab.seller, room.auctions.reveal(key, bid))
    room.pass_to(terms.reveal_by)
    lab.do(lab.seller, room.auctions.settle(key))
    refused(room, lab.buyer, room.auctions.expire(key), "not come yet")
    room.pass_to(terms.rules.deliver_by)
    refused(room, lab.seller, room.auctions.award(lab.buyer.address, named, terms.rules), "terms")
    lab.do(lab.outsider, room.auctions.expire(key))
    assert lab.balance(lab.buyer) == start


def test_bids_that_cheat_are_refused(room: RequestLab) -> None:
    lab, auctions, terms = room.lab, room.auctions, room.auction_terms()
    key, other = room.opened(terms), room.opened(terms)
    copier = room.rich()
    bid = room.bid(lab.seller, key, 9 * CREDIT)
    poor = Wallet(secrets.token_bytes(32))
    mine = Bid(bidder=poor.address, amount_micro=1, salt=bytes(32))
    refused(room, poor, with_fresh_permits(room, poor, key, mine), "balance is too low")
    again = replace(bid, amount_micro=CREDIT)
    refused(room, lab.seller, with_fresh_permits(room, lab.seller, key, again), "has bid already")
    small = auctions.commit(lab.outsider, key, replace(bid, bidder=lab.outsider.address), deposit_micro=1)
    refused(room, lab.outsider, small, "not authorised")
    for barred in (lab.buyer, lab.arbiter):
        request = with_fresh_permits(room, barred, key, replace(bid, bidder=barred.address))
        refused(room, barred, request, "cannot bid")
    lab.do(lab.outsider, lab.credit.transfer(room.evaluators[0].address, 5 * CREDIT))
    judge = replace(bid, bidder=room.evaluators[0].address)
    refused(room, room.evaluators[0], with_fresh_permits(room, room.evaluators[0], key, judge), "cannot bid")

    # A copy of another's commitment is worth nothing: its opening names the one who made it.
    data = with_fresh_permits(room, copier, key, replace(bid, bidder=copier.address))
    own, copied = auctions.commitment(key, replace(bid, bidder=copier.address)), auctions.commitment(key, bid)
    lab.do(copier, replace(data, data=data.data.replace(own, copied)))
    over = room.bid(room.rich(), key, BUDGET + 1)
    refused(room, lab.seller, auctions.reveal(key, bid), "not come yet")
    elsewhere = room.bid(lab.outsider, other, 3 * CREDIT)
    room.pass_to(terms.commit_by)
    late = Bid(bidder=lab.outsider.address, amount_micro=1, salt=bytes(32))
    refused(room, lab.outsider, with_fresh_permits(room, lab.outsider, key, late), "has passed")
    refused(room, copier, auctions.reveal(key, replace(bid, bidder=copier.address)), "committed")
    refused(room, lab.seller, auctions.reveal(key, replace(bid, amount_micro=1)), "committed")
    refused(room, lab.seller, auctions.reveal(key, replace(bid, salt=elsewhere.salt)), "committed")
    refused(room, lab.outsider, auctions.reveal(key, elsewhere), "committed")
    refused(room, lab.outsider, auctions.reveal(key, over), "above the budget")
    lab.do(lab.seller, auctions.reveal(key, bid))
    refused(room, lab.seller, auctions.reveal(key, bid), "done before")
    refused(room, lab.outsider, auctions.settle(key), "not come yet")
    refused(room, lab.outsider, auctions.withdraw(key, copier.address), "moved on")
    room.pass_to(terms.reveal_by)
    refused(room, lab.outsider, auctions.reveal(other, elsewhere), "has passed")
    gained = lab.balance(lab.seller)
    lab.do(lab.buyer, auctions.settle(key))
    assert lab.balance(lab.seller) - gained == 2 * DEPOSIT, "copier and the one above the budget"
    refused(room, copier, auctions.withdraw(key, copier.address), "moved on")
    refused(room, lab.buyer, auctions.settle(key), "moved on")


def test_a_bid_of_nothing_and_one_of_another_wallet_are_refused_before_they_are_sent(
    room: RequestLab,
) -> None:
    key = auction_key(room.lab.buyer.address, order_hash())
    good = Bid(bidder=room.lab.seller.address, amount_micro=1, salt=bytes(32))
    for change in ({"amount_micro": 0}, {"salt": b"short"}, {"amount_micro": 2**128}):
        with pytest.raises(InvalidOrder) as error:
            room.auctions.commitment(key, replace(good, **change))  # type: ignore[arg-type]
        assert error.value.code == "bad_bid"
    with pytest.raises(InvalidOrder) as error:
        room.auctions.commit(room.lab.buyer, key, good, deposit_micro=1)
    assert error.value.code == "wrong_signer"
    with pytest.raises(InvalidOrder):
        auction_key(room.lab.buyer.address, b"short")


def test_a_commitment_binds_chain_contract_auction_bidder_amount_and_salt(room: RequestLab) -> None:
    params, key = room.lab.host.params, order_hash()
    bid = Bid(bidder=room.lab.seller.address, amount_micro=5, salt=order_hash())
    good = bid_commitment(chain_id=params.chain_id, contract=params.auction, key=key, bid=bid)
    onchain = room.lab.chain.view(
        "SealedBidAuction", "commitmentOf", key, bid.bidder, bid.amount_micro, bid.salt
    )
    assert onchain == (good,)
    others = {
        bid_commitment(chain_id=params.chain_id + 1, contract=params.auction, key=key, bid=bid),
        bid_commitment(chain_id=params.chain_id, contract=params.escrow, key=key, bid=bid),
        bid_commitment(chain_id=params.chain_id, contract=params.auction, key=order_hash(), bid=bid),
        *(
            room.auctions.commitment(key, replace(bid, **change))  # type: ignore[arg-type]
            for change in ({"bidder": SINK}, {"amount_micro": 6}, {"salt": bytes(32)})
        ),
    }
    assert len(others | {good}) == 7


def test_nobody_opens_anothers_auction_nor_one_twice(room: RequestLab) -> None:
    named, terms = order_hash(), room.auction_terms()
    request = room.auctions.open(room.lab.outsider, named, terms)
    room.lab.do(room.lab.outsider, request)
    key = room.opened(terms, named)
    refused(room, room.lab.buyer, room.auctions.open(room.lab.buyer, named, terms), "moved on")
    assert room.auctions.auction(key).requester == room.lab.buyer.address.lower()
    refused(
        room, room.lab.outsider, room.auctions.award(room.lab.buyer.address, named, terms.rules), "moved on"
    )


def test_an_award_takes_no_other_rules_than_those_that_were_bid_for(room: RequestLab) -> None:
    named, terms = order_hash(), room.auction_terms()
    key = room.opened(terms, named)
    bid = room.bid(room.lab.seller, key, CREDIT)
    room.pass_to(terms.commit_by)
    room.lab.do(room.lab.seller, room.auctions.reveal(key, bid))
    room.pass_to(terms.reveal_by)
    room.lab.do(room.lab.seller, room.auctions.settle(key))
    for change in ({"tries": 1}, {"arbiter": ""}, {"evaluators": terms.rules.evaluators[1:]}):
        rules = replace(terms.rules, **change)  # type: ignore[arg-type]
        award = room.auctions.award(room.lab.buyer.address, named, rules)
        refused(room, room.lab.buyer, award, "terms are outside")
    room.lab.do(room.lab.seller, room.auctions.award(room.lab.buyer.address, named, terms.rules))


BAD_TERMS = [
    {"budget_micro": 0},
    {"deposit_micro": 0},
    {"commit_by": 0},
    {"reveal_by": 0},
    {"reveal_by": 2**64 - 1},
    {"commit_by": 2**64 - 1, "reveal_by": 2**64 - 1},
]
BAD_RULES = [
    {"deliver_by": 0},
    {"deliver_by": 2**33},
    {"deliver_by": 2**64 - 1},
    {"evaluate_s": 59},
    {"evaluate_s": 2**32 - 1},
    {"review_s": 0},
    {"review_s": 2**32 - 1},
    {"arbiter_s": 59},
    {"arbiter_s": 2**32 - 1},
    {"arbiter_fee_bps": 1_001},
    {"tries": 0},
    {"tries": MAX_TRIES + 1},
    {"quorum": 0},
    {"quorum": 1},
    {"quorum": 4},
    {"evaluators": ()},
    {"evaluators": ("0x" + "00" * 20,), "quorum": 1},
    {"evaluators": ("twice", "twice"), "quorum": 2},
    {"evaluators": ("escrow",), "quorum": 1},
    {"evaluators": ("arbiter",), "quorum": 1},
    {"evaluators": tuple("0x" + f"{n:02x}" * 20 for n in range(1, 18)), "quorum": 9},
    {"arbiter": "buyer"},
    {"arbiter": "escrow"},
]


def resolved(lab: Lab, change: dict[str, object]) -> dict[str, object]:
    names = {
        "buyer": lab.buyer.address,
        "arbiter": lab.arbiter.address,
        "escrow": lab.host.params.model_escrow,
        "twice": lab.outsider.address,
    }

    def one(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(map(one, value))
        return names.get(value, value) if isinstance(value, str) else value

    return {name: one(value) for name, value in change.items()}


@pytest.mark.parametrize("change", [*BAD_TERMS, *({"rules": rules} for rules in BAD_RULES)], ids=str)
def test_terms_under_which_money_could_strand_are_refused(lab: Lab, change: dict[str, object]) -> None:
    room = RequestLab(lab)
    rules = change.get("rules")
    plain = {"rules": room.rules(**resolved(lab, rules))} if isinstance(rules, dict) else change
    terms = room.auction_terms(**plain)
    refused(room, lab.buyer, room.auctions.open(lab.buyer, order_hash(), terms), "terms are outside")


def test_the_same_rules_are_refused_by_the_escrow_itself(lab: Lab) -> None:
    """The auction checks them first, so that what it has awarded is never refused then."""
    from openstall.ledger.model_escrow import ModelTerms

    room = RequestLab(lab)
    for change in BAD_RULES:
        rules = room.rules(**resolved(lab, change))
        terms = ModelTerms(seller=lab.seller.address, amount_micro=CREDIT, rules=rules)
        assert not lab.send(lab.buyer, room.escrow.fund(lab.buyer, order_hash(), terms)).ok, change
    for change in (
        {"seller": "0x" + "00" * 20},
        {"seller": lab.buyer.address},
        {"seller": lab.arbiter.address},
        {"seller": room.evaluators[1].address},
        {"seller": lab.host.params.model_escrow},
        {"amount_micro": 0},
    ):
        terms = ModelTerms(seller=lab.seller.address, amount_micro=CREDIT, rules=room.rules())
        terms = replace(terms, **change)  # type: ignore[arg-type]
        assert not lab.send(lab.buyer, room.escrow.fund(lab.buyer, order_hash(), terms)).ok, change


def test_a_group_from_before_requests_says_so_and_works_else(lab: Lab) -> None:
    from openstall.ledger.contest import ContestClient
    from openstall.ledger.model_escrow import ModelEscrowClient

    params = replace(lab.host.params, auction="", model_escrow="", contest="")
    old = Chain(params, lab.host.handle, clock=lab.clock)
    assert old.balance_micro(lab.seller.address) == lab.balance(lab.seller)
    for ask in (
        lambda: AuctionClient(old).auction(bytes(32)),
        lambda: ModelEscrowClient(old).order_by_key(bytes(32)),
        lambda: ContestClient(old).contest(bytes(32)),
    ):
        with pytest.raises(ChainError) as refusal:
            ask()
        assert refusal.value.code == "no_requests"
