"""Long actions: progress, result, words for failures, cancelling."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from openstall.app.clock import SystemClock
from openstall.app.events import EventBus
from openstall.app.operations import MAX_KEPT, MAX_RUNNING, Operation, Operations, Progress
from openstall.market.errors import Conflict, MoneyError, NotFound


@pytest.fixture
async def operations(nursery: trio.Nursery) -> Operations:
    found = Operations(bus=EventBus(), clock=SystemClock())
    found.bind(nursery)
    return found


async def ended(operations: Operations, operation_id: str) -> Operation:
    while operations.get(operation_id).state == "running":
        await trio.lowlevel.checkpoint()
    return operations.get(operation_id)


async def test_result_and_progress(operations: Operations) -> None:
    async def action(progress: Progress) -> dict[str, Any]:
        progress("Counting", 1, 2, "files")
        await trio.to_thread.run_sync(progress.soon, "Counting", 2, 2, "files")
        return {"x": 1}

    found = await ended(operations, operations.start("k", "Title", action))
    assert (found.state, found.result, found.error) == ("done", {"x": 1}, None)
    assert (found.stage, found.done, found.total, found.unit) == ("Counting", 2, 2, "files")


async def test_failure_has_words_also_from_a_nursery(operations: Operations) -> None:
    async def fails() -> None:
        raise MoneyError("broke", "No money.", "Earn some.")

    async def action(_progress: Progress) -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(fails)
            inner.start_soon(trio.sleep_forever)

    found = await ended(operations, operations.start("k", "t", action))
    assert found.state == "failed"
    assert found.error == {"code": "broke", "message": "No money.", "what_next": "Earn some."}


async def test_a_bug_is_said_without_its_details(operations: Operations) -> None:
    async def action(_progress: Progress) -> None:
        raise KeyError("secret detail")

    found = await ended(operations, operations.start("k", "t", action))
    assert found.error is not None
    assert found.error["code"] == "internal_error"
    assert "secret detail" not in str(found.as_dict())


async def test_cancel(operations: Operations) -> None:
    cleaned = []

    async def action(_progress: Progress) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(True)

    operation_id = operations.start("k", "t", action)
    await trio.lowlevel.checkpoint()
    operations.cancel(operation_id)
    assert (await ended(operations, operation_id)).state == "cancelled"
    assert cleaned
    with pytest.raises(Conflict):
        operations.cancel(operation_id)
    with pytest.raises(NotFound):
        operations.get("nope")


async def test_limits(operations: Operations) -> None:
    async def forever(_progress: Progress) -> None:
        await trio.sleep_forever()

    async def nothing(_progress: Progress) -> None:
        await trio.lowlevel.checkpoint()

    for _ in range(MAX_KEPT + 5):
        await ended(operations, operations.start("k", "t", nothing))
    assert len(operations.items()) == MAX_KEPT
    running = [operations.start("k", "t", forever) for _ in range(MAX_RUNNING)]
    with pytest.raises(Conflict):
        operations.start("k", "t", forever)
    for operation_id in running:
        operations.cancel(operation_id)
        await ended(operations, operation_id)
