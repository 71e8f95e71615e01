"""Parts of the node that fail are states with words, and are tried again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
import trio.testing

from openstall.app.events import EventBus
from openstall.app.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, Part, PartState, steadily
from openstall.market.errors import ChainError, StoreError


async def test_failing_part_is_tried_again_with_growing_pauses(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    tries: list[float] = []

    async def run(_ready: Callable[[], None]) -> None:
        tries.append(trio.current_time())
        raise ChainError("away", "The chain is away.", "Wait.")

    part = Part("chain", run, bus=EventBus())
    nursery.start_soon(part.supervise)
    await trio.sleep(500)
    assert part.state is PartState.FAILED
    assert part.error == {"code": "away", "message": "The chain is away.", "what_next": "Wait."}
    pauses = [round(later - earlier, 3) for earlier, later in pairwise(tries)]
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert max(pauses) == LONGEST_PAUSE_S


async def test_a_bug_in_one_part_leaves_the_node_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def run(_ready: Callable[[], None]) -> None:
        raise ZeroDivisionError

    part = Part("p", run, bus=EventBus())
    nursery.start_soon(part.supervise)
    await trio.sleep(0.1)
    assert part.state is PartState.FAILED
    assert part.error is not None
    assert part.error["code"] == "internal_error"


async def test_part_that_returns_is_off_until_it_is_asked_again(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    wanted, runs = False, 0

    async def run(ready: Callable[[], None]) -> None:
        nonlocal runs
        runs += 1
        if wanted:
            ready()
            await trio.sleep_forever()

    part = Part("p", run, bus=EventBus())
    nursery.start_soon(part.supervise)
    await trio.sleep(1000)
    assert (part.state, runs) == (PartState.OFF, 1)
    wanted = True
    part.restart()
    await trio.sleep(0.1)
    assert (part.state, runs) == (PartState.READY, 2)
    part.restart()
    await trio.sleep(0.1)
    assert (part.state, runs) == (PartState.READY, 3)


async def test_a_task_that_fails_with_words_is_tried_again_and_a_fault_is_not_hidden(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tries: list[float] = []

    async def task() -> None:
        tries.append(trio.current_time())
        if len(tries) == 3:
            raise ZeroDivisionError
        raise StoreError("disk_full", "The disk is full.", "Make room.")

    with pytest.raises(ZeroDivisionError):
        await steadily("books", task)
    assert [round(later - earlier, 3) for earlier, later in pairwise(tries)] == [
        FIRST_PAUSE_S,
        2 * FIRST_PAUSE_S,
    ]
