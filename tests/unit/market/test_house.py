"""The owner's rules: each one alone, at its edge, and without the sensor that it needs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market.errors import Refused
from openstall.market.house import (
    Decision,
    Device,
    Facts,
    HouseRules,
    app_name,
    decide,
    read_rules,
    suggested,
)
from openstall.market.house_hours import (
    format_dates,
    format_hours,
    format_maintenance,
    parse_dates,
    parse_hours,
    parse_maintenance,
)

SATURDAY = datetime.fromisoformat("2026-11-28T14:03")
WORK = [[{"start_min": 8 * 60, "end_min": 18 * 60}]] * 5 + [[], []]
NIGHTS = [[{"start_min": 22 * 60, "end_min": 6 * 60}]] * 7
HOT = Device(id="GPU-1", name="card", temperature_c=91, fan_percent=80)


def rules(**changes: Any) -> HouseRules:
    return read_rules(changes)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A moment of November 2026; the 28th is a Saturday."""
    return datetime.fromisoformat("2026-11-01") + timedelta(days=day - 1, hours=hour, minutes=minute)


def names(decision: Decision) -> list[str]:
    return [reason.rule for reason in decision.reasons]


def test_without_rules_everything_goes() -> None:
    decision = decide(HouseRules(), Facts(), SATURDAY)
    assert decision == Decision(may_take=True, may_go_on=True)


@pytest.mark.parametrize(
    ("rule", "fits", "breaks", "blind"),
    [
        ({"idle_s": 300}, {"input_idle_ms": 300_000}, {"input_idle_ms": 299_999}, True),
        ({"exclusive_apps": ["steam"]}, {}, {"apps": ("steam",)}, False),
        ({"mains_only": True}, {"on_battery": False}, {"on_battery": True}, False),
        ({"unmetered_only": True}, {"metered": False}, {"metered": True}, True),
        ({"others_percent_max": 30}, {"others_percent": 30}, {"others_percent": 31}, True),
        ({"temperature_c_max": 80}, {"temperature_c": 80}, {"temperature_c": 81}, True),
        ({"temperature_c_max": 80}, {"temperature_c": 50}, {"temperature_c": 50, "devices": (HOT,)}, True),
        ({"fan_rpm_max": 2000}, {"fan_rpm": 2000}, {"fan_rpm": 2001}, True),
        ({"noise_percent_max": 60}, {"fan_percent": 60}, {"fan_percent": 10, "devices": (HOT,)}, True),
        ({"power_w_max": 100}, {"power_mw": 100_000}, {"power_mw": 100_001}, True),
    ],
)
def test_each_rule_at_its_edge_and_without_its_sensor(
    rule: dict[str, Any], fits: dict[str, Any], breaks: dict[str, Any], blind: bool
) -> None:
    assert decide(rules(**rule), Facts(**fits), SATURDAY).may_go_on
    broken = decide(rules(**rule), Facts(**breaks), SATURDAY)
    assert not broken.may_go_on
    assert not broken.may_take
    [reason] = broken.reasons
    assert reason.words
    assert reason.ends
    unread = decide(rules(**rule), Facts(), SATURDAY)
    assert unread.may_go_on is not blind
    if blind:
        assert "cannot tell" in unread.reasons[0].words


def test_a_rule_that_is_off_looks_at_nothing() -> None:
    everything = Facts(
        input_idle_ms=0, on_battery=True, metered=True, others_percent=100, temperature_c=110, power_mw=10**6
    )
    assert decide(HouseRules(), everything, SATURDAY).may_go_on


@pytest.mark.parametrize(
    ("rule", "fact"),
    [
        ({"temperature_c_max": 80}, {"temperature_c": 76}),
        ({"others_percent_max": 50}, {"others_percent": 41}),
        ({"power_w_max": 100}, {"power_mw": 91_000}),
        ({"fan_rpm_max": 2000}, {"fan_rpm": 1801}),
    ],
)
def test_what_was_stopped_by_a_limit_goes_on_only_well_below_it(
    rule: dict[str, Any], fact: dict[str, Any]
) -> None:
    assert decide(rules(**rule), Facts(**fact), SATURDAY).may_go_on
    assert not decide(rules(**rule), Facts(**fact), SATURDAY, held=True).may_go_on


def test_little_room_keeps_new_jobs_out_and_lets_a_running_one_go_on() -> None:
    decision = decide(
        rules(memory_free_bytes_min=2**31, disk_free_bytes_min=2**30),
        Facts(memory_free_bytes=2**30, disk_free_bytes=2**31),
        SATURDAY,
    )
    assert (decision.may_take, decision.may_go_on) == (False, True)
    assert names(decision) == ["memory"]


def test_a_device_that_is_switched_off_is_not_looked_at() -> None:
    warm = Facts(temperature_c=40, devices=(HOT,))
    assert not decide(rules(temperature_c_max=80), warm, SATURDAY).may_go_on
    assert decide(rules(temperature_c_max=80, devices_off=["GPU-1"]), warm, SATURDAY).may_go_on


