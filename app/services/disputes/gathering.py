"""The arbiter's node asks each side of an open dispute what it has to show, checks it, and keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from openstall.app.logging import get_logger
from openstall.app.services.disputes.checking import EvidenceCheck
from openstall.app.services.disputes.talk import TalkService
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.threads import Workers
from openstall.market.disputes.checks import Finding, all_holds, check_alone
from openstall.market.disputes.evidence import Evidence, messages_of, read_bundle
from openstall.market.errors import InvalidOrder, PeerError
from openstall.store.disputes import EvidenceBooks, Messages

log = get_logger("openstall.disputes")

AGAIN_S = 15.0
"""A side that is away is asked again after so long."""
REFRESH_S = 120
"""A side that has shown something may have more to show."""
SAME_FOR_S = 20.0
"""A page that is looked at again soon does not ask the chain again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    raw: bytes
    until: float
    told: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Gathering:
    """What the arbiter of an order has been shown."""

    desk: OrderDesk
    talk: TalkService
    books: EvidenceBooks
    messages: Messages
    check: EvidenceCheck
    workers: Workers
    _ask_at: dict[tuple[str, str], float] = field(default_factory=dict)
    _found: dict[tuple[str, str], _Found] = field(default_factory=dict)
    _under_way: set[str] = field(default_factory=set)
    _nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Ask beside the driver of an order: a side that is away must not hold it up."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def want(self, order: OpenOrder) -> None:
        """An order is in dispute: ask its sides, in the background, not too often."""
        if self._nursery is not None and order.order_id not in self._under_way:
            self._under_way.add(order.order_id)
            self._nursery.start_soon(self._gather_once, order)

    async def gather(self, order: OpenOrder) -> None:
        """Ask both sides that were not asked a moment ago; one that is away is passed by."""
        for author in (order.contract.order.buyer, order.contract.order.seller):
            if trio.current_time() < self._ask_at.get((order.order_id, author), 0.0):
                continue
            self._ask_at[order.order_id, author] = trio.current_time() + AGAIN_S
            try:
                await self._ask(order, author)
            except (PeerError, InvalidOrder) as error:
                log.info("no evidence yet", order=order.order_id, author=author, reason=error.code)
            else:
                self._ask_at[order.order_id, author] = trio.current_time() + REFRESH_S

    async def _gather_once(self, order: OpenOrder) -> None:
        try:
            await self.gather(order)
        finally:
            self._under_way.discard(order.order_id)

    async def view(self, order_id: str) -> dict[str, Any]:
        """What each side has shown, and what of it holds; nothing for anybody but the arbiter."""
        order = await self.desk.load(order_id)
        sides: list[dict[str, Any]] = []
        if order.role != "arbiter":
            return {"items": sides, "total": 0}
        for author in (order.contract.order.buyer, order.contract.order.seller):
            raw = await self.workers.store(self.books.of, order_id, author)
            if raw is None:
                continue
            sides.append(await self._checked(order, author, raw))
        return {"items": sides, "total": len(sides)}

    async def _checked(self, order: OpenOrder, author: str, raw: bytes) -> dict[str, Any]:
        """What of one side's evidence holds; checked a moment ago, it is not checked again."""
        now, known = trio.current_time(), self._found.get((order.order_id, author))
        if known is not None and known.raw == raw and now < known.until:
            return known.told
        found = await self.workers.work(read_bundle, raw)
        findings = await self.check.findings(found)
        findings += await self._compare_messages(order, found)
        told = self.check.told(found, findings)
        self._found[order.order_id, author] = _Found(raw=raw, until=now + SAME_FOR_S, told=told)
        return told

    async def _ask(self, order: OpenOrder, author: str) -> None:
        """Fetch one side's evidence; what is not its own about this order is not kept."""
        raw = await self.talk.ask_evidence(order.order_id, author)
        found = await self.workers.work(read_bundle, raw)
        if found.contract.raw != order.contract.raw or found.author != author:
            raise InvalidOrder("other_evidence", "A side has shown evidence about something else.", "")
        await self.workers.store(self.books.keep, order.order_id, author, raw, at=self.desk.now())
        await self._keep_reason(order, found)
        self.desk.bus.publish("order", {"order_id": order.order_id})

    async def _keep_reason(self, order: OpenOrder, found: Evidence) -> None:
        """The reason that its author has signed goes before what was told without a signature."""
        if not found.reason or found.reason == order.data.get("dispute_reason"):
            return
        me = self.talk.me.peer_id
        holds = await self.workers.work(lambda: all_holds(check_alone(found, arbiter_peer=me)))
        if holds:
            await self.desk.patch(order.order_id, dispute_reason=found.reason)

    async def _compare_messages(self, order: OpenOrder, found: Evidence) -> list[Finding]:
        """Whether a side shows what it has written to this arbiter itself."""
        what, at = "messages to you", found.bundle.manifest.manifest.at
        held = [
            row
            for row in await self.workers.store(self.messages.of_order, order.order_id)
            if row.author == found.author and int(row.doc["at"]) < at
        ]
        if not held:
            return []
        try:
            shown = {one.hash for one in messages_of(found)}
        except InvalidOrder:
            return []  # said already
        if all(row.hash in shown for row in held):
            return [Finding(what=what, holds=True, words="All that this side wrote to you is in there.")]
        return [Finding(what=what, holds=False, words="It leaves out, or changes, what it wrote to you.")]
