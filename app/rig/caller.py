"""The rig's side of the line to its owner's node: it dials, says who it is, and does what it is told.

Commands come only over the stream that this rig has opened itself to the peer id it was paired with, which
the connection proves. The rig listens nowhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.rig.book import Owner
from openstall.app.rig.jobs import RigJobs
from openstall.app.services.house import House
from openstall.app.services.rigs.wire import (
    BEAT_S,
    LOST_S,
    MAX_FRAME,
    PROTOCOL,
    Command,
    FromRig,
    Hello,
    State,
    read_from_node,
    refusal_of,
    write,
)
from openstall.market.errors import OpenstallError, PeerError, Refused
from openstall.p2p.framing import Cut, Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.nurseries import single_errors

CONNECT_S = 20.0
WELCOME_S = 20.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0

log = get_logger("openstall.rig")


@asynccontextmanager
async def line_to(
    host: PeerHost, owner: Owner, *, name: str, proof: str = ""
) -> AsyncIterator[tuple[Framed, str]]:
    """A stream on which the node has said welcome, and the node's name.

    Raises:
        Refused: the node does not know this rig, or its proof is no good.
        PeerError: the node cannot be reached, or answers what makes no sense.
    """
    host.book.learn(owner.peer_id, owner.addrs)
    stream = await host.open_stream(owner.peer_id, PROTOCOL, timeout_s=CONNECT_S, max_frame=MAX_FRAME)
    async with stream:
        await stream.send(write(FromRig(hello=Hello(name=name, proof=proof))))
        raw = await stream.receive(timeout_s=WELCOME_S)
        answer = read_from_node(raw) if raw is not None else None
        if answer is not None and answer.refusal is not None:
            refusal = answer.refusal
            raise Refused(refusal.code, refusal.message, refusal.what_next)
        if answer is None or answer.welcome is None:
            raise PeerError("no_answer", "The node hung up.", "Try again in a moment.")
        yield stream, answer.welcome


class Dismissed(OpenstallError):
    """The owner has ended the pairing on the node."""


@dataclass(slots=True, kw_only=True)
class Caller:
    """Keeps the line up. For the trio thread."""

    host: PeerHost
    owner: Owner
    name: Callable[[], Awaitable[str]]
    jobs: RigJobs
    house: House
    bus: EventBus
    state: Callable[[], Awaitable[State]]
    told: Callable[[str], None]
    """Called with a line for the person who looks on, when the line comes up or breaks."""
    connected: bool = False
    _stream: Framed | None = None
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _leaving: bool = False

    async def keep(self) -> None:
        """Call the node, and again whenever the line breaks, until cancelled or `leave`.

        Raises:
            Refused: the node does not know this rig.
            Dismissed: the owner has unpaired it.
        """
        pause_s, said = FIRST_PAUSE_S, ""
        while not self._leaving:
            try:
                async with line_to(self.host, self.owner, name=await self.name()) as (stream, node):
                    self.told(f"Connected to {node}.")
                    pause_s, said = FIRST_PAUSE_S, ""
                    await self._converse(stream)
                words = "The node hung up."
            except PeerError as error:
                log.info("line to the node broke", code=error.code)
                words = error.message
            if self._leaving:
                return
            if words != said:
                self.told(f"Not connected: {words} Trying again.")
                said = words
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def leave(self) -> None:
        """Tell the node that this rig works for it no more, and end `keep`."""
        self._leaving = True
        if self._stream is not None:
            try:
                with trio.move_on_after(BEAT_S):
                    await self._stream.send(write(FromRig(leave=True)))
            except PeerError as error:
                log.info("node not told of the end of the pairing", code=error.code)
        self._scope.cancel()

    async def send(self, message: FromRig) -> None:
        """Tell the node something.

        Raises:
            PeerError: there is no line.
        """
        stream = self._stream
        if stream is None:
            raise PeerError("node_gone", "The node is not connected.")
        try:  # whole: a job that is cancelled must not leave half a frame before what others say
            await stream.send_whole(write(message), within_s=LOST_S)
        except Cut:
            if stream is self._stream:
                self._scope.cancel()
            raise

    async def _converse(self, stream: Framed) -> None:
        self._stream, self.connected = stream, True
        try:
            with single_errors(), trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._report)
                    await self._listen(stream, nursery)
                    nursery.cancel_scope.cancel()
        finally:
            self._stream, self.connected = None, False
            with trio.CancelScope(shield=True):
                await self.jobs.forget_all()

    async def _report(self) -> None:
        async with self.bus.subscribe() as events:
            while True:
                await self.send(FromRig(state=await self.state()))
                with trio.move_on_after(BEAT_S):
                    await events.receive()

    async def _listen(self, stream: Framed, nursery: trio.Nursery) -> None:
        while (raw := await stream.receive(timeout_s=LOST_S)) is not None:
            message = read_from_node(raw)
            if message.unpaired:
                raise Dismissed(
                    "unpaired",
                    "The owner has unpaired this machine on the node.",
                    "To work for a node again, run `openstall rig pair`.",
                )
            if message.command is not None:
                await self._obey(message.command, nursery)

    async def _obey(self, command: Command, nursery: trio.Nursery) -> None:
        """What must come in its order is done here; what may take seconds beside it."""
        job_id = command.job or ""
        match command.do:
            case "run":
                await self._take_in(command, nursery)
            case "cancel":
                nursery.start_soon(self.jobs.cancel, job_id)
            case "forget":
                await self.jobs.forget(job_id)
            case "pause":
                nursery.start_soon(self._answer, command.id, self.house.pause)
            case "resume":
                nursery.start_soon(self._answer, command.id, self.house.resume)

    async def _take_in(self, command: Command, nursery: trio.Nursery) -> None:
        async def let_in() -> None:
            if command.run is None:
                raise PeerError("bad_frame", "The node named no job to run.")
            guest = await self.jobs.let_in(command.run)
            nursery.start_soon(self.jobs.work, guest)

        await self._answer(command.id, let_in)

    async def _answer(self, number: int, act: Callable[[], Awaitable[object]]) -> None:
        refusal = None
        try:
            await act()
        except OpenstallError as error:
            refusal = refusal_of(error)
        await self.send(FromRig(answer=number, refusal=refusal))
