"""The line between a node and its rig has only whole frames on it, and is never held up for the others."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing

from openstall.app.events import EventBus
from openstall.app.rig import caller as rig_caller
from openstall.app.rig.book import Owner
from openstall.app.rig.caller import Caller
from openstall.app.services.rigs import link as rig_link
from openstall.app.services.rigs.hub import RATE
from openstall.app.services.rigs.link import RigLink
from openstall.app.services.rigs.wire import (
    MAX_FRAME,
    PROTOCOL,
    Command,
    FromNode,
    FromRig,
    Log,
    read_from_node,
    read_from_rig,
)
from openstall.market.errors import PeerError
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost

Say = Callable[[int], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Line:
    """A stream whose other end reads when it is told to; `heard` are its frames."""

    stream: Framed
    host: PeerHost
    reading: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    heard: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    here, there = (PeerHost(seed=secrets.token_bytes(32), listen=("/ip4/127.0.0.1/tcp/0",)) for _ in range(2))
    made: list[Line] = []

    async def listen(_peer_id: str, stream: Framed) -> None:
        while not made:
            await trio.testing.wait_all_tasks_blocked(0.001)
        await made[0].reading.wait()
        try:
            while (raw := await stream.receive()) is not None:
                made[0].heard.append(raw)
        except PeerError:
            return
        finally:
            made[0].ended.set()

    there.serve_stream(PROTOCOL, listen, max_frame=MAX_FRAME, per_peer_rate=RATE)
    async with there, here:
        here.book.learn(there.peer_id, [one.split("/p2p/")[0] for one in there.addrs])
        stream = await here.open_stream(there.peer_id, PROTOCOL, timeout_s=20, max_frame=MAX_FRAME)
        made.append(Line(stream=stream, host=here))
        yield made[0]
        made[0].reading.set()
        await stream.reset()


def as_node(one: Line) -> tuple[Say, Any]:
    """The node's end of the line."""
    link = RigLink(peer_id="rig", name="tower", stream=one.stream, files=None)  # type: ignore[arg-type]
    padding = "x" * 60

    async def say(number: int) -> None:
        await link._send(FromNode(welcome=padding, command=Command(id=number, do="cancel", job="j" * 60)))

    return say, link


def as_rig(one: Line) -> tuple[Say, Any]:
    """The rig's end of the line."""
    caller = Caller(
        host=one.host,
        owner=Owner(peer_id="node", addrs=(), name="node", paired_at=0),
        name=None,  # type: ignore[arg-type]  # nobody asks
        jobs=None,  # type: ignore[arg-type]
        house=None,  # type: ignore[arg-type]
        bus=EventBus(),
        state=None,  # type: ignore[arg-type]
        told=lambda _words: None,
    )
    caller._stream = one.stream

    async def say(number: int) -> None:
        await caller.send(FromRig(job="job", event=Log(seq=number, text="x" * 900)))

    return say, caller


def number_in(raw: bytes) -> int:
    try:
        event = read_from_rig(raw).event
        assert isinstance(event, Log)
        return event.seq
    except PeerError:
        command = read_from_node(raw).command
        assert command is not None
        return command.id


SIDES = pytest.mark.parametrize("side", [as_node, as_rig])


@SIDES
async def test_a_send_that_is_cancelled_leaves_no_half_frame(side: Any) -> None:
    async with line() as one:
        say, _ = side(one)
        said = 0

        async def talk() -> None:
            nonlocal said
            while True:
                await say(said)
                said += 1

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk)
                await trio.testing.wait_all_tasks_blocked(0.05)  # the other end takes no more
                nursery.cancel_scope.cancel()
                one.reading.set()
            await say(10**9)
            while not one.heard or number_in(one.heard[-1]) != 10**9:
                assert not one.ended.is_set()
                await trio.testing.wait_all_tasks_blocked(0.001)
        numbers = [number_in(raw) for raw in one.heard]
        assert numbers == [*range(len(numbers) - 1), 10**9]
        assert len(numbers) > said > 100


@SIDES
async def test_a_peer_that_does_not_read_loses_the_line(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rig_link, rig_caller):
        monkeypatch.setattr(module, "LOST_S", 0.3)
    async with line() as one:
        say, end = side(one)
        with trio.fail_after(30), pytest.raises(PeerError):
            while True:
                await say(0)
        assert end._scope.cancel_called
        one.reading.set()
        with trio.fail_after(30):
            await one.ended.wait()
