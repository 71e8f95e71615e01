"""Two parties of an order in one process: real books, wallets, peers and blobs on one chain in memory.

What stands in is only what the other party's computer would do by itself: the job that an agent runs
is a script of the test, and the catalogue is a shelf with the records that both know.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from ledger_lab import CREDIT, Clock, Lab
from trade_parts import LabPlaces, ScriptedAgent, Shelf, no_mirrors

from openstall.app.events import EventBus
from openstall.app.services.custom.model_desk import ModelDesk
from openstall.app.services.disputes.wiring import make_disputes
from openstall.app.services.keys import box_public
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.channel_terms import is_paid
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.orders.escrow_desk import EscrowDesk
from openstall.app.services.orders.job_buyer import JobBuyer
from openstall.app.services.orders.job_failover import Failover
from openstall.app.services.orders.job_follow import JobFollow
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.services.orders.placing import Party, Placing
from openstall.app.services.orders.running_job import RunningJob
from openstall.app.services.orders.sale import SaleActions, SaleArbiter, SaleBuyer, SaleWatch
from openstall.app.services.orders.transcripts import TranscriptDesk
from openstall.app.services.orders.unpacking import Unpacking
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.credit import CreditClient
from openstall.ledger.memory_host import MemoryHost
from openstall.ledger.wallet import Wallet
from openstall.market.errors import OpenstallError
from openstall.market.fields import BlobRef
from openstall.market.orders.documents import Contract, InputFile, Order, sign_contract, write_contract
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.host import PeerHost
from openstall.store.database import Store
from openstall.store.job_log import JobLog
from openstall.store.library import Library
from openstall.store.orders import Orders
from openstall.store.transactions import Transactions
from openstall.store.transcripts import Transcripts
from openstall.store.vouchers import Vouchers

NETWORK = "openstall-lab"


LIMITS = {"memory_bytes": 2**30, "disk_bytes": 2**28, "threads": 1, "processes": 8, "log_bytes": 2**20}


@dataclass(kw_only=True)
class Side:
    """One peer with everything that trading needs."""

    folder: Path
    clock: Clock
    chain_lab: Lab
    shelf: Shelf
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    wallet: Wallet = field(default_factory=lambda: Wallet(secrets.token_bytes(32)))
    agent: ScriptedAgent = field(default_factory=ScriptedAgent)
    workers: Workers = field(default_factory=Workers)
    bus: EventBus = field(default_factory=EventBus)
    places: int = 1
    refusals: list[tuple[str, str]] = field(default_factory=list)
    host: PeerHost = field(init=False)

    def __post_init__(self) -> None:
        self.host = PeerHost(seed=self.seed, network=NETWORK)

    def open(self) -> None:
        """Make the parts; called inside the event loop, once the host listens."""
        self.folder.mkdir(parents=True)
        lab, workers, clock, bus = self.chain_lab, self.workers, self.clock, self.bus
        store = self.store = Store(self.folder / "store.sqlite")
        self.desk = OrderDesk(orders=Orders(store), bus=bus, workers=workers, clock=clock)
        self.transactions = TransactionService(
            wallet=self.wallet,
            chain=lab.chain,
            network=NETWORK,
            intents=Transactions(store),
            workers=workers,
            bus=bus,
            clock=clock,
        )
        self.access = BlobAccess()
        self.blobs = BlobStore(self.folder / "blobs")
        self.transfer = BlobTransfer(host=self.host, store=self.blobs, allow=self.access.allowed)
        self.log = JobLog(store)
        self.escrow = EscrowDesk(
            desk=self.desk,
            chain=lab.chain,
            transactions=self.transactions,
            wallet=self.wallet,
            workers=workers,
        )
        self.channel = ChannelDesk(
            desk=self.desk,
            chain=lab.chain,
            transactions=self.transactions,
            wallet=self.wallet,
            vouchers=Vouchers(store),
            workers=workers,
        )
        self.transcripts = TranscriptDesk(
            books=Transcripts(store), me=self.host.peer_id, seed=self.seed, clock=clock, workers=workers
        )
        self.watch = SaleWatch(desk=self.desk, escrow=self.escrow)
        models = ModelDesk(
            desk=self.desk,
            chain=lab.chain,
            transactions=self.transactions,
            wallet=self.wallet,
            workers=workers,
        )
        self.disputes = make_disputes(
            SimpleNamespace(  # type: ignore[arg-type]  # the parts that are used of it
                chain=lab.chain,
                transactions=self.transactions,
                store=store,
                catalogue=self.shelf,
                host=self.host,
                post=self.host,
                workers=workers,
            ),
            me=self._me(),
            desk=self.desk,
            orders=Orders(store),
            escrow=self.escrow,
            models=models,
        )
        self.engine = OrderEngine(desk=self.desk)
        self.provider = JobProvider(
            desk=self.desk,
            channel=self.channel,
            transcripts=self.transcripts,
            agent=self.agent,  # type: ignore[arg-type]  # a script in the place of a process
            blobs=self.blobs,
            transfer=self.transfer,
            access=self.access,
            log=self.log,
            folder=self.folder / "jobs",
            seed=self.seed,
            workers=workers,
            wake=self.engine.wake,
            places=LabPlaces(lambda: self.places),
            begun=lambda: None,
            account=self._account,
        )
        self.negotiation = Negotiation(
            desk=self.desk,
            peers=self.host,
            seed=self.seed,
            wallet=self.wallet.address,
            chain_id=lab.chain.params.chain_id,
            network=NETWORK,
            catalogue=self.shelf,  # type: ignore[arg-type]  # a shelf in the place of the catalogue
            transcripts=self.transcripts,
            ready=self._ready,
            is_funded=self._is_funded,
            on_refused=self._refused,
            on_agreed=lambda _order_id: None,
            on_cancel=self.provider.cancel,
            evaluates=self._willing,
        )
        self.actions = SaleActions(
            desk=self.desk,
            escrow=self.escrow,
            watch=self.watch,
            negotiation=self.negotiation,
            calling=self.disputes.calling,
        )
        self.follow = JobFollow(
            desk=self.desk,
            peers=self.host,
            provider=self.provider,
            transcripts=self.transcripts,
            log=self.log,
            workers=workers,
        )
        self.buyer = JobBuyer(
            desk=self.desk,
            peers=self.host,
            negotiation=self.negotiation,
            channel=self.channel,
            blobs=self.blobs,
            transfer=self.transfer,
            access=self.access,
            log=self.log,
            folder=self.folder / "results",
            workers=workers,
            failover=Failover(
                desk=self.desk,
                placing=self._placing(),
                channel=self.channel,
                catalogue=self.shelf,  # type: ignore[arg-type]  # a shelf in the place of the catalogue
            ),
        )
        self.unpacking = Unpacking(
            desk=self.desk,
            blobs=self.blobs,
            transfer=self.transfer,
            library=Library(store),
            folder=self.folder / "library",
            seed=self.seed,
            workers=workers,
            mirrors=no_mirrors,
        )
        (self.folder / "library").mkdir()
        self.sale_buyer = SaleBuyer(
            desk=self.desk,
            escrow=self.escrow,
            watch=self.watch,
            negotiation=self.negotiation,
            unpacking=self.unpacking,
            calling=self.disputes.calling,
        )
        self.arbiter = SaleArbiter(desk=self.desk, watch=self.watch, gathering=self.disputes.gathering)
        self.negotiation.serve()
        self.follow.serve()

    def _me(self) -> Party:
        return Party(
            peer_id=self.host.peer_id,
            seed=self.seed,
            wallet=self.wallet.address,
            chain_id=self.chain_lab.chain.params.chain_id,
            network=NETWORK,
        )

    def _placing(self) -> Placing:
        return Placing(
            me=self._me(),
            desk=self.desk,
            engine=self.engine,
            catalogue=self.shelf,  # type: ignore[arg-type]  # a shelf in the place of the catalogue
            blobs=self.blobs,
            chain=self.chain_lab.chain,
            workers=self.workers,
            connected=lambda _peer_id: True,
        )

    async def _account(self, _order: OpenOrder, _job: RunningJob) -> dict[str, Any]:
        return {}

    async def _refused(self, contract: Contract, error: OpenstallError) -> None:
        self.refusals.append((contract.order_id, error.code))

    async def _willing(self) -> None:
        pass

    async def _ready(self, _contract: Contract) -> None:
        """Always ready."""

    async def _is_funded(self, contract: Contract) -> bool:
        if contract.order.kind == "compute":
            return await is_paid(self.chain_lab.chain, self.workers, contract)
        return await self.escrow.is_funded(contract)

    async def enter(
        self, contract: Contract, role: Any, other_seed: bytes, *, state: str = "agreed"
    ) -> OpenOrder:
        """Put a contract that both signed into the books."""
        seeds = (self.seed, other_seed) if role == "buyer" else (other_seed, self.seed)
        order = await self.desk.create(
            contract, role=role, buyer_signature=sign_contract(contract, seeds[0]), words="x", actor="you"
        )
        if state == "proposed":
            return order
        return await self.desk.advance(
            order, "agree", actor="other", words="x", seller_signature=sign_contract(contract, seeds[1])
        )

    async def file(self, name: str, content: bytes) -> InputFile:
        """A file in this side's blob store, as an order names it."""
        path = self.folder / name
        path.write_bytes(content)
        info = await self.blobs.add_file(path)
        return InputFile(name=name, blob=BlobRef(cid=info.cid, size=info.size, sha256=info.sha256))


