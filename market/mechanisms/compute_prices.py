"""Prices of rented compute: where one's own offer stands, and which price would earn most.

All amounts are whole micro-credits. Offers are compared as a buyer's node compares them: a machine
competes with another if it is at least as large in everything and takes the same kind of job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

from openstall.market.records import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """The asking prices per second of all live offers: nearest-rank percentiles, and how many there are."""

    offers: int
    p10_micro: int
    median_micro: int
    p90_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Place 1 is the cheapest of the `rivals` and oneself; `first_micro` is the price that would be first."""

    place: int
    rivals: int
    first_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """A job that somebody bought: useful seconds, at a price per second."""

    seconds: int
    price_per_s_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A price, and what it was worked out from.

    `worth_micro` is the mean worth of a job to its buyer, `seconds_then` the length of job that a buyer of
    that worth orders at the suggested price.
    """

    price_per_s_micro: int
    cost_per_s_micro: int
    worth_micro: int
    jobs: int
    seconds_then: int


def market_view(offers: Sequence[Offer]) -> MarketView | None:
    """The spread of asking prices; None without offers."""
    prices = sorted(offer.price_per_s_micro for offer in offers)
    if not prices:
        return None

    def rank(percent: int) -> int:
        return prices[max(0, -(-len(prices) * percent // 100) - 1)]

    return MarketView(offers=len(prices), p10_micro=rank(10), median_micro=rank(50), p90_micro=rank(90))


def competes(rival: Offer, own: Offer) -> bool:
    """Whether a buyer who would take `own` could take `rival` instead."""
    return (
        set(own.kinds) <= set(rival.kinds)
        and rival.threads >= own.threads
        and rival.memory_bytes >= own.memory_bytes
        and rival.disk_bytes >= own.disk_bytes
        and rival.max_s >= own.max_s
        and len(rival.gpus) >= len(own.gpus)
    )


def standing(own: Offer, others: Sequence[Offer]) -> Standing:
    """One's own place by price among the offers that a buyer could take instead."""
    prices = sorted(offer.price_per_s_micro for offer in others if competes(offer, own))
    cheaper = sum(price <= own.price_per_s_micro for price in prices)
    first = max(1, prices[0] - 1) if prices else own.price_per_s_micro
    return Standing(place=cheaper + 1, rivals=len(prices), first_micro=min(first, own.price_per_s_micro))


def suggest(cost_per_s_micro: int, sold: Sequence[Sold]) -> Suggestion | None:
    """The leader's price in a Stackelberg game with the buyers seen so far; None without any, or at no cost.

    A buyer with worth a gets Q(C) = a ln(1 + C) from C seconds and pays P a second, so orders C = a/P - 1.
    What a buyer did at a price tells the worth: a = P (1 + C). Against the mean worth, a provider with cost
    k a second earns most at P = sqrt(k a). This closes equations 2 and 3 of CloudChain, which alone let the
    leader take all.
    """
    if not sold or cost_per_s_micro < 1:
        return None
    worth = sum(job.price_per_s_micro * (1 + job.seconds) for job in sold) // len(sold)
    price = max(isqrt(cost_per_s_micro * worth), cost_per_s_micro)
    return Suggestion(
        price_per_s_micro=price,
        cost_per_s_micro=cost_per_s_micro,
        worth_micro=worth,
        jobs=len(sold),
        seconds_then=max(0, worth // price - 1),
    )