@pytest.mark.parametrize(
    ("hours", "now", "is_open", "opens", "closes"),
    [
        (WORK, at(27, 8), True, None, at(27, 18)),
        (WORK, at(27, 17, 59), True, None, at(27, 18)),
        (WORK, at(27, 18), False, at(30, 8), None),  # Friday evening: Monday
        (WORK, at(28, 12), False, at(30, 8), None),
        (NIGHTS, at(28, 23), True, None, at(29, 6)),
        (NIGHTS, at(29, 5, 59), True, None, at(29, 6)),
        (NIGHTS, at(29, 6), False, at(29, 22), None),
        ([[{"start_min": 0, "end_min": 1440}]] * 7, at(28, 0), True, None, None),
        ([[], [], [], [], [], [{"start_min": 720, "end_min": 1440}], [{"start_min": 0, "end_min": 60}]],
         at(28, 23, 59), True, None, at(29, 1)),  # two days that touch are one
        ([[]] * 7, at(28, 12), False, None, None),
    ],
)  # fmt: skip
def test_hours(hours: Any, now: datetime, is_open: bool, opens: Any, closes: Any) -> None:
    decision = decide(rules(hours=hours), Facts(), now)
    assert (decision.may_go_on, decision.opens_at, decision.closes_at) == (is_open, opens, closes)


def test_a_date_goes_before_its_weekday() -> None:
    house = rules(
        hours=WORK,
        exceptions=[
            {"day": "2026-11-27", "spans": []},
            {"day": "2026-11-28", "spans": [{"start_min": 600, "end_min": 660}]},
        ],
    )
    assert decide(house, Facts(), at(27, 12)).opens_at == at(28, 10)
    assert decide(house, Facts(), at(28, 10, 30)).may_go_on
    assert decide(house, Facts(), at(30, 12)).may_go_on


def test_maintenance_closes_and_is_known_before() -> None:
    house = rules(
        maintenance=[{"starts": "2026-11-28T18:00", "ends": "2026-11-29T02:00", "words": "new fan"}]
    )
    assert decide(house, Facts(), at(28, 17)).closes_at == at(28, 18)
    during = decide(house, Facts(), at(28, 18))
    assert names(during)[0] == "maintenance"
    assert "new fan" in during.reasons[0].words
    assert during.reasons[0].ends == "at 02:00 on 29 November"
    assert during.opens_at == at(29, 2)
    assert decide(house, Facts(), at(29, 2)) == Decision(may_take=True, may_go_on=True)


@pytest.mark.parametrize(
    "value",
    [
        {"idle": 5},
        {"idle_s": 0},
        {"idle_s": "300"},
        {"hours": [[]] * 6},
        {"hours": [[{"start_min": 60, "end_min": 60}]] + [[]] * 6},
        {"hours": [[{"start_min": 1440, "end_min": 60}]] + [[]] * 6},
        {"hours": [[{"start_min": -1, "end_min": 60}]] + [[]] * 6},
        {"exceptions": [{"day": "2026-02-30", "spans": []}]},
        {"maintenance": [{"starts": "2026-11-28T18:00", "ends": "2026-11-28T18:00"}]},
        {"maintenance": [{"starts": "2026-11-28T25:00", "ends": "2026-11-29T18:00"}]},
        {"exclusive_apps": ["/usr/bin/steam"]},
        {"exclusive_apps": ["\u202esteam"]},
        {"exclusive_apps": ["x"] * 65},
        {"temperature_c_max": 5},
        {"temperature_c_max": 80.5},
        {"wait_s": -1},
        {"tariff_micro_per_kwh": 0.3},
        [],
        None,
    ],
)
def test_rules_that_make_no_sense(value: Any) -> None:
    with pytest.raises(Refused) as caught:
        read_rules(value)
    assert caught.value.code == "bad_house_rules"
    assert caught.value.what_next


def test_a_new_owner_gets_the_rules_that_this_machine_can_watch() -> None:
    assert suggested(Facts()) == HouseRules()
    found = suggested(Facts(input_idle_ms=5, on_battery=False, metered=False))
    assert (found.idle_s, found.mains_only, found.unmetered_only) == (300, True, True)


def test_a_program_has_one_name() -> None:
    assert app_name("Steam.EXE") == app_name(" steam")


spans = st.builds(
    lambda start, length: {"start_min": start, "end_min": (start + length) % 1441},
    st.integers(0, 1439),
    st.integers(1, 1439),
).filter(lambda span: span["start_min"] != span["end_min"])
weeks = st.lists(st.lists(spans, max_size=3), min_size=7, max_size=7)
moments = st.datetimes(datetime.fromisoformat("2026-01-01"), datetime.fromisoformat("2027-12-31"))


def open_by_hand(week: list[list[dict[str, int]]], now: datetime) -> bool:
    """The hours, minute by minute, as one would read them from a table."""
    minute = now.hour * 60 + now.minute
    for span in week[now.weekday()]:
        start, end = span["start_min"], span["end_min"]
        if (start <= minute < end) or (end < start and minute >= start):
            return True
    before = week[(now.weekday() - 1) % 7]
    return any(span["end_min"] < span["start_min"] and minute < span["end_min"] for span in before)