@dataclass(slots=True, kw_only=True)
class TradeLab:
    """A chain and two connected peers with credits."""

    chain: Lab
    clock: Clock
    buyer: Side
    seller: Side
    shelf: Shelf

    def order(self, kind: str, terms: dict[str, Any], **changes: Any) -> Contract:
        """A contract between the two."""
        values: dict[str, Any] = {
            "kind": kind,
            "network": NETWORK,
            "chain_id": self.chain.chain.params.chain_id,
            "buyer": self.buyer.host.peer_id,
            "seller": self.seller.host.peer_id,
            "buyer_wallet": self.buyer.wallet.address,
            "seller_wallet": self.seller.wallet.address,
            "nonce": secrets.token_hex(16),
            "created": self.clock.now(),
            "terms": terms,
        }
        return write_contract(msgspec.convert(values | changes, Order))

    def sale(self, package: BlobRef, key_sha256: str, **changes: Any) -> Contract:
        """A sale of a package at 5 credits; without an arbiter if not said otherwise."""
        now, nonce = self.clock.now(), secrets.token_hex(16)
        terms: dict[str, Any] = {
            "listing": package.cid,
            "title": "A model",
            "files": [{"name": "model.onnx", "size": 4, "sha256": "00" * 32}],
            "blob": msgspec.to_builtins(package),
            "key_sha256": key_sha256,
            "box_key": box_public(self.buyer.seed, nonce),
            "price_micro": 5 * CREDIT,
            "escrow": self.chain.chain.params.escrow,
            "arbiter": "",
            "arbiter_s": 7 * 86_400,
            "arbiter_fee_bps": 200,
            "silent_buyer_bps": 10_000,
            "fund_by": now + 900,
            "deliver_by": now + 4600,
            "review_s": 3600,
        }
        return self.order("sale", terms | changes, nonce=nonce)

    def job(self, inputs: list[InputFile], **changes: Any) -> Contract:
        """A job at a thousandth of a credit per second."""
        now = self.clock.now()
        terms: dict[str, Any] = {
            "offer": inputs[0].blob.cid,
            "title": "A job",
            "job_kind": "train",
            "params": {"task": "classification", "label": "y"},
            "inputs": msgspec.to_builtins(inputs),
            "limits": LIMITS,
            "price_per_s_micro": 1_000,
            "cap_micro": 100_000,
            "max_s": 600,
            "channel": self.chain.chain.params.channel,
            "withdraw_delay_s": 60,
            "fund_by": now + 900,
            "start_by": now + 1600,
            "settle_by": now + 1600 + 600 + 1000,
        }
        return self.order("compute", terms | changes)

    def next_block(self) -> None:
        """Let the chain notice the time: its clock moves with its blocks."""
        outsider = self.chain.outsider
        self.chain.do(outsider, CreditClient(self.chain.chain).transfer(outsider.address, 1))

    async def both(self, contract: Contract) -> str:
        """Enter the agreed contract in both books; its id."""
        await self.buyer.enter(contract, "buyer", self.seller.seed)
        await self.seller.enter(contract, "seller", self.buyer.seed)
        return contract.order_id


