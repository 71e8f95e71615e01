"""Contests on the real bytecode: prizes against keys, deposits, rankings that nobody signed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st
from ledger_lab import CREDIT, Lab, order_hash
from request_lab import BUDGET, DEPOSIT, RequestLab

from openstall.ledger.bond import SINK
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.contest import ContestClient, Ranking, contest_id, ranking
from openstall.ledger.typed_data import address_word, word
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError, InvalidOrder


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """The same chain with parties of their own: what a test leaves in the contracts is missed by no other."""
    return Lab(lab.host, lab.clock)


@pytest.fixture
def room(lab: Lab) -> RequestLab:
    return RequestLab(lab)


def opened(room: RequestLab, entrants: int = 3, **changes: object) -> tuple[bytes, list[Wallet]]:
    """A contest with entries, after the time for entering."""
    lab, named, terms = room.lab, order_hash(), room.contest_terms(**changes)
    lab.do(lab.buyer, room.contests.open(lab.buyer, named, terms))
    found_id = contest_id(lab.buyer.address, named)
    wallets = [room.rich() for _ in range(entrants)]
    for wallet in wallets:
        entry = room.contests.enter(wallet, found_id, order_hash(), deposit_micro=DEPOSIT)
        lab.do(wallet, entry)
    room.pass_to(terms.entry_by)
    return found_id, wallets


def judged(room: RequestLab, *prizes: int) -> tuple[Ranking, list[Wallet]]:
    found_id, wallets = opened(room, len(prizes))
    found = ranking(found_id, {one.address: prize for one, prize in zip(wallets, prizes, strict=True)})
    room.lab.do(room.lab.outsider, room.contests.judge(found, room.ranked(found)))
    return found, wallets


def refused(room: RequestLab, wallet: Wallet, request: TxRequest, why: str) -> None:
    with pytest.raises(ChainError, match=why):
        room.lab.do(wallet, request)
    assert not room.lab.send(wallet, request).ok


def test_winners_hand_over_and_are_paid_and_the_rest_goes_back(room: RequestLab) -> None:
    lab, contests = room.lab, room.contests
    start, sunk = lab.balance(lab.buyer), lab.balance(SINK)
    found, (first, second, third, walker) = judged(room, 30 * CREDIT, 10 * CREDIT, 0, 5 * CREDIT)
    assert contests.contest(found.contest_id).entries == 4
    before = [lab.balance(one) for one in (first, second, third, walker)]
    assert start - lab.balance(lab.buyer) == BUDGET
    lab.do(first, contests.claim(found, first.address, b"sealed key of the first"))
    lab.do(second, contests.claim(found, second.address, b"sealed key of the second"))
    lab.do(third, contests.claim(found, third.address, b""))
    refused(room, first, contests.claim(found, first.address, b"again"), "done before")
    refused(room, lab.outsider, contests.forfeit(found, walker.address), "not come yet")
    refused(room, lab.outsider, contests.close(found.contest_id), "not come yet")
    assert [one.sealed_key for one in contests.prizes(found.contest_id)][:2] == [
        b"sealed key of the first",
        b"sealed key of the second",
    ]
    shown = contests.contest(found.contest_id)
    assert shown.claim_by is not None
    assert shown.deadline_at is not None
    room.pass_to(shown.claim_by)
    refused(room, walker, contests.claim(found, walker.address, b"too late"), "has passed")
    refused(room, lab.outsider, contests.forfeit(found, first.address), "done before")
    lab.do(lab.outsider, contests.forfeit(found, walker.address))
    room.pass_to(shown.deadline_at)
    lab.do(lab.outsider, contests.close(found.contest_id))
    refused(room, walker, contests.withdraw(found.contest_id, walker.address), "done before")
    after = [lab.balance(one) for one in (first, second, third, walker)]
    gains = [now - then for now, then in zip(after, before, strict=True)]
    assert gains == [30 * CREDIT + DEPOSIT, 10 * CREDIT + DEPOSIT, DEPOSIT, 0]
    assert start - lab.balance(lab.buyer) == 40 * CREDIT
    assert lab.balance(SINK) - sunk == DEPOSIT, "nobody gains by a verdict"
    assert contests.contest(found.contest_id).state == "closed"


def test_silent_evaluators_let_everything_go_back(room: RequestLab) -> None:
    lab, contests, start = room.lab, room.contests, room.lab.balance(room.lab.buyer)
    found_id, wallets = opened(room)
    shown = contests.contest(found_id)
    assert shown.deadline_at == shown.judge_by + shown.review_s
    refused(room, lab.outsider, contests.close(found_id), "not come yet")
    refused(room, lab.outsider, contests.withdraw(found_id, wallets[0].address), "moved on")
    room.pass_to(shown.deadline_at)
    late = ranking(found_id, {wallets[0].address: CREDIT})
    refused(room, lab.outsider, contests.judge(late, room.ranked(late)), "has passed")
    lab.do(lab.outsider, contests.close(found_id))
    for wallet in wallets:
        lab.do(lab.outsider, contests.withdraw(found_id, wallet.address))
        refused(room, lab.outsider, contests.withdraw(found_id, wallet.address), "done before")
    assert all(lab.balance(wallet) == 1_000 * CREDIT for wallet in wallets)
    assert lab.balance(lab.buyer) == start
    assert contests.contest(found_id).state == "void"


def test_an_entrant_that_the_ranking_forgets_has_its_deposit_back_at_the_end(room: RequestLab) -> None:
    found_id, (kept, forgotten) = opened(room, 2)
    found = ranking(found_id, {kept.address: BUDGET})
    room.lab.do(room.lab.outsider, room.contests.judge(found, room.ranked(found)))
    refused(room, room.lab.outsider, room.contests.withdraw(found_id, forgotten.address), "moved on")
    deadline = room.contests.contest(found_id).deadline_at
    assert deadline is not None
    room.pass_to(deadline)
    room.lab.do(room.lab.outsider, room.contests.close(found_id))
    room.lab.do(room.lab.outsider, room.contests.withdraw(found_id, forgotten.address))
    assert room.lab.balance(forgotten) == 1_000 * CREDIT


def test_entries_that_cheat_are_refused(room: RequestLab) -> None:
    lab, contests, named, terms = room.lab, room.contests, order_hash(), room.contest_terms()
    lab.do(lab.buyer, contests.open(lab.buyer, named, terms))
    refused(room, lab.buyer, contests.open(lab.buyer, named, terms), "moved on")
    found_id = contest_id(lab.buyer.address, named)
    assert contests.contest(found_id).matches(
        requester=lab.buyer.address, terms=terms, token=lab.host.params.credit
    )

    def entry(wallet: Wallet, model: bytes = bytes(31) + b"\x07") -> TxRequest:
        return contests.enter(wallet, found_id, model, deposit_micro=DEPOSIT)

    lab.do(lab.outsider, lab.credit.transfer(room.evaluators[0].address, 5 * CREDIT))
    for barred in (lab.buyer, room.evaluators[0]):
        refused(room, barred, entry(barred), "cannot enter")
    refused(room, lab.seller, entry(lab.seller, bytes(31) + b"\x02"), "empty or too large")
    refused(room, Wallet(b"\x01" * 32), entry(Wallet(b"\x01" * 32)), "balance is too low")
    lab.do(lab.seller, entry(lab.seller))
    refused(room, lab.seller, entry(lab.seller), "has entered already")
    assert contests.entry_state(found_id, lab.seller.address) == "entered"
    assert contests.entry_state(found_id, room.evaluators[0].address) == "barred"
    early = ranking(found_id, {lab.seller.address: 1})
    refused(room, lab.outsider, contests.judge(early, room.ranked(early)), "not come yet")
    room.pass_to(terms.entry_by)
    refused(room, lab.outsider, entry(lab.outsider), "has passed")


@pytest.mark.parametrize(
    "forgery", ["too_few", "twice", "stranger", "other_root", "other_total", "other_chain", "place_too_high"]
)
def test_only_enough_different_evaluators_make_a_ranking(room: RequestLab, forgery: str) -> None:
    lab, contests = room.lab, room.contests
    found_id, (one, two) = opened(room, 2)
    found = ranking(found_id, {one.address: 3 * CREDIT, two.address: CREDIT})
    good, params = room.ranked(found), lab.host.params
    if forgery == "too_few":
        bad = good[:1]
    elif forgery == "twice":
        bad = [good[0], good[0]]
    elif forgery == "stranger":
        bad = [good[0], (2, contests.sign(lab.outsider, found))]
    elif forgery == "place_too_high":
        bad = [good[0], (3, good[1][1])]
    elif forgery == "other_chain":
        other = Chain(replace(params, chain_id=params.chain_id + 1), lab.host.handle, clock=lab.clock)
        bad = [(place, ContestClient(other).sign(room.evaluators[place], found)) for place in (1, 2)]
    else:
        change = {"root": order_hash()} if forgery == "other_root" else {"total_micro": 5 * CREDIT}
        bad = room.ranked(replace(found, **change))  # type: ignore[arg-type]
    refused(room, lab.outsider, contests.judge(found, bad), "too few")
    lab.do(lab.outsider, contests.judge(found, good))
    refused(room, lab.outsider, contests.judge(found, good), "moved on")


def test_no_ranking_takes_more_than_the_pool_and_no_prize_more_than_the_ranking(room: RequestLab) -> None:
    lab, contests = room.lab, room.contests
    found_id, (one, two) = opened(room, 2)
    above = ranking(found_id, {one.address: BUDGET, two.address: 1})
    refused(room, lab.outsider, contests.judge(above, room.ranked(above)), "more than the prizes")
    # Evaluators who sign a sum below what their tree gives away: the second is not paid from others' money.
    lying = replace(above, total_micro=BUDGET)
    lab.do(lab.outsider, contests.judge(lying, room.ranked(lying)))
    lab.do(one, contests.claim(lying, one.address, b"key"))
    refused(room, two, contests.claim(lying, two.address, b"key"), "more than the prizes")


def test_a_prize_is_only_for_its_own_winner_amount_and_contest_and_not_without_a_key(
    room: RequestLab,
) -> None:
    lab, contests = room.lab, room.contests
    found, (one, two) = judged(room, 3 * CREDIT, CREDIT)
    other, _ = judged(room, 3 * CREDIT, CREDIT)
    good = contests.claim(found, one.address, b"key")
    refused(room, two, good, "ranking says something else")
    refused(room, lab.outsider, good, "done before")
    more = replace(found, prizes=((one.address.lower(), 4 * CREDIT),))
    refused(room, one, contests.claim(more, one.address, b"key"), "ranking says something else")
    moved = replace(found, contest_id=other.contest_id)
    refused(room, one, contests.claim(moved, one.address, b"key"), "done before")
    for sealed in (b"", bytes(257)):
        with pytest.raises(InvalidOrder):
            contests.claim(found, one.address, sealed)
        data = contests._abi.call_data(
            "claim", found.contest_id, 3 * CREDIT, found.proofs[one.address.lower()], sealed
        )
        assert not lab.send(one, replace(good, data=data)).ok
    with pytest.raises(InvalidOrder):
        contests.claim(found, lab.outsider.address, b"key")
    shown = contests.contest(found.contest_id)
    assert shown.claim_by is not None
    lab.do(one, good)
    room.pass_to(shown.claim_by)
    nothing = contests._abi.call_data("forfeit", found.contest_id, two.address, 0, [])
    assert not lab.send(lab.outsider, replace(good, data=nothing)).ok


@pytest.mark.parametrize(
    "change",
    [
        {"pool_micro": 0},
        {"deposit_micro": 0},
        {"entry_by": 0},
        {"judge_by": 0},
        {"judge_by": 2**64 - 1},
        {"review_s": 59},
        {"review_s": 2**32 - 1},
        {"quorum": 1},
        {"quorum": 4},
        {"evaluators": ()},
        {"weights_bps": (5_000, 5_001)},
        {"weights_bps": (9_000, 1_001)},
        {"weights_bps": (9_000, 0)},
        {"weights_bps": (1,) * 65},
    ],
    ids=str,
)
def test_terms_under_which_money_could_strand_are_refused(
    room: RequestLab, change: dict[str, object]
) -> None:
    terms = room.contest_terms(**change)
    refused(
        room, room.lab.buyer, room.contests.open(room.lab.buyer, order_hash(), terms), "terms are outside"
    )


def test_a_pool_shared_in_proportion_names_no_weights(room: RequestLab) -> None:
    terms = room.contest_terms(weights_bps=())
    room.lab.do(room.lab.buyer, room.contests.open(room.lab.buyer, order_hash(), terms))


@given(st.dictionaries(st.integers(1, 2**160 - 1), st.integers(0, 2**128 - 1), min_size=1, max_size=40))
def test_every_proof_leads_to_the_root(prizes: dict[int, int]) -> None:
    named = {f"0x{number:040x}": amount for number, amount in prizes.items()}
    found = ranking(b"\x05" * 32, named)
    for entrant, amount in named.items():
        node = keccak(keccak(found.contest_id + address_word(entrant) + word(amount)))
        for other in found.proofs[entrant]:
            node = keccak(min(node, other) + max(node, other))
        assert node == found.root
    assert found.total_micro == sum(named.values())


def test_the_digest_and_the_leaf_are_the_contracts_own(room: RequestLab) -> None:
    found = ranking(order_hash(), {room.lab.seller.address: 5})
    leaf = room.lab.chain.view("Contest", "leafOf", found.contest_id, room.lab.seller.address, 5)
    assert leaf == (found.root,)
    onchain = room.lab.chain.view("Contest", "rankingDigest", found.contest_id, found.root, 5)
    assert onchain == (room.contests.digest(found),)
    signature = room.contests.sign(room.evaluators[0], found)
    assert room.contests.signer(found, signature) == room.evaluators[0].address.lower()
    with pytest.raises(InvalidOrder):
        room.contests.signer(found, b"")
    for bad in ({}, {room.lab.seller.address: -1}, {room.lab.seller.address: 2**128}):
        with pytest.raises(InvalidOrder):
            ranking(order_hash(), bad)
    with pytest.raises(InvalidOrder):
        room.contests.digest(replace(found, root=b""))
    with pytest.raises(InvalidOrder):
        contest_id(room.lab.buyer.address, b"")
