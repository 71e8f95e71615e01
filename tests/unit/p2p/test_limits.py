from __future__ import annotations

from collections.abc import Callable

import pytest

from openstall.p2p.limits import BAN_S, Pace, Rate, RateBudget, Scores, TimeBudget


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_allows_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    budget = RateBudget(Rate(per_s=2, burst=3), clock=clock)
    assert [budget.take("a") for _ in range(4)] == [True, True, True, False]
    assert budget.take("b"), "peers do not share a budget"
    clock.now += 1
    assert [budget.take("a") for _ in range(3)] == [True, True, False]


def test_a_budget_forgets_the_oldest_of_many_peers() -> None:
    budget = RateBudget(Rate(per_s=0, burst=1), clock=Clock())
    for number in range(5000):
        assert budget.take(str(number))
    assert not budget.take("4999")
    assert budget.take("0"), "forgotten, so it starts afresh"


@pytest.mark.parametrize("what", ["taken", "worked", "turns"])
def test_nothing_is_kept_of_peers_who_may_do_everything_again(what: str) -> None:
    clock, rate = Clock(), Rate(per_s=1, burst=3)
    taken, worked, turns = (
        RateBudget(rate, clock=clock),
        TimeBudget(rate, clock=clock),
        Pace(rate, clock=clock),
    )
    held: dict[str, Callable[[], int]] = {
        "taken": lambda: len(taken._levels),
        "worked": lambda: len(worked._levels),
        "turns": lambda: len(turns._next),
    }

    def visit(number: int) -> None:
        for _ in range(3):
            taken.take(str(number))
            worked.spend(str(number), 1)
            turns.delay_s(str(number))

    for number in range(100):
        visit(number)
    assert held[what]() == 100
    clock.now += 5
    visit(100)
    assert held[what]() == 1


def test_points_fade_and_a_ban_ends() -> None:
    clock = Clock()
    scores = Scores(clock=clock)
    assert not scores.penalise("a", 60)
    clock.now += 60
    assert scores.score("a") == pytest.approx(30)
    assert scores.penalise("a", 80)
    assert scores.is_banned("a")
    assert not scores.penalise("a", 80), "it is banned already"
    clock.now += BAN_S + 1
    assert not scores.is_banned("a")
    assert scores.score("a") == 0


def test_who_keeps_the_pace_is_never_refused_and_loses_little_time() -> None:
    clock, rate = Clock(), Rate(per_s=2, burst=20)
    pace, theirs = Pace(rate, clock=clock), RateBudget(rate, clock=clock)
    for _ in range(16):
        assert pace.delay_s("a") == 0, "a burst goes out at once"
        assert theirs.take("a")
    began = clock.now
    for _ in range(200):
        clock.now += pace.delay_s("a")
        assert theirs.take("a")
    assert clock.now - began < 1.5 * 200 / rate.per_s
    assert pace.delay_s("b") == 0, "peers do not share a pace"
