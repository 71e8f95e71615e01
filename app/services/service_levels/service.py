"""Joins the parts of service levels, answers other peers, and serves the local API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from openstall.app.logging import get_logger
from openstall.app.services.capacity.bonds import Bonds, as_dict
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.placing import Party
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.service_levels import telemetry, wire
from openstall.app.services.service_levels.court import Court
from openstall.app.services.service_levels.promises import Promises, Wanted
from openstall.app.services.service_levels.pursuit import Pursuit
from openstall.app.services.service_levels.witness import Witness
from openstall.market.errors import NotFound, OpenstallError
from openstall.market.fields import body_as_dict
from openstall.market.records import Offer, ServiceLevel
from openstall.p2p.host import PeerHost

RENEW_S = 86_400
TRY_AGAIN_S = 60

log = get_logger("openstall.service")


@dataclass(slots=True, kw_only=True)
class LevelService:
    """What the local API offers about service levels, and what other peers may ask."""

    me: Party
    peers: PeerHost
    desk: OrderDesk
    catalogue: Catalogue
    bonds: Bonds
    promises: Promises
    witness: Witness
    court: Court
    pursuit: Pursuit
    running: Callable[[], dict[str, RunningJob]]
    """The jobs of this node as provider."""
    _oracles: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def serve(self) -> None:
        """Answer other peers from now on."""
        self.peers.serve(
            wire.PROTOCOL,
            self._answer,
            max_request=wire.MAX_REQUEST,
            max_response=wire.MAX_ANSWER,
            per_peer_rate=wire.RATE,
        )

    async def run(self) -> None:
        """Serve and watch, until cancelled."""
        self.serve()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.witness.run)
            nursery.start_soon(self.pursuit.run)
            nursery.start_soon(self._keep_published)

    async def show_own(self) -> dict[str, Any]:
        """What this node promises, what its bond holds, and what open orders may cost."""
        level = await self.promises.own()
        bond = await self.bonds.own() if self.bonds.chain.params.bond else None
        return {
            "level": body_as_dict(level) if level is not None else None,
            "bond": as_dict(bond) if bond is not None else None,
            "pledged_micro": await self.promises.pledged(),
        }

    async def promise(self, wanted: Wanted) -> dict[str, Any]:
        """Promise a service level from now on; see `Promises.promise`."""
        await self.promises.promise(wanted)
        return await self.show_own()

    async def take_back(self) -> dict[str, Any]:
        """Promise nothing from now on."""
        await self.promises.take_back()
        return await self.show_own()

    async def show(self, peer_id: str) -> dict[str, Any]:
        """What a provider promises."""
        return await self.promises.of(peer_id)

    async def choose(
        self, offer_cid: str, wanted: Wanted, *, cap_micro: int, max_s: int, priority_per_s_micro: int = 0
    ) -> ServiceLevel:
        """The service level to order with an offer; what is paid on top raises the cap, so the penalty too.

        Raises:
            NotFound: the offer is gone. Refused: its provider does not promise that.
        """
        record = await self.catalogue.live_record(offer_cid)
        if not isinstance(record.body, Offer):
            raise NotFound("not_on_sale", "That is not an offer of compute.")
        longest_s = min(max_s, record.body.max_s)
        price_micro = record.body.price_per_s_micro + priority_per_s_micro
        cap_micro = min(cap_micro, price_micro * longest_s)
        return await self.promises.choose(record.record.author, wanted, cap_micro=cap_micro, max_s=longest_s)

    async def _keep_published(self) -> None:
        while True:
            pause_s = RENEW_S
            try:
                await self.promises.publish_again()
            except OpenstallError as error:
                log.warning("promise not renewed", code=error.code)
                pause_s = TRY_AGAIN_S
            await trio.sleep(pause_s)

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        ask = wire.decode_ask(raw)
        match ask.do:
            case "ping":
                answer: msgspec.Struct = wire.Nothing()
            case "status":
                answer = await self._status(peer_id, ask)
            case "watch" if ask.lease is not None:
                answer = await self.court.watch(peer_id, ask.lease)
            case "complain" if ask.file is not None:
                answer = await self.court.complain(peer_id, ask.file)
            case "sign" if ask.order and ask.amount_micro:
                answer = await self.court.sign(peer_id, ask.order, ask.amount_micro)
            case _:
                raise wire.refused_unknown()
        return wire.encode(answer)

    async def _status(self, peer_id: str, ask: wire.Ask) -> wire.Status:
        """How far a job is, to its buyer and to the oracles of its bond."""
        order = await self.desk.find(ask.order) if ask.order and ask.nonce else None
        mine = order is not None and (order.role, order.kind) == ("seller", "compute")
        if order is None or not mine or not await self._may_ask(peer_id, order):
            raise NotFound("no_such_order", "There is no such job for you here.")
        job, now = self.running().get(order.order_id), self.desk.now()
        report = telemetry.report_of(order, job, self.me, now=now)
        ended_at = int(report["report"]["at"]) if report else 0
        found = telemetry.of_provider(order, job, self.me, nonce=ask.nonce, now=now, ended_at=ended_at)
        return wire.Status(telemetry=found, report=report)

    async def _may_ask(self, peer_id: str, order: OpenOrder) -> bool:
        if peer_id == order.other:
            return True
        level = order.contract.compute.service
        if level is None:
            return False
        if level.bond not in self._oracles:  # they never change
            self._oracles[level.bond] = (await self.bonds.read(level.bond)).oracles
        return await self.bonds.wallet_of(peer_id) in self._oracles[level.bond]
