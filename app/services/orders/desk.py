"""What the handlers of orders share: the books, and how an order moves from state to state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, OpenstallError
from openstall.market.orders.documents import Contract, read_contract
from openstall.market.orders.failover import is_providers_fault
from openstall.market.orders.machine import MACHINES, Party, deadline
from openstall.store.orders import OrderRow, Orders

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order as the books hold it, with its checked contract and the deadline of its state."""

    order_id: str
    kind: str
    role: Party
    other: str
    state: str
    contract: Contract
    buyer_signature: str
    seller_signature: str
    data: dict[str, Any]
    created_at: int
    entered_at: int
    deadline_at: int | None

    @property
    def final(self) -> bool:
        """Whether nothing more can happen."""
        return self.state in MACHINES[self.kind].final

    @property
    def moved_on(self) -> bool:
        """Whether another provider goes on with this job: nothing more is wanted of this one."""
        return bool(self.data.get("continued_by"))

    @property
    def may_move_on(self) -> bool:
        """Whether this job may still be tried with another provider."""
        if self.role != "buyer" or self.moved_on or self.data.get("cancel_requested"):
            return False
        failed = is_providers_fault(str(self.data.get("result", "done")), str(self.data.get("reason")))
        return int(self.data.get("tries_left", 0)) > 0 and (failed or self.state in ("declined", "lapsed"))

    @property
    def waits_for_results(self) -> bool:
        """Whether a job has ended whose results are not here yet; the settlement may come before them."""
        return (
            not self.moved_on
            and self.role == "buyer"
            and bool(self.data.get("report"))
            and "fetched" not in self.data
        )

    @property
    def waits_for_report(self) -> bool:
        """Whether a job that had started was settled before the buyer heard how it ended."""
        started = self.role == "buyer" and self.state == "settled" and "started_at" in self.data
        return started and not self.moved_on and not self.data.get("report") and "fetched" not in self.data

    @property
    def waits_for_unpacking(self) -> bool:
        """Whether a model was paid before its package could be opened here."""
        return (
            self.kind in ("sale", "custom")
            and self.role == "buyer"
            and self.state == "completed"
            and ("verified" not in self.data)
        )

    @property
    def done(self) -> bool:
        """Whether nobody has anything left to do."""
        waits = self.waits_for_results or self.waits_for_report or self.waits_for_unpacking
        return self.final and not (waits or self.may_move_on)


def check_chain(order: OpenOrder, chain_id: int) -> None:
    """An order of another group must neither be read from nor paid on this chain.

    Raises:
        Conflict: it belongs to a chain that this node has left.
    """
    if order.contract.order.chain_id != chain_id:
        raise Conflict(
            "other_group",
            "This order belongs to another group than the one this node is in.",
            "Open it with the group it was made in.",
        )


@dataclass(slots=True)
class Live:
    """What is known of an order only while the node runs: progress and the last trouble."""

    stage: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    trouble: OpenstallError | None = None


