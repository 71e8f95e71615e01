"""The provider's side of a served model: its buyer's questions go to the job, the answers to its buyer."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import trio

from openstall.app.logging import get_logger
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.orders.serve_wire import MAX_FROM_BUYER, PROTOCOL, read_first
from openstall.app.services.rigs.events import JobRunner
from openstall.compute_agent.serving import Answer, Trouble, read_question
from openstall.market.errors import OpenstallError, PeerError, SandboxError
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate, RateBudget
from openstall.p2p.nurseries import single_errors

RATE = Rate(per_s=1, burst=40)
FIRST_FRAME_S = 15.0
QUESTIONS = Rate(per_s=20, burst=40)
"""Who asks faster is read no faster."""

MOST_UNREAD = 64
"""Answers, or pieces of them, that may wait for a buyer to read them."""

log = get_logger("openstall.jobs")


@dataclass(slots=True, kw_only=True)
class ServeDesk:
    """Serves `/openstall/serve/1`."""

    desk: OrderDesk
    peers: PeerHost
    provider: JobProvider
    agent: JobRunner
    _streams: dict[str, trio.CancelScope] = field(default_factory=dict)

    def serve(self) -> None:
        """Take questions from now on."""
        self.peers.serve_stream(PROTOCOL, self._talk, max_frame=MAX_FROM_BUYER, per_peer_rate=RATE)

    async def _talk(self, peer_id: str, stream: Framed) -> None:
        order = await self._order(peer_id, stream)
        job = self.provider.jobs.get(order.order_id)
        if job is None:
            return  # it does not run: the buyer sees the stream end
        before = self._streams.get(order.order_id)
        if before is not None:
            before.cancel()  # one stream per order: a buyer who opens many costs no more than one
        talk = _Talk(order_id=order.order_id, job=job, stream=stream, agent=self.agent)
        with single_errors():
            async with trio.open_nursery() as nursery:
                scope = self._streams[order.order_id] = nursery.cancel_scope
                nursery.start_soon(talk.send)
                nursery.start_soon(talk.take, scope)
                nursery.start_soon(talk.left_alone, scope)
                try:
                    while self.provider.jobs.get(order.order_id) is job:
                        await job.changed.wait()
                finally:
                    talk.leave()
                    if self._streams.get(order.order_id) is scope:
                        del self._streams[order.order_id]
                scope.cancel()

    async def _order(self, peer_id: str, stream: Framed) -> OpenOrder:
        raw = await stream.receive(timeout_s=FIRST_FRAME_S)
        order = await self.desk.find(read_first(raw).order) if raw is not None else None
        if (
            order is None
            or order.role != "seller"
            or order.kind != "compute"
            or order.contract.order.buyer != peer_id
            or order.contract.compute.job_kind != "serve"
        ):
            raise PeerError("no_such_order", "A peer asked a model of an order that is not its own.")
        return order


class _Talk:
    """One stream of one buyer with one job. The buyer's numbers are its own; the job is asked by ours."""

    def __init__(self, *, order_id: str, job: RunningJob, stream: Framed, agent: JobRunner) -> None:
        self._order_id = order_id
        self._job = job
        self._stream = stream
        self._agent = agent
        self._theirs: dict[int, int] = {}
        # a job may write no more than the answers that are open; a buyer who lets them lie here is left
        self._put, self._waiting = trio.open_memory_channel[Answer](MOST_UNREAD)
        self._unread = trio.Event()
        job.on_answer = self._hear

    def leave(self) -> None:
        """Answers that still come are nobody's."""
        if self._job.on_answer == self._hear:
            self._job.on_answer = None

    async def take(self, scope: trio.CancelScope) -> None:
        """Questions, until the buyer leaves or breaks the rules."""
        pace = RateBudget(QUESTIONS)
        try:
            while (raw := await self._stream.receive()) is not None:
                if not pace.take(self._order_id):
                    await trio.sleep(1 / QUESTIONS.per_s)
                await self._ask(raw)
        except OpenstallError as error:
            log.info("asker left", order=self._order_id, code=error.code)
        scope.cancel()

    async def _ask(self, raw: bytes) -> None:
        question = read_question(raw)
        self._job.asked += 1
        mine = self._job.asked
        self._theirs[mine] = question.n
        try:
            await self._agent.ask(self._order_id, msgspec.structs.replace(question, n=mine))
        except SandboxError as error:
            self._hear(Answer(n=mine, trouble=Trouble(code=error.code, words=error.message), last=True))

    def _hear(self, answer: Answer) -> None:
        theirs = self._theirs.get(answer.n)
        if theirs is None:
            return  # the question of an earlier stream
        if answer.last:
            del self._theirs[answer.n]
        try:
            self._put.send_nowait(msgspec.structs.replace(answer, n=theirs))
        except trio.WouldBlock:
            self.leave()
            self._unread.set()

    async def left_alone(self, scope: trio.CancelScope) -> None:
        """End the stream of a buyer who does not read; the job goes on, and may be asked on another."""
        await self._unread.wait()
        log.info("asker does not read", order=self._order_id)
        scope.cancel()

    async def send(self) -> None:
        """Answers, as they come."""
        async for answer in self._waiting:
            await self._stream.send(msgspec.json.encode(answer))
