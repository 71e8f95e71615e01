"""Two parties of a sale or a job, brought to any state of it in both books; and to its end afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
import trio.testing
from damage import Copy
from ledger_lab import CREDIT
from recovery_lab import copy_in, lose, recovery_of
from trade_lab import Side, TradeLab, step, trade_lab
from trade_parts import leave

from openstall.app.services.orders.recovery import Recovery
from openstall.app.services.orders.sale import SaleSeller
from openstall.app.services.sealing import seal_key
from openstall.compute_agent.specs import FirstOutput, JobResult, OutputFile, Usage, UsageTick
from openstall.ledger.escrow import escrow_key
from openstall.market.errors import PeerError
from openstall.market.orders.machine import COMPUTE, SALE

KEY = b"k" * 32
SIDES = ("buyer", "seller")
SALE_STATES = sorted({step.state for step in SALE.steps} | SALE.final)
JOB_STATES = sorted({step.state for step in COMPUTE.steps} | COMPUTE.final)
PRICE = 5 * CREDIT


@dataclass(slots=True)
class Keys:
    """The seller's stock: one package, one key."""

    async def sealed_key(self, terms: Any) -> bytes:
        return seal_key(KEY, terms.box_key)


@dataclass(slots=True, kw_only=True)
class Room:
    """A lab with the recovery of both sides, and copies of each side's books in every state it passed."""

    lab: TradeLab
    recovery: dict[str, Recovery]
    copies: dict[str, list[Copy]]

    def side(self, name: str) -> Side:
        found: Side = getattr(self.lab, name)
        return found

    async def keep_copies(self, order_id: str) -> None:
        for name in SIDES:
            self.copies[name].append(await copy_in(self.side(name), order_id))

    async def states(self, order_id: str) -> tuple[str, str]:
        buyer, seller = [await self.side(name).desk.find(order_id) for name in SIDES]
        return ("" if buyer is None else buyer.state, "" if seller is None else seller.state)

    async def damage(self, order_id: str, name: str, how: str) -> None:
        """Lose the order, or go back to the books of the first state."""
        await lose(self.side(name), order_id, self.copies[name][0] if how == "older" else None)

    async def recover(self, order_id: str, name: str) -> dict[str, Any]:
        other = self.side("seller" if name == "buyer" else "buyer")
        return await self.recovery[name].recover(order_id, [other.host.peer_id])


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Room]:
    async with trade_lab(folder) as lab:
        for name in SIDES:
            (folder / name).mkdir(exist_ok=True)
        yield Room(
            lab=lab,
            recovery={name: recovery_of(getattr(lab, name)) for name in SIDES},
            copies={name: [] for name in SIDES},
        )


# --- a sale ---


async def buy(lab: TradeLab, order_id: str) -> None:
    await lab.buyer.sale_buyer.step(await lab.buyer.desk.load(order_id))


async def sell(lab: TradeLab, order_id: str) -> None:
    side = lab.seller
    seller = SaleSeller(
        desk=side.desk,
        escrow=side.escrow,
        watch=side.watch,
        stock=Keys(),  # type: ignore[arg-type]  # one key in the place of a stock
        negotiation=side.negotiation,
    )
    await seller.step(await side.desk.load(order_id))


async def look(lab: TradeLab, order_id: str) -> None:
    """Both books catch up with the chain."""
    for side in (lab.buyer, lab.seller):
        await side.watch.catch_up(await side.desk.load(order_id))


async def sale_in(room: Room, state: str) -> str:
    """A sale in a state, in both books; a copy of each is from before the money."""
    lab = room.lab
    package = await lab.seller.file("package", b"sealed package")
    lab.seller.access.make_public(package.blob.cid)
    arbiter = lab.chain.arbiter.address if state in ("disputed", "ruled") else ""
    contract = lab.sale(package.blob, hashlib.sha256(KEY).hexdigest(), arbiter=arbiter)
    order_id = contract.order_id
    await lab.buyer.enter(contract, "buyer", lab.seller.seed, state="proposed")
    await lab.seller.enter(contract, "seller", lab.buyer.seed)
    await room.keep_copies(order_id)
    if state == "proposed":
        return order_id
    await lab.buyer.negotiation.propose(await lab.buyer.desk.load(order_id))
    if state == "declined":
        await lab.buyer.actions.cancel(await lab.buyer.desk.load(order_id))
    elif state == "lapsed":
        lab.clock.ahead_s += 2_000
        await buy(lab, order_id)
        await sell(lab, order_id)
    elif state != "agreed":
        await paid_sale_in(lab, order_id, state)
    return order_id


async def paid_sale_in(lab: TradeLab, order_id: str, state: str) -> None:
    buyer, seller = lab.buyer, lab.seller
    await buyer.escrow.fund(await buyer.desk.load(order_id))
    if state == "refunded":
        await seller.escrow.cancel(await seller.desk.load(order_id))
    elif state != "funded":
        await look(lab, order_id)
        await sell(lab, order_id)
    order = await buyer.desk.load(order_id)
    if state == "completed":
        await buyer.escrow.complete(order)
    if state in ("disputed", "ruled"):
        await buyer.escrow.dispute(order, b"e" * 32)
    if state == "ruled":
        key = escrow_key(buyer.wallet.address, order.contract.order_hash)
        lab.chain.do(lab.chain.arbiter, lab.chain.escrow.rule(key, 10_000))
    await look(lab, order_id)


