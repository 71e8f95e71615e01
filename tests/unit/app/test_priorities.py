"""The line of paid jobs: what is offered on top helps, and nobody waits for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openstall.app.services.orders.job_line import JobLine
from openstall.market.orders.line import MOST_HEAD_START_S, head_start_s, rank

PRICE = 10_000


def test_what_is_offered_on_top_counts_as_time() -> None:
    assert head_start_s(PRICE, 0) == 0
    assert head_start_s(PRICE + PRICE // 2, PRICE // 2) == MOST_HEAD_START_S // 2
    assert head_start_s(2 * PRICE, PRICE) == MOST_HEAD_START_S
    assert head_start_s(100 * PRICE, 99 * PRICE) == MOST_HEAD_START_S
    assert head_start_s(2, 1) == MOST_HEAD_START_S


def test_of_equals_the_one_that_was_paid_first_goes_first() -> None:
    waiting = [
        rank("b", paid_at=100, head_s=0),
        rank("a", paid_at=100, head_s=0),
        rank("z", paid_at=150, head_s=50),
        rank("y", paid_at=100, head_s=1),
    ]
    assert [one[2] for one in sorted(waiting)] == ["y", "a", "b", "z"]


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_more_on_top_is_never_worse(price: int, less: int, more: int) -> None:
    less, more = sorted((less, more))
    assert 0 <= head_start_s(price + less, less) <= head_start_s(price + more, more) <= MOST_HEAD_START_S


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 10 * PRICE), st.integers(1, 3000)), min_size=1, max_size=40
)


@given(ARRIVALS, st.integers(1, 3))
def test_nobody_starves(arrivals: list[tuple[int, int, int]], places: int) -> None:
    """Whoever waits is overtaken by nobody who paid later than the greatest head start allows."""
    line, paid, now = JobLine(), {}, 0
    coming = []
    for number, (gap, on_top, length) in enumerate(arrivals):
        now += gap
        coming.append((now, f"{number:03}", head_start_s(PRICE + on_top, on_top), length))
    busy: list[int] = []
    started: list[str] = []
    now = 0
    while coming or line.first is not None or busy:
        moments = [*(one[0] for one in coming[:1]), *busy]
        now = min(moments) if moments else now
        busy = [end for end in busy if end > now]
        while coming and coming[0][0] <= now:
            paid_at, name, head_s, length = coming.pop(0)
            line.enter(name, paid_at, head_s)
            paid[name] = (paid_at, length)
        while len(busy) < places and (first := line.first) is not None:
            assert line.ahead(first) == 0
            waiting = [name for name in paid if name not in started]
            assert all(paid[first][0] <= paid[name][0] + MOST_HEAD_START_S for name in waiting)
            line.leave(first)
            started.append(first)
            busy.append(now + paid[first][1])
    assert sorted(started) == sorted(paid)
