from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offers import OWN

from openstall.market.errors import InvalidRecord
from openstall.market.mechanisms.compute_prices import (
    Sold,
    Suggestion,
    competes,
    market_view,
    standing,
    suggest,
)
from openstall.market.mechanisms.lost_jobs import Moment, conclude, explain, refused_then, seen_then
from openstall.market.records import Gpu, Offer


def offer(**changes: object) -> Offer:
    return msgspec.structs.replace(OWN, **changes)


def priced(*prices: int) -> list[Offer]:
    return [offer(price_per_s_micro=price) for price in prices]


def test_percentiles_are_prices_that_somebody_asks() -> None:
    view = market_view(priced(*range(10, 110, 10)))
    assert view is not None
    assert (view.offers, view.p10_micro, view.median_micro, view.p90_micro) == (10, 10, 50, 90)
    assert market_view([]) is None
    one = market_view(priced(7))
    assert one is not None
    assert (one.p10_micro, one.median_micro, one.p90_micro) == (7, 7, 7)


@pytest.mark.parametrize(
    "smaller",
    [
        offer(kinds=["infer"]),
        offer(threads=1),
        offer(memory_bytes=2**30),
        offer(disk_bytes=2**20),
        offer(max_s=599),
    ],
)
def test_a_smaller_machine_is_no_rival(smaller: Offer) -> None:
    assert not competes(smaller, OWN)
    assert competes(OWN, OWN)
    cheap = msgspec.structs.replace(smaller, price_per_s_micro=1)
    assert standing(OWN, [cheap]).rivals == 0


def test_the_place_counts_rivals_that_are_no_dearer() -> None:
    found = standing(OWN, priced(19_000, 20_000, 20_001))
    assert (found.place, found.rivals, found.first_micro) == (3, 3, 18_999)
    alone = standing(OWN, [])
    assert (alone.place, alone.rivals, alone.first_micro) == (1, 0, 20_000)
    assert standing(OWN, priced(25_000)).first_micro == 20_000


SCALE = 10**6
ORACLES = [((10,), 1.0, 3.1623, 4.6754), ((6, 10, 14), 1.5, 3.8730, 11.2621)]
"""Worths, cost, price and profit of the closed form, from an independent numerical search."""


@pytest.mark.parametrize(("worths", "cost", "price", "profit"), ORACLES)
def test_the_price_of_the_closed_form(
    worths: tuple[int, ...], cost: float, price: float, profit: float
) -> None:
    # a buyer of worth a who bought no second at price a tells just that worth
    sold = [Sold(seconds=0, price_per_s_micro=worth * SCALE) for worth in worths]
    found = suggest(round(cost * SCALE), sold)
    assert found is not None
    assert found.price_per_s_micro / SCALE == pytest.approx(price, abs=1e-4)
    ours = found.price_per_s_micro / SCALE
    assert sum((ours - cost) * (worth / ours - 1) for worth in worths) == pytest.approx(profit, abs=1e-4)


@given(
    cost=st.integers(1, 10**6),
    jobs=st.lists(
        st.builds(Sold, seconds=st.integers(0, 10**5), price_per_s_micro=st.integers(1, 10**6)),
        min_size=1,
        max_size=9,
    ),
)
def test_no_other_price_earns_more_and_none_is_below_cost(cost: int, jobs: list[Sold]) -> None:
    found = suggest(cost, jobs)
    assert isinstance(found, Suggestion)
    assert found.price_per_s_micro >= cost

    def profit(price: float) -> float:
        return (price - cost) * max(0.0, found.worth_micro / price - 1)

    best = profit(math.sqrt(cost * found.worth_micro)) if found.worth_micro > cost else 0.0
    for other in (0.5, 0.9, 1.1, 2.0):
        assert profit(found.price_per_s_micro * other) <= best * (1 + 1e-9) + 1e-6


def test_without_cost_or_history_nothing_is_suggested() -> None:
    assert suggest(0, [Sold(seconds=1, price_per_s_micro=1)]) is None
    assert suggest(10, []) is None


def rules(moment: Moment, winner: Offer | None) -> list[str]:
    reasons = explain(moment, winner)
    assert all(reason.words.endswith(".") for reason in reasons)
    return [reason.rule for reason in reasons]


def test_every_way_to_lose_a_job_has_its_rule_and_its_change() -> None:
    here = Moment(offer=OWN)
    assert rules(Moment(offer=None), OWN) == ["not_selling"]
    assert rules(Moment(offer=OWN, held_back="you are using the computer."), OWN) == ["house"]
    assert rules(here, None) == ["unknown"]
    assert rules(here, offer(kinds=["infer", "train"])) == ["kinds"]
    assert rules(here, offer(threads=4, gpus=[Gpu(name="A card", memory_bytes=1)])) == ["machine"]
    assert rules(here, offer(max_s=601)) == ["longest"]
    assert rules(here, offer(price_per_s_micro=19_999)) == ["price"]
    assert rules(here, OWN) == ["tie"]
    assert rules(here, offer(threads=4, price_per_s_micro=1)) == ["machine", "price"]
    assert explain(here, offer(price_per_s_micro=19_000))[0].change == "Ask 0.019 or less."


def test_the_change_that_is_named_would_have_won() -> None:
    dearer = offer(threads=4, memory_bytes=2**32, price_per_s_micro=15_000)
    changed = offer(threads=4, memory_bytes=2**32, price_per_s_micro=15_000)
    assert rules(Moment(offer=OWN), dearer) == ["machine", "price"]
    assert rules(Moment(offer=changed), dearer) == ["tie"]


def test_a_conclusion_is_drawn_again_from_what_was_kept_of_the_moment() -> None:
    """Through JSON, as the log keeps it."""
    moments = [
        (Moment(offer=None), offer()),
        (Moment(offer=OWN, held_back="you paused it."), None),
        (Moment(offer=OWN), offer(threads=4, price_per_s_micro=9_000)),
        (Moment(offer=OWN), offer()),
    ]
    for moment, winner in moments:
        kept = json.loads(json.dumps(seen_then(moment, winner)))
        assert conclude(kept) == explain(moment, winner)
    kept = json.loads(json.dumps(refused_then("machine_busy", "This machine is busy with other jobs.")))
    assert [(one.rule, one.change) for one in conclude(kept)] == [
        ("machine_busy", "Let more jobs run at once.")
    ]
    with pytest.raises(InvalidRecord):
        conclude({})
