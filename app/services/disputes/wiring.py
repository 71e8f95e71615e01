"""Builds messages, evidence and the calling of arbiters from what trading stands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from openstall.app.services.custom.model_desk import ModelDesk
from openstall.app.services.disputes.calling import Calling
from openstall.app.services.disputes.checking import EvidenceCheck
from openstall.app.services.disputes.evidence import EvidenceDesk
from openstall.app.services.disputes.facts import ChainFacts
from openstall.app.services.disputes.gathering import Gathering
from openstall.app.services.disputes.talk import TalkService
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.escrow_desk import EscrowDesk
from openstall.app.services.orders.placing import Party
from openstall.store.disputes import EvidenceBooks, Messages
from openstall.store.orders import Orders

if TYPE_CHECKING:
    from openstall.app.ground import Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputes:
    """What parties and arbiters have."""

    talk: TalkService
    evidence: EvidenceDesk
    check: EvidenceCheck
    calling: Calling
    gathering: Gathering

    async def run(self) -> None:
        """Send messages, and ask for evidence, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.talk.run)
            nursery.start_soon(self.gathering.run)


def make_disputes(
    ground: Ground, *, me: Party, desk: OrderDesk, orders: Orders, escrow: EscrowDesk, models: ModelDesk
) -> Disputes:
    """All of it, for one open wallet on one chain."""
    messages, books = Messages(ground.store), EvidenceBooks(ground.store)
    facts = ChainFacts(chain=ground.chain, escrow=escrow, models=models, workers=ground.workers)
    evidence = EvidenceDesk(
        me=me,
        desk=desk,
        orders=orders,
        messages=messages,
        books=books,
        transactions=ground.transactions,
        catalogue=ground.catalogue,
        facts=facts,
        workers=ground.workers,
    )
    talk = TalkService(
        me=me,
        desk=desk,
        messages=messages,
        peers=ground.post,
        catalogue=ground.catalogue,
        workers=ground.workers,
        show=evidence.bundle,
    )
    check = EvidenceCheck(facts=facts, catalogue=ground.catalogue, workers=ground.workers)
    return Disputes(
        talk=talk,
        evidence=evidence,
        check=check,
        calling=Calling(desk=desk, evidence=evidence, escrow=escrow, models=models),
        gathering=Gathering(
            desk=desk, talk=talk, books=books, messages=messages, check=check, workers=ground.workers
        ),
    )
