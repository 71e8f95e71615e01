"""Builds what a seller of compute has: offer, demand, reliability, a price that follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from openstall.app.services.autoprice import Autoprice
from openstall.app.services.capacity.service import CapacityService
from openstall.app.services.cards import Cards
from openstall.app.services.demand import Demand
from openstall.app.services.own_books import OwnBooks
from openstall.app.services.reliability import ReliabilityService
from openstall.app.services.renting import Renting
from openstall.app.services.rigs.machines import Machines
from openstall.app.services.rivals import Rivals
from openstall.store.lost_jobs import LostJobs
from openstall.store.orders import Orders
from openstall.store.price_changes import PriceChanges
from openstall.store.provider_log import ProviderLog
from openstall.store.settings import Settings
from openstall.store.vouchers import Vouchers

if TYPE_CHECKING:
    from openstall.app.ground import Ground


def make_renting(ground: Ground, *, machines: Machines, open_jobs: Callable[[], Awaitable[int]]) -> Renting:
    """The switch of Sell compute, for these machines."""
    params = ground.chain.params
    return Renting(
        catalogue=ground.catalogue,
        settings=Settings(ground.store),
        workers=ground.workers,
        agent=ground.agent,
        machines=machines,
        cards=Cards(agent=ground.agent, house=ground.house),
        open_jobs=open_jobs,
        house=ground.house,
        wallet=ground.wallet.address,
        chain_id=params.chain_id,
        channel=params.channel,
        clock=ground.clock,
        warm_folder=ground.home.jobs,
    )


def make_demand(ground: Ground, *, books: OwnBooks) -> Demand:
    """Why no job, and why this price."""
    return Demand(
        catalogue=ground.catalogue,
        chain=ground.chain,
        settings=Settings(ground.store),
        lost=LostJobs(ground.store),
        workers=ground.workers,
        wallet=ground.wallet.address,
        now=ground.clock.now,
        held_back=lambda: ground.house.held_back,
        cost_per_s_micro=books.cost_per_s_micro,
        sold=books.jobs_sold,
    )


def make_reliability(ground: Ground, *, capacity: CapacityService, orders: Orders) -> ReliabilityService:
    """The service on this node's own books."""
    return ReliabilityService(
        orders=orders,
        vouchers=Vouchers(ground.store),
        verdicts=capacity.verdicts,
        kept=ProviderLog(ground.store),
        settings=Settings(ground.store),
        chain=ground.chain,
        workers=ground.workers,
        clock=ground.clock,
        wallet=ground.wallet.address,
        wallet_of=capacity.bonds.wallet_of,
    )


def make_autoprice(
    ground: Ground, *, capacity: CapacityService, renting: Renting, orders: Orders, books: OwnBooks
) -> Autoprice:
    """The service, with the rivals that it believes."""
    rivals = Rivals(
        catalogue=ground.catalogue,
        claims=capacity.claims,
        bonds=capacity.bonds,
        orders=orders,
        workers=ground.workers,
        connected=lambda: [peer.peer_id for peer in ground.host.peers()],
    )
    return Autoprice(
        renting=renting,
        catalogue=ground.catalogue,
        rivals=rivals,
        changes=PriceChanges(ground.store),
        settings=Settings(ground.store),
        workers=ground.workers,
        clock=ground.clock,
        cost_per_s_micro=books.cost_per_s_micro,
        sold=books.jobs_sold,
    )
