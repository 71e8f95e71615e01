"""The provider's side of a job: take it when the money is set aside, run it, meter it, settle."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_wire import clip
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import (
    FirstOutput,
    JobEvent,
    JobResult,
    JobSpec,
    Limits,
    LogLine,
    Progress,
    UsageTick,
)
from openstall.market.errors import ChainError, OpenstallError, PeerError
from openstall.market.metering import Tick, owed, sign_tick
from openstall.market.orders.documents import InputFile
from openstall.market.orders.machine import COMPUTE
from openstall.market.orders.results import JobReport, sign_report
from openstall.market.records import BlobRef
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.store.job_log import JobLog

LAPSE_GRACE_S = 120
UNPAID_S = 20
"""A job stops when this many seconds of work are neither paid nor promised."""
LAST_VOUCHER_WAIT_S = 60
"""How long the provider waits for the voucher of the last seconds before it settles with the one before."""
CHANNEL_POLL_S = 5.0
_CPU_SLACK_S = 60


@dataclass(slots=True)
class RunningJob:
    """A job on this machine: what its followers are told, and whether it must end."""

    changed: trio.Event = field(default_factory=trio.Event)
    started_at: int = 0
    useful_since: int = 0
    lines: int = 0
    done: int = 0
    total: int = 0
    tick: Tick | None = None
    tick_raw: bytes = b""
    paid_micro: int = 0
    stop: str = ""

    def tell(self) -> None:
        """Wake the followers."""
        self.changed.set()
        self.changed = trio.Event()


@dataclass(slots=True, kw_only=True)
class JobProvider:
    """Runs the jobs of orders in which this node is the provider."""

    desk: OrderDesk
    channel: ChannelDesk
    agent: AgentClient
    blobs: BlobStore
    transfer: BlobTransfer
    access: BlobAccess
    log: JobLog
    folder: Path
    seed: bytes
    workers: Workers
    wake: Callable[[str], None]
    jobs: dict[str, RunningJob] = field(default_factory=dict)

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        order = await self.channel.catch_up(order)
        now = self.desk.now()
        match order.state:
            case "agreed" if now > order.contract.compute.fund_by + LAPSE_GRACE_S:
                await self.desk.advance(order, "lapse", actor="clock", words="The buyer did not pay in time.")
            case "funded" if now > order.contract.compute.start_by:
                await self._finish(order, _not_run("too_late", "The job could not start in time."))
            case "funded":
                await self._run(order)
            case "running":
                words = "The provider's node was restarted while the job ran."
                await self._finish(order, _not_run("provider_restarted", words))
            case "ended" | "withdrawing":
                await self._settle(order)

    async def cancel(self, order: OpenOrder) -> None:
        """End the job on the buyer's word; without a job, end the order's work now."""
        job = self.jobs.get(order.order_id)
        if job is not None:
            job.stop = "cancelled"
            await self.agent.cancel(order.order_id)
        elif order.state == "funded":
            await self._finish(
                order, _not_run("cancelled", "The buyer cancelled before the start.", state="cancelled")
            )
            self.wake(order.order_id)

    async def stop(self, order: OpenOrder) -> None:
        """End the job on the owner's word."""
        job = self.jobs.get(order.order_id)
        if job is not None:
            job.stop = "owner_stopped"
            await self.agent.cancel(order.order_id)

    async def accept_voucher(self, order: OpenOrder, amount_micro: int, signature: str) -> None:
        """Keep a voucher of the buyer if it is valid and higher than the last.

        Raises:
            InvalidOrder: not the buyer's, or above the deposit.
        """
        paid = await self.channel.accept(order, amount_micro, signature)
        self.access.note_paid(order.order_id, paid)
        job = self.jobs.get(order.order_id)
        if job is not None:
            job.paid_micro = paid
        self.wake(order.order_id)

    async def _run(self, order: OpenOrder) -> None:
        place = self.folder / order.order_id[:24]
        inputs = place / "in"
        try:
            await self._fetch_inputs(order, inputs)
        except PeerError:
            raise
        except OpenstallError as error:
            await self._finish(order, _not_run(error.code, error.message))
            return
        job = self.jobs[order.order_id] = RunningJob(started_at=self.desk.now())
        try:
            order = await self.desk.advance(
                order,
                "start",
                actor="you",
                words="The job started in the sandbox.",
                data={"started_at": job.started_at},
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_when_withdrawn, order, job)
                result = await self.agent.run(
                    self._spec(order), inputs, place / "out", lambda event: self._on_event(order, job, event)
                )
                nursery.cancel_scope.cancel()
            await self._finish(order, result, job, place / "out")
        finally:
            self.jobs.pop(order.order_id, None)
            job.tell()
            await self.workers.work(shutil.rmtree, place, ignore_errors=True)

    async def _stop_when_withdrawn(self, order: OpenOrder, job: RunningJob) -> None:
        """A buyer who asks for the money back wants no more work."""
        while not job.stop:
            await trio.sleep(CHANNEL_POLL_S)
            try:
                withdrawing = await self.channel.withdrawing(order)
            except ChainError as error:
                self.desk.set_trouble(order.order_id, error)
                continue
            if withdrawing:
                job.stop = "withdrawn"
                await self.agent.cancel(order.order_id)

    def _spec(self, order: OpenOrder) -> JobSpec:
        terms = order.contract.compute
        seconds = terms.max_s
        return JobSpec(
            job_id=order.order_id,
            kind=terms.job_kind,  # type: ignore[arg-type]  # the pattern of the schema allows only these
            params=terms.params,
            limits=Limits(
                wall_s=seconds,
                cpu_s=seconds * terms.limits.threads + _CPU_SLACK_S,
                memory_bytes=terms.limits.memory_bytes,
                processes=terms.limits.processes,
                disk_bytes=terms.limits.disk_bytes,
                log_bytes=terms.limits.log_bytes,
                threads=terms.limits.threads,
            ),
        )

    async def _fetch_inputs(self, order: OpenOrder, inputs: Path) -> None:
        await self.workers.work(_fresh_folder, inputs)
        for item in order.contract.compute.inputs:
            if not self.blobs.have(item.blob.cid):
                await self.transfer.fetch(
                    item.blob.cid,
                    [order.other],
                    expected_size_max=item.blob.size,
                    on_progress=lambda done, total: self.desk.progress(
                        order.order_id, "Fetching the buyer's data", done, total, "bytes"
                    ),
                )
            await self.blobs.export(item.blob.cid, inputs / item.name)

    async def _on_event(self, order: OpenOrder, job: RunningJob, event: JobEvent) -> None:
        match event:
            case LogLine(text=text):
                await self.workers.store(self.log.append, order.order_id, clip(text), at=self.desk.now())
                self.desk.bus.publish("job_log", {"order_id": order.order_id, "seq": job.lines, "text": text})
                job.lines += 1
            case FirstOutput():
                job.useful_since = self.desk.now()
            case Progress(done=done, total=total):
                job.done, job.total = done, total
                self.desk.progress(order.order_id, "Running", done, total, "steps")
            case UsageTick(usage=usage):
                await self._meter(order, job, usage.seconds_useful)
        job.tell()

    async def _meter(self, order: OpenOrder, job: RunningJob, seconds: int) -> None:
        terms = order.contract.compute
        seconds = min(seconds, terms.max_s)
        if seconds <= (job.tick.seconds if job.tick else 0):
            return
        amount = owed(terms.price_per_s_micro, terms.cap_micro, seconds)
        tick = Tick(
            order=order.order_id,
            seq=(job.tick.seq if job.tick else 0) + 1,
            seconds=seconds,
            owed_micro=amount,
            at=self.desk.now(),
        )
        job.tick, job.tick_raw = tick, sign_tick(tick, order.contract, self.seed)
        await self.desk.patch(order.order_id, seconds=seconds, owed_micro=amount)
        unpaid = amount - job.paid_micro
        if terms.price_per_s_micro and unpaid > UNPAID_S * terms.price_per_s_micro and not job.stop:
            job.stop = "unpaid"
            await self.agent.cancel(order.order_id)
        elif (
            terms.price_per_s_micro
            and terms.price_per_s_micro * (seconds + 1) > terms.cap_micro
            and not job.stop
        ):
            job.stop = "cap"
            await self.agent.cancel(order.order_id)

    async def _finish(
        self, order: OpenOrder, result: JobResult, job: RunningJob | None = None, folder: Path | None = None
    ) -> None:
        """Sign the report, keep the artefacts, and let the order end."""
        if job is not None:
            await self._meter_end(order, job, result)
        outputs = []
        if folder is not None:
            for item in result.outputs:
                info = await self.blobs.add_file(folder / item.name)
                outputs.append(
                    InputFile(name=item.name, blob=BlobRef(cid=info.cid, size=info.size, sha256=info.sha256))
                )
        tick = job.tick if job else None
        seconds = tick.seconds if tick else int(order.data.get("seconds", 0))
        amount = tick.owed_micro if tick else int(order.data.get("owed_micro", 0))
        state, reason, words = _end_words(result, job)
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
                "tick": base64.b64encode(job.tick_raw).decode() if job else "",
                "seconds": seconds,
                "owed_micro": amount,
                "artefacts": [item.blob.cid for item in outputs],
            },
        )
        self.access.grant_artefacts(order.order_id, order.other, [item.blob.cid for item in outputs], amount)

    async def _meter_end(self, order: OpenOrder, job: RunningJob, result: JobResult) -> None:
        stop, job.stop = job.stop, job.stop or "ended"
        await self._meter(order, job, result.usage.seconds_useful)
        job.stop = stop

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
        await self.channel.close(order)
        await self.channel.catch_up(order)


def _fresh_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)


def _not_run(reason: str, words: str, state: str = "failed") -> JobResult:
    return JobResult(state=state, reason=reason, words=words)  # type: ignore[arg-type]  # one of the literal states


_STOPPED = {
    "cancelled": ("cancelled", "The buyer cancelled the job."),
    "owner_stopped": ("cancelled", "The provider stopped the job to have the machine back."),
    "withdrawn": ("cancelled", "The buyer asked for the rest of the money back."),
    "unpaid": ("limit", "The job was stopped because its seconds were no longer paid for."),
    "cap": ("limit", "The job reached the cap that the buyer set."),
}


def _end_words(result: JobResult, job: RunningJob | None) -> tuple[str, str, str]:
    """State, reason and words of the report: who stopped the job goes before how the process ended."""
    if result.state == "cancelled" and job is not None and job.stop in _STOPPED:
        state, words = _STOPPED[job.stop]
        return state, job.stop, words
    return result.state, result.reason, result.words
