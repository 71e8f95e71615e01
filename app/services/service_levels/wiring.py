"""Builds the service of service levels from what trading and capacity stand on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from openstall.app.services.capacity.bonds import Bonds
from openstall.app.services.capacity.wiring import CapacityGround
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.service_levels.court import Court
from openstall.app.services.service_levels.promises import Promises
from openstall.app.services.service_levels.pursuit import Pursuit
from openstall.app.services.service_levels.service import LevelService
from openstall.app.services.service_levels.witness import Witness
from openstall.store.cases import Cases
from openstall.store.orders import Orders
from openstall.store.settings import Settings
from openstall.store.watches import Watches, WatchRow


def make_levels(
    ground: CapacityGround, bonds: Bonds, *, orders: Orders, running: Callable[[], dict[str, RunningJob]]
) -> LevelService:
    """The service with all its parts."""
    watches, cases = Watches(ground.store), Cases(ground.store)
    told: list[Callable[[WatchRow], Awaitable[None]]] = []

    async def found(row: WatchRow) -> None:
        for tell in told:
            await tell(row)

    witness = Witness(
        me=ground.me,
        peers=ground.peers,
        watches=watches,
        workers=ground.workers,
        clock=ground.clock,
        found=found,
    )
    pursuit = Pursuit(
        me=ground.me,
        chain=ground.chain,
        peers=ground.peers,
        desk=ground.desk,
        bonds=bonds,
        transactions=ground.transactions,
        watches=watches,
        cases=cases,
        workers=ground.workers,
        clock=ground.clock,
        bus=ground.bus,
        witness=witness,
    )
    told.append(pursuit.found)
    return LevelService(
        me=ground.me,
        peers=ground.peers,
        desk=ground.desk,
        catalogue=ground.catalogue,
        bonds=bonds,
        promises=Promises(
            me=ground.me,
            catalogue=ground.catalogue,
            bonds=bonds,
            desk=ground.desk,
            orders=orders,
            settings=Settings(ground.store),
            workers=ground.workers,
            now=ground.clock.now,
        ),
        witness=witness,
        court=Court(
            me=ground.me,
            wallet=ground.wallet,
            chain=ground.chain,
            bonds=bonds,
            witness=witness,
            watches=watches,
            cases=cases,
            workers=ground.workers,
            clock=ground.clock,
            bus=ground.bus,
        ),
        pursuit=pursuit,
        running=running,
    )
