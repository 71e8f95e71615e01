"""The provider's side of a job: take it when the money is set aside, run it, meter it, settle."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import trio

from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_checkpoints import OfferedCheckpoints
from openstall.app.services.orders.job_ends import end_words, job_spec, not_run, too_late
from openstall.app.services.orders.job_inputs import JobInputs
from openstall.app.services.orders.job_line import JobLine
from openstall.app.services.orders.job_logbook import Logbook
from openstall.app.services.orders.job_meter import meter
from openstall.app.services.orders.job_places import Places, note
from openstall.app.services.orders.job_wire import clip
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.orders.transcripts import TranscriptDesk
from openstall.app.services.rigs.events import Energy, JobRunner, MachineEvent, Standing
from openstall.app.services.rigs.machines import needs_of
from openstall.app.threads import Workers
from openstall.compute_agent.serving import Answer
from openstall.compute_agent.specs import (
    Checkpoint,
    FirstOutput,
    JobResult,
    JobSpec,
    LogLine,
    Progress,
    UsageTick,
)
from openstall.market.errors import (
    ChainError,
    InvalidOrder,
    NotFound,
    PeerError,
    SandboxError,
    StoreError,
)
from openstall.market.fields import BlobRef
from openstall.market.orders.agree import SETTLE_AFTER_S
from openstall.market.orders.documents import InputFile
from openstall.market.orders.line import head_start_s
from openstall.market.orders.machine import COMPUTE
from openstall.market.orders.results import JobReport, sign_report
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.nurseries import single_errors
from openstall.store.job_log import JobLog

LAPSE_GRACE_S = 120
LAST_VOUCHER_WAIT_S = 60
"""How long the provider waits for the voucher of the last seconds before it settles with the one before."""
CHANNEL_POLL_S = 5.0
_BEFORE_THE_END = ("agreed", "funded", "running")


@dataclass(slots=True, kw_only=True)
class JobProvider:
    """Runs the jobs of orders in which this node is the provider."""

    desk: OrderDesk
    channel: ChannelDesk
    transcripts: TranscriptDesk
    agent: JobRunner
    blobs: BlobStore
    transfer: BlobTransfer
    access: BlobAccess
    log: JobLog
    folder: Path
    seed: bytes
    workers: Workers
    wake: Callable[[str], None]
    places: Places
    """Where the owner lets jobs run."""
    begun: Callable[[], None]
    """Called when a job has begun: the owner's house looks at it from now on."""
    account: Callable[[OpenOrder, RunningJob], Awaitable[dict[str, Any]]]
    """What the job has earned and used, for the owner's books."""
    jobs: dict[str, RunningJob] = field(default_factory=dict)
    line: JobLine = field(default_factory=JobLine)
    _beginnings: WeakValueDictionary[str, trio.Event] = field(default_factory=WeakValueDictionary)
    """For as long as somebody waits for one."""
    _inputs: JobInputs = field(init=False)
    _checkpoints: OfferedCheckpoints = field(init=False)
    _tills: dict[str, trio.Lock] = field(default_factory=dict)
    _closing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._inputs = JobInputs(
            desk=self.desk, blobs=self.blobs, transfer=self.transfer, workers=self.workers
        )
        self._checkpoints = OfferedCheckpoints(
            desk=self.desk, blobs=self.blobs, access=self.access, workers=self.workers
        )

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        order = await self.channel.catch_up(order)
        if order.final:
            self.places.leave(order.order_id)
            await self._checkpoints.forget(order.order_id)
        if order.state == "funded":
            terms = order.contract.compute
            head_s = head_start_s(terms.price_per_s_micro, terms.priority_per_s_micro)
            self.line.enter(order.order_id, order.entered_at, head_s)
        else:
            self.line.leave(order.order_id)
            self._no_longer_waits(order.order_id)
        now = self.desk.now()
        match order.state:
            case "proposed" | "agreed" if now > order.contract.compute.fund_by + LAPSE_GRACE_S:
                await self.desk.advance(order, "lapse", actor="clock", words="The buyer did not pay in time.")
            case "funded" if now > order.contract.compute.start_by:
                await self._finish(order, too_late(order))
            case "funded" if await self._has_place(order):
                await self._at_its_place(order)
            case "running":
                words = "The provider's node was restarted while the job ran."
                await self._finish(order, not_run("provider_restarted", words))
            case "ended" | "withdrawing":
                await self._settle(order)

    async def _has_place(self, order: OpenOrder) -> bool:
        before = self.line.before(order.order_id)
        return await self.places.take(order.order_id, needs_of(order.contract.compute), before)

    async def _at_its_place(self, order: OpenOrder) -> None:
        """Run a job while it holds a place; then the next in line is woken."""
        self.line.leave(order.order_id)
        try:
            await self._run(order)
        finally:
            self.places.leave(order.order_id)
            if self.line.first is not None:
                self.wake(self.line.first)

    def beginning(self, order_id: str) -> trio.Event:
        """Set when the job of a paid order begins, or is to wait no longer for another reason."""
        return self._beginnings.setdefault(order_id, trio.Event())

    def _no_longer_waits(self, order_id: str) -> None:
        event = self._beginnings.pop(order_id, None)
        if event is not None:
            event.set()

    async def cancel(self, order: OpenOrder) -> None:
        """End the job on the buyer's word; without a job, end the order's work now."""
        job = self.jobs.get(order.order_id)
        if job is not None:
            job.stop = "cancelled"
            await self.agent.cancel(order.order_id)
        elif order.state == "funded":
            await self._finish(
                order, not_run("cancelled", "The buyer cancelled before the start.", state="cancelled")
            )
            self.wake(order.order_id)

    async def stop(self, order: OpenOrder) -> None:
        """End the job on the owner's word; one that waits for its place is not begun."""
        if order.order_id not in self.jobs and order.state == "funded":
            words = "The provider stopped the job before its start."
            await self._finish(order, not_run("owner_stopped", words, state="cancelled"))
            self.wake(order.order_id)
            return
        await self.end(order.order_id, "owner_stopped")

    async def end(self, order_id: str, why: str) -> None:
        """End the job if it runs and nothing else has ended it yet; see `job_ends` for the reasons."""
        job = self.jobs.get(order_id)
        if job is not None and not job.stop:
            job.stop = why
            await self.agent.cancel(order_id)

    async def accept_voucher(self, order: OpenOrder, amount_micro: int, signature: str) -> None:
        """Keep a voucher of the buyer if it is valid and higher than the last.

        Raises:
            InvalidOrder: not the buyer's, above the deposit, or too late to be claimed: such a promise
                must not open the results.
        """
        async with self._till(order.order_id):
            if amount_micro <= await self.channel.highest(order):
                return
            if not await self._payable(order.order_id):
                raise InvalidOrder(
                    "channel_closed", "The voucher came after the settlement. It pays for nothing."
                )
            paid = await self.channel.accept(order, amount_micro, signature)
            self.access.note_paid(order.order_id, paid)
        job = self.jobs.get(order.order_id)
        if job is not None:
            job.paid_micro = paid
        self.wake(order.order_id)

    def _till(self, order_id: str) -> trio.Lock:
        """Held while a voucher is taken in, and when the last one is chosen: it is one after the other."""
        return self._tills.setdefault(order_id, trio.Lock())

    async def _payable(self, order_id: str) -> bool:
        """Whether the chain would still pay for a voucher."""
        order = await self.desk.load(order_id)
        if order.final or order_id in self._closing or await self.channel.started(order, "close"):
            return False
        return order.state in _BEFORE_THE_END or await self.channel.is_open(order)

    async def _run(self, order: OpenOrder) -> None:
        place = self.folder / order.order_id[:24]
        await self.workers.work(shutil.rmtree, place, ignore_errors=True)  # of a job that was killed
        try:
            spec = await self._prepare(order, place / "in")
            if spec is not None:
                await self._work(order, spec, place)
        except PeerError:
            raise  # the buyer may come back: the inputs that came so far stay
        except (InvalidOrder, NotFound, SandboxError, StoreError) as error:
            now = await self.desk.load(order.order_id)
            if now.state != "funded":
                raise
            await self._finish(now, not_run(error.code, error.message))
        finally:
            await self.workers.work(shutil.rmtree, place, ignore_errors=True)
        await self._inputs.forget(order.order_id)  # also where the order was ended from elsewhere

    async def _prepare(self, order: OpenOrder, inputs: Path) -> JobSpec | None:
        """A job that may start, with its inputs in place; None where it was ended meanwhile."""
        spec = job_spec(order)
        left_s = order.contract.compute.start_by - self.desk.now()
        with trio.move_on_after(max(0, left_s)) as start_by:
            await self._inputs.bring(order, inputs)
        if start_by.cancelled_caught:
            raise InvalidOrder("inputs_late", "The buyer's data did not come in time.")
        now = await self.channel.catch_up(await self.desk.load(order.order_id))
        # a machine that was lost meanwhile: the job looks for another place
        return spec if now.state == "funded" and self.places.connected(order.order_id) else None

    async def _work(self, order: OpenOrder, spec: JobSpec, place: Path) -> None:
        job = RunningJob(started_at=self.desk.now(), machine=self.places.machine_of(order.order_id))
        await self.transcripts.say(order.contract, "start")
        order = await self.desk.advance(
            order,
            "start",
            actor="you",
            words="The job started in the sandbox.",
            data={"started_at": job.started_at},
        )
        if order.state != "running":
            return  # cancelled in this very moment
        self.jobs[order.order_id] = job
        self._no_longer_waits(order.order_id)
        states = place / "states"
        await self.workers.work(states.mkdir)
        log = job.log = Logbook(
            order_id=order.order_id, desk=self.desk, log=self.log, workers=self.workers, kept=job.tell
        )
        self.begun()
        try:
            with single_errors():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._stop_when_withdrawn, order, job)
                    nursery.start_soon(log.keep_regularly)
                    result = await self.agent.run(
                        spec,
                        place / "in",
                        place / "out",
                        lambda event: self._on_event(order, job, log, event, states),
                        checkpoints=states,
                    )
                    nursery.cancel_scope.cancel()
            await log.flush()
            await self._finish(order, result, job, place / "out")
        finally:
            self.jobs.pop(order.order_id, None)
            job.tell()

    async def _stop_when_withdrawn(self, order: OpenOrder, job: RunningJob) -> None:
        """A buyer who asks for the money back wants no more work; nor can one be paid after the deadline."""
        latest = order.contract.compute.settle_by - SETTLE_AFTER_S
        while not job.stop:
            await trio.sleep(CHANNEL_POLL_S)
            if self.desk.now() >= latest:
                await self.end(order.order_id, "deadline")
                return
            try:
                withdrawing = await self.channel.withdrawing(order)
            except ChainError as error:
                self.desk.set_trouble(order.order_id, error)
                continue
            if withdrawing:
                job.stop = "withdrawn"
                await self.agent.cancel(order.order_id)

    async def _on_event(
        self, order: OpenOrder, job: RunningJob, log: Logbook, event: MachineEvent, states: Path
    ) -> None:
        match event:
            case LogLine(text=text):
                await log.add(clip(text))
            case Progress(done=done, total=total):
                job.done, job.total = done, total
                self.desk.progress(order.order_id, "Running", done, total, "steps")
            case Checkpoint():
                owed_micro = job.tick.owed_micro if job.tick else 0
                job.checkpoint = await self._checkpoints.offer(order, states, event, owed_micro)
            case FirstOutput():
                await self.desk.patch(order.order_id, first_output_at=self.desk.now())
            case UsageTick(usage=usage):
                why = await meter(self.desk, order, job, usage.seconds_useful, seed=self.seed)
                if why:
                    await self.end(order.order_id, why)
            case Standing() | Energy():
                await note(self.desk, order.order_id, job, event)
            case Answer() if job.on_answer is not None:
                job.on_answer(event)
        job.tell()

    async def _finish(
        self, order: OpenOrder, result: JobResult, job: RunningJob | None = None, folder: Path | None = None
    ) -> None:
        """Sign the report, keep the artefacts, and let the order end."""
        if job is not None:
            await meter(self.desk, order, job, result.usage.seconds_useful, seed=self.seed)
        outputs = []
        # A buyer who is taking the money back gets no results, and hashing them could outlast the delay.
        if folder is not None and not (job and job.stop == "withdrawn"):
            for item in result.outputs:
                info = await self.blobs.add_file(folder / item.name)
                outputs.append(
                    InputFile(name=item.name, blob=BlobRef(cid=info.cid, size=info.size, sha256=info.sha256))
                )
        earning = await self.account(order, job) if job is not None else None
        tick = job.tick if job else None
        seconds = tick.seconds if tick else int(order.data.get("seconds", 0))
        amount = tick.owed_micro if tick else int(order.data.get("owed_micro", 0))
        state, reason, words = end_words(result, job.stop if job else "")
        report = JobReport(
            order=order.order_id,
            state=state,
            reason=reason[:120],
            words=words[:2000],
            seconds=seconds,
            owed_micro=amount,
            outputs=outputs,
            at=self.desk.now(),
        )
        signed = sign_report(report, order.contract, self.seed)
        await self.desk.advance(
            order,
            "end",
            actor="you",
            words=words,
            data={
                "report": base64.b64encode(signed.raw).decode(),
                **({"tick": base64.b64encode(job.tick_raw).decode()} if job and job.tick_raw else {}),
                "seconds": seconds,
                "owed_micro": amount,
                **({"paused_s": job.paused_s, "steps": job.done} if job else {}),
                "artefacts": [item.blob.cid for item in outputs],
                **({"earning": earning} if earning else {}),
            },
        )
        self.access.grant_artefacts(order.order_id, order.other, [item.blob.cid for item in outputs], amount)
        await self._inputs.forget(order.order_id)

    async def _settle(self, order: OpenOrder) -> None:
        """Close the channel with the highest voucher; the buyer gets the rest in the same transaction."""
        if not COMPUTE.allows(order.state, "close"):
            return
        paid = await self.channel.highest(order)
        waited = self.desk.now() - order.entered_at
        if (
            order.state == "ended"
            and paid < int(order.data.get("owed_micro", 0))
            and waited < LAST_VOUCHER_WAIT_S
        ):
            return
        async with self._till(order.order_id):
            self._closing.add(order.order_id)
        try:
            await self.channel.close(order)
        finally:
            if not await self.channel.started(order, "close"):
                self._closing.discard(order.order_id)
        order = await self.channel.catch_up(order)
        await self._inputs.forget(order.order_id)
        if order.final:
            await self._checkpoints.forget(order.order_id)
