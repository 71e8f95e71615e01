"""Who gives the most quality for the money: the best score wins and is paid down to the second best.

After Y.-K. Che, "Design competition through multidimensional auctions" (1993), second-score form. The buyer
says before what each point of quality is worth to it; the score of a bid is the worth of its quality less
its price. The quality that counts is what the sealed evaluation measured, never what a developer says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from openstall.market.errors import Refused
from openstall.market.mechanisms.procurement import MOST_BIDS, check_bidders, check_money, lot

FULL: Final = 1_000_000
"""A quality of 100 %, in millionths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBid:
    """A price, and the figures of the evaluation behind it, each in millionths; higher is better."""

    bidder: str
    price_micro: int
    quality_ppm: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreAward:
    """Who won, and what counts for its pay: `to_beat_micro` is the second best score, at least nothing."""

    winner: str
    score_micro: int
    to_beat_micro: int
    paid_micro: int


NO_SCORE: Final = ScoreAward(winner="", score_micro=0, to_beat_micro=0, paid_micro=0)


def worth_of(worth_micro: Sequence[int], quality_ppm: Sequence[int]) -> int:
    """What a quality is worth: the sum of each figure times what all of it is worth, rounded down once.

    Raises:
        Refused: `bad_quality`.
    """
    fits = len(quality_ppm) == len(worth_micro) and all(
        type(figure) is int and 0 <= figure <= FULL for figure in quality_ppm
    )
    if not fits:
        raise Refused(
            "bad_quality",
            "The figures of the evaluation do not fit what the buyer pays for.",
            "Each lies between 0 and 1,000,000 millionths, and each has its worth.",
        )
    return sum(each * figure for each, figure in zip(worth_micro, quality_ppm, strict=True)) // FULL


def second_score(
    auction_id: bytes, bids: Sequence[ScoredBid], *, worth_micro: Sequence[int], escrow_micro: int
) -> ScoreAward:
    """The outcome; a bid that costs more than its quality is worth, or than the escrow holds, does not count.

    The winner is paid the highest price with which it would still have won: v(q) - max(0, second score),
    never more than the escrow holds.

    Raises:
        Refused: `bad_bid`, `bad_quality`, `too_many_bids` or `bad_auction_id`.
    """
    check_money("escrow", escrow_micro)
    check_bidders([bid.bidder for bid in bids], most=MOST_BIDS)
    for amount in worth_micro:
        check_money("worth of a quality", amount)
    scores: list[tuple[int, bytes, ScoredBid]] = []
    for bid in bids:
        check_money("bid", bid.price_micro)
        score = worth_of(worth_micro, bid.quality_ppm) - bid.price_micro
        if score >= 0 and 1 <= bid.price_micro <= escrow_micro:
            scores.append((-score, lot(auction_id, bid.bidder), bid))
    if not scores:
        return NO_SCORE
    scores.sort(key=lambda one: one[:2])
    (negative, _, winner), to_beat = scores[0], -scores[1][0] if len(scores) > 1 else 0
    paid = pay_on_delivery(worth_micro, winner.quality_ppm, to_beat_micro=to_beat, escrow_micro=escrow_micro)
    return ScoreAward(winner=winner.bidder, score_micro=-negative, to_beat_micro=to_beat, paid_micro=paid)


def pay_on_delivery(
    worth_micro: Sequence[int], delivered_ppm: Sequence[int], *, to_beat_micro: int, escrow_micro: int
) -> int:
    """What is paid for the quality that was measured on delivery, where bids were made before there was one.

    v(delivered) - max(0, second score), within nothing and the escrow: who promised too much pays for it.
    """
    return min(max(worth_of(worth_micro, delivered_ppm) - max(0, to_beat_micro), 0), escrow_micro)
