from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offers import OWN

from openstall.market.errors import Refused
from openstall.market.mechanisms.auto_price import (
    HOUR_S,
    MOST_STEP_BPS,
    PriceRules,
    Step,
    Voice,
    middle,
    next_step,
    read_price_rules,
    step_words,
)
from openstall.market.mechanisms.compute_prices import Suggestion
from openstall.market.records import Offer

RULES = PriceRules(floor_micro=5_000, ceiling_micro=50_000)
PRICES = st.integers(1, 10**9)


def own(price: int) -> Offer:
    return msgspec.structs.replace(OWN, price_per_s_micro=price)


def voice(number: int, price: int, **changes: object) -> Voice:
    offer = msgspec.structs.replace(OWN, price_per_s_micro=price, **changes)
    return Voice(wallet=f"0x{number:040x}", offer=offer, because="bonded")


def suggestion(price: int) -> Suggestion:
    return Suggestion(
        price_per_s_micro=price, cost_per_s_micro=1, worth_micro=price * price, jobs=1, seconds_then=9
    )


def step(price: int = 20_000, rules: PriceRules = RULES, **changes: Any) -> Step:
    values: dict[str, Any] = {"voices": [], "suggestion": None, "electricity_micro": 0, "may_move": True}
    return next_step(rules, own(price), **(values | changes))


def test_it_goes_to_the_suggested_price_but_to_no_more_than_the_middle_of_the_rivals() -> None:
    assert step(suggestion=suggestion(30_000)).new_micro == 21_000
    assert step(suggestion=suggestion(20_500)).new_micro == 20_500
    both = step(suggestion=suggestion(30_000), voices=[voice(1, 15_000), voice(2, 18_000), voice(3, 40_000)])
    assert (both.target_micro, both.middle_micro, both.new_micro, both.why) == (
        18_000,
        18_000,
        19_000,
        "rivals",
    )
    assert step(voices=[voice(1, 60_000)]).new_micro == 21_000
    alone = step()
    assert (alone.moves, alone.why) == (False, "nothing_known")


def test_the_floor_comes_on_top_of_electricity_and_holds_at_once() -> None:
    raised = step(price=1_000, electricity_micro=4_000)
    assert (raised.least_micro, raised.new_micro, raised.why) == (9_000, 9_000, "floor")
    assert step(price=9_100, electricity_micro=4_000, voices=[voice(1, 1)]).new_micro == 9_000
    assert step(price=60_000).new_micro == 57_000
    none = step(electricity_micro=48_000, suggestion=suggestion(30_000))
    assert (none.moves, none.why) == (False, "ceiling_below_floor")


def test_no_step_before_its_hour() -> None:
    waits = step(suggestion=suggestion(30_000), may_move=False)
    assert (waits.new_micro, waits.why) == (20_000, "too_soon")


def test_one_wallet_has_one_voice_however_many_offers_it_makes() -> None:
    flood = [voice(1, 1, title=f"Machine {at}") for at in range(1_000)]
    honest = [voice(2, 19_000), voice(3, 21_000)]
    assert middle(OWN, [*flood, *honest]) == (3, 19_000)
    assert middle(OWN, [voice(1, 1), voice(1, 22_000)]) == (1, 22_000)
    assert middle(OWN, [voice(1, 1, threads=1)]) == (0, 0), "a smaller machine is no rival"


@given(
    st.integers(2, 10**6),
    st.lists(st.integers(15_000, 25_000), min_size=1, max_size=20),
    st.data(),
)
def test_a_minority_of_voices_cannot_move_the_middle_out_of_the_honest_prices(
    lowest: int, honest: list[int], data: st.DataObject
) -> None:
    liars = data.draw(st.integers(0, len(honest) - 1))
    voices = [voice(at, price) for at, price in enumerate(honest)]
    voices += [voice(1_000 + at, min(lowest, 14_999)) for at in range(liars)]
    assert min(honest) <= middle(OWN, voices)[1] <= max(honest)


@given(
    PRICES,
    st.lists(st.tuples(st.integers(0, 5), PRICES), max_size=12),
    st.none() | PRICES,
    st.integers(0, 10**9),
    st.integers(1, 10**9),
    st.integers(0, 10**9),
    st.integers(1, MOST_STEP_BPS),
)
def test_whatever_others_do_the_limits_hold(  # noqa: PLR0917 - drawn values
    price: int,
    asked: list[tuple[int, int]],
    worth: int | None,
    electricity: int,
    floor: int,
    room: int,
    step_bps: int,
) -> None:
    rules = PriceRules(floor_micro=floor, ceiling_micro=floor + room, step_bps=step_bps)
    found = step(
        price,
        rules,
        voices=[voice(who, at) for who, at in asked],
        suggestion=suggestion(worth) if worth else None,
        electricity_micro=electricity,
    )
    least = electricity + floor
    assert found.new_micro >= 1
    assert step_words(found)
    if found.moves:
        assert found.new_micro >= min(least, price), "never further below the floor"
        most_step = max(1, max(price, least) * step_bps // 10_000)
        assert found.new_micro >= price - most_step
        assert found.new_micro <= max(price, least) + most_step
        if least <= price <= rules.ceiling_micro:
            assert least <= found.new_micro <= rules.ceiling_micro
    elif found.why != "ceiling_below_floor":
        assert least <= price <= rules.ceiling_micro


def test_a_flood_needs_an_hour_a_step_and_ends_at_the_floor() -> None:
    """Every credible voice asks one micro-credit: the price falls by steps, to where the owner said."""
    price, steps = 20_000, 0
    while (moved := step(price, electricity_micro=2_000, voices=[voice(1, 1), voice(2, 1)])).moves:
        price, steps = moved.new_micro, steps + 1
    assert (price, steps) == (7_000, 21)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"floor_micro": 0, "ceiling_micro": 5},
        {"floor_micro": 6, "ceiling_micro": 5},
        {"floor_micro": 5, "ceiling_micro": 6, "pace_s": HOUR_S - 1},
        {"floor_micro": 5, "ceiling_micro": 6, "step_bps": MOST_STEP_BPS + 1},
        {"floor_micro": 5, "ceiling_micro": 6, "step_bps": 0},
        {"floor_micro": 5.5, "ceiling_micro": 6},
        {"floor_micro": 5, "ceiling_micro": 6, "on": True},
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        read_price_rules(wrong)
    assert read_price_rules({"floor_micro": 5, "ceiling_micro": 5}).pace_s == HOUR_S
