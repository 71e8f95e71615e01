"""The trading part of a node: everything that needs an open wallet, a joined chain and a peer host.

It is built when those three are there, runs until one of them goes, and is built anew when they are
back; open orders are resumed each time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from openstall.app.endpoint.wiring import Serving
from openstall.app.ground import Ground
from openstall.app.services.averaging import Averaging
from openstall.app.services.batches.service import BatchService
from openstall.app.services.capacity.wiring import CapacityGround, make_capacity, on_trade
from openstall.app.services.checking import LocalJobs, ModelCheck
from openstall.app.services.custom.wiring import make_custom
from openstall.app.services.disputes.wiring import make_disputes
from openstall.app.services.earnings import Earnings
from openstall.app.services.house_guests import NoGuests
from openstall.app.services.orders.chain_wakes import ChainWakes
from openstall.app.services.orders.channel_desk import make_channel
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.orders.escrow_desk import EscrowDesk
from openstall.app.services.orders.grants import restore_access
from openstall.app.services.orders.guests import JobGuests
from openstall.app.services.orders.job_buyer import JobBuyer
from openstall.app.services.orders.job_check import make_job_check
from openstall.app.services.orders.job_failover import Failover
from openstall.app.services.orders.job_follow import JobFollow
from openstall.app.services.orders.job_places import open_jobs
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.services.orders.order_wiring import is_funded, make_placing, make_transcripts
from openstall.app.services.orders.placing import Party
from openstall.app.services.orders.recovery_wiring import make_recovery, recalled
from openstall.app.services.orders.sale_wiring import make_escrow, make_sale
from openstall.app.services.orders.service import OrderService
from openstall.app.services.orders.traffic import Traffic
from openstall.app.services.own_books import OwnBooks
from openstall.app.services.rigs.machines import Machines
from openstall.app.services.running import ModelRuns
from openstall.app.services.selling import SaleChain, Stock
from openstall.app.services.selling_wiring import make_autoprice, make_demand, make_reliability, make_renting
from openstall.app.services.service_levels.wiring import make_levels
from openstall.app.supervisor import steadily
from openstall.market.orders.documents import Contract
from openstall.store.batches import Batches
from openstall.store.job_log import JobLog
from openstall.store.library import Library
from openstall.store.orders import Orders
from openstall.store.settings import Settings


class Trade:
    """Selling, renting, buying: the services behind the routes, and the tasks that drive open orders."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._settings = Settings(ground.store)
        self._log = JobLog(ground.store)
        self._library = Library(ground.store)
        self._orders = Orders(ground.store)
        self.desk = OrderDesk(orders=self._orders, bus=ground.bus, workers=ground.workers, clock=ground.clock)
        self._transcripts = make_transcripts(ground)
        jobs = LocalJobs(agent=ground.agent, folder=ground.home.jobs, workers=ground.workers)
        self.check = ModelCheck(jobs=jobs)
        self.averaging = Averaging(desk=self.desk, jobs=jobs, workers=ground.workers)
        self.runs = ModelRuns(library=self._library, jobs=jobs, workers=ground.workers)
        self.stock = self._make_stock()
        self.machines = Machines(
            agent=ground.agent,
            own=ground.own_machine,
            house=ground.house,
            hub=ground.rigs,
            own_places=lambda: self.renting.places(),  # noqa: PLW0108 - it is made below
            own_cards=lambda: self.renting.gpus(),  # noqa: PLW0108 - as above
            now=ground.clock.now,
        )
        self.renting = make_renting(ground, machines=self.machines, open_jobs=partial(open_jobs, self.desk))
        capacity_ground = self._capacity_ground(jobs)
        self.capacity = make_capacity(capacity_ground)
        self.levels = make_levels(
            capacity_ground,
            self.capacity.bonds,
            orders=self._orders,
            running=lambda: self.orders.provider.jobs,
        )
        self._engine = OrderEngine(desk=self.desk)
        self._wakes = ChainWakes(
            chain=ground.chain, desk=self.desk, engine=self._engine, workers=ground.workers
        )
        self._books = OwnBooks(
            desk=self.desk, orders=self._orders, house=ground.house, workers=ground.workers
        )
        self.demand = make_demand(ground, books=self._books)
        self.reliability = make_reliability(ground, capacity=self.capacity, orders=self._orders)
        self.autoprice = make_autoprice(
            ground, capacity=self.capacity, renting=self.renting, orders=self._orders, books=self._books
        )
        self.custom = make_custom(
            ground,
            me=self._me(),
            desk=self.desk,
            engine=self._engine,
            stock=self.stock,
            jobs=jobs,
            orders=self._orders,
        )
        self.requests, self.developer = self.custom.requests, self.custom.developer
        self._make_orders()
        ground.post.listen(self._engine.wake_all, self.disputes.talk.try_now)
        self.job_check = make_job_check(ground, self.orders.placing, self._settings, jobs)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve other peers and drive the open orders, until cancelled."""
        ground = self._ground
        await restore_access(self.desk, self._orders, self.stock, ground.access, self._channel)
        await self.custom.evaluating.clear()
        await self.custom.contests.restore()
        self.negotiation.serve()
        self.recovery.serve()
        self._follow.serve()
        self.serving.serve()
        self.custom.talk.serve()
        self.disputes.talk.serve()
        self.custom.contests.talk.serve()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.requests.resume)
            nursery.start_soon(self._ground.rigs.watch, self._engine.wake_all)
            await nursery.start(self._engine.run)
            nursery.start_soon(steadily, "blocks", self._wakes.run)
            nursery.start_soon(steadily, "offer", self.renting.keep_alive)
            nursery.start_soon(steadily, "price", self.autoprice.run)
            nursery.start_soon(steadily, "house rules", self._keep_house)
            nursery.start_soon(steadily, "demand", self.demand.run)
            nursery.start_soon(steadily, "served models", self.serving.run)
            nursery.start_soon(steadily, "batches", self.batches.run)
            nursery.start_soon(steadily, "capacity", self.capacity.run)
            if self._ground.chain.params.auction:
                nursery.start_soon(steadily, "auctions", self.custom.auctions.run)
                nursery.start_soon(steadily, "openings", self.custom.opener.run)
            nursery.start_soon(steadily, "disputes", self.disputes.run)
            if self._ground.chain.params.contest:
                nursery.start_soon(steadily, "contests", self.custom.contests.run)
            nursery.start_soon(steadily, "service levels", self.levels.run)
            nursery.start_soon(steadily, "transactions", self._ground.transactions.resume)
            ready()

    async def _keep_house(self) -> None:
        house = self._ground.house
        house.guests = self.guests
        try:
            await house.keep()
        finally:
            house.guests = NoGuests()

    def new_block(self) -> None:
        """The chain has a new block: orders whose money it moves look at once."""
        self._wakes.new_block()
        self.demand.new_block()
        self.custom.auctions.wake()
        self.custom.contests.wake()

    def _make_stock(self) -> Stock:
        ground, params = self._ground, self._ground.chain.params
        return Stock(
            catalogue=ground.catalogue,
            blobs=ground.blobs,
            settings=self._settings,
            check=self.check,
            seed=ground.seed,
            chain=SaleChain(wallet=ground.wallet.address, chain_id=params.chain_id, escrow=params.escrow),
            folder=ground.home.jobs / "sealing",
            workers=ground.workers,
            access=ground.access,
        )

    def _capacity_ground(self, jobs: LocalJobs) -> CapacityGround:
        return on_trade(
            self._ground,
            me=self._me(),
            desk=self.desk,
            jobs=jobs,
            threads=self.renting.threads,
            gpus=self.renting.cards.ids,
        )

    def _me(self) -> Party:
        ground = self._ground
        return Party(
            peer_id=ground.host.peer_id,
            seed=ground.seed,
            wallet=ground.wallet.address,
            chain_id=ground.chain.params.chain_id,
            network=ground.network,
        )

    def _make_orders(self) -> None:
        ground, desk = self._ground, self.desk
        escrow = make_escrow(ground, desk)
        self.disputes = make_disputes(
            ground, me=self._me(), desk=desk, orders=self._orders, escrow=escrow, models=self.custom.models
        )
        channel = self._channel = make_channel(ground, desk)
        self.traffic = Traffic(
            desk=desk, orders=self._orders, rules=ground.house.rules, workers=ground.workers
        )
        self.earnings = Earnings(
            desk=desk,
            orders=self._orders,
            channel=channel,
            rules=ground.house.rules,
            rig=self.machines.rig_facts,
            workers=ground.workers,
        )
        provider = JobProvider(
            desk=desk,
            channel=channel,
            transcripts=self._transcripts,
            agent=self.machines,
            blobs=ground.blobs,
            transfer=ground.transfer,
            access=ground.access,
            log=self._log,
            folder=ground.home.jobs,
            seed=ground.seed,
            workers=ground.workers,
            wake=self._engine.watch,
            places=self.machines,
            begun=ground.house.wake,
            account=self.earnings.account,
        )
        self.guests = JobGuests(
            provider=provider, agent=ground.agent, give_way=self.capacity.answering.give_way
        )
        self.negotiation = self._make_negotiation(provider, escrow)
        self._follow = JobFollow(
            desk=desk,
            peers=ground.host,
            provider=provider,
            transcripts=self._transcripts,
            log=self._log,
            workers=ground.workers,
        )
        self.serving = Serving(
            provider,
            peers=ground.host,
            clock=ground.clock,
            secrets=ground.secrets,
            workers=ground.workers,
            file=ground.home.endpoints,
        )
        placing = make_placing(ground, me=self._me(), desk=desk, engine=self._engine)
        buyer = JobBuyer(
            desk=desk,
            peers=ground.host,
            negotiation=self.negotiation,
            channel=channel,
            blobs=ground.blobs,
            transfer=ground.transfer,
            access=ground.access,
            log=self._log,
            folder=ground.home.library / "jobs",
            workers=ground.workers,
            failover=Failover(
                desk=desk,
                placing=placing,
                channel=channel,
                catalogue=ground.catalogue,
            ),
        )
        sale = make_sale(
            ground,
            desk=desk,
            escrow=escrow,
            negotiation=self.negotiation,
            stock=self.stock,
            library=self._library,
            disputes=self.disputes,
        )
        self.recovery = make_recovery(
            ground,
            engine=self._engine,
            channel=channel,
            escrow=escrow,
            custom=self.custom,
            negotiation=self.negotiation,
            provider=provider,
            talk=self.disputes.talk,
        )
        self._engine.handlers = {
            **sale.handlers,
            **recalled(self.recovery, buyer, provider),
            **self.custom.handlers(self.negotiation, sale.unpacking, self.disputes),
        }
        self.batches = BatchService(
            books=Batches(ground.store),
            desk=desk,
            placing=placing,
            failover=buyer.failover,
            catalogue=ground.catalogue,
            folder=ground.home.library,
            workers=ground.workers,
            cancel_order=lambda order_id: self.orders.act(order_id, "cancel"),
        )
        self.orders = OrderService(
            placing=placing,
            desk=desk,
            engine=self._engine,
            orders=self._orders,
            catalogue=ground.catalogue,
            transactions=ground.transactions,
            channel=channel,
            sale=sale.actions,
            custom=self.custom.actions(self.disputes),
            talk=self.disputes.talk,
            buyer=buyer,
            provider=provider,
            log=self._log,
            library=self._library,
            workers=ground.workers,
        )

    def _make_negotiation(self, provider: JobProvider, escrow: EscrowDesk) -> Negotiation:
        ground = self._ground
        return Negotiation(
            is_funded=partial(is_funded, ground, escrow, self.custom.models),
            on_refused=self.demand.note_refusal,
            desk=self.desk,
            peers=ground.post,
            seed=ground.seed,
            wallet=ground.wallet.address,
            chain_id=ground.chain.params.chain_id,
            network=ground.network,
            catalogue=ground.catalogue,
            transcripts=self._transcripts,
            ready=self._ready_for,
            on_agreed=self._engine.watch,
            on_cancel=provider.cancel,
            evaluates=self.custom.willing.check,
        )

    async def _ready_for(self, contract: Contract) -> None:
        match contract.order.kind:
            case "compute":
                await self.renting.admit(contract.compute)
                await self.traffic.admit(contract)
                await self.levels.promises.admit(contract)
            case "custom":
                await self.custom.auctions.check_contract(contract)
            case _:
                await self.stock.sealed_key(contract.sale)
