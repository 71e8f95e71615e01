"""What nobody can do with the scores, whatever the peer does and in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openstall.p2p.limits import BAN_SCORE, DECAY_PER_S, Budgets, HostLimits, Rate, RateBudget, Scores

WORST_PENALTY = 25.0
"""The dearest single offence (a record that was not asked for) costs so much."""

steps = st.lists(
    st.tuples(st.floats(0, 86_400, allow_nan=False), st.floats(0.1, WORST_PENALTY, allow_nan=False)),
    max_size=200,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(history=steps)
def test_good_conduct_is_no_credit(history: list[tuple[float, float]]) -> None:
    """Covert flash: whatever a peer did before, however long it behaved, four of the worst end it."""
    clock = Clock()
    scores = Scores(clock=clock)
    for pause_s, points in history:
        clock.now += pause_s
        scores.penalise("a", points)
    clock.now += 7 * 86_400
    assert scores.score("a") == 0, "a week of good conduct forgets, and is worth nothing more than that"
    offences = 0
    while not scores.penalise("a", WORST_PENALTY):
        offences += 1
    assert offences == BAN_SCORE / WORST_PENALTY - 1


@given(history=steps)
def test_a_score_is_never_below_nothing_nor_fades_by_more_than_its_pace(
    history: list[tuple[float, float]],
) -> None:
    clock = Clock()
    scores = Scores(clock=clock)
    for pause_s, points in history:
        before = scores.score("a")
        clock.now += pause_s
        after = scores.score("a")
        assert max(0.0, before - pause_s * DECAY_PER_S) - 1e-6 <= after <= before + 1e-6
        scores.penalise("a", points)
        assert scores.score("a") >= 0


@given(points=st.floats(0.5, WORST_PENALTY), pause_s=st.floats(0, 30))
def test_just_below_the_threshold_for_ever_is_a_trickle(points: float, pause_s: float) -> None:
    """Score gaming: who is never banned does no more harm than a fixed few offences a minute."""
    clock = Clock()
    scores = Scores(clock=clock)
    offences = 0
    while clock.now < 3600:
        if scores.penalise("a", points):
            return
        offences += 1
        clock.now += max(pause_s, 0.01)
    assert offences * points <= BAN_SCORE + 3600 * DECAY_PER_S + points


@given(
    rate=st.floats(0.1, 50),
    burst=st.floats(1, 500),
    asks=st.lists(st.floats(0, 5, allow_nan=False), max_size=300),
)
def test_no_pattern_of_asking_gets_more_than_the_rate_and_one_burst(
    rate: float, burst: float, asks: list[float]
) -> None:
    clock = Clock()
    budget = RateBudget(Rate(per_s=rate, burst=burst), clock=clock)
    taken = 0
    for pause_s in asks:
        clock.now += pause_s
        taken += budget.take("a")
    assert taken <= burst + clock.now * rate + 1


@given(work=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 120)), max_size=100))
def test_no_pattern_of_work_gets_more_time_than_was_granted(work: list[tuple[float, float]]) -> None:
    clock = Clock()
    limits = HostLimits(handler_seconds=Rate(per_s=0.5, burst=10))
    budget = Budgets(limits, clock=clock).work
    spent = last = 0.0
    for pause_s, seconds in work:
        clock.now += pause_s
        if budget.level("a") >= 0:
            budget.spend("a", seconds)
            spent, last = spent + seconds, seconds
    assert spent <= 10 + clock.now * 0.5 + max(last, 120)
