"""The buyer's side of a job: set money aside, follow the job, pay by the second, fetch what came out."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import msgspec

from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_wire import (
    MAX_FRAME,
    PROTOCOL,
    FromBuyer,
    FromProvider,
    read_from_provider,
    write,
)
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.threads import Workers
from openstall.market import canonical
from openstall.market.errors import InvalidOrder, PeerError
from openstall.market.metering import Tick, read_tick
from openstall.market.orders.machine import COMPUTE
from openstall.market.orders.results import read_report
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.store.job_log import JobLog

OPEN_S = 20.0
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

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        if order.state == "proposed":
            await self.negotiation.propose(order)
            return
        if order.state == "agreed":
            await self._fund(order)
            return
        order = await self.channel.catch_up(order)
        if order.final:
            return
        await self._take_exit(order)
        if order.data.get("cancel_requested") and not order.data.get("report"):
            await self.cancel_now(order)
        if (
            order.state in ("funded", "running", "ended")
            and not self._all_paid(order)
            and "fault" not in order.data
        ):
            try:
                order = await self._follow(order)
            except InvalidOrder as error:
                await self.desk.patch(order.order_id, fault=error.as_dict(), cancel_requested=True)
                raise
        if order.data.get("report") and "fetched" not in order.data:
            await self._fetch_artefacts(order)
        await self.channel.catch_up(await self.desk.load(order.order_id))

    def _all_paid(self, order: OpenOrder) -> bool:
        return bool(order.data.get("report")) and bool(order.data.get("last_paid"))

    async def _fund(self, order: OpenOrder) -> None:
        terms = order.contract.compute
        if not await self.channel.started(order, "fund"):
            if order.data.get("cancel_requested"):
                await self.desk.advance(
                    order, "withdraw", actor="you", words="You stepped back before paying."
                )
                return
            if self.desk.now() > terms.fund_by:
                await self.desk.advance(order, "lapse", actor="clock", words="The time to pay ran out.")
                return
        for item in terms.inputs:
            self.access.grant(item.blob.cid, order.other)
        await self.channel.open(order)
        await self.channel.catch_up(order)

    async def _take_exit(self, order: OpenOrder) -> None:
        """The timed way back of the buyer's money when the provider falls silent."""
        overdue = order.deadline_at is not None and self.desk.now() > order.deadline_at
        if overdue and COMPUTE.allows(order.state, "start_withdraw"):
            await self.channel.start_withdraw(order)
        elif overdue and COMPUTE.allows(order.state, "withdraw"):
            await self.channel.withdraw(order)

    async def cancel_now(self, order: OpenOrder) -> None:
        """Ask the provider to end the job now; without an answer the engine asks again."""
        try:
            await self.negotiation.cancel_job(order)
        except PeerError as error:
            self.desk.set_trouble(order.order_id, error)

    async def _follow(self, order: OpenOrder) -> OpenOrder:
        """Stay on the job's stream until its report is here and the last tick is paid."""
        next_line = await self.workers.store(self.log.next_seq, order.order_id)
        async with await self.peers.open_stream(
            order.other, PROTOCOL, timeout_s=OPEN_S, max_frame=MAX_FRAME
        ) as stream:
            await stream.send(write(FromBuyer(follow=order.order_id, from_log=next_line)))
            last = _last_tick(order)
            while not self._all_paid(order):
                raw = await stream.receive(timeout_s=SILENCE_S)
                if raw is None:
                    raise PeerError(
                        "peer_silent",
                        "The provider closed the job's log.",
                        "Nothing more is paid until it answers.",
                    )
                order, last = await self._take(order, read_from_provider(raw), stream, last)
        return order

    async def _take(
        self, order: OpenOrder, message: FromProvider, stream: Framed, last: Tick | None
    ) -> tuple[OpenOrder, Tick | None]:
        for line in message.lines:
            await self._keep_line(order.order_id, line.seq, line.text)
        if message.total:
            self.desk.progress(order.order_id, "Running", message.done, message.total, "steps")
        if message.started_at and order.state == "funded":
            order = await self.desk.advance(
                order,
                "start",
                actor="other",
                words="The job started in the provider's sandbox.",
                data={"started_at": self.desk.now()},
            )
        if message.tick:
            last = await self._pay(order, message.tick, stream, last)
        if message.report and not order.data.get("report"):
            order = await self._end(order, canonical.encode(message.report))
        if order.data.get("report") and (last is None or last.seconds >= int(order.data["seconds"])):
            await self.desk.patch(order.order_id, last_paid=True)
            order = await self.desk.load(order.order_id)
        return order, last

    async def _pay(
        self, order: OpenOrder, tick: dict[str, object], stream: Framed, last: Tick | None
    ) -> Tick:
        """A voucher for a tick that is right by the contract and by our own clock.

        Raises:
            InvalidOrder: the meter is wrong; nothing more is paid, and the error says why.
        """
        started_at = int(order.data.get("started_at", self.desk.now()))
        checked = read_tick(
            canonical.encode(tick), order.contract, last=last, elapsed_s=self.desk.now() - started_at
        )
        if last is None or checked.owed_micro > last.owed_micro:
            signature = await self.channel.pay(order, checked.owed_micro)
            await self.desk.patch(
                order.order_id,
                seconds=checked.seconds,
                owed_micro=checked.owed_micro,
                tick=msgspec.to_builtins(checked),
            )
            await stream.send(write(FromBuyer(voucher_micro=checked.owed_micro, voucher_signature=signature)))
        return checked

    async def _end(self, order: OpenOrder, raw: bytes) -> OpenOrder:
        signed = read_report(raw, order.contract)
        report = signed.report
        return await self.desk.advance(
            order,
            "end",
            actor="other",
            words=report.words,
            data={
                "report": base64.b64encode(raw).decode(),
                "seconds": report.seconds,
                "result": report.state,
            },
        )

    async def _keep_line(self, order_id: str, seq: int, text: str) -> None:
        """Keep a line and tell listeners; a line that repeats or skips numbers is ignored."""
        if seq == await self.workers.store(self.log.next_seq, order_id):
            await self.workers.store(self.log.append, order_id, text, at=self.desk.now())
            self.desk.bus.publish("job_log", {"order_id": order_id, "seq": seq, "text": text})

    async def _fetch_artefacts(self, order: OpenOrder) -> None:
        """Fetch, check against the signed report, and keep what the job made.

        Raises:
            PeerError: the provider cannot be reached now; tried again later.
        """
        report = read_report(base64.b64decode(order.data["report"]), order.contract).report
        target = self.folder / order.order_id[:24]
        target.mkdir(parents=True, exist_ok=True)
        budget = order.contract.compute.limits.disk_bytes
        if sum(item.blob.size for item in report.outputs) > budget:
            raise InvalidOrder("too_large", "The provider reports artefacts larger than the order allows.")
        for item in report.outputs:
            if not self.blobs.have(item.blob.cid):
                await self.transfer.fetch(
                    item.blob.cid,
                    [order.other],
                    expected_size_max=item.blob.size,
                    on_progress=lambda done, total: self.desk.progress(
                        order.order_id, "Fetching the results", done, total, "bytes"
                    ),
                )
            await self.blobs.export(item.blob.cid, target / item.name)
        await self.desk.patch(order.order_id, fetched=str(target))


def _last_tick(order: OpenOrder) -> Tick | None:
    """The last tick that was paid, from the books: a new stream must not let the meter run backwards."""
    kept = order.data.get("tick")
    return msgspec.convert(kept, Tick) if kept else None
