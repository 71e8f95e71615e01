"""A leased machine with a promise, its buyer and the oracles that look at it: for tests of service levels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import trio
import trio.testing
from capacity_lab import CapacityLab, Stall, capacity_lab
from trade_lab import step
from trade_parts import leave

from openstall.app.services.service_levels import wire
from openstall.app.services.service_levels.pursuit import ROLE
from openstall.compute_agent.specs import FirstOutput, JobResult, Usage, UsageTick
from openstall.market.records import ServiceLevel

PENALTY = 900_000
MAX_S = 600
LONG_S = 100_000


@dataclass(slots=True, kw_only=True)
class Hearing:
    """A leased machine with a promise, watched by the buyer and by the oracles."""

    lab: CapacityLab
    bond: str
    order_id: str = ""
    ending: JobResult | None = None
    release: trio.Event | None = None

    @property
    def witnesses(self) -> list[Stall]:
        """Who looks at the provider."""
        return [self.lab.buyer, *self.lab.oracles]

    def level(self, **changes: Any) -> ServiceLevel:
        plain = {
            "start_s": 60,
            "uptime_bps": 9_500,
            "steps_per_1000s": 0,
            "bond": self.bond,
            "penalty_micro": PENALTY,
        }
        return msgspec.convert(plain | changes, ServiceLevel)

    async def lease(self, **changes: Any) -> str:
        """A paid job with that promise, handed to everybody who shall watch."""
        self.order_id = await self.lab.lease(service=msgspec.to_builtins(self.level(**changes)))
        await self.hand_over(self.lab.oracles)
        return self.order_id

    async def contract_lease(self) -> wire.Lease:
        order = await self.lab.buyer.side.desk.load(self.order_id)
        return wire.Lease(
            order=msgspec.to_builtins(order.contract.order),
            buyer_signature=order.buyer_signature,
            seller_signature=order.seller_signature,
        )

    async def hand_over(self, oracles: list[Stall]) -> None:
        """What the buyer's node does once a job is paid."""
        async with trio.open_nursery() as nursery:
            await self.lab.buyer.levels.pursuit._look_at(self.order_id, nursery)
            nursery.cancel_scope.cancel()
        for oracle in oracles:
            await self.lab.buyer.levels.pursuit._watch_by(oracle.wallet, await self.contract_lease())

    async def look(self, seconds: int, witnesses: list[Stall] | None = None) -> None:
        """Some time passes, and everybody looks at the provider."""
        self.lab.trade.clock.ahead_s += seconds
        for witness in self.witnesses if witnesses is None else witnesses:
            row = witness.levels.witness.watches.get(self.order_id)
            if not row.report:
                contract = wire.open_lease(msgspec.convert(row.contract, wire.Lease))
                await witness.levels.witness.look(row, contract)

    async def script(self, _spec: Any, _inputs: Path, outputs: Path, on_event: Any) -> JobResult:
        """A job that has begun and goes on until the test lets it end."""
        assert self.release is not None
        leave(outputs, b"")
        await on_event(FirstOutput(start_ms=1))
        await on_event(UsageTick(usage=Usage(seconds_useful=1)))
        self.started.set()
        await self.release.wait()
        assert self.ending is not None
        return self.ending

    started: trio.Event = None  # type: ignore[assignment]  # made in the loop

    @asynccontextmanager
    async def running(self, ending: JobResult) -> AsyncIterator[None]:
        """The provider's node runs the job; it ends so when the block is left."""
        self.release, self.started, self.ending = trio.Event(), trio.Event(), ending
        self.lab.provider.side.agent.script = self.script
        async with trio.open_nursery() as nursery:
            nursery.start_soon(step, self.lab.provider.side, self.order_id)
            with trio.fail_after(30):
                await self.started.wait()
            yield
            self.release.set()

    async def vanish(self) -> None:
        """The provider's node is gone, as after a kill."""
        await self.stop(self.lab.provider, self.witnesses)

    async def stop(self, gone: Stall, seen_by: list[Stall]) -> None:
        """A node ends, and the others have noticed."""
        gone.side.host.stop()
        with trio.fail_after(30):
            while any(one.side.host.peer(gone.peer_id) is not None for one in seen_by):
                await trio.testing.wait_all_tasks_blocked(0.01)

    async def judge(self) -> dict[str, Any]:
        """The buyer's node draws its conclusions, and pursues its case to the end; the case's row."""
        pursuit = self.lab.buyer.levels.pursuit
        await pursuit.found(pursuit.watches.get(self.order_id))
        return await self.pursue()

    async def pursue(self) -> dict[str, Any]:
        pursuit = self.lab.buyer.levels.pursuit
        rows = pursuit.cases.items(role=ROLE)
        if not rows:
            return {"state": "none"}
        for _ in range(3):
            row = pursuit.cases.get(rows[0].case_hash, ROLE)
            if row.state != "open" or await pursuit._step(row):
                break
        row = pursuit.cases.get(rows[0].case_hash, ROLE)
        return {"state": row.state, **row.data}

    def balance(self) -> int:
        return self.lab.trade.chain.balance(self.lab.buyer.side.wallet)

    async def order(self) -> dict[str, Any]:
        return (await self.lab.buyer.side.desk.load(self.order_id)).data


def done(seconds: int = 1, state: str = "done", reason: str = "ok") -> JobResult:
    usage = Usage(seconds_useful=seconds)
    return JobResult(state=state, reason=reason, words="The end.", usage=usage)  # type: ignore[arg-type]


@asynccontextmanager
async def hearing(folder: Path) -> AsyncIterator[Hearing]:
    async with capacity_lab(folder) as lab:
        bond = await lab.post_bond(unlock_delay_s=LONG_S)
        for stall in lab.stalls:
            stall.levels.serve()
        yield Hearing(lab=lab, bond=bond)
