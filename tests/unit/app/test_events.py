"""The event bus: fan-out, and what happens to a listener that does not keep up."""

from __future__ import annotations

import trio
import trio.testing

from openstall.app.events import CLIENT_QUEUE, MAX_CLIENTS, EventBus


async def test_every_listener_hears_everything_from_its_start() -> None:
    bus = EventBus()
    bus.publish("status", {"n": 0})
    async with bus.subscribe() as first, bus.subscribe() as second:
        bus.publish("status", {"n": 1})
        assert (await first.receive()).data == {"n": 1}
        assert (await second.receive()).data == {"n": 1}


async def test_slow_listener_is_dropped_with_a_word_and_others_are_not() -> None:
    bus = EventBus()
    async with bus.subscribe() as slow, bus.subscribe() as quick:
        for number in range(CLIENT_QUEUE + 10):
            bus.publish("order", {"n": number})
            assert (await quick.receive()).data == {"n": number}
        heard = [event async for event in slow]
        assert len(heard) == CLIENT_QUEUE + 1
        assert heard[-1].name == "dropped"


async def test_close_ends_the_streams() -> None:
    bus = EventBus()
    async with bus.subscribe() as events:
        bus.close()
        assert [event.name async for event in events] == ["dropped"]
    async with bus.subscribe() as late:
        assert [event.name async for event in late] == ["dropped"]


async def test_listeners_are_limited() -> None:
    bus = EventBus()
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_CLIENTS):
            nursery.start_soon(_listen, bus)
        await trio.testing.wait_all_tasks_blocked()
        async with bus.subscribe() as one_more:
            assert (await one_more.receive()).name == "dropped"
        nursery.cancel_scope.cancel()


async def _listen(bus: EventBus) -> None:
    async with bus.subscribe() as events:
        await events.receive()
