"""Contests: everybody builds, the best are paid. How a pool becomes prizes, to the last micro-credit.

By rank (one prize, or a vector of weights) or by share: each entry has the part of the pool that its quality,
to a power, has of all qualities (G. Tullock, "Efficient rent seeking", 1980). Qualities are those of the
sealed evaluation. Below the reserve nothing is paid; what nobody earned goes back to the buyer. Equal
qualities stand in an order that is fixed by a hash before anybody enters, as equal bids do.

A share rewards whoever enters the same model under two wallets; a rank does not. See docs/mechanisms.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from openstall.market.errors import Refused
from openstall.market.mechanisms.procurement import check_bidders, check_money, lot
from openstall.market.mechanisms.second_score import FULL
from openstall.market.money import ALL_BPS

WINNER_TAKES_ALL: Final = (ALL_BPS,)
MOST_ENTRIES: Final = 100_000
MOST_PRIZES: Final = 100
MOST_POWER: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prizes:
    """What each entrant is paid, the best first, and what goes back to the buyer: together the pool."""

    paid_micro: dict[str, int]
    back_micro: int


def by_rank(
    contest_id: bytes,
    entries: Mapping[str, int],
    *,
    pool_micro: int,
    weights_bps: Sequence[int] = WINNER_TAKES_ALL,
    reserve_ppm: int = 0,
) -> Prizes:
    """Prizes by place; the weights are hundredths of a per cent of the pool and never grow.

    Raises:
        Refused: `bad_weights`, `bad_quality`, `bad_bid`, `too_many_bids` or `bad_auction_id`.
    """
    check_weights(weights_bps)
    ranked = _ranked(contest_id, entries, pool_micro, reserve_ppm)
    prizes = split(pool_micro, weights_bps)
    paid = dict(zip(ranked, prizes, strict=False))
    return Prizes(paid_micro=paid, back_micro=pool_micro - sum(paid.values()))


def by_share(
    contest_id: bytes, entries: Mapping[str, int], *, pool_micro: int, power: int = 1, reserve_ppm: int = 0
) -> Prizes:
    """Each entry's part of the pool: its quality to the power, of the sum of all.

    Raises:
        Refused: `bad_weights` for the power, else as `by_rank`.
    """
    if type(power) is not int or not 1 <= power <= MOST_POWER:
        raise Refused("bad_weights", f"The power is 1 to {MOST_POWER}.", "Take 1 for plain shares.")
    ranked = _ranked(contest_id, entries, pool_micro, reserve_ppm)
    weights = [entries[entrant] ** power for entrant in ranked]
    if not any(weights):
        return Prizes(paid_micro={}, back_micro=pool_micro)
    paid = dict(zip(ranked, split(pool_micro, weights), strict=True))
    return Prizes(paid_micro=paid, back_micro=0)


def split(pool_micro: int, weights: Sequence[int]) -> list[int]:
    """A pool in whole units, in proportion: rounded down, and what is over to the largest remainders.

    The parts add up to the pool; of equal remainders the earlier comes first.
    """
    whole = sum(weights)
    parts = [pool_micro * weight // whole for weight in weights]
    rest = pool_micro - sum(parts)
    by_remainder = sorted(range(len(weights)), key=lambda at: (-(pool_micro * weights[at] % whole), at))
    for at in by_remainder[:rest]:
        parts[at] += 1
    return parts


def check_weights(weights_bps: Sequence[int]) -> None:
    """Refuse prizes that are not the whole pool, or where a worse place is paid more.

    Raises:
        Refused: `bad_weights`.
    """
    fits = (
        1 <= len(weights_bps) <= MOST_PRIZES
        and all(type(weight) is int and weight > 0 for weight in weights_bps)
        and sum(weights_bps) == ALL_BPS
        and list(weights_bps) == sorted(weights_bps, reverse=True)
    )
    if not fits:
        raise Refused(
            "bad_weights",
            "The prizes are not the whole pool, or a worse place has the larger one.",
            f"Give 1 to {MOST_PRIZES} weights, the largest first, that add up to 10,000.",
        )


def _ranked(contest_id: bytes, entries: Mapping[str, int], pool_micro: int, reserve_ppm: int) -> list[str]:
    """Who reached the reserve, the best first."""
    check_money("pool", pool_micro)
    check_bidders(entries, most=MOST_ENTRIES)
    if not all(type(figure) is int and 0 <= figure <= FULL for figure in (*entries.values(), reserve_ppm)):
        raise Refused(
            "bad_quality", "A quality is not between 0 and 1,000,000 millionths.", "Take the measured figure."
        )
    good = [entrant for entrant, quality in entries.items() if quality >= reserve_ppm]
    return sorted(good, key=lambda entrant: (-entries[entrant], lot(contest_id, entrant)))