async def funded_job(lab: TradeLab, **terms: Any) -> str:
    """An agreed job whose money is set aside; its id."""
    data = await lab.buyer.file("data.csv", b"1,2\n")
    order_id = await lab.both(lab.job([data], **terms))
    await step(lab.buyer, order_id)
    return order_id


async def step(side: Any, order_id: str) -> Any:
    """One step of the engine; the order afterwards."""
    handler = side.buyer if (await side.desk.load(order_id)).role == "buyer" else side.provider
    await handler.step(await side.desk.load(order_id))
    return await side.desk.load(order_id)


@asynccontextmanager
async def trade_lab(folder: Path) -> AsyncIterator[TradeLab]:
    """Open a market of two for one test."""
    clock = Clock()
    chain_host = MemoryHost(clock=clock)
    chain_host.create("Trade lab")
    lab, shelf = Lab(chain_host, clock), Shelf()
    buyer, seller = (
        Side(folder=folder / name, clock=clock, chain_lab=lab, shelf=shelf) for name in ("buyer", "seller")
    )
    async with AsyncExitStack() as stack:
        for side in (buyer, seller):
            lab.do(side.wallet, CreditClient(lab.chain).claim())
            await stack.enter_async_context(side.host)
            side.open()
            stack.callback(side.store.close)
        stack.callback(chain_host.stop)
        for addr in seller.host.addrs:
            await buyer.host.connect(addr)
        yield TradeLab(chain=lab, clock=clock, buyer=buyer, seller=seller, shelf=shelf)
