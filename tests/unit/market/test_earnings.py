from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market.earnings import EnergyBy, JobEarning, by_day, cost_micro, floor_price_micro


def job(day: str = "2026-11-28", by: EnergyBy = "measured", **changes: int) -> JobEarning:
    values = {"worked_s": 60, "earned_micro": 1_000, "energy_j": 3_600, "cost_micro": 300} | changes
    return JobEarning(day=day, device="cpu", energy_by=by, **values)


def test_a_kilowatt_hour_costs_the_tariff() -> None:
    assert cost_micro(3_600_000, 300_000) == 300_000
    assert cost_micro(0, 300_000) == 0
    assert cost_micro(1, 1) == 1  # rounded up


def test_the_floor_price_pays_for_its_second() -> None:
    # 100 W for an hour at 0.36 credits per kWh: 0.036 credits, that is 10 micro-credits a second
    assert floor_price_micro(100_000, 360_000) == 10
    assert floor_price_micro(100_001, 360_000) == 11


@given(st.integers(0, 10**7), st.integers(0, 10**9), st.integers(1, 10**5))
def test_whoever_asks_the_floor_price_never_loses(power_mw: int, tariff: int, seconds: int) -> None:
    asked = floor_price_micro(power_mw, tariff) * seconds
    assert asked >= cost_micro(power_mw * seconds // 1000, tariff)


def test_jobs_are_gathered_by_day_and_the_newest_is_first() -> None:
    rows = by_day([job("2026-11-27"), job(), job(worked_s=30, earned_micro=200)])
    assert [row.day for row in rows] == ["2026-11-28", "2026-11-27"]
    assert (rows[0].jobs, rows[0].worked_s, rows[0].earned_micro) == (2, 90, 1_200)
    assert rows[0].net_micro == 600


@pytest.mark.parametrize(
    ("kinds", "sum_is", "net"),
    [
        (("measured", "measured"), "measured", 1_400),
        (("measured", "stated"), "stated", 1_400),
        (("measured", "claimed"), "claimed", 1_400),
        (("stated", "unknown"), "unknown", None),
    ],
)
def test_a_sum_is_no_better_known_than_its_worst_part(
    kinds: tuple[EnergyBy, ...], sum_is: str, net: int | None
) -> None:
    [row] = by_day([job(by=kind) for kind in kinds])
    assert (row.energy_by, row.net_micro) == (sum_is, net)