@given(weeks, moments)
def test_any_week_is_read_as_by_hand(week: Any, now: datetime) -> None:
    assert decide(rules(hours=week), Facts(), now).may_go_on is open_by_hand(week, now)


@given(weeks, moments)
def test_what_is_said_of_opening_and_closing_is_true(week: Any, now: datetime) -> None:
    house = rules(hours=week)
    decision = decide(house, Facts(), now)
    if decision.opens_at is not None:
        assert not decision.may_go_on
        assert decide(house, Facts(), decision.opens_at).may_go_on
        assert not decide(house, Facts(), decision.opens_at - timedelta(minutes=1)).may_go_on
    if decision.closes_at is not None:
        assert decision.may_go_on
        assert not decide(house, Facts(), decision.closes_at).may_go_on
        assert decide(house, Facts(), decision.closes_at - timedelta(minutes=1)).may_go_on


facts = st.builds(
    Facts,
    input_idle_ms=st.none() | st.integers(0, 10**7),
    on_battery=st.none() | st.booleans(),
    metered=st.none() | st.booleans(),
    others_percent=st.none() | st.integers(0, 100),
    temperature_c=st.none() | st.integers(0, 120),
    fan_rpm=st.none() | st.integers(0, 9000),
    power_mw=st.none() | st.integers(0, 10**6),
    memory_free_bytes=st.integers(0, 2**40),
)
ALL = {
    "idle_s": 300,
    "mains_only": True,
    "unmetered_only": True,
    "others_percent_max": 50,
    "temperature_c_max": 80,
    "fan_rpm_max": 2000,
    "power_w_max": 200,
    "memory_free_bytes_min": 2**30,
}


@given(st.sets(st.sampled_from(sorted(ALL))), st.sampled_from(sorted(ALL)), facts, st.booleans())
def test_one_more_rule_never_allows_more(chosen: set[str], more: str, found: Facts, held: bool) -> None:
    few = decide(rules(**{name: ALL[name] for name in chosen}), found, SATURDAY, held=held)
    many = decide(rules(**{name: ALL[name] for name in chosen | {more}}), found, SATURDAY, held=held)
    assert few.may_take or not many.may_take
    assert few.may_go_on or not many.may_go_on
    assert set(names(few)) <= set(names(many))


@given(facts, st.booleans())
def test_a_job_may_start_only_where_one_may_go_on_and_refusals_have_words(found: Facts, held: bool) -> None:
    decision = decide(rules(**ALL), found, SATURDAY, held=held)
    assert decision.may_go_on or not decision.may_take
    assert decision.may_take is (decision.reasons == ())
    assert all(reason.words for reason in decision.reasons)


@given(st.builds(HouseRules, idle_s=st.none() | st.integers(1, 86_400), wait_s=st.integers(0, 86_400)))
def test_rules_come_back_from_the_store_as_they_were(house: HouseRules) -> None:
    assert read_rules(msgspec.to_builtins(house)) == house


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("always", "always"),
        ("mon-fri 8:00-18:00", "mon,tue,wed,thu,fri 08:00-18:00"),
        ("fri-mon 22:00-06:00; tue 0:00-24:00", "mon,fri,sat,sun 22:00-06:00; tue 00:00-24:00"),
        ("SAT 08:00-12:00, 13:00-14:00", "sat 08:00-12:00, 13:00-14:00"),
    ],
)
def test_hours_as_text(text: str, again: str) -> None:
    assert format_hours(parse_hours(text)) == again
    assert parse_hours(again) == parse_hours(text)


@pytest.mark.parametrize(
    "text", ["mon", "mo 8:00-9:00", "mon 9:00-9:00", "mon 8-9", "mon 24:00-25:00", "mon 8:00", ";"]
)
def test_hours_that_cannot_be_read(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_hours(text)
    assert caught.value.code == "bad_hours"


@given(weeks)
def test_any_week_can_be_written_and_read_again(week: Any) -> None:
    hours = rules(hours=week).hours
    assert hours is not None
    text = format_hours(hours)
    if text != "never":
        assert parse_hours(text) == hours


def test_dates_and_maintenance_as_text() -> None:
    dates = "2026-12-25 closed\n2026-12-26 10:00-12:00, 13:00-14:00"
    assert format_dates(tuple(parse_dates(f"  {dates}\n\n"))) == dates
    windows = "2026-12-24 18:00 to 2026-12-25 02:00 new fan\n2027-01-01 00:00 to 2027-01-01 01:00"
    assert format_maintenance(tuple(parse_maintenance(windows))) == windows
    for wrong in ("tomorrow closed", "2026-12-25", "2026-12-25 open"):
        with pytest.raises(Refused):
            parse_dates(wrong)
    with pytest.raises(Refused):
        parse_maintenance("2026-12-24 18:00")