@dataclass(slots=True, kw_only=True)
class OrderDesk:
    """The order book with its state machines; every change is one transaction and one event on the bus."""

    orders: Orders
    bus: EventBus
    workers: Workers
    clock: Clock
    live: dict[str, Live] = field(default_factory=dict)
    born: set[str] = field(default_factory=set)
    """Orders that were entered since this node started: of these, no older copy of the books exists."""

    def now(self) -> int:
        """Unix seconds."""
        return self.clock.now()

    async def undone_ids(self) -> list[str]:
        """Orders that need a driver: those not final, settled jobs without results, paid models unopened."""
        open_ids = await self.open_order_ids()
        bought = await self.bought()
        return open_ids + [order.order_id for order in bought if order.final and not order.done]

    async def bought(self) -> list[OpenOrder]:
        """All orders in which this node is the buyer, newest first (1,000 at most)."""
        ids = await self._thread(lambda: self.orders.list_ids(role="buyer"))
        return [await self.load(order_id) for order_id in ids]

    async def open_order_ids(self) -> list[str]:
        """Orders that are not final, oldest first."""
        final = sorted({state for machine in MACHINES.values() for state in machine.final})
        rows = await self._thread(lambda: self.orders.open_ids(final))
        return list(rows)

    async def load(self, order_id: str) -> OpenOrder:
        """The order.

        Raises:
            NotFound: there is no such order here.
        """
        return self._opened(await self._thread(lambda: self.orders.get(order_id)))

    async def find(self, order_id: str) -> OpenOrder | None:
        """The order, or None."""
        row = await self._thread(lambda: self.orders.find(order_id))
        return None if row is None else self._opened(row)

    async def for_request(self, cid: str) -> list[OpenOrder]:
        """The orders that answer to one request."""
        return [
            await self.load(order_id) for order_id in await self._thread(lambda: self.orders.ids_for(cid))
        ]

    async def count_open(self, other: str) -> int:
        """How many orders with a peer are not final."""
        final = sorted({state for machine in MACHINES.values() for state in machine.final})
        return await self._thread(lambda: self.orders.count_open(other, final))

    async def count_unpaid(self, role: Party) -> int:
        """How many orders of a role wait for money, or are not even signed (1,000 at most)."""
        waiting = [
            await self._thread(partial(self.orders.list_ids, role=role, state=state))
            for state in ("proposed", "agreed")
        ]
        return sum(len(ids) for ids in waiting)

    async def create(
        self,
        contract: Contract,
        *,
        role: Party,
        buyer_signature: str,
        seller_signature: str = "",
        data: dict[str, Any] | None = None,
        words: str,
        actor: str,
    ) -> OpenOrder:
        """Enter a new order in its first state; entering the same contract again changes nothing."""
        order = contract.order
        other = order.seller if role == "buyer" else order.buyer
        row = await self._thread(
            lambda: self.orders.add(
                order_id=contract.order_id,
                kind=order.kind,
                role=role,
                other=other,
                state=MACHINES[order.kind].first,
                doc=contract.raw,
                buyer_signature=buyer_signature,
                seller_signature=seller_signature,
                data=data or {},
                at=self.now(),
                words=words,
                actor=actor,
            )
        )
        self.born.add(contract.order_id)
        self._announce(contract.order_id)
        return self._opened(row)

    async def advance(
        self,
        order: OpenOrder,
        event: str,
        *,
        actor: str,
        words: str,
        tx: str | None = None,
        at: int | None = None,
        data: dict[str, Any] | None = None,
        seller_signature: str | None = None,
    ) -> OpenOrder:
        """Make a transition of the table; if another task was first, the order as it now stands is returned.

        Args:
            at: when it happened by the chain's clock; now where the chain has no part in it.
            data: changes to the order's private data, saved in the same transaction.
        """
        target = MACHINES[order.kind].target(order.state, event)
        row = await self._thread(
            lambda: self.orders.transition(
                order.order_id,
                from_state=order.state,
                to_state=target,
                event=event,
                actor=actor,
                words=words,
                tx=tx,
                at=self.now() if at is None else at,
                data=data or {},
                seller_signature=seller_signature,
            )
        )
        self.live.pop(order.order_id, None)
        self._announce(order.order_id)
        return self._opened(row)

    async def reopen(self, order: OpenOrder, words: str) -> OpenOrder:
        """Books that gave up an order go back to what both have signed: the chain shows its money."""
        row = await self._thread(
            lambda: self.orders.transition(
                order.order_id,
                from_state=order.state,
                to_state="agreed",
                event="reopen",
                actor="you",
                words=words,
                tx=None,
                at=self.now(),
                data={},
            )
        )
        self._announce(order.order_id)
        return self._opened(row)

    async def keep_signature(self, order: OpenOrder, seller_signature: str) -> None:
        """Keep the seller's signature that came when the order had moved on without it."""
        await self._thread(lambda: self.orders.sign(order.order_id, seller_signature))
        self._announce(order.order_id)

    async def patch(self, order_id: str, **data: Any) -> None:
        """Change the order's private data."""
        await self._thread(lambda: self.orders.patch(order_id, data))
        self._announce(order_id)

    def set_trouble(self, order_id: str, error: OpenstallError | None) -> None:
        """Show why the order waits, or that it waits no more."""
        live = self.live.setdefault(order_id, Live())
        before = live.trouble.message if live.trouble else None
        live.trouble = error
        if before != (error.message if error else None):
            self._announce(order_id)

    def rest(self, order_id: str) -> None:
        """The present step is done: nothing is under way."""
        live = self.live.get(order_id)
        if live is not None and live.stage:
            live.stage = ""
            self._announce(order_id)

    def progress(self, order_id: str, stage: str, done: int, total: int, unit: str) -> None:
        """Show how far the present step is."""
        live = self.live.setdefault(order_id, Live())
        live.stage, live.done, live.total, live.unit = stage, done, total, unit
        self._announce(order_id)

    def _announce(self, order_id: str) -> None:
        self.bus.publish("order", {"order_id": order_id})

    def _opened(self, row: OrderRow) -> OpenOrder:
        contract = read_contract(row.doc)
        return OpenOrder(
            order_id=row.order_id,
            kind=row.kind,
            role=cast(Party, row.role),
            other=row.other,
            state=row.state,
            contract=contract,
            buyer_signature=row.buyer_signature,
            seller_signature=row.seller_signature,
            data=row.data,
            created_at=row.created_at,
            entered_at=row.changed_at,
            deadline_at=deadline(
                contract, row.state, row.changed_at, attempt=int(row.data.get("attempt", 0))
            ),
        )

    async def _thread(self, call: Callable[[], T]) -> T:
        return await self.workers.store(call)
