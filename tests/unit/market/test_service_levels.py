"""What a broken promise costs: never more than was pledged, and nothing where it was kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import canonical
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.orders.documents import MOST_TIMES_CAP, read_contract
from openstall.market.records import ServiceLevel, SignedRecord
from openstall.market.service_levels import ROUNDING_S, Course, broken, penalty, within

HASH = "ab" * 32
LEVEL = ServiceLevel(start_s=60, uptime_bps=9_000, steps_per_1000s=2_000, bond=HASH, penalty_micro=5_000_000)
Plain = dict[str, Any]

seconds = st.integers(0, 10**7)
levels = st.builds(
    ServiceLevel,
    start_s=st.integers(0, 86_400),
    uptime_bps=st.integers(0, 10_000),
    steps_per_1000s=st.integers(0, 10**9),
    bond=st.just(HASH),
    penalty_micro=st.integers(1, 10**15),
)


@st.composite
def courses(draw: st.DrawFn) -> Course:
    window_s = draw(seconds)
    return Course(
        waited_s=draw(seconds),
        started=draw(st.booleans()),
        window_s=window_s,
        worked_s=draw(st.integers(0, window_s)),
        steps=draw(st.integers(0, 10**12)),
    )


@given(level=levels, course=courses())
def test_a_penalty_is_never_above_what_was_pledged(level: ServiceLevel, course: Course) -> None:
    found = broken(level, course)
    for share in (found.start_bps, found.uptime_bps, found.steps_bps, found.total_bps):
        assert 0 <= share <= 10_000
    assert 0 <= penalty(level, found.total_bps) <= level.penalty_micro


@given(level=levels, window_s=seconds, slack=st.integers(0, 1000))
def test_what_was_kept_costs_nothing(level: ServiceLevel, window_s: int, slack: int) -> None:
    due = level.steps_per_1000s * window_s // 1000
    kept = Course(
        waited_s=max(0, level.start_s - slack), window_s=window_s, worked_s=window_s, steps=due + slack
    )
    assert broken(level, kept).total_bps == 0
    assert penalty(level, 0) == 0


@given(level=levels, course=courses(), more_s=st.integers(0, 10**6), fewer=st.integers(0, 10**6))
def test_what_is_worse_never_costs_less(level: ServiceLevel, course: Course, more_s: int, fewer: int) -> None:
    before = broken(level, course)
    later = broken(level, changed(course, waited_s=course.waited_s + more_s))
    idler = broken(level, changed(course, worked_s=max(0, course.worked_s - more_s)))
    slower = broken(level, changed(course, steps=max(0, course.steps - fewer)))
    assert later.start_bps >= before.start_bps
    assert idler.uptime_bps >= before.uptime_bps
    assert slower.steps_bps >= before.steps_bps
    assert penalty(level, slower.total_bps) >= penalty(level, before.total_bps)


def changed(course: Course, **changes: int) -> Course:
    return replace(course, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("course", "share"),
    [
        (Course(waited_s=60 + ROUNDING_S), 0),
        (Course(waited_s=90 + ROUNDING_S), 5_000),
        (Course(waited_s=500), 10_000),
        (Course(started=False), 10_000),
        (Course(window_s=1000, worked_s=900 - ROUNDING_S, steps=10**6), 0),
        (Course(window_s=1000, worked_s=450 - ROUNDING_S, steps=10**6), 5_000),
        (Course(window_s=1000, worked_s=1000, steps=1990), 0),
        (Course(window_s=1000, worked_s=1000, steps=995), 5_000),
        (Course(waited_s=90 + ROUNDING_S, window_s=1000, worked_s=450 - ROUNDING_S), 10_000),
    ],
)
def test_the_rule_of_each_promise(course: Course, share: int) -> None:
    assert broken(LEVEL, course).total_bps == share
    assert penalty(LEVEL, share) == 5_000_000 * share // 10_000


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, []),
        ({"start_s": 120, "uptime_bps": 5_000, "steps_per_1000s": 0, "penalty_micro": 1}, []),
        ({"start_s": 0}, []),
        ({"start_s": 59}, ["start"]),
        ({"uptime_bps": 9_001}, ["uptime"]),
        ({"steps_per_1000s": 2_001, "penalty_micro": 5_000_001}, ["steps", "penalty"]),
        ({"bond": "cd" * 32}, ["bond"]),
    ],
)
def test_an_order_asks_for_no_more_than_is_offered(changes: Plain, more: list[str]) -> None:
    assert within(msgspec.structs.replace(LEVEL, **changes), LEVEL) == more
    unpromised = msgspec.structs.replace(LEVEL, start_s=0)
    assert within(LEVEL, unpromised) == ["start"]


def with_service(order: Callable[..., Plain], **changes: Any) -> bytes:
    plain = order("compute")
    cap = plain["terms"]["cap_micro"]
    level = msgspec.to_builtins(LEVEL) | {"penalty_micro": MOST_TIMES_CAP * cap} | changes
    plain["terms"]["service"] = level
    return canonical.encode(plain)


def test_an_order_without_a_service_level_keeps_its_old_bytes(order: Callable[..., Plain]) -> None:
    raw = canonical.encode(order("compute"))
    found = read_contract(raw)
    assert found.compute.service is None
    assert b"service" not in raw
    assert canonical.encode(msgspec.to_builtins(found.compute)) in raw


def test_an_order_with_a_service_level(order: Callable[..., Plain]) -> None:
    found = read_contract(with_service(order)).compute.service
    assert found is not None
    assert (found.start_s, found.uptime_bps, found.bond) == (60, 9_000, HASH)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("bad_schema", {"start_s": -1}),
        ("bad_schema", {"start_s": 86_401}),
        ("bad_schema", {"uptime_bps": 10_001}),
        ("float", {"uptime_bps": 99.5}),
        ("bad_schema", {"uptime_bps": None}),
        ("bad_schema", {"steps_per_1000s": 10**9 + 1}),
        ("bad_schema", {"bond": ""}),
        ("bad_schema", {"bond": HASH.upper()}),
        ("bad_schema", {"penalty_micro": 0}),
        ("bad_schema", {"penalty_micro": "5"}),
        ("bad_schema", {"lambda": 1}),
        ("empty_service", {"start_s": 0, "uptime_bps": 0, "steps_per_1000s": 0}),
        ("penalty_too_high", {"penalty_micro": 600_000 * MOST_TIMES_CAP + 1}),
    ],
)
def test_a_service_level_that_makes_no_sense(order: Callable[..., Plain], code: str, changes: Plain) -> None:
    with pytest.raises((InvalidOrder, InvalidRecord)) as caught:
        read_contract(with_service(order, **changes))
    assert caught.value.code == code


def test_no_service_level_is_written_by_leaving_it_out(order: Callable[..., Plain]) -> None:
    plain = order("compute")
    plain["terms"]["service"] = None
    with pytest.raises(InvalidOrder) as caught:
        read_contract(canonical.encode(plain))
    assert caught.value.code == "bad_schema"


def test_a_promise_that_promises_nothing_is_no_record(signed: Callable[..., SignedRecord]) -> None:
    assert signed("service").body
    level = {"start_s": 0, "uptime_bps": 0, "steps_per_1000s": 0, "bond": HASH, "penalty_micro": 1}
    with pytest.raises(InvalidRecord, match="promises nothing"):
        signed("service", {"level": level})
