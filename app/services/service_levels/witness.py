"""Watches jobs with a service level: as their buyer, and as an oracle of the bond.

A look at the provider comes at a moment that it cannot foresee. Every look is on disk before the next.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.orders.placing import Party
from openstall.app.services.service_levels import wire
from openstall.app.threads import Workers
from openstall.market.errors import OpenstallError, PeerError
from openstall.market.orders.documents import Contract
from openstall.market.sightings import (
    Judgement,
    Sighting,
    Telemetry,
    add,
    add_told,
    judge,
    sighting_of,
)
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.host import PeerHost
from openstall.store.watches import Watches, WatchRow

ORACLE, BUYER = "oracle", "buyer"
LOOKS = 40
"""About so many looks at a job in its longest time."""
LEAST_GAP_S, MOST_GAP_S = 2, 300
OTHERS_ASKED = 3
"""How many others are asked whether one's own line holds, where the provider is silent."""
AGAIN_S = 3600

log = get_logger("openstall.service")


@dataclass(slots=True, kw_only=True)
class Witness:
    """Looks at the providers of what is watched, until cancelled."""

    me: Party
    peers: PeerHost
    watches: Watches
    workers: Workers
    clock: Clock
    found: Callable[[WatchRow], Awaitable[None]]
    """Told after each look at a job in which this node is the buyer."""
    _woken: trio.Event = field(default_factory=trio.Event)
    _watched: set[str] = field(default_factory=set)
    _nudges: dict[str, trio.Event] = field(default_factory=dict)

    def nudge(self, order_id: str) -> None:
        """Look at a job now, if it is watched."""
        self._nudges.setdefault(order_id, trio.Event()).set()

    async def begin(self, row: WatchRow) -> bool:
        """Watch a job from now on, over restarts; False where it is watched already."""
        if not await self.workers.store(self.watches.add, row):
            return False
        self._woken.set()
        self._woken = trio.Event()
        return True

    async def run(self) -> None:
        """Watch what is on disk, also from before a restart."""
        self._watched.clear()
        async with trio.open_nursery() as nursery:
            while True:
                woken = self._woken
                await self.workers.store(self.watches.forget_ended, self.clock.now())
                for row in await self.workers.store(self.watches.items):
                    if row.order_id not in self._watched:
                        self._watched.add(row.order_id)
                        nursery.start_soon(self._watch, row.order_id)
                with trio.move_on_after(AGAIN_S):
                    await woken.wait()

    async def _watch(self, order_id: str) -> None:
        """Look until the job has ended, or it is clear without that what to think of it."""
        while True:
            row = await self.workers.store(self.watches.find, order_id)
            if row is None or self.clock.now() > row.ends_at:
                return
            contract = wire.open_lease(msgspec.convert(row.contract, wire.Lease))
            if not row.report:
                row = await self.look(row, contract)
            if row.role == BUYER:
                await self.found(row)
            if verdict(row, contract, now=self.clock.now()) is not None:
                return
            nudged = self._nudges.setdefault(order_id, trio.Event())
            with trio.move_on_after(gap_s(contract.compute.max_s)):
                await nudged.wait()
            self._nudges.pop(order_id, None)

    async def look(self, row: WatchRow, contract: Contract) -> WatchRow:
        """One look at the provider, kept."""
        seen, status = await self._ask(contract)
        sightings = add([msgspec.convert(one, Sighting) for one in row.sightings], seen)
        plain = [msgspec.to_builtins(one) for one in sightings]
        telemetry, report = (status.telemetry, status.report) if status else (row.telemetry, row.report)
        await self.workers.store(
            lambda: self.watches.saw(row.order_id, plain, telemetry=telemetry, report=report)
        )
        return await self.workers.store(self.watches.get, row.order_id)

    async def _ask(self, contract: Contract) -> tuple[Sighting, wire.Status | None]:
        nonce = secrets.token_hex(16)
        provider = contract.order.seller
        try:
            status = await wire.ask(
                self.peers,
                provider,
                wire.Ask(do="status", order=contract.order_id, nonce=nonce),
                wire.Status,
            )
            found: Telemetry = wire.read_telemetry(status.telemetry, contract, by=provider)
            report = wire.read_signed_report(status.report, contract)
            if found.nonce != nonce or (found.state == "ended") != (report is not None):
                return Sighting(at=self.clock.now(), state="none"), None
            return sighting_of(found, self.clock.now()), status
        except RefusedByPeer as error:
            log.info("provider shows no job", order=contract.order_id, code=error.code)
            return Sighting(at=self.clock.now(), state="none"), None
        except PeerError as error:
            state = "silent" if await self._line_holds(contract) else "blind"
            log.info("provider not seen", order=contract.order_id, code=error.code, state=state)
            return Sighting(at=self.clock.now(), state=state), None
        except OpenstallError as error:  # it answers with something that it did not sign
            log.info("provider shows no job", order=contract.order_id, code=error.code)
            return Sighting(at=self.clock.now(), state="none"), None

    async def _line_holds(self, contract: Contract) -> bool:
        """Whether anybody else answers this node now: the buyer first, then others it is connected to."""
        provider = contract.order.seller
        others = [contract.order.buyer, *(peer.peer_id for peer in self.peers.peers())]
        asked = 0
        for peer_id in dict.fromkeys(others):
            if peer_id in (provider, self.me.peer_id):
                continue
            if asked == OTHERS_ASKED:
                break
            asked += 1
            try:
                await wire.ask(self.peers, peer_id, wire.Ask(do="ping"), wire.Nothing)
            except RefusedByPeer:
                return True
            except PeerError as error:
                if error.code == "not_supported":
                    return True
                continue
            return True
        return False


def verdict(
    row: WatchRow,
    contract: Contract,
    *,
    now: int,
    report: dict[str, object] | None = None,
    told: Telemetry | None = None,
    signed_s: int = 0,
) -> Judgement | None:
    """What follows from what was seen; None while it is too early.

    `report` and `told` are what the provider has signed and this witness did not see itself.
    """
    seen = [msgspec.convert(one, Sighting) for one in row.sightings]
    if told is not None:
        seen = add_told(seen, told, paid_at=row.paid_at, now=now)
    signed = wire.read_signed_report(row.report or report or {}, contract)
    return judge(
        contract.compute,
        seen,
        paid_at=row.paid_at,
        report=signed.report if signed is not None else None,
        now=now,
        buyer_worked_s=signed_s,
    )


def gap_s(max_s: int) -> float:
    """Until the next look: drawn from half to one and a half of the mean."""
    mean = min(max(max_s / LOOKS, LEAST_GAP_S), MOST_GAP_S)
    return mean / 2 + mean * secrets.randbelow(1000) / 1000
