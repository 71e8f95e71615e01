"""Which chunk is asked from whom, and how bytes are shared out; on a clock of the test's own."""

from __future__ import annotations

import random

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.blob_plan import RUN, Lane, Meter, Plan
from openstall.p2p.blob_rates import FairShare, Turns


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def lane(plan: Plan, clock: Hands, *, holds: range | None = None, name: str = "one") -> Lane:
    made = Lane(name, (lambda _: True) if holds is None else holds.__contains__, Meter(clock))
    plan.join(made)
    return made


def test_whole_sources_are_asked_in_order_and_for_less_near_the_end() -> None:
    plan = Plan(range(40))
    only = lane(plan, Hands())
    runs = []
    while (run := plan.take(only)) is not None:
        runs.append(run)
    assert [index for run in runs for index in run] == list(range(40))
    assert len(runs[0]) == RUN
    assert len(runs[-1]) == 1


def test_what_few_hold_comes_first() -> None:
    plan, clock = Plan(range(30)), Hands()
    whole = lane(plan, clock)
    part = lane(plan, clock, holds=range(20), name="part")
    plan.note_copies(range(20), 1)
    assert plan.take(whole) == range(20, 27), "nobody else has these"
    assert plan.take(part) == range(5)
    assert plan.take(whole) == range(27, 30)
    assert plan.take(whole) == range(5, 8)


def test_what_a_silent_source_owes_goes_to_another_and_the_first_to_bring_it_counts() -> None:
    plan, clock = Plan(range(2)), Hands()
    slow, fast = lane(plan, clock, name="slow"), lane(plan, clock, name="fast")
    assert plan.take(slow) == range(1)
    assert plan.take(fast) == range(1, 2)
    clock.at = 1.0
    fast.meter.add(CHUNK)
    assert plan.arrived(fast, 1)
    plan.kept(1)
    assert plan.steal(fast) is None, "the other may need no longer than this one would"
    clock.at = 5.0
    fast.meter.add(CHUNK)
    clock.at = 20.0
    fast.meter.wait_over()
    assert plan.steal(fast) == range(1)
    assert plan.steal(fast) is None, "it has it already"
    third = lane(plan, clock, name="third")
    third.meter.add(CHUNK)
    assert plan.steal(third) is None, "the second has only begun"
    clock.at = 60.0
    third.meter.wait_over()
    assert plan.steal(third) == range(1), "the second withholds it too"
    assert plan.arrived(fast, 0)
    assert not plan.arrived(slow, 0), "the other one is being written"
    plan.kept(0)
    assert not plan.arrived(third, 0)
    assert plan.left == 0


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 2**32))
def test_every_chunk_is_fetched_whatever_lanes_do(chunks: int, lanes: int, seed: int) -> None:
    chance, clock = random.Random(seed), Hands()
    plan = Plan(range(chunks))
    running = [lane(plan, clock, name=str(number)) for number in range(lanes)]
    arrived: set[int] = set()
    for _ in range(40 * chunks):
        clock.at += chance.random()
        at = chance.randrange(lanes)
        match chance.randrange(6):
            case 0:
                plan.take(running[at])
            case 1:
                stolen = plan.steal(running[at])
                assert stolen is None or stolen.start not in arrived, "that one is here already"
            case 2:
                plan.leave(running[at])
                running[at] = lane(plan, clock, name=str(at))
            case _:
                _one_arrives(plan, running[at], arrived, lost=chance.random() < 0.2)
    last = lane(plan, clock)
    for one in running:
        plan.leave(one)
    while (run := plan.take(last)) is not None:
        for index in run:
            assert plan.arrived(last, index)
            plan.kept(index)
            arrived.add(index)
    assert plan.left == 0
    assert arrived == set(range(chunks))


def _one_arrives(plan: Plan, one: Lane, arrived: set[int], *, lost: bool) -> None:
    index = next(iter(one.claimed), None)
    if index is None:
        return
    one.meter.add(CHUNK)
    if not plan.arrived(one, index):
        return
    if lost:
        plan.lost(index)
    else:
        plan.kept(index)
        arrived.add(index)


async def test_a_limit_is_kept_and_shared_by_peers_not_by_streams(
    autojump_clock: trio.testing.MockClock,
) -> None:
    share = FairShare(1000)
    got: list[str] = []

    async def take(who: str, times: int) -> None:
        for _ in range(times):
            await share.take(who, 500)
            got.append(who)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(take, "greedy", 4)
        nursery.start_soon(take, "modest", 4)
    assert trio.current_time() - start == 19.5, "forty times 500 bytes, the first at once"
    assert got[:9].count("modest") >= 4, "it had every second turn while it wanted any"


async def test_no_limit_waits_for_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    await FairShare().take("anybody", 10**12)
    assert trio.current_time() == start


async def test_a_peer_has_so_many_turns_at_once_and_others_have_theirs() -> None:
    turns, most, inside = Turns(2), 0, {"a": 0, "b": 0}

    async def work(who: str) -> None:
        nonlocal most
        async with turns.turn(who):
            inside[who] += 1
            most = max(most, inside[who])
            await trio.testing.wait_all_tasks_blocked()
            inside[who] -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(work, "a")
            nursery.start_soon(work, "b")
    assert most == 2
