"""Orders as people see and steer them: list, page, log, actions. The engine does the rest."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.handlers import CustomActions
from openstall.app.services.disputes.calling import waits_to_call
from openstall.app.services.disputes.talk import TalkService
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.orders.job_buyer import JobBuyer
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.placing import Placing
from openstall.app.services.orders.sale import SaleActions
from openstall.app.services.orders.view import Surroundings, detail, possible_actions, summary
from openstall.app.services.rigs.view import ShownJob
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.market.errors import Conflict
from openstall.store.job_log import JobLog
from openstall.store.library import Library
from openstall.store.orders import Orders


@dataclass(slots=True, kw_only=True)
class OrderService:
    """What the local API offers about orders."""

    placing: Placing
    desk: OrderDesk
    engine: OrderEngine
    orders: Orders
    catalogue: Catalogue
    transactions: TransactionService
    channel: ChannelDesk
    sale: SaleActions
    custom: CustomActions
    talk: TalkService
    buyer: JobBuyer
    provider: JobProvider
    log: JobLog
    library: Library
    workers: Workers

    async def items(self, *, role: str = "", open_only: bool = False) -> list[dict[str, Any]]:
        """All orders, newest first."""
        ids = await self.workers.store(self.orders.list_ids, role=role or None)
        found = [await self.desk.load(order_id) for order_id in ids]
        unread = await self.talk.unread()
        return [
            summary(order, await self.catalogue.peer_name(order.other), self.desk.live.get(order.order_id))
            | {"unread": unread.get(order.order_id, 0)}
            for order in found
            if not (open_only and order.final)
        ]

    async def running_jobs(self) -> list[ShownJob]:
        """The jobs that run on the owner's machines now."""
        found = []
        for order_id, job in list(self.provider.jobs.items()):
            order, live = await self.desk.load(order_id), self.desk.live.get(order_id)
            stage = live.stage if live is not None and live.stage else "Running"
            if job.total:
                stage += f", {job.done} of {job.total} steps"
            found.append(
                ShownJob(
                    order_id=order_id, title=order.contract.compute.title, stage=stage, machine=job.machine
                )
            )
        return found

    async def view(self, order_id: str) -> dict[str, Any]:
        """Everything about one order.

        Raises:
            NotFound: there is no such order.
        """
        order = await self.desk.load(order_id)
        paid, vouchers = await self.channel.paid(order) if order.kind == "compute" else (0, 0)
        package = await self.workers.store(self.library.find, order_id)
        around = Surroundings(
            other_name=await self.catalogue.peer_name(order.other),
            events=await self.workers.store(self.orders.events, order_id),
            transactions=await self.transactions.of_order(order_id),
            live=self.desk.live.get(order_id),
            paid_micro=paid,
            vouchers=vouchers,
            log_lines=await self.workers.store(self.log.next_seq, order_id),
            library_path=package.path if package else None,
            now=self.desk.now(),
        )
        unread = (await self.talk.unread()).get(order_id, 0)
        page = detail(order, around) | {"unread": unread, "calls_arbiter": waits_to_call(order)}
        if page["calls_arbiter"]:
            page["actions"] = [name for name in page["actions"] if name != "dispute"]
        return page

    async def read_log(self, order_id: str, start: int, limit: int = 500) -> dict[str, Any]:
        """Log lines of a job from line `start` on."""
        order = await self.desk.load(order_id)
        rows = await self.workers.store(self.log.read, order_id, start=start, limit=limit)
        return {
            "lines": [{"seq": row.seq, "text": row.text} for row in rows],
            "next": rows[-1].seq + 1 if rows else start,
            "ended": order.state not in ("proposed", "agreed", "funded", "running"),
        }

    async def act(
        self, order_id: str, action: str, *, reason: str = "", buyer_bps: int = 0
    ) -> dict[str, Any]:
        """Carry out a decision of the user and return the order as it then stands.

        Raises:
            Conflict: the action is not possible now.
        """
        order = await self.desk.load(order_id)
        if action not in possible_actions(order, self.desk.now()):
            raise Conflict("wrong_state", f"“{action}” is not possible while the order is “{order.state}”.")
        if order.kind == "sale":
            await self._act_on_sale(order, action, reason, buyer_bps)
        elif order.kind == "custom":
            await self._act_on_custom(order, action, reason, buyer_bps)
        elif order.role == "seller":
            await self.provider.stop(order)
        elif action == "cancel":
            cancel_at = order.data.get("cancel_at", self.desk.now())
            await self.desk.patch(order_id, cancel_requested=True, cancel_at=cancel_at)
            await self.buyer.cancel_now(order)
        else:
            await self.channel.start_withdraw(order)
            await self.channel.catch_up(order)
        self.engine.watch(order_id)
        return await self.view(order_id)

    async def save(self, order_id: str, folder: Path) -> list[str]:
        """Copy a job's artefacts into a folder; returns the new paths.

        Raises:
            Conflict: the artefacts are not here yet, or a file of that name exists.
        """
        order = await self.desk.load(order_id)
        kept = order.data.get("fetched")
        if not kept:
            raise Conflict(
                "no_artefacts", "The job's results are not here yet.", "Wait until the order shows them."
            )
        return await self.workers.work(_copy_all, Path(kept), folder)

    async def _act_on_custom(self, order: OpenOrder, action: str, reason: str, buyer_bps: int) -> None:
        match action:
            case "dispute":
                await self.custom.dispute(order, reason)
            case "rule":
                await self.custom.rule(order, buyer_bps)
            case _:
                await self.custom.do(order, action)

    async def _act_on_sale(self, order: OpenOrder, action: str, reason: str, buyer_bps: int) -> None:
        match action:
            case "dispute":
                await self.sale.dispute(order, reason)
            case "rule":
                await self.sale.rule(order, buyer_bps)
            case "complete":
                await self.sale.complete(order)
            case "cancel":
                await self.sale.cancel(order)
            case "refund":
                await self.sale.refund(order)
            case "claim":
                await self.sale.claim(order)


def _copy_all(source: Path, folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(source.iterdir())
    targets = [folder / item.name for item in found]
    for target in targets:
        if target.exists():
            raise Conflict("file_exists", f"{target} exists already.", "Choose another folder.")
    for item, target in zip(found, targets, strict=True):
        shutil.copyfile(item, target)
    return [str(target) for target in targets]
