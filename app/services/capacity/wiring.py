"""Builds the capacity service of a node from what trading stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.services.capacity.answering import Answering
from openstall.app.services.capacity.bonds import Bonds
from openstall.app.services.capacity.challenging import Challenging
from openstall.app.services.capacity.claims import Claims
from openstall.app.services.capacity.complaints import Complaints
from openstall.app.services.capacity.network_speed import NetworkSpeed
from openstall.app.services.capacity.oracle import Oracle
from openstall.app.services.capacity.service import CapacityService
from openstall.app.services.capacity.testbench import Testbench
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.checking import LocalJobs
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.placing import Party
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain
from openstall.ledger.wallet import Wallet
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.host import PeerHost
from openstall.store.cases import Cases
from openstall.store.database import Store
from openstall.store.provider_log import ChallengeMet, ProviderLog
from openstall.store.settings import Settings
from openstall.store.verdicts import Verdicts

if TYPE_CHECKING:
    from openstall.app.ground import Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityGround:
    """What the capacity service stands on."""

    me: Party
    wallet: Wallet
    chain: Chain
    transactions: TransactionService
    peers: PeerHost
    blobs: BlobStore
    transfer: BlobTransfer
    access: BlobAccess
    catalogue: Catalogue
    desk: OrderDesk
    jobs: LocalJobs
    store: Store
    workers: Workers
    clock: Clock
    bus: EventBus
    folder: Path
    threads: Callable[[], Awaitable[int]]
    gpus: Callable[[], Awaitable[tuple[str, ...]]]
    """The graphics cards that may be measured, by the driver's ids."""
    held_back: Callable[[], str]
    """Why the owner lets nothing run for others now; empty where it may."""


def on_trade(
    ground: Ground,
    *,
    me: Party,
    desk: OrderDesk,
    jobs: LocalJobs,
    threads: Callable[[], Awaitable[int]],
    gpus: Callable[[], Awaitable[tuple[str, ...]]],
) -> CapacityGround:
    """The part of trading's ground that the service stands on."""
    return CapacityGround(
        me=me,
        wallet=ground.wallet,
        chain=ground.chain,
        transactions=ground.transactions,
        peers=ground.host,
        blobs=ground.blobs,
        transfer=ground.transfer,
        access=ground.access,
        catalogue=ground.catalogue,
        desk=desk,
        jobs=jobs,
        store=ground.store,
        workers=ground.workers,
        clock=ground.clock,
        bus=ground.bus,
        folder=ground.home.jobs,
        threads=threads,
        gpus=gpus,
        held_back=lambda: ground.house.held_back if ground.house.state in ("paused", "closed") else "",
    )


def make_capacity(ground: CapacityGround) -> CapacityService:
    """The service with all its parts."""
    bench = Testbench(jobs=ground.jobs, workers=ground.workers, gpus=ground.gpus)
    settings, cases, verdicts = Settings(ground.store), Cases(ground.store), Verdicts(ground.store)
    bonds = Bonds(
        chain=ground.chain,
        wallet=ground.wallet,
        transactions=ground.transactions,
        catalogue=ground.catalogue,
        settings=settings,
        workers=ground.workers,
    )
    claims = Claims(
        me=ground.me,
        catalogue=ground.catalogue,
        bench=bench,
        blobs=ground.blobs,
        transfer=ground.transfer,
        access=ground.access,
        settings=settings,
        workers=ground.workers,
        clock=ground.clock,
        folder=ground.folder,
        line=NetworkSpeed(
            peers=ground.peers, catalogue=ground.catalogue, blobs=ground.blobs, transfer=ground.transfer
        ).figures,
    )
    challenging = Challenging(
        me=ground.me,
        peers=ground.peers,
        claims=claims,
        bench=bench,
        verdicts=verdicts,
        workers=ground.workers,
        clock=ground.clock,
    )
    return CapacityService(
        desk=ground.desk,
        claims=claims,
        bonds=bonds,
        answering=_answering(ground, bonds, bench),
        challenging=challenging,
        oracle=Oracle(
            me=ground.me,
            wallet=ground.wallet,
            chain=ground.chain,
            peers=ground.peers,
            bonds=bonds,
            challenging=challenging,
            cases=cases,
            workers=ground.workers,
            clock=ground.clock,
            bus=ground.bus,
        ),
        complaints=_complaints(ground, bonds, cases),
        cases=cases,
        verdicts=verdicts,
        workers=ground.workers,
        threads=ground.threads,
    )


def _answering(ground: CapacityGround, bonds: Bonds, bench: Testbench) -> Answering:
    kept = ProviderLog(ground.store)

    async def met(challenge: ChallengeMet) -> None:
        await ground.workers.store(kept.keep_challenge, challenge)

    return Answering(
        met=met,
        me=ground.me,
        peers=ground.peers,
        desk=ground.desk,
        catalogue=ground.catalogue,
        bonds=bonds,
        bench=bench,
        blobs=ground.blobs,
        access=ground.access,
        folder=ground.folder,
        workers=ground.workers,
        clock=ground.clock,
        held_back=ground.held_back,
    )


def _complaints(ground: CapacityGround, bonds: Bonds, cases: Cases) -> Complaints:
    return Complaints(
        me=ground.me,
        wallet=ground.wallet,
        chain=ground.chain,
        peers=ground.peers,
        bonds=bonds,
        transactions=ground.transactions,
        cases=cases,
        workers=ground.workers,
        clock=ground.clock,
        bus=ground.bus,
    )
