"""The buyer's side of a served model: asks the job of an order, over a stream that is kept while used."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from openstall.app.logging import get_logger
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.serve_wire import MAX_FROM_PROVIDER, PROTOCOL, First
from openstall.compute_agent.serving import (
    Answer,
    OpenQuestions,
    Question,
    check_question,
    read_answer,
)
from openstall.market.errors import Conflict, OpenstallError, PeerError, Refused
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost

OPEN_S = 20.0
ANSWER_S = 120.0
"""A job of which nothing is heard for so long while it is asked gives no answer any more."""

SEND_S = 20.0

log = get_logger("openstall.jobs")


@dataclass(slots=True, kw_only=True)
class _Line:
    """A stream to one job."""

    stream: Framed
    open: OpenQuestions = field(default_factory=OpenQuestions)
    waiting: dict[int, trio.MemorySendChannel[Answer]] = field(default_factory=dict)
    asked: int = 0
    heard: float = -math.inf
    """When the job last said anything: it answers one after the other, so this tells all who wait."""
    trouble: OpenstallError | None = None


@dataclass(slots=True, kw_only=True)
class ServeLines:
    """Asks the jobs of orders in which this node is the buyer. `run` must be running."""

    desk: OrderDesk
    peers: PeerHost
    _lines: dict[str, _Line] = field(default_factory=dict)
    _opening: trio.Lock = field(default_factory=trio.Lock)
    _nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Hold the streams, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def current(self, order_id: str) -> OpenOrder:
        """The order, or the one that goes on with its job at another provider.

        Raises:
            Refused: it is no order of ours for a served model.
        """
        order = await self.desk.load(order_id)
        while order.data.get("continued_by"):
            order = await self.desk.load(str(order.data["continued_by"]))
        if order.role != "buyer" or order.kind != "compute" or order.contract.compute.job_kind != "serve":
            raise Refused("not_served", "This order is not a job of yours that answers questions.")
        return order

    @asynccontextmanager
    async def asking(self, order_id: str, question: Question) -> AsyncIterator[AsyncIterator[Answer]]:
        """Ask, and yield the lines of the answer as they come.

        Leaving early keeps the place until the job has answered; what still comes is passed over.

        Raises:
            Conflict: the job has not begun, or has ended.
            SandboxError: too many questions wait, or this one cannot be sent.
            Refused: inside: the question cannot be answered.
            PeerError: the provider does not answer, or against the rules.
        """
        check_question(question)  # what the provider would break the line for is refused for itself alone
        order = await self.current(order_id)
        line = await self._line(order)
        line.asked += 1
        n = line.asked
        line.open.put(n)
        send, receive = trio.open_memory_channel[Answer](math.inf)  # bounded by the longest answer
        line.waiting[n] = send
        sent = False
        try:
            raw = msgspec.json.encode(msgspec.structs.replace(question, n=n))
            await line.stream.send_whole(raw, within_s=SEND_S)
            sent = True
            yield _lines_of(line, receive, most_s=order.contract.compute.max_s)
        finally:
            line.waiting.pop(n, None)
            if not sent:
                line.open.forget(n)

    async def ask(self, order_id: str, question: Question) -> dict[str, Any]:
        """The whole answer as a JSON object. Raises like `asking`."""
        async with self.asking(order_id, question) as lines:
            answered = [line async for line in lines]
        plain: dict[str, Any] = msgspec.to_builtins(answered[-1])
        found = {name: value for name, value in plain.items() if name not in ("type", "n", "last")}
        text = "".join(line.text for line in answered)
        return {**found, "text": text} if question.prompt is not None else found

    async def _line(self, order: OpenOrder) -> _Line:
        if order.state != "running" or order.data.get("report"):
            ended = order.final or bool(order.data.get("report"))
            raise Conflict(
                "job_ended" if ended else "job_not_ready",
                "The job has ended." if ended else "The job has not begun yet.",
                "Order it again." if ended else "Ask again when the order says that it runs.",
            )
        async with self._opening:
            line = self._lines.get(order.order_id)
            if line is None:
                line = await self._open(order)
                self._lines[order.order_id] = line
            return line

    async def _open(self, order: OpenOrder) -> _Line:
        if self._nursery is None:
            raise Conflict("starting", "The node is still getting ready to trade.", "Try again in a moment.")
        stream = await self.peers.open_stream(
            order.other, PROTOCOL, timeout_s=OPEN_S, max_frame=MAX_FROM_PROVIDER
        )
        try:
            await stream.send(msgspec.json.encode(First(order=order.order_id)))
        except BaseException:
            await stream.reset()
            raise
        line = _Line(stream=stream)
        self._nursery.start_soon(self._read, order.order_id, line)
        return line

    async def _read(self, order_id: str, line: _Line) -> None:
        """Hand out what comes, until the stream ends; then the next question opens another."""
        try:
            async with line.stream:
                while (raw := await line.stream.receive()) is not None:
                    answer = read_answer(raw)
                    line.open.take(answer, len(raw))
                    line.heard = trio.current_time()
                    if answer.n in line.waiting:
                        line.waiting[answer.n].send_nowait(answer)
        except OpenstallError as error:
            log.info("line to a served model broke", order=order_id, code=error.code)
            line.trouble = error
        finally:
            if self._lines.get(order_id) is line:
                del self._lines[order_id]
            for waiting in line.waiting.values():
                waiting.close()


async def _lines_of(
    line: _Line, receive: trio.MemoryReceiveChannel[Answer], *, most_s: float
) -> AsyncIterator[Answer]:
    """The lines of one answer; no answer can take longer than the job was rented for."""
    asked = trio.current_time()
    while True:
        answer = await _next(line, receive, asked=asked, end=asked + most_s)
        if answer.trouble is not None:
            raise Refused(answer.trouble.code, answer.trouble.words)
        yield answer
        if answer.last:
            return


async def _next(
    line: _Line, receive: trio.MemoryReceiveChannel[Answer], *, asked: float, end: float
) -> Answer:
    """The next line, for as long as there are signs of life."""
    while True:
        until = min(max(asked, line.heard) + ANSWER_S, end)
        with trio.move_on_at(until):
            try:
                return await receive.receive()
            except trio.EndOfChannel:
                raise line.trouble or PeerError(
                    "peer_silent",
                    "The provider takes no questions (any more).",
                    "Look at the order: the job may have ended, or is just about to begin.",
                ) from None
        if until >= end:
            raise PeerError(
                "peer_silent",
                "The answer was not complete within the time for which the job is rented.",
                "Ask for less, or rent the model for longer.",
            )
        if until >= max(asked, line.heard) + ANSWER_S:
            raise PeerError(
                "peer_silent", f"Nothing was heard of the job for {ANSWER_S:.0f} s.", "Try again later."
            )
