"""Builds everything about contests from what trading stands on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from openstall.app.services.checking import LocalJobs
from openstall.app.services.contests.desk import ContestDesk
from openstall.app.services.contests.developing import Developing
from openstall.app.services.contests.ends import Ends
from openstall.app.services.contests.entering import Entering
from openstall.app.services.contests.judging import Judging
from openstall.app.services.contests.measuring import Measuring
from openstall.app.services.contests.practice import Practice
from openstall.app.services.contests.receiving import PrizeModels
from openstall.app.services.contests.service import ContestService
from openstall.app.services.contests.sheets import Sheets
from openstall.app.services.contests.talk import ContestTalk
from openstall.app.services.contests.view import ContestViews
from openstall.app.services.custom.sources import Sources
from openstall.app.services.custom.willing import Willingness
from openstall.app.services.orders.placing import Party
from openstall.app.services.sealed import SealedEvaluation
from openstall.app.services.selling import Stock
from openstall.store.contests import Contests
from openstall.store.library import Library

if TYPE_CHECKING:
    from openstall.app.ground import Ground


def make_contests(
    ground: Ground, *, me: Party, stock: Stock, jobs: LocalJobs, sources: Sources, willing: Willingness
) -> ContestService:
    """All of it, for one open wallet on one chain."""
    scratch = ground.home.jobs / "judging"
    desk = ContestDesk(
        me=me,
        books=Contests(ground.store),
        catalogue=ground.catalogue,
        chain=ground.chain,
        wallet=ground.wallet,
        transactions=ground.transactions,
        workers=ground.workers,
        clock=ground.clock,
        changed=lambda cid: ground.bus.publish("contest", {"request": cid}),
    )
    entering = Entering(desk=desk, stock=stock, access=ground.access, seed=ground.seed)
    talk = ContestTalk(
        desk=desk,
        peers=ground.host,
        entering=entering,
        access=ground.access,
        rows_of=sources.rows_of,
        training_of=sources.training_of,
        take_try=lambda room, peer, wallet, ask: practice.take(room, peer, wallet, ask),  # noqa: PLW0108
        board_of=lambda room: practice.board(room),  # noqa: PLW0108 - made below
    )
    measuring = Measuring(
        desk=desk,
        talk=talk,
        blobs=ground.blobs,
        transfer=ground.transfer,
        evaluation=SealedEvaluation(jobs=replace(jobs, folder=scratch), workers=ground.workers),
        seed=ground.seed,
        folder=scratch,
    )
    practice = Practice(desk=desk, measuring=measuring)
    sheets = Sheets(desk=desk, talk=talk)
    models = PrizeModels(
        desk=desk,
        talk=talk,
        blobs=ground.blobs,
        transfer=ground.transfer,
        library=Library(ground.store),
        folder=ground.home.library,
        seed=ground.seed,
    )
    return ContestService(
        desk=desk,
        entering=entering,
        developing=Developing(
            desk=desk,
            talk=talk,
            entering=entering,
            access=ground.access,
            blobs=ground.blobs,
            transfer=ground.transfer,
        ),
        talk=talk,
        measuring=measuring,
        practice=practice,
        sheets=sheets,
        judging=Judging(desk=desk, measuring=measuring, sheets=sheets),
        ends=Ends(desk=desk, sheets=sheets),
        models=models,
        views=ContestViews(desk=desk, talk=talk, sheets=sheets, practice=practice, models=models),
        willing=willing,
    )
