"""The buyer's side of a job: set money aside, follow the job, pay by the second, fetch what came out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import Live, OpenOrder, OrderDesk
from openstall.app.services.orders.job_checkpoints import BroughtCheckpoints
from openstall.app.services.orders.job_failover import Failover
from openstall.app.services.orders.job_follow import RATE
from openstall.app.services.orders.job_logbook import Logbook
from openstall.app.services.orders.job_results import JobResults
from openstall.app.services.orders.job_wire import (
    MAX_FRAME,
    PROTOCOL,
    FromBuyer,
    FromProvider,
    Line,
    clip,
    read_from_provider,
    write,
)
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.threads import Workers
from openstall.market import canonical
from openstall.market.errors import ChainError, InvalidOrder, PeerError, Refused
from openstall.market.metering import Tick, read_tick, start_of_job
from openstall.market.orders.machine import COMPUTE
from openstall.market.orders.protocols import expect
from openstall.market.orders.results import read_report
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Pace, Rate, RateBudget
from openstall.p2p.nurseries import single_errors
from openstall.store.job_log import JobLog

OPEN_S = 20.0
LOOK_S = 5.0
"""How often a follower looks whether chain or clock want something else."""
STOPPING_S = 20
"""Seconds of work after a cancel that are still paid: the word has to arrive, and the job to end."""
STAGES = {"working": "Running", "paused": "Paused by the provider; you pay nothing meanwhile"}
LEAVE_AFTER_S = 60
"""A provider who has not ended the job by then after a cancel is left: the money is taken back."""
FRAMES = Rate(per_s=200, burst=1_000)
"""More than an honest provider sends; who sends more is read no faster."""
_LISTENS = ("funded", "running", "ended")
SILENCE_S = 60.0
"""A provider that says nothing for this long is taken for gone, and the stream is opened again."""


@dataclass(slots=True, kw_only=True)
class JobBuyer:
    """Follows and pays the jobs of orders in which this node is the buyer."""

    desk: OrderDesk
    peers: PeerHost
    negotiation: Negotiation
    channel: ChannelDesk
    blobs: BlobStore
    transfer: BlobTransfer
    access: BlobAccess
    log: JobLog
    folder: Path
    workers: Workers
    failover: Failover
    _pace: Pace = field(default_factory=lambda: Pace(RATE))
    _results: JobResults = field(init=False)
    _checkpoints: BroughtCheckpoints = field(init=False)

    def __post_init__(self) -> None:
        self._results = JobResults(
            desk=self.desk, blobs=self.blobs, transfer=self.transfer, folder=self.folder
        )
        self._checkpoints = BroughtCheckpoints(desk=self.desk, blobs=self.blobs, transfer=self.transfer)

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        if order.state in ("proposed", "agreed"):
            await self._agree(order)
            return
        order = await self.channel.catch_up(order)
        if not order.final:
            order = await self._take_exit(order)
        if order.data.get("cancel_requested") and not order.data.get("report") and not order.final:
            await self.cancel_now(order)
        if order.waits_for_report and await self._results.give_up_if_hopeless(order):
            return
        if self._listens(order):
            order = await self._hear(order)
        if order.waits_for_results and not await self._results.give_up_if_hopeless(order):
            await self._bring_results(order)
        if not order.final:
            order = await self.channel.catch_up(await self.desk.load(order.order_id))
        await self.failover.look(order)

    async def _agree(self, order: OpenOrder) -> None:
        """Get the provider's signature, then set the money aside; step back where the job has moved on."""
        if order.state == "proposed":
            if order.moved_on and not self._overdue(order):
                return
            try:
                await self.negotiation.propose(order)
            except PeerError:
                await self.failover.look(await self.desk.load(order.order_id))
                raise
        elif order.moved_on and not await self.channel.started(order, "fund"):
            await self.negotiation.step_back(order, "Another provider does the job.")
        else:
            await self._fund(order)

    def _listens(self, order: OpenOrder) -> bool:
        """Whether the provider still has something to say that is wanted."""
        wanted = order.waits_for_report or (order.state in _LISTENS and not self._all_paid(order))
        return wanted and "fault" not in order.data and not order.moved_on

    async def _hear(self, order: OpenOrder) -> OpenOrder:
        """Listen; a provider who is caught is left, one who is silent is noted."""
        try:
            return await self._listen(order)
        except InvalidOrder as error:
            await self._fall_out(order, error)
            raise
        except PeerError:
            silent = await self.desk.load(order.order_id)
            if "silent_since" not in silent.data:
                await self.desk.patch(order.order_id, silent_since=self.desk.now())
            moved = await self.failover.look(await self.desk.load(order.order_id))
            if moved.moved_on:
                return moved
            raise

    async def _fall_out(self, order: OpenOrder, error: InvalidOrder) -> None:
        """A provider who was caught is not paid any more."""
        cancel_at = order.data.get("cancel_at", self.desk.now())
        await self.desk.patch(
            order.order_id, fault=error.as_dict(), cancel_requested=True, cancel_at=cancel_at
        )

    async def _bring_results(self, order: OpenOrder) -> None:
        try:
            await self._results.bring(order)
        except PeerError:
            # Perhaps the last voucher was lost on its way: the next stream begins with it.
            await self.desk.patch(order.order_id, last_paid=False)
            raise
        done = await self.desk.load(order.order_id)
        if done.data.get("result") == "done":
            await self._checkpoints.forget(done)

    def _all_paid(self, order: OpenOrder) -> bool:
        return bool(order.data.get("report")) and bool(order.data.get("last_paid"))

    async def _fund(self, order: OpenOrder) -> None:
        terms = order.contract.compute
        if not await self.channel.started(order, "fund"):
            if (await self.channel.catch_up(order)).state != order.state:
                return  # the chain shows money that these books did not know of
            if order.data.get("cancel_requested"):
                await self.negotiation.step_back(order, "You stepped back before paying.")
                return
            if self.desk.now() > terms.fund_by:
                await self.desk.advance(order, "lapse", actor="clock", words="The time to pay ran out.")
                return
        for item in terms.inputs:
            self.access.grant(item.blob.cid, order.other)
        await self.channel.open(order)
        await self.channel.catch_up(order)

    async def _take_exit(self, order: OpenOrder) -> OpenOrder:
        """The timed way back of the buyer's money when the provider falls silent."""
        if self._wants_out(order) and COMPUTE.allows(order.state, "start_withdraw"):
            await self.channel.start_withdraw(order)
        elif self._overdue(order) and COMPUTE.allows(order.state, "withdraw"):
            await self.channel.withdraw(order)
        else:
            return order
        return await self.channel.catch_up(order)

    def _overdue(self, order: OpenOrder) -> bool:
        return order.deadline_at is not None and self.desk.now() > order.deadline_at

    def _wants_out(self, order: OpenOrder) -> bool:
        """The deadline has passed, the job has moved on, or the provider does not stop when told to."""
        cancel_at = order.data.get("cancel_at")
        left = cancel_at is not None and self.desk.now() > int(cancel_at) + LEAVE_AFTER_S
        return self._overdue(order) or ((left or order.moved_on) and not order.data.get("report"))

    def _silence_s(self, order: OpenOrder) -> float:
        """How long the stream may be silent: no longer than a buyer who would go elsewhere waits."""
        waits = int(order.data.get("tries_left", 0)) > 0
        return min(SILENCE_S, float(order.data["patience_s"])) if waits else SILENCE_S

    async def cancel_now(self, order: OpenOrder) -> None:
        """Ask the provider to end the job now; without an answer the engine asks again."""
        try:
            await self.negotiation.cancel_job(order)
        except (PeerError, Refused) as error:
            self.desk.set_trouble(order.order_id, error)

    async def _listen(self, order: OpenOrder) -> OpenOrder:
        """Follow the job for as long as neither the chain nor the clock asks for something else."""
        with single_errors():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_due, order.order_id, nursery.cancel_scope)
                nursery.start_soon(self._checkpoints.bring, order)
                await self._follow(order)
                nursery.cancel_scope.cancel()
        return await self.desk.load(order.order_id)

    async def _until_due(self, order_id: str, scope: trio.CancelScope) -> None:
        """A provider who keeps talking must not keep the buyer from its timed way out."""
        while True:
            await trio.sleep(LOOK_S)
            try:
                order = await self.channel.catch_up(await self.desk.load(order_id))
            except ChainError as error:
                self.desk.set_trouble(order_id, error)
                continue
            if order.state not in _LISTENS or self._wants_out(order):
                scope.cancel()

    async def _follow(self, order: OpenOrder) -> OpenOrder:
        """Stay on the job's stream until its report is here and the last tick is paid."""
        next_line = await self.workers.store(self.log.next_seq, order.order_id)
        await self._pace.turn(order.other)
        async with await self.peers.open_stream(
            order.other, PROTOCOL, timeout_s=OPEN_S, max_frame=MAX_FRAME
        ) as stream:
            await stream.send(write(FromBuyer(follow=order.order_id, from_log=next_line)))
            held = await self.channel.held(order)
            if held is not None:  # it may have been lost with the stream before
                await stream.send(write(FromBuyer(voucher_micro=held[0], voucher_signature=held[1])))
            last = _last_tick(order)
            pace = RateBudget(FRAMES)
            while not self._all_paid(order):
                raw = await stream.receive(timeout_s=self._silence_s(order))
                if raw is None:
                    raise PeerError(
                        "peer_silent",
                        "The provider closed the job's log.",
                        "Nothing more is paid until it answers.",
                    )
                if "silent_since" in order.data:
                    await self.desk.patch(order.order_id, silent_since=None)
                    order = await self.desk.load(order.order_id)
                if not pace.take(order.order_id):
                    await trio.sleep(1 / FRAMES.per_s)
                order, last = await self._take(order, read_from_provider(raw), stream, last)
        return order

    async def _take(
        self, order: OpenOrder, message: FromProvider, stream: Framed, last: Tick | None
    ) -> tuple[OpenOrder, Tick | None]:
        _check_expected(order, message)
        if message.lines:
            await self._keep_lines(order.order_id, message.lines)
        if message.entries:
            order = await self._start(order, message.entries)
        if message.checkpoint is not None:
            self._checkpoints.hear(order.order_id, message.checkpoint)
        if message.phase == "waiting":
            self.desk.progress(order.order_id, _waiting_words(message.ahead), 0, 0, "")
        elif message.phase or message.total:
            live = self.desk.live.setdefault(order.order_id, Live())
            stage = STAGES.get(message.phase) or live.stage or STAGES["working"]
            done, total = (message.done, message.total) if message.total else (live.done, live.total)
            self.desk.progress(order.order_id, stage, done, total, "steps")
        if message.tick and not order.final:
            last = await self._pay(order, message.tick, stream, last)
        if message.report and not order.data.get("report"):
            order = await self._end(order, canonical.encode(message.report))
        if order.data.get("report") and (last is None or last.seconds >= int(order.data["seconds"])):
            await self.desk.patch(order.order_id, last_paid=True)
            order = await self.desk.load(order.order_id)
        return order, last

    async def _start(self, order: OpenOrder, entries: Sequence[Any]) -> OpenOrder:
        """The job has started, as the provider has signed."""
        chain = await self.negotiation.transcripts.take(order.contract, order.other, entries)
        told = next((one.entry for one in chain if one.entry.kind == "start"), None)
        if told is None or not COMPUTE.allows(order.state, "start"):
            return order
        started_at = start_of_job(
            told=told.at,
            promised_micro=await self.channel.highest(order),
            price_per_s_micro=order.contract.compute.price_per_s_micro,
            now=self.desk.now(),
        )
        return await self.desk.advance(
            order,
            "start",
            actor="other",
            words="The job started in the provider's sandbox.",
            data={"started_at": started_at},
        )

    async def _pay(
        self, order: OpenOrder, tick: dict[str, object], stream: Framed, last: Tick | None
    ) -> Tick:
        """A voucher for a tick that is right by the contract and by our own clock.

        Raises:
            InvalidOrder: the meter is wrong; nothing more is paid, and the error says why.
        """
        now = self.desk.now()
        started_at = int(order.data.get("started_at", now))  # without a start nothing is owed
        if "cancel_at" in order.data:
            now = min(now, int(order.data["cancel_at"]) + STOPPING_S)
        checked = read_tick(
            canonical.encode(tick), order.contract, last=last, elapsed_s=max(0, now - started_at)
        )
        if last is None or checked.owed_micro > last.owed_micro:
            signature = await self.channel.pay(order, checked.owed_micro)
            await self.desk.patch(
                order.order_id,
                seconds=checked.seconds,
                owed_micro=checked.owed_micro,
                tick=msgspec.to_builtins(checked),
                signed_tick=base64.b64encode(canonical.encode(tick)).decode(),
            )
            await stream.send(write(FromBuyer(voucher_micro=checked.owed_micro, voucher_signature=signature)))
        return checked

    async def _end(self, order: OpenOrder, raw: bytes) -> OpenOrder:
        report = read_report(raw, order.contract).report
        kept = {
            "report": base64.b64encode(raw).decode(),
            "seconds": report.seconds,
            "result": report.state,
            "reason": report.reason,
        }
        if order.final:  # the settlement was seen first
            await self.desk.patch(order.order_id, **kept, last_paid=True)
            return await self.desk.load(order.order_id)
        return await self.desk.advance(order, "end", actor="other", words=report.words, data=kept)

    async def _keep_lines(self, order_id: str, lines: list[Line]) -> None:
        """Keep a page of lines; one that repeats or skips numbers is ignored."""
        following = await self.workers.store(self.log.next_seq, order_id)
        texts: list[str] = []
        for line in lines:
            if line.seq == following + len(texts):
                texts.append(clip(line.text))
        if texts:
            log = Logbook(order_id=order_id, desk=self.desk, log=self.log, workers=self.workers)
            await log.keep(texts)


def _check_expected(order: OpenOrder, message: FromProvider) -> None:
    """Raises Unexpected where what changes the order is not due; see the table of the protocol."""
    said = {"start": message.entries, "tick": message.tick, "report": message.report}
    for name, value in said.items():
        if value:
            expect("job", name, kind=order.kind, sender="seller", receiver="buyer", state=order.state)


def _waiting_words(ahead: int) -> str:
    if not ahead:
        return "Next in line for a place on the provider's machine"
    return f"Waiting for a place on the provider's machine: {ahead} before you"


def _last_tick(order: OpenOrder) -> Tick | None:
    """The last tick that was paid, from the books: a new stream must not let the meter run backwards."""
    kept = order.data.get("tick")
    return msgspec.convert(kept, Tick) if kept else None
