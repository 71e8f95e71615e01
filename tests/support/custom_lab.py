"""Models made to order in one process: real chain, auctions, books, peers, seals; the test moves the clock.

What stands in is the sandbox alone. A model of this lab is a line of text that says how many rows it tells
right, and the measurement of it is that number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio
import trio.testing
from capacity_lab import OpenShelf, introduce
from custom_parts import Catalogue, Examined, Sandbox
from ledger_lab import CREDIT, Clock, Lab
from trade_lab import NETWORK, Side, TradeLab

from openstall.app.operations import Operation, Progress
from openstall.app.paths import Home
from openstall.app.services.checking import LocalJobs
from openstall.app.services.custom.assessing import SandboxAssessor
from openstall.app.services.custom.handlers import CustomActions
from openstall.app.services.custom.wiring import Custom, make_custom
from openstall.app.services.disputes.wiring import make_disputes
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.placing import Party
from openstall.app.services.requests.draft import Terms
from openstall.app.services.requests.looking import Choice
from openstall.app.services.requests.service import RowsFile
from openstall.app.services.selling import SaleChain, Stock
from openstall.ledger.credit import CreditClient
from openstall.ledger.memory_host import MemoryHost
from openstall.ledger.model_escrow import ModelEscrowClient
from openstall.market.orders.documents import Contract
from openstall.store.settings import Settings

ROWS = 40
BUDGET, DEPOSIT = 50 * CREDIT, 2 * CREDIT
STAGE_S, EVALUATE_S, REVIEW_S, DELIVER_S = 3_600, 3_600, 7_200, 40_000


@dataclass(kw_only=True, eq=False)
class Maker(Side):
    """A side that takes part in models made to order."""

    custom: Custom = field(init=False)
    made_to_order: CustomActions = field(init=False)
    start: int = 0
    sandbox: Sandbox = field(default_factory=Sandbox)

    def open(self) -> None:
        self.catalogue = Catalogue(shelf=self.shelf, side=self)  # type: ignore[arg-type]  # an OpenShelf
        super().open()
        self.negotiation._catalogue = self.catalogue  # type: ignore[assignment]
        self.start_custom()

    def start_custom(self) -> None:
        """Make the services; made again from the same disk they are those after a restart."""
        chain = self.chain_lab.chain
        home = Home(self.folder)
        for folder in (home.jobs, home.requests):
            folder.mkdir(exist_ok=True)
        ground = SimpleNamespace(
            chain=chain,
            transactions=self.transactions,
            wallet=self.wallet,
            workers=self.workers,
            store=self.store,
            catalogue=self.catalogue,
            blobs=self.blobs,
            transfer=self.transfer,
            access=self.access,
            host=self.host,
            post=self.host,
            home=home,
            seed=self.seed,
            clock=self.clock,
            bus=self.bus,
        )
        stock = Stock(
            catalogue=self.catalogue,  # type: ignore[arg-type]  # what one side sees of a shelf
            blobs=self.blobs,
            settings=Settings(self.store),
            check=Examined(),  # type: ignore[arg-type]  # no sandbox here
            seed=self.seed,
            chain=SaleChain(
                wallet=self.wallet.address, chain_id=chain.params.chain_id, escrow=chain.params.escrow
            ),
            folder=home.jobs / "sealing",
            workers=self.workers,
            access=self.access,
        )
        self.custom = make_custom(
            ground,  # type: ignore[arg-type]  # the parts that are used of it
            me=self.party,
            desk=self.desk,
            engine=self.engine,
            stock=stock,
            jobs=LocalJobs(agent=None, folder=home.jobs, workers=self.workers),  # type: ignore[arg-type]
            orders=self.desk.orders,
        )
        self.custom.evaluating.assessor = SandboxAssessor(
            evaluation=self.sandbox,  # type: ignore[arg-type]  # in the place of the sandbox
            seed=self.seed,
            wallet=self.wallet.address,
            workers=self.workers,
        )
        self.custom.contests.measuring.evaluation = self.sandbox  # type: ignore[assignment]  # as above
        self.custom.talk.serve()
        self.disputes = make_disputes(
            ground,  # type: ignore[arg-type]  # the parts that are used of it
            me=self.party,
            desk=self.desk,
            orders=self.desk.orders,
            escrow=self.escrow,
            models=self.custom.models,
        )
        self.disputes.talk.serve()
        self.custom.contests.talk.serve()
        self.made_to_order = self.custom.actions(self.disputes)
        self.engine.handlers = self.custom.handlers(self.negotiation, self.unpacking, self.disputes)

    @property
    def party(self) -> Party:
        """Who this is."""
        return Party(
            peer_id=self.host.peer_id,
            seed=self.seed,
            wallet=self.wallet.address,
            chain_id=self.chain_lab.chain.params.chain_id,
            network=NETWORK,
        )

    async def _ready(self, contract: Contract) -> None:
        await self.custom.auctions.check_contract(contract)

    async def _willing(self) -> None:
        await self.custom.willing.check()

    async def _is_funded(self, contract: Contract) -> bool:
        return await self.custom.models.is_funded(contract)

    async def step(self, order_id: str) -> OpenOrder:
        """One step of the engine; the order afterwards."""
        order = await self.desk.load(order_id)
        await self.engine.handlers[order.kind, order.role].step(order)
        return await self.desk.load(order_id)

    async def state(self, order_id: str) -> str:
        return (await self.desk.load(order_id)).state

    async def hand_in(self, order_id: str, right: int) -> dict[str, Any]:
        """Hand in a model that tells so many rows right."""
        path = self.folder / f"model-{right}.onnx"
        path.write_text(str(right))
        return await self.custom.hand_in.take(order_id, path, self.progress())

    def progress(self) -> Progress:
        """What an action is told to report to."""
        operation = Operation(
            id="lab",
            kind="lab",
            title="lab",
            state="running",
            stage="",
            done=0,
            total=0,
            unit="",
            result=None,
            error=None,
            started_at=0,
            ended_at=None,
        )
        return Progress(operation, self.bus)

    @property
    def gain(self) -> int:
        """What its wallet holds more than at the beginning."""
        return self.chain_lab.balance(self.wallet) - self.start


@dataclass(slots=True, kw_only=True)
class CustomLab:
    """A requester, two developers, three evaluators and an arbiter, all connected, each with credits."""

    trade: TradeLab
    shelf: OpenShelf
    buyer: Maker
    ada: Maker
    ben: Maker
    evaluators: list[Maker]
    arbiter: Maker

    @property
    def everybody(self) -> list[Maker]:
        return [self.buyer, self.ada, self.ben, *self.evaluators, self.arbiter]

    def in_contracts(self) -> int:
        """What the two contracts hold."""
        params = self.trade.chain.chain.params
        return self.trade.chain.balance(params.auction) + self.trade.chain.balance(params.model_escrow)

    def check_conserved(self) -> None:
        """No credit was made, none was lost, and none is stuck."""
        assert self.in_contracts() == 0
        assert sum(side.gain for side in self.everybody) == 0

    def now(self) -> int:
        """By the chain's clock, which runs ahead of ours when many blocks are made."""
        return max(self.trade.clock.now(), self.trade.chain.chain.head().timestamp)

    def pass_to(self, at: int) -> None:
        """The clock goes just past a second, and the chain notices."""
        self.trade.clock.ahead_s += max(0, at + 2 - self.trade.clock.now())
        self.trade.next_block()

    async def ask(self, **terms: Any) -> str:
        """A request of the buyer's for a model that is right on 90 %; its cid."""
        file = self.table()
        usual: dict[str, Any] = {
            "title": "Good or bad",
            "summary": "",
            "licence": "MIT",
            "metric": "accuracy",
            "threshold": "0.9",
            "floors": (),
            "budget_micro": BUDGET,
            "deposit_micro": DEPOSIT,
            "bid_s": STAGE_S,
            "reveal_s": STAGE_S,
            "deliver_s": DELIVER_S,
            "evaluate_s": EVALUATE_S,
            "review_s": REVIEW_S,
            "arbiter": self.arbiter.wallet.address,
            "tries": 2,
            "evaluators": tuple(one.wallet.address for one in self.evaluators),
        }
        training = self.buyer.folder / "training.csv"
        training.write_bytes(file.path.read_bytes())
        service, chosen = self.buyer.custom.requests, Terms(**(usual | terms))
        seen = (await service.preview(file, chosen))["file_sha256"]
        made = await service.create(
            file, chosen, seen=seen, training=training, progress=self.buyer.progress()
        )
        return str(made["cid"])

    def table(self) -> RowsFile:
        """The buyer's rows."""
        path = self.buyer.folder / "rows.csv"
        lines = [f"{at % 7},{at * 3 % 11},{'good' if at % 2 else 'bad'}" for at in range(ROWS)]
        path.write_text("\n".join(["a,b,kind", *lines]) + "\n")
        choice = Choice(target="kind", metric="accuracy", threshold="0.9")
        return RowsFile(path=path, choice=choice)

    async def terms_of(self, cid: str) -> Any:
        return (await self.buyer.catalogue.live_record(cid)).body

    async def look(self, *sides: Maker) -> None:
        """Everybody's node sees to its auctions."""
        for side in sides or (self.buyer, self.ada, self.ben):
            await side.custom.auctions.look()

    async def won(self, cid: str, **bids: int) -> str:
        """The auction of a request with these bids, to its end; the id of the order."""
        for name, amount in bids.items():
            await getattr(self, name).custom.auctions.bid(cid, amount)
        body = await self.terms_of(cid)
        self.pass_to(body.commit_by)
        await self.look()
        self.pass_to(body.reveal_by)
        await self.look(self.buyer)
        view = await self.buyer.custom.auctions.view(cid)
        assert view["trouble"] is None, view["trouble"]
        return str(view["order_id"])

    async def funded(self, **terms: Any) -> str:
        """An order at 30 credits that Ada won, paid for, and copied to evaluators and arbiter; its id."""
        order_id = await self.won(await self.ask(**terms), ada=20 * CREDIT, ben=30 * CREDIT)
        await self.buyer.step(order_id)  # the developer signs
        await self.buyer.step(order_id)  # the price goes into escrow
        for side in (self.ada, *self.watching(await self.order(order_id))):
            await side.step(order_id)
        assert await self.states(order_id) == {"funded"}
        return order_id

    def watching(self, order: OpenOrder) -> list[Maker]:
        terms = order.contract.custom
        named = [wallet.lower() for wallet in (terms.arbiter, *terms.evaluators)]
        return [side for side in (*self.evaluators, self.arbiter) if side.wallet.address.lower() in named]

    async def submitted(self, right: int, **terms: Any) -> str:
        """A model was handed in, and the chain says so; everybody has seen it."""
        order_id = await self.funded(**terms)
        await self.submit(order_id, right)
        return order_id

    async def submit(self, order_id: str, right: int) -> None:
        await self.ada.hand_in(order_id, right)
        await self.ada.step(order_id)
        await self.see(order_id)

    async def see(self, order_id: str) -> None:
        """Everybody's books catch up with the chain, without doing anything about it."""
        for side in self.everybody:
            order = await side.desk.find(order_id)
            if order is not None:
                await side.custom.watch.catch_up(order)

    async def measured(self, order_id: str, *evaluators: Maker) -> None:
        """Evaluators measure, and tell the parties."""
        for one in evaluators or self.evaluators:
            await one.step(order_id)
        self.pass_to(self.now() + 12)  # who may bring the verdicts waits for one another

    async def judged(self, order_id: str) -> None:
        """All evaluators measure, and the buyer brings what they signed to the chain."""
        await self.measured(order_id)
        await self.buyer.step(order_id)
        await self.see(order_id)

    async def cut_off(self, gone: Maker) -> None:
        """A node ends, and the others have noticed."""
        gone.host.stop()
        while any(one.host.peer(gone.host.peer_id) for one in self.everybody if one is not gone):
            await trio.testing.wait_all_tasks_blocked(0.01)

    async def order(self, order_id: str) -> OpenOrder:
        return await self.buyer.desk.load(order_id)

    async def states(self, order_id: str) -> set[str]:
        """The state of the order in everybody's books."""
        found = [await side.desk.find(order_id) for side in self.everybody]
        return {order.state for order in found if order is not None}

    def on_chain(self, order: OpenOrder) -> str:
        """What the escrow says."""
        client = ModelEscrowClient(self.trade.chain.chain)
        return client.order_by_key(self.buyer.custom.models.key(order.contract)).state


