"""The node: wires all services of one home folder and runs them until it is stopped.

Start-up order: store, identity, local API, then the parts that may be away: agent, network, chain,
catalogue, trade. Each step leaves the disk in a state that the same order can start from again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from openstall.app import logging, version
from openstall.app.clock import Clock
from openstall.app.config import NodeConfig
from openstall.app.events import EventBus
from openstall.app.ground import Ground
from openstall.app.operations import Operations
from openstall.app.services.blobs.keeper import BlobKeeper
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.catalogue_state import CatalogueState
from openstall.app.services.compute import ComputeService
from openstall.app.services.exchange.wiring import Exchange, make_exchange
from openstall.app.services.group import GroupService
from openstall.app.services.house import House
from openstall.app.services.identity import IdentityService
from openstall.app.services.known_account import KnownAccount
from openstall.app.services.mailbox.announced import Announced
from openstall.app.services.mailbox.outgoing import Outgoing
from openstall.app.services.mailbox.service import MailboxService
from openstall.app.services.mailbox.wiring import make_post
from openstall.app.services.names import Names
from openstall.app.services.network import NetworkService
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.presence import Presence
from openstall.app.services.rigs.hub import RigHub
from openstall.app.services.rigs.view import MachinesView, ShownJob
from openstall.app.services.wallet import WalletService
from openstall.app.supervisor import Part, PartState, steadily
from openstall.app.threads import Workers
from openstall.app.trade import Trade
from openstall.market.errors import Conflict
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.web_guard import Web
from openstall.store.acquaintances import Acquaintances
from openstall.store.blob_names import BlobNames
from openstall.store.contradictions import Proofs
from openstall.store.database import Store
from openstall.store.holdings import Holdings
from openstall.store.mailbox import MailboxBooks
from openstall.store.outbox import Outbox
from openstall.store.records import Records
from openstall.store.search import Search
from openstall.store.settings import Settings
from openstall.store.transactions import Transactions

log = logging.get_logger("openstall.node")

ServeApi = Callable[["Node", trio.Event, Callable[[], None]], Awaitable[None]]


class Node:
    """Composition root. Make it and call `run` once, inside the home's lock."""

    def __init__(self, config: NodeConfig, store: Store, *, secrets: logging.Secrets, clock: Clock) -> None:
        """Wire everything; nothing starts before `run`."""
        self.config = config
        self.home = config.home
        self.store = store
        self.secrets = secrets
        self.clock = clock
        self.started_at = clock.now()
        self.workers = Workers()
        self.bus = EventBus()
        self.settings = Settings(store)
        self.operations = Operations(bus=self.bus, clock=clock)
        self._make_services()
        self._trade: Trade | None = None
        self._exchange: Exchange | None = None
        self._keeper: BlobKeeper | None = None
        self._stopping = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self.parts = {
            name: Part(name, run, bus=self.bus)
            for name, run in (
                ("agent", self.compute.run),
                ("network", self.network.run),
                ("chain", self.group.run),
                ("catalogue", self.catalogue.run),
                ("presence", self.presence.run),
                ("trade", self._run_trade),
            )
        }

    def _make_services(self) -> None:
        workers, bus, clock, settings = self.workers, self.bus, self.clock, self.settings
        self.identity = IdentityService(
            home=self.home,
            settings=settings,
            workers=workers,
            bus=bus,
            secrets=self.secrets,
            on_open=self._identity_opened,
        )
        self.network = NetworkService(
            config=self.config, identity=self.identity, settings=settings, workers=workers, bus=bus
        )
        self.rigs = RigHub(
            home=self.home,
            settings=settings,
            workers=workers,
            bus=bus,
            clock=clock,
            identity=self.identity,
            network=self.network,
        )
        self.group = GroupService(
            home=self.home,
            settings=settings,
            workers=workers,
            bus=bus,
            network=self.network,
            on_joined=self._group_joined,
        )
        outbox, records, proofs = Outbox(self.store), Records(self.store), Proofs(self.store)
        self.catalogue = Catalogue(
            records=records,
            proofs=proofs,
            announced=Announced(outbox=outbox, workers=workers, changed=self._mail_changed),
            search=Search(self.store),
            identity=self.identity,
            group=self.group,
            network=self.network,
            workers=workers,
            bus=bus,
            clock=clock,
        )
        self.catalogue_state = CatalogueState(
            records=records,
            holdings=Holdings(self.store),
            proofs=proofs,
            settings=settings,
            catalogue=self.catalogue,
            identity=self.identity,
            group=self.group,
            network=self.network,
            workers=workers,
            clock=clock,
        )
        self.names = Names(
            me=lambda: (self.identity.peer_id, self.identity.name),
            group=self.group.whose,
            records=records,
            search=Search(self.store),
            acquaintances=Acquaintances(self.store),
            workers=workers,
            clock=clock,
        )
        self.catalogue.dress, self.catalogue.marks_of = self.names.dress, self.names.marks_of
        self.mailbox = MailboxService(
            books=MailboxBooks(self.store),
            settings=settings,
            identity=self.identity,
            group=self.group,
            network=self.network,
            catalogue=self.catalogue,
            workers=workers,
            bus=bus,
            clock=clock,
        )
        self.outgoing = Outgoing(
            outbox=outbox,
            records=records,
            intents=Transactions(self.store),
            identity=self.identity,
            group=self.group,
            catalogue=self.catalogue,
            workers=workers,
        )
        self.wallet = WalletService(
            identity=self.identity,
            group=self.group,
            intents=Transactions(self.store),
            known=KnownAccount(settings),
            workers=workers,
            bus=bus,
            clock=clock,
        )
        self.presence = Presence(
            identity=self.identity,
            group=self.group,
            network=self.network,
            catalogue=self.catalogue,
            settings=settings,
            mailboxes=self.mailbox.chosen,
            workers=workers,
            clock=clock,
        )
        self.compute = ComputeService(home=self.home, enabled=self.config.agent, bus=bus)
        self.house = House(settings=settings, workers=workers, agent=self.compute.agent, bus=bus, clock=clock)

        self.machines = MachinesView(
            compute=self.compute,
            house=self.house,
            hub=self.rigs,
            own=self.config.agent,
            jobs=self._running_jobs,
            own_places=self._own_places,
        )

    def _mail_changed(self) -> None:
        """Something waits, or waits no more; called from any thread."""
        try:
            self._token.run_sync_soon(self.mailbox.changed)
        except trio.RunFinishedError:
            log.debug("the node has stopped")

    async def _running_jobs(self) -> list[ShownJob]:
        return await self._trade.orders.running_jobs() if self._trade is not None else []

    async def _own_places(self) -> int:
        """Jobs that the offer lets run on this machine at once; none while it is not on offer."""
        rules = await self._trade.renting.rules() if self._trade is not None else None
        return rules.jobs_at_once if rules is not None else 0

    @property
    def trade(self) -> Trade:
        """Buying and selling; Conflict or IdentityError with words while that is not possible."""
        if self._trade is not None:
            return self._trade
        _ = self.identity.wallet, self.group.membership, self.network.host
        raise Conflict("starting", "The node is still getting ready to trade.", "Try again in a moment.")

    @property
    def exchange(self) -> Exchange:
        """Signed objects by file; raises like `trade`."""
        if self._exchange is None:
            _ = self.trade
            raise Conflict("starting", "The node is still getting ready.", "Try again in a moment.")
        return self._exchange

    @property
    def blobs(self) -> BlobKeeper:
        """The files of the market; as `trade`."""
        _ = self.trade
        if self._keeper is None:
            raise Conflict("starting", "The node is still getting ready.", "Try again in a moment.")
        return self._keeper

    @property
    def trading(self) -> bool:
        """Whether `trade` is there now."""
        return self._trade is not None

    @property
    def selling(self) -> bool:
        """Whether this machine is on offer."""
        return self._trade is not None and self._trade.renting.on

    async def run(self, serve_api: ServeApi) -> None:
        """Run until `stop`; raises OpenstallError where the node cannot even serve its API."""
        await self.identity.start(passphrase_file=self.config.passphrase_file)
        await self.group.load()
        await self.rigs.load()
        await self.catalogue_state.load()
        async with trio.open_nursery() as nursery:
            api_stopping, api_ready = trio.Event(), trio.Event()
            nursery.start_soon(serve_api, self, api_stopping, api_ready.set)
            await api_ready.wait()
            async with trio.open_nursery() as work:
                self.operations.bind(work)
                work.start_soon(steadily, "mailbox", self.mailbox.run)
                work.start_soon(steadily, "wallet", self.wallet.remember)
                for part in self.parts.values():
                    work.start_soon(part.supervise, name=f"part {part.name}")
                log.info("node started", version=version(), peer=self.identity.peer_id)
                await self._stopping.wait()
                work.cancel_scope.cancel()
            self.bus.close()
            api_stopping.set()
        log.info("node stopped")

    def stop(self, reason: str) -> None:
        """Begin the shutdown; `run` returns when everything has ended. Call from the trio thread."""
        if not self._stopping.is_set():
            log.info("node stopping", reason=reason)
            self._stopping.set()

    async def status(self) -> dict[str, Any]:
        """What the top of every window shows."""
        return {
            "version": version(),
            "home": str(self.home.root),
            "started_at": self.started_at,
            "identity": self.identity.as_dict(),
            "group": self.group.brief(),
            "network": {"peers": len(self.network.peers()), "addrs": self.network.addrs},
            "agent": self.compute.brief(),
            "selling": self.selling,
            "trading": self.trading,
            "parts": {name: str(part.state) for name, part in self.parts.items()},
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[dict[str, str]]:
        failed = [part.error for part in self.parts.values() if part.state is PartState.FAILED]
        return [error for error in (self.identity.trouble, self.group.trouble, *failed) if error is not None]

    def _identity_opened(self) -> None:
        self.network.rename()
        for name in ("presence", "trade"):
            self.parts[name].restart()

    def _group_joined(self) -> None:
        for name in ("chain", "catalogue", "presence", "trade"):
            self.parts[name].restart()

    async def _run_trade(self, ready: Callable[[], None]) -> None:
        if self.identity.state != "open" or not self.group.joined:
            return
        host = await self.network.wait_up()
        blobs = await self.workers.store(BlobStore, self.home.blobs)
        access = BlobAccess()
        office = make_post(
            host=host,
            outbox=Outbox(self.store),
            seed=self.identity.peer_seed,
            network=self.group.membership.network,
            mailbox=self.mailbox,
            workers=self.workers,
            clock=self.clock,
        )
        transfer = BlobTransfer(host=host, store=blobs, allow=access.allowed)
        keeper, web = self._make_keeper(blobs, transfer, access), Web()
        await keeper.start()
        trade = Trade(
            Ground(
                home=self.home,
                store=self.store,
                workers=self.workers,
                bus=self.bus,
                clock=self.clock,
                seed=self.identity.peer_seed,
                wallet=self.identity.wallet,
                network=self.group.membership.network,
                chain=self.group.chain,
                transactions=self.wallet.transactions,
                host=host,
                post=office.post,
                blobs=blobs,
                transfer=transfer,
                access=access,
                web=web,
                ipfs=keeper.ipfs,
                agent=self.compute.agent,
                own_machine=self.config.agent,
                house=self.house,
                rigs=self.rigs,
                catalogue=self.catalogue,
                secrets=self.secrets,
            )
        )
        forget = self.group.on_head(lambda _height: trade.new_block())

        try:
            async with trio.open_nursery() as nursery:

                def up() -> None:
                    self._trade, self._keeper = trade, keeper
                    self._exchange = make_exchange(self, trade, office, blobs)
                    nursery.start_soon(office.run, trade.desk)  # only now every protocol has its handler
                    ready()

                nursery.start_soon(trade.run, up)
                nursery.start_soon(steadily, "blobs", keeper.run)
                await self.network.wait_down(host)
                self.parts["trade"].restart()
        finally:
            self._trade = self._keeper = self._exchange = None
            forget()
            with trio.CancelScope(shield=True):
                await web.aclose()
                await keeper.ipfs.aclose()

    def _make_keeper(self, blobs: BlobStore, transfer: BlobTransfer, access: BlobAccess) -> BlobKeeper:
        return BlobKeeper(
            blobs=blobs,
            transfer=transfer,
            access=access,
            names=BlobNames(self.store),
            settings=self.settings,
            workers=self.workers,
            clock=self.clock,
            bus=self.bus,
            author=self.identity.peer_id,
        )
