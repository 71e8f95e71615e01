"""Builds everything about models made to order from what trading stands on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from openstall.app.services.checking import LocalJobs
from openstall.app.services.contests.service import ContestService
from openstall.app.services.contests.wiring import make_contests
from openstall.app.services.custom.assessing import SandboxAssessor
from openstall.app.services.custom.auctions import AuctionService
from openstall.app.services.custom.draws import Draws
from openstall.app.services.custom.evaluating import Evaluating
from openstall.app.services.custom.hand_in import HandIn
from openstall.app.services.custom.handlers import (
    CustomActions,
    CustomArbiter,
    CustomBuyer,
    CustomEvaluator,
    CustomSeller,
    CustomWatch,
)
from openstall.app.services.custom.model_desk import ModelDesk
from openstall.app.services.custom.opening import Opener
from openstall.app.services.custom.proof import Proofs
from openstall.app.services.custom.receiving import Receiving
from openstall.app.services.custom.replaying import Replaying
from openstall.app.services.custom.sources import Sources
from openstall.app.services.custom.talk import Talk
from openstall.app.services.custom.training import Training
from openstall.app.services.custom.trials import Trials
from openstall.app.services.custom.willing import Willingness
from openstall.app.services.disputes.wiring import Disputes
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.engine import Handler, OrderEngine
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.services.orders.placing import Party
from openstall.app.services.orders.unpacking import Unpacking
from openstall.app.services.requests.desk import DeveloperDesk
from openstall.app.services.requests.service import RequestService
from openstall.app.services.requests.wiring import make_requests
from openstall.app.services.sealed import SealedEvaluation
from openstall.app.services.selling import Stock
from openstall.market.records import SignedRecord
from openstall.market.requests.terms import request_in
from openstall.store.auctions import Auctions
from openstall.store.library import Library
from openstall.store.orders import Orders
from openstall.store.requests import Requests
from openstall.store.settings import Settings

if TYPE_CHECKING:
    from openstall.app.ground import Ground


@dataclass(slots=True, kw_only=True)
class BudgetsByMechanism:
    """Where the budget of a request goes, by its mechanism."""

    auctions: AuctionService
    contests: ContestService = field(init=False)

    async def check_budget(self, budget_micro: int) -> None:
        """Whether the wallet holds it; raises MoneyError."""
        await self.auctions.check_budget(budget_micro)

    async def open(self, record: SignedRecord) -> None:
        """Pay it in; begun once, it is seen to its end by itself."""
        contest = request_in(record).mechanism == "contest"
        await (self.contests.open(record) if contest else self.auctions.open(record))

    async def stages(self) -> dict[str, dict[str, Any]]:
        """How far each of them is, by the cid of its request."""
        return await self.auctions.stages() | await self.contests.stages()


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """The services of models made to order."""

    models: ModelDesk
    auctions: AuctionService
    requests: RequestService
    developer: DeveloperDesk
    hand_in: HandIn
    training: Training
    talk: Talk
    evaluating: Evaluating
    watch: CustomWatch
    willing: Willingness
    contests: ContestService
    desk: OrderDesk

    opener: Opener
    replaying: Replaying

    async def entry(self, cid: str) -> dict[str, Any]:
        """A request as the catalogue tells it; who takes part has it also when it has left the catalogue.

        Raises:
            NotFound: this node knows no such request.
        """
        room = await self.contests.desk.find(cid)
        if room is not None:
            return await self.auctions.catalogue.entry(room.record)
        return await self.auctions.entry(cid)

    def actions(self, disputes: Disputes) -> CustomActions:
        """What a person may do in such orders."""
        return CustomActions(models=self.models, watch=self.watch, calling=disputes.calling)

    def handlers(
        self, negotiation: Negotiation, unpacking: Unpacking, disputes: Disputes
    ) -> dict[tuple[str, str], Handler]:
        """What the engine drives such orders with."""
        receiving = Receiving(
            desk=self.desk,
            talk=self.talk,
            unpacking=unpacking,
            catalogue=self.auctions.catalogue,
            me=self.auctions.me.peer_id,
        )
        return {
            ("custom", "buyer"): CustomBuyer(
                desk=self.desk,
                models=self.models,
                watch=self.watch,
                negotiation=negotiation,
                evaluating=self.evaluating,
                receiving=receiving,
                calling=disputes.calling,
                opener=self.opener,
            ),
            ("custom", "seller"): CustomSeller(
                desk=self.desk,
                models=self.models,
                watch=self.watch,
                negotiation=negotiation,
                evaluating=self.evaluating,
                hand_in=self.hand_in,
                calling=disputes.calling,
            ),
            ("custom", "evaluator"): CustomEvaluator(
                watch=self.watch, evaluating=self.evaluating, opener=self.opener
            ),
            ("custom", "arbiter"): CustomArbiter(watch=self.watch, gathering=disputes.gathering),
        }


def make_custom(
    ground: Ground,
    *,
    me: Party,
    desk: OrderDesk,
    engine: OrderEngine,
    stock: Stock,
    jobs: LocalJobs,
    orders: Orders,
) -> Custom:
    """All of it, for one open wallet on one chain."""
    scratch = ground.home.jobs / "assessing"
    models = ModelDesk(
        desk=desk,
        chain=ground.chain,
        transactions=ground.transactions,
        wallet=ground.wallet,
        workers=ground.workers,
    )
    books = Auctions(ground.store)
    auctions = AuctionService(
        me=me,
        books=books,
        desk=desk,
        engine=engine,
        catalogue=ground.catalogue,
        chain=ground.chain,
        wallet=ground.wallet,
        transactions=ground.transactions,
        workers=ground.workers,
    )
    budgets = BudgetsByMechanism(auctions=auctions)
    requests, developer = make_requests(ground, orders=orders, budgets=budgets)
    auctions.on_over = requests.over
    sources = Sources(
        requests=requests,
        books=Requests(ground.store),
        blobs=ground.blobs,
        seed=ground.seed,
        folder=scratch,
        workers=ground.workers,
    )
    hand_in = HandIn(desk=desk, engine=engine, stock=stock, seed=ground.seed)
    talk = Talk(
        desk=desk,
        peers=ground.post,
        catalogue=ground.catalogue,
        hand_in=hand_in,
        rows_of=sources.rows_of,
        training_of=sources.training_of,
        grant=ground.access.grant,
        take_verdict=lambda order, ask: evaluating.take(order, ask),  # noqa: PLW0108 - made below
        open_rows=lambda order, peer_id: opener.answer(order, peer_id),  # noqa: PLW0108 - as above
    )
    trials = Trials(
        blobs=ground.blobs,
        transfer=ground.transfer,
        seed=ground.seed,
        folder=scratch,
        workers=ground.workers,
    )
    evaluating = Evaluating(
        desk=desk,
        models=models,
        talk=talk,
        trials=trials,
        catalogue=ground.catalogue,
        assessor=SandboxAssessor(
            evaluation=SealedEvaluation(jobs=replace(jobs, folder=scratch), workers=ground.workers),
            seed=ground.seed,
            wallet=ground.wallet.address,
            workers=ground.workers,
        ),
        engine=engine,
        workers=ground.workers,
    )
    draws = Draws(
        chain=ground.chain,
        transactions=ground.transactions,
        wallet=ground.wallet,
        workers=ground.workers,
    )
    opener = Opener(
        desk=desk,
        catalogue=ground.catalogue,
        draws=draws,
        trials=trials,
        reopener=lambda: evaluating.assessor,
        wallet=ground.wallet.address,
    )
    watch = CustomWatch(desk=desk, models=models)
    willing = Willingness(settings=Settings(ground.store), workers=ground.workers)
    contests = make_contests(ground, me=me, stock=stock, jobs=jobs, sources=sources, willing=willing)
    contests.on_over = requests.over
    budgets.contests = contests
    return Custom(
        models=models,
        auctions=auctions,
        requests=requests,
        developer=developer,
        hand_in=hand_in,
        training=Training(
            desk=desk,
            talk=talk,
            auctions=auctions,
            blobs=ground.blobs,
            transfer=ground.transfer,
            workers=ground.workers,
        ),
        talk=talk,
        evaluating=evaluating,
        opener=opener,
        replaying=Replaying(
            desk=desk,
            talk=talk,
            catalogue=ground.catalogue,
            opener=opener,
            draws=draws,
            player=lambda: evaluating.assessor,
            hand_in=hand_in,
            blobs=ground.blobs,
            library=Library(ground.store),
            proofs=Proofs(folder=ground.home.proofs),
            wallet=ground.wallet.address,
            folder=scratch,
            workers=ground.workers,
        ),
        watch=watch,
        willing=willing,
        contests=contests,
        desk=desk,
    )