@asynccontextmanager
async def custom_lab(folder: Path) -> AsyncIterator[CustomLab]:
    """Seven connected peers with credits; nothing happens before a test lets it."""
    clock = Clock()
    chain_host = MemoryHost(clock=clock)
    chain_host.create("Custom lab")
    lab, shelf = Lab(chain_host, clock), OpenShelf(clock=clock)
    names = ("buyer", "ada", "ben", "evaluator-0", "evaluator-1", "evaluator-2", "arbiter")
    sides = [Maker(folder=folder / name, clock=clock, chain_lab=lab, shelf=shelf) for name in names]
    async with AsyncExitStack() as stack:
        stack.callback(chain_host.stop)
        for side in sides:
            lab.do(side.wallet, CreditClient(lab.chain).claim())
            await stack.enter_async_context(side.host)
            side.open()
            stack.callback(side.store.close)
            introduce(shelf, side)
        for side in sides:
            await side.custom.willing.set(on=side.folder.name.startswith("evaluator"))
        for at, side in enumerate(sides):
            for other in sides[at + 1 :]:
                await side.host.connect(other.host.addrs[0])
        buyer, ada, ben, *evaluators, arbiter = sides
        made = CustomLab(
            trade=TradeLab(chain=lab, clock=clock, buyer=buyer, seller=ada, shelf=shelf),
            shelf=shelf,
            buyer=buyer,
            ada=ada,
            ben=ben,
            evaluators=evaluators,
            arbiter=arbiter,
        )
        for side in made.everybody:
            side.start = lab.balance(side.wallet)
        with trio.fail_after(120):
            yield made
