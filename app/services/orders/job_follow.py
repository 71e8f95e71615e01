"""The provider tells followers of a job what happens, and takes their vouchers, over one stream each."""

from __future__ import annotations

import base64
from typing import Any

import trio

from openstall.app.logging import get_logger
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.job_wire import (
    MAX_FRAME,
    MAX_LINES,
    PROTOCOL,
    FromProvider,
    Line,
    read_from_buyer,
    write,
)
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.orders.transcripts import TranscriptDesk
from openstall.app.threads import Workers
from openstall.market import canonical
from openstall.market.errors import OpenstallError, PeerError
from openstall.market.orders.protocols import expect
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate, RateBudget
from openstall.store.job_log import JobLog

RATE = Rate(per_s=1, burst=40)
"""A buyer comes back with all of its jobs at once when a connection was lost."""
FIRST_FRAME_S = 15.0
BETWEEN_JOBS_S = 2.0
"""How often a follower of a job that does not run looks at the books, besides the moment when it begins."""
LEAST_GAP_S = 0.05
"""Between two frames of a running job; what happened meanwhile comes together."""
VOUCHERS = Rate(per_s=5, burst=100)
SPARE_BYTES = 4096
LINE_BYTES = 64
"""What a line costs in a frame besides its text."""
IDLE_S = 15.0
"""A frame is sent at least this often, so that a dead follower is noticed."""

log = get_logger("openstall.jobs")


class JobFollow:
    """Serves `/openstall/job/1`."""

    def __init__(
        self,
        *,
        desk: OrderDesk,
        peers: PeerHost,
        provider: JobProvider,
        transcripts: TranscriptDesk,
        log: JobLog,
        workers: Workers,
    ) -> None:
        self._desk = desk
        self._peers = peers
        self._provider = provider
        self._transcripts = transcripts
        self._log = log
        self._workers = workers
        self._followers: dict[str, trio.CancelScope] = {}

    def serve(self) -> None:
        """Answer followers from now on."""
        self._peers.serve_stream(PROTOCOL, self._follow, max_frame=MAX_FRAME, per_peer_rate=RATE)

    async def _follow(self, peer_id: str, stream: Framed) -> None:
        raw = await stream.receive(timeout_s=FIRST_FRAME_S)
        if raw is None:
            return
        first = read_from_buyer(raw)
        order = await self._desk.find(first.follow)
        if order is None or order.contract.order.buyer != peer_id:
            raise PeerError("no_such_order", "A peer asked to follow an order that is not its own.")
        expect("job", "follow", kind=order.kind, sender="buyer", receiver=order.role, state=order.state)
        before = self._followers.get(order.order_id)
        if before is not None:
            before.cancel()  # one stream per order: a buyer who opens many costs no more than one
        async with trio.open_nursery() as nursery:
            self._followers[order.order_id] = nursery.cancel_scope
            nursery.start_soon(self._take_vouchers, order, stream, nursery.cancel_scope)
            try:
                await self._tell(order, stream, first.from_log)
                await trio.sleep(IDLE_S)  # time for the voucher of the last tick
            except PeerError as error:
                log.info("follower left", order=order.order_id, code=error.code)
            finally:
                if self._followers.get(order.order_id) is nursery.cancel_scope:
                    del self._followers[order.order_id]
            nursery.cancel_scope.cancel()

    async def _take_vouchers(self, order: OpenOrder, stream: Framed, scope: trio.CancelScope) -> None:
        """Until the buyer closes the stream or sends something that is not a voucher."""
        pace = RateBudget(VOUCHERS)
        try:
            while (raw := await stream.receive()) is not None:
                if not pace.take(order.order_id):
                    await trio.sleep(1 / VOUCHERS.per_s)
                message = read_from_buyer(raw)
                if message.voucher_signature:
                    state = (await self._desk.load(order.order_id)).state
                    expect("job", "voucher", kind=order.kind, sender="buyer", receiver="seller", state=state)
                    await self._provider.accept_voucher(
                        order, message.voucher_micro, message.voucher_signature
                    )
        except OpenstallError as error:
            log.info("follower left", order=order.order_id, code=error.code)
        scope.cancel()

    async def _tell(self, order: OpenOrder, stream: Framed, next_line: int) -> None:
        sent: dict[str, Any] = {}
        heard = trio.current_time()
        while True:
            job = self._provider.jobs.get(order.order_id)
            changed = job.changed if job is not None else self._provider.beginning(order.order_id)
            order = await self._desk.load(order.order_id)
            message, next_line = await self._news(order, sent, next_line)
            if message is not None:
                heard = trio.current_time()
                await stream.send(write(message))
                if message.lines:
                    continue
                if message.report:
                    return
            if order.final and message is None:
                return  # it ended without a report: there is nothing to wait for
            if trio.current_time() > heard + IDLE_S:
                heard = trio.current_time()
                await stream.send(write(FromProvider()))
            with trio.move_on_after(BETWEEN_JOBS_S if job is None else IDLE_S):
                await changed.wait()
            await trio.sleep(LEAST_GAP_S)

    async def _news(
        self, order: OpenOrder, sent: dict[str, Any], next_line: int
    ) -> tuple[FromProvider | None, int]:
        job = self._provider.jobs.get(order.order_id)
        rows = await self._workers.store(self._log.read, order.order_id, start=next_line, limit=MAX_LINES)
        lines = _that_fit([Line(seq=row.seq, text=row.text) for row in rows])
        if lines:
            return FromProvider(lines=lines), lines[-1].seq + 1
        news = await self._signed(order) if "entries" not in sent else {}
        news |= self._standing(order, job)
        fresh = {name: value for name, value in news.items() if sent.get(name) != value}
        sent.update(fresh)
        if "done" in fresh and job is not None:
            fresh["total"] = job.total  # a step without its whole says nothing
        if "ahead" in fresh:
            fresh["phase"] = "waiting"  # nor does a number of others without what they do
        return (FromProvider(**fresh) if fresh else None), next_line

    async def _signed(self, order: OpenOrder) -> dict[str, Any]:
        """What the provider has signed in the order's transcript, once the job has begun."""
        if order.state in ("agreed", "funded"):
            return {}
        return {"entries": await self._transcripts.own(order.contract)}

    def _standing(self, order: OpenOrder, job: RunningJob | None) -> dict[str, Any]:
        """How the job stands, and how it has ended."""
        news: dict[str, Any] = {}
        if job is not None:
            phase = "paused" if job.held_at else "working"
            news = {"done": job.done, "total": job.total, "phase": phase}
            if job.checkpoint is not None:
                news["checkpoint"] = job.checkpoint
            if job.tick_raw:
                news["tick"] = canonical.decode(job.tick_raw)
        elif order.state == "funded":
            news = {"phase": "waiting", "ahead": self._provider.line.ahead(order.order_id)}
        if order.data.get("report"):
            news["report"] = canonical.decode(base64.b64decode(order.data["report"]))
            if order.data.get("tick"):
                news["tick"] = canonical.decode(base64.b64decode(order.data["tick"]))
        return news


def _that_fit(lines: list[Line]) -> list[Line]:
    """As many lines as one frame holds; a letter has up to four bytes, and up to two if it is escaped."""
    room, count = MAX_FRAME - SPARE_BYTES, 0
    for line in lines:
        room -= 2 * len(line.text.encode()) + LINE_BYTES
        if room < 0 and count:
            break
        count += 1
    return lines[:count]