async def end_of_sale(room: Room, order_id: str) -> int:
    """The order goes on to its end; what the buyer pays in it."""
    lab, buyer = room.lab, room.lab.buyer
    if (await room.states(order_id))[0] in ("proposed", "agreed"):
        for _ in range(2):
            await buy(lab, order_id)
    if (await room.states(order_id))[0] == "funded":
        await look(lab, order_id)
        await sell(lab, order_id)
        await look(lab, order_id)
    match (await room.states(order_id))[0]:
        case "delivered":
            await buyer.escrow.complete(await buyer.desk.load(order_id))
        case "disputed":
            key = escrow_key(buyer.wallet.address, bytes.fromhex(order_id))
            lab.chain.do(lab.chain.arbiter, lab.chain.escrow.rule(key, 10_000))
    await look(lab, order_id)
    paid = (await buyer.desk.load(order_id)).data.get("paid_micro", 0)
    assert isinstance(paid, int)
    return paid


# --- a job ---

STRETCH_S = 15


def works_on(lab: TradeLab, *, stays: bool) -> Any:
    """A job of 45 paid seconds, that goes on for ever or ends."""

    async def script(_spec: Any, _inputs: Path, outputs: Path, on_event: Any) -> JobResult:
        await on_event(FirstOutput(start_ms=1))
        for seconds in range(STRETCH_S, 4 * STRETCH_S, STRETCH_S):
            lab.clock.ahead_s += STRETCH_S
            usage = Usage(seconds_useful=seconds)
            await on_event(UsageTick(usage=usage))
            order = await lab.seller.desk.load(lab.seller.agent.ran[-1])
            while await lab.seller.channel.highest(order) < 1_000 * seconds:
                await trio.testing.wait_all_tasks_blocked(0.01)
        if stays:
            await trio.sleep_forever()
        leave(outputs, b"result")
        found = (OutputFile(name="model.onnx", size=6, sha256="00" * 32),)
        return JobResult(state="done", reason="done", words="Done.", outputs=found, usage=usage)

    return script


async def job_in(room: Room, state: str) -> str:
    """A job in a state, in both books; a copy of each is from before the money."""
    lab = room.lab
    data = await lab.buyer.file("data.csv", b"1,2\n")
    contract = lab.job([data])
    order_id = contract.order_id
    await lab.buyer.enter(contract, "buyer", lab.seller.seed, state="proposed")
    await lab.buyer.desk.patch(order_id, tries_left=0, patience_s=60)
    await lab.seller.enter(contract, "seller", lab.buyer.seed)
    await room.keep_copies(order_id)
    if state == "proposed":
        return order_id
    await step(lab.buyer, order_id)
    if state == "declined":
        await lab.buyer.desk.patch(order_id, cancel_requested=True)
        await step(lab.buyer, order_id)
    elif state == "lapsed":
        lab.clock.ahead_s += 2_000
        await step(lab.buyer, order_id)
        await step(lab.seller, order_id)
    elif state != "agreed":
        await paid_job_in(lab, order_id, state)
    return order_id


async def paid_job_in(lab: TradeLab, order_id: str, state: str) -> None:
    await step(lab.buyer, order_id)
    for side in (lab.buyer, lab.seller):
        await side.channel.catch_up(await side.desk.load(order_id))
    if state == "funded":
        return
    lab.seller.agent.script = works_on(lab, stays=state in ("running", "withdrawing"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(step, lab.seller, order_id)
        nursery.start_soon(follows, lab, order_id)
        while True:
            orders = [await side.desk.load(order_id) for side in (lab.buyer, lab.seller)]
            if all(order.data.get("seconds") == 45 for order in orders) and (
                state in ("running", "withdrawing") or {order.state for order in orders} == {"ended"}
            ):
                break
            await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()  # as a power cut at both ends
    if state == "withdrawing":
        await lab.buyer.channel.start_withdraw(await lab.buyer.desk.load(order_id))
    elif state == "settled":
        await lab.seller.channel.close(await lab.seller.desk.load(order_id))
    for side in (lab.buyer, lab.seller):
        await side.channel.catch_up(await side.desk.load(order_id))


async def follows(lab: TradeLab, order_id: str) -> None:
    while True:
        try:
            await step(lab.buyer, order_id)
        except PeerError:
            await trio.testing.wait_all_tasks_blocked(0.01)  # the job has not begun


async def end_of_job(room: Room, order_id: str) -> int:
    """The order goes on to its end; what the buyer pays in it."""
    lab = room.lab
    lab.seller.agent.script = works_on(lab, stays=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follows, lab, order_id)
        while not all(state in COMPUTE.final for state in await room.states(order_id)):
            await step(lab.seller, order_id)
            await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    order = await lab.buyer.desk.load(order_id)
    paid = order.data.get("paid_micro", 0)
    assert isinstance(paid, int)
    assert "fault" not in order.data, order.data["fault"]
    return paid
