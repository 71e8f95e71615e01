"""Auctions and contests on 10,000 random instances each: honest bids, no loss, never over the budget."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from openstall.market.errors import Refused
from openstall.market.mechanisms.contests import WINNER_TAKES_ALL, Prizes, by_rank, by_share, split
from openstall.market.mechanisms.procurement import NOBODY, Award, lot, second_price
from openstall.market.mechanisms.second_score import (
    FULL,
    NO_SCORE,
    ScoreAward,
    ScoredBid,
    pay_on_delivery,
    second_score,
    worth_of,
)
from openstall.market.mechanisms.several_winners import PartBid, Several, most_micro, several_winners
from openstall.market.money import MAX_MICRO

INSTANCES = 10_000
NAME = hashlib.sha256(b"a request").digest()
BIDDERS = [f"0x{at:040x}" for at in range(12)]


def near(values: Sequence[int], most: int, dice: random.Random) -> list[int]:
    """Where an outcome may change: at, just above and just below what others asked, and somewhere."""
    found = {value + step for value in values for step in (-1, 0, 1)}
    return sorted(found | {1, most, most + 1, dice.randint(1, most)})


# Sealed bids, the second price


def test_the_lowest_wins_and_is_paid_the_second_one_bid_the_reserve_no_bid_nothing() -> None:
    bids = {"a": 30, "b": 20, "c": 25}
    assert second_price(NAME, bids, reserve_micro=50) == Award(winner="b", asked_micro=20, paid_micro=25)
    assert second_price(NAME, {"a": 30}, reserve_micro=50).paid_micro == 50
    assert second_price(NAME, {"a": 51, "b": 0}, reserve_micro=50) == NOBODY
    assert second_price(NAME, {}, reserve_micro=50) == NOBODY


def test_a_second_price_auction_rewards_the_true_cost_and_never_goes_over_the_budget() -> None:
    dice = random.Random(1)
    for _ in range(INSTANCES):
        reserve, bidders = dice.randint(1, 40), BIDDERS[: dice.randint(1, 4)]
        costs = {bidder: dice.randint(1, 50) for bidder in bidders}
        honest = second_price(NAME, costs, reserve_micro=reserve)
        assert 0 <= honest.paid_micro <= reserve
        assert honest.rent_micro >= 0
        assert (honest is NOBODY) == (min(costs.values()) > reserve)
        for liar in bidders:
            gain = honest.paid_micro - costs[liar] if honest.winner == liar else 0
            for bid in near([costs[other] for other in bidders if other != liar], reserve, dice):
                other = second_price(NAME, costs | {liar: bid}, reserve_micro=reserve)
                assert (other.paid_micro - costs[liar] if other.winner == liar else 0) <= gain


def test_equal_bids_are_told_apart_by_a_hash_that_was_there_before_them() -> None:
    tied = dict.fromkeys(BIDDERS[:5], 7)
    first = min(tied, key=lambda bidder: hashlib.sha256(NAME + bidder.encode()).digest())
    for order in itertools.permutations(tied):
        award = second_price(NAME, dict.fromkeys(order, 7), reserve_micro=9)
        assert (award.winner, award.paid_micro) == (first, 7)
    winners = {second_price(bytes([at]) * 32, tied, reserve_micro=9).winner for at in range(60)}
    assert winners == set(tied), "another request, another order"
    assert lot(NAME, "0xAB") == lot(NAME, "0xab")


# Price and measured quality together


def scored(dice: random.Random) -> tuple[list[ScoredBid], list[int], int]:
    worth = [dice.randint(0, 60) for _ in range(2)]
    bids = [
        ScoredBid(
            bidder=bidder,
            price_micro=dice.randint(1, 80),
            quality_ppm=(dice.randint(0, 10) * FULL // 10, dice.randint(0, FULL)),
        )
        for bidder in BIDDERS[: dice.randint(1, 5)]
    ]
    return bids, worth, dice.randint(1, 90)


def test_the_best_score_wins_and_is_paid_down_to_the_second() -> None:
    bids = [
        ScoredBid(bidder="good", price_micro=40, quality_ppm=(900_000,)),
        ScoredBid(bidder="cheap", price_micro=30, quality_ppm=(750_000,)),
        ScoredBid(bidder="worthless", price_micro=30, quality_ppm=(100_000,)),
    ]
    award = second_score(NAME, bids, worth_micro=[200], escrow_micro=100)
    assert award == ScoreAward(winner="good", score_micro=140, to_beat_micro=120, paid_micro=60)
    alone = second_score(NAME, bids[::2], worth_micro=[200], escrow_micro=100)
    assert (alone.to_beat_micro, alone.paid_micro) == (0, 100), "no more than the escrow holds"
    assert second_score(NAME, bids[2:], worth_micro=[200], escrow_micro=100) == NO_SCORE


def test_scores_reward_the_true_cost_and_never_go_over_the_escrow() -> None:
    dice = random.Random(2)
    for _ in range(INSTANCES):
        bids, worth, escrow = scored(dice)
        honest = second_score(NAME, bids, worth_micro=worth, escrow_micro=escrow)
        assert 0 <= honest.paid_micro <= escrow
        at = dice.randrange(len(bids))
        true = bids[at]
        value = worth_of(worth, true.quality_ppm)
        gain = honest.paid_micro - true.price_micro if honest.winner == true.bidder else 0
        assert gain >= 0
        others = [worth_of(worth, bid.quality_ppm) - bid.price_micro for bid in bids if bid is not true]
        for price in near([value, *[value - score for score in others]], escrow, dice):
            if price >= 1:
                bids[at] = ScoredBid(bidder=true.bidder, price_micro=price, quality_ppm=true.quality_ppm)
                other = second_score(NAME, bids, worth_micro=worth, escrow_micro=escrow)
                lied = other.paid_micro - true.price_micro if other.winner == true.bidder else 0
                assert lied <= gain, (bids, price)


def test_paid_on_delivery_nobody_gains_by_promising_another_quality() -> None:
    dice = random.Random(3)
    for _ in range(INSTANCES):
        bids, worth, escrow = scored(dice)
        at = dice.randrange(len(bids))
        true = bids[at]
        honest = gain_on_delivery(bids, at, true, worth, escrow)
        assert honest >= 0
        for _ in range(6):
            lie = ScoredBid(
                bidder=true.bidder,
                price_micro=dice.randint(1, escrow),
                quality_ppm=(dice.randint(0, FULL), dice.randint(0, FULL)),
            )
            assert gain_on_delivery(bids, at, lie, worth, escrow) <= honest, (true, lie)


def gain_on_delivery(
    bids: Sequence[ScoredBid], at: int, bid: ScoredBid, worth: Sequence[int], escrow: int
) -> int:
    """What the bidder at a place gains by a bid, if it delivers what it can and has the cost it has."""
    true = bids[at]
    made = [*bids[:at], bid, *bids[at + 1 :]]
    award = second_score(NAME, made, worth_micro=worth, escrow_micro=escrow)
    if award.winner != true.bidder:
        return 0
    paid = pay_on_delivery(worth, true.quality_ppm, to_beat_micro=award.to_beat_micro, escrow_micro=escrow)
    assert 0 <= paid <= escrow
    return paid - true.price_micro


def test_what_is_paid_on_delivery_stays_within_nothing_and_the_escrow() -> None:
    assert pay_on_delivery([100], [900_000], to_beat_micro=30, escrow_micro=80) == 60
    assert pay_on_delivery([100], [200_000], to_beat_micro=30, escrow_micro=80) == 0
    assert pay_on_delivery([100], [900_000], to_beat_micro=-30, escrow_micro=80) == 80
    assert pay_on_delivery([100], [900_000], to_beat_micro=-30, escrow_micro=200) == 90
    assert worth_of([1, 1], [500_000, 500_000]) == 1, "rounded once, not for each figure"


def test_equal_scores_are_told_apart_by_the_same_hash() -> None:
    bids = [ScoredBid(bidder=one, price_micro=5, quality_ppm=(500_000,)) for one in BIDDERS[:4]]
    first = min(BIDDERS[:4], key=lambda bidder: lot(NAME, bidder))
    for order in itertools.permutations(bids):
        award = second_score(NAME, order, worth_micro=[40], escrow_micro=30)
        assert (award.winner, award.paid_micro) == (first, 5)


# Several winners


def part_bids(dice: random.Random, most: int = 5) -> list[PartBid]:
    return [
        PartBid(
            bidder=bidder,
            price_micro=dice.randint(1, 30),
            worth_micro=dice.randint(0, 40),
            units=dice.randint(1, 3),
        )
        for bidder in BIDDERS[: dice.randint(1, most)]
    ]


def by_trying_all(bids: Sequence[PartBid], room: int) -> int:
    sets = itertools.chain.from_iterable(itertools.combinations(bids, size) for size in range(len(bids) + 1))
    fit = (chosen for chosen in sets if sum(bid.units for bid in chosen) <= room)
    return max(sum(bid.worth_micro - bid.price_micro for bid in chosen) for chosen in fit)


def test_the_winners_leave_most_and_each_is_paid_what_it_adds() -> None:
    dice = random.Random(4)
    for _ in range(1_000):
        bids, room = part_bids(dice, 7), dice.randint(1, 6)
        found = several_winners(NAME, bids, room=room)
        chosen = [bid for bid in bids if bid.bidder in found.paid_micro]
        assert sum(bid.units for bid in chosen) <= room
        assert sum(bid.worth_micro - bid.price_micro for bid in chosen) == found.welfare_micro
        assert found.welfare_micro == by_trying_all(bids, room)
        for bid in chosen:
            without = by_trying_all([one for one in bids if one is not bid], room)
            assert found.paid_micro[bid.bidder] == bid.price_micro + found.welfare_micro - without


def test_several_winners_are_rewarded_for_the_true_cost_and_paid_no_more_than_their_worth() -> None:
    dice = random.Random(5)
    for _ in range(INSTANCES):
        bids, room = part_bids(dice, 4), dice.randint(1, 4)
        honest = several_winners(NAME, bids, room=room)
        assert sum(honest.paid_micro.values()) <= most_micro(bids, room=room)
        assert all(
            bid.price_micro <= honest.paid_micro.get(bid.bidder, bid.price_micro) <= bid.worth_micro
            for bid in bids
            if bid.bidder in honest.paid_micro
        )
        for at, true in enumerate(bids):
            gain = honest.paid_micro.get(true.bidder, true.price_micro) - true.price_micro
            edge = honest.paid_micro.get(true.bidder, true.worth_micro)
            for price in {max(1, edge - 1), edge + 1, dice.randint(1, 45)}:
                lie = PartBid(
                    bidder=true.bidder, price_micro=price, worth_micro=true.worth_micro, units=true.units
                )
                other = several_winners(NAME, [*bids[:at], lie, *bids[at + 1 :]], room=room)
                assert other.paid_micro.get(true.bidder, true.price_micro) - true.price_micro <= gain


def test_of_equal_bids_for_several_places_the_first_by_lot_win_at_their_price() -> None:
    bids = [PartBid(bidder=one, price_micro=5, worth_micro=9) for one in BIDDERS[:5]]
    first = sorted(BIDDERS[:5], key=lambda bidder: lot(NAME, bidder))[:2]
    for order in itertools.permutations(bids):
        found = several_winners(NAME, order, room=2)
        assert found == Several(paid_micro=dict.fromkeys(first, 5), welfare_micro=8)
    assert several_winners(NAME, [], room=2).paid_micro == {}
    alone = PartBid(bidder="a", price_micro=5, worth_micro=9)
    assert several_winners(NAME, [alone], room=1).paid_micro == {"a": 9}


# Contests


def test_prizes_come_to_the_pool_and_a_better_entry_is_never_paid_less() -> None:
    dice = random.Random(6)
    for _ in range(INSTANCES):
        entries = {one: dice.randint(0, 9) * FULL // 9 for one in BIDDERS[: dice.randint(1, 6)]}
        pool, reserve = dice.randint(0, 10**6), dice.choice([0, FULL // 2])
        cuts = split(10_000, sorted((dice.randint(1, 99) for _ in range(dice.randint(1, 4))), reverse=True))
        for prizes in (
            by_rank(NAME, entries, pool_micro=pool, weights_bps=cuts, reserve_ppm=reserve),
            by_share(NAME, entries, pool_micro=pool, power=dice.randint(1, 3), reserve_ppm=reserve),
        ):
            paid = prizes.paid_micro
            assert sum(paid.values()) + prizes.back_micro == pool
            assert min(paid.values(), default=0) >= 0
            assert prizes.back_micro >= 0
            assert all(entries[one] >= reserve for one in paid)
            order = sorted(paid, key=lambda one: entries[one])
            assert all(
                paid[worse] <= paid[better]
                for worse, better in itertools.pairwise(order)
                if entries[worse] < entries[better]
            )


def test_whoever_does_better_is_never_paid_less_than_before() -> None:
    dice = random.Random(7)
    for _ in range(INSTANCES):
        entries = {one: dice.randint(0, FULL) for one in BIDDERS[: dice.randint(1, 5)]}
        one = dice.choice(list(entries))
        better = entries | {one: dice.randint(entries[one], FULL)}
        for contest in (by_rank, by_share):
            before, after = (
                contest(NAME, made, pool_micro=1_000, reserve_ppm=FULL // 2).paid_micro.get(one, 0)
                for made in (entries, better)
            )
            assert before <= after


def test_prizes_of_contests_by_rank_and_by_share() -> None:
    entries = {"a": 900_000, "b": 600_000, "c": 300_000}
    assert by_rank(NAME, entries, pool_micro=100) == Prizes(paid_micro={"a": 100}, back_micro=0)
    three = by_rank(NAME, entries, pool_micro=100, weights_bps=[5_000, 3_333, 1_667])
    assert three == Prizes(paid_micro={"a": 50, "b": 33, "c": 17}, back_micro=0)
    floor = by_rank(NAME, entries, pool_micro=100, weights_bps=[5_000, 3_333, 1_667], reserve_ppm=400_000)
    assert floor == Prizes(paid_micro={"a": 50, "b": 33}, back_micro=17)
    assert by_share(NAME, entries, pool_micro=100).paid_micro == {"a": 50, "b": 33, "c": 17}
    assert by_share(NAME, entries, pool_micro=140, power=2).paid_micro == {"a": 90, "b": 40, "c": 10}
    nothing = Prizes(paid_micro={}, back_micro=100)
    assert by_share(NAME, entries, pool_micro=100, reserve_ppm=FULL) == nothing
    assert by_share(NAME, {"a": 0}, pool_micro=100) == nothing
    assert by_rank(NAME, {}, pool_micro=100) == nothing


def test_equal_entries_stand_in_the_order_of_the_lot() -> None:
    entries = dict.fromkeys(BIDDERS[:4], 5)
    order = sorted(entries, key=lambda bidder: lot(NAME, bidder))
    for shuffled in itertools.permutations(entries):
        prizes = by_rank(NAME, dict.fromkeys(shuffled, 5), pool_micro=10, weights_bps=[6_000, 4_000])
        assert prizes.paid_micro == {order[0]: 6, order[1]: 4}
        shares = by_share(NAME, dict.fromkeys(shuffled, 5), pool_micro=10)
        assert shares.paid_micro == {order[0]: 3, order[1]: 3, order[2]: 2, order[3]: 2}


# Bad input


def scored_with(**changes: Any) -> Callable[[], object]:
    values: dict[str, Any] = {"bidder": "a", "price_micro": 5, "quality_ppm": (5,)} | changes
    return lambda: second_score(NAME, [ScoredBid(**values)], worth_micro=[9], escrow_micro=9)


def parts_with(*, room: Any = 1, **changes: Any) -> Callable[[], object]:
    values: dict[str, Any] = {"bidder": "a", "price_micro": 5, "worth_micro": 9} | changes
    return lambda: several_winners(NAME, [PartBid(**values)], room=room)


def ranked_with(entries: dict[str, Any], **changes: Any) -> Callable[[], object]:
    return lambda: by_rank(NAME, entries, **({"pool_micro": 9} | changes))


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: second_price(NAME, {"a": 1.5}, reserve_micro=9), "bad_bid"),  # type: ignore[dict-item]
        (lambda: second_price(NAME, {"a": True}, reserve_micro=9), "bad_bid"),
        (lambda: second_price(NAME, {"a": -1}, reserve_micro=9), "bad_bid"),
        (lambda: second_price(NAME, {"a": MAX_MICRO + 1}, reserve_micro=9), "bad_bid"),
        (lambda: second_price(NAME, {"a": 1}, reserve_micro=float("nan")), "bad_bid"),  # type: ignore[arg-type]
        (lambda: second_price(NAME, {"": 1}, reserve_micro=9), "bad_bid"),
        (lambda: second_price(NAME, {"0xA": 1, "0xa": 2}, reserve_micro=9), "bad_bid"),
        (lambda: second_price(b"short", {"a": 1}, reserve_micro=9), "bad_auction_id"),
        (scored_with(quality_ppm=(FULL + 1,)), "bad_quality"),
        (scored_with(quality_ppm=(-1,)), "bad_quality"),
        (scored_with(quality_ppm=(0.5,)), "bad_quality"),
        (scored_with(quality_ppm=(1, 2)), "bad_quality"),
        (scored_with(price_micro=5.0), "bad_bid"),
        (parts_with(price_micro=0), "bad_bid"),
        (parts_with(units=0), "bad_bid"),
        (parts_with(units=1.0), "bad_bid"),
        (parts_with(worth_micro=-1), "bad_bid"),
        (parts_with(room=0), "bad_room"),
        (parts_with(room=101), "bad_room"),
        (
            lambda: several_winners(
                NAME, [PartBid(bidder=str(at), price_micro=1, worth_micro=2) for at in range(101)], room=1
            ),
            "too_many_bids",
        ),
        (ranked_with({"a": 5}, weights_bps=[4_000, 6_000]), "bad_weights"),
        (ranked_with({"a": 5}, weights_bps=[10_000, 0]), "bad_weights"),
        (ranked_with({"a": 5}, weights_bps=[]), "bad_weights"),
        (ranked_with({"a": 5}, weights_bps=[9_999]), "bad_weights"),
        (ranked_with({"a": 5}, weights_bps=[100] * 101), "bad_weights"),
        (ranked_with({"a": 5}, reserve_ppm=-1), "bad_quality"),
        (ranked_with({"a": 0.5}), "bad_quality"),
        (ranked_with({"a": 5, "A": 6}), "bad_bid"),
        (ranked_with({"a": 5}, pool_micro=1.5), "bad_bid"),
        (lambda: by_share(NAME, {"a": 5}, pool_micro=9, power=0), "bad_weights"),
        (lambda: by_share(NAME, {"a": 5}, pool_micro=9, power=0.8), "bad_weights"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], code: str) -> None:
    with pytest.raises(Refused) as refused:
        call()
    assert refused.value.code == code
    assert refused.value.what_next


def test_the_largest_field_is_settled() -> None:
    """How fast it is, a benchmark says (benchmarks/bench_mechanisms.py)."""
    dice = random.Random(8)
    bids = {f"bidder {at}": dice.randint(1, 10**9) for at in range(10_000)}
    award = second_price(NAME, bids, reserve_micro=10**9)
    lowest, second, *_ = sorted(bids.values())
    assert (award.asked_micro, award.paid_micro) == (lowest, second)
    full = [PartBid(bidder=str(at), price_micro=at + 1, worth_micro=500) for at in range(100)]
    assert set(several_winners(NAME, full, room=99).paid_micro.values()) == {100}
    assert by_rank(NAME, {"a": 1}, pool_micro=5, weights_bps=WINNER_TAKES_ALL).paid_micro == {"a": 5}
