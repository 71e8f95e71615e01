"""Builds what a requester and a developer have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openstall.app.services.requests.desk import DeveloperDesk
from openstall.app.services.requests.draft import RequestChain
from openstall.app.services.requests.sealed_rows import RowsFolder
from openstall.app.services.requests.service import Budgets, RequestService
from openstall.app.services.requests.training import TrainingData
from openstall.store.orders import Orders
from openstall.store.requests import Requests

if TYPE_CHECKING:
    from openstall.app.ground import Ground


def make_requests(
    ground: Ground, *, orders: Orders, budgets: Budgets
) -> tuple[RequestService, DeveloperDesk]:
    """Both sides, on the contracts of the joined chain."""
    params = ground.chain.params
    chain = RequestChain(
        wallet=ground.wallet.address,
        chain_id=params.chain_id,
        auction=params.auction,
        escrow=params.model_escrow,
        contest=params.contest,
    )
    training = TrainingData(
        blobs=ground.blobs,
        access=ground.access,
        workers=ground.workers,
        folder=ground.home.jobs / "sealing",
    )
    service = RequestService(
        catalogue=ground.catalogue,
        requests=Requests(ground.store),
        sealed=RowsFolder(folder=ground.home.requests, seed=ground.seed),
        training=training,
        chain=chain,
        author=ground.host.peer_id,
        seed=ground.seed,
        workers=ground.workers,
        clock=ground.clock,
        budgets=budgets,
    )
    desk = DeveloperDesk(
        catalogue=ground.catalogue,
        orders=orders,
        chain=chain,
        seed=ground.seed,
        workers=ground.workers,
        clock=ground.clock,
    )
    return service, desk
