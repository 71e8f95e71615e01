"""Builds the recovery of orders from what trading stands on, and puts it before the drivers of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from openstall.app.services.custom.model_papers import ModelPapers
from openstall.app.services.custom.wiring import Custom
from openstall.app.services.disputes.message_papers import MessagePapers
from openstall.app.services.disputes.talk import TalkService
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.engine import Handler, OrderEngine
from openstall.app.services.orders.escrow_desk import EscrowDesk
from openstall.app.services.orders.job_papers import JobPapers
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.services.orders.order_wiring import is_funded
from openstall.app.services.orders.papers import PapersDesk
from openstall.app.services.orders.recovery import Recovery
from openstall.app.services.orders.recovery_line import PapersLine
from openstall.app.services.orders.sale import SaleWatch

if TYPE_CHECKING:
    from openstall.app.ground import Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """The handler of a job that first compares its books, once after a start, with the other side's."""

    recovery: Recovery
    handler: Handler

    async def step(self, order: OpenOrder) -> None:
        """See `Handler.step`."""
        await self.handler.step(await self.recovery.recall(order))


def recalled(recovery: Recovery, buyer: Handler, provider: Handler) -> dict[tuple[str, str], Handler]:
    """The handlers of both sides of a job, each behind a look at the other side's papers."""
    return {
        ("compute", role): Recalled(recovery=recovery, handler=handler)
        for role, handler in (("buyer", buyer), ("seller", provider))
    }


def make_recovery(
    ground: Ground,
    *,
    engine: OrderEngine,
    channel: ChannelDesk,
    escrow: EscrowDesk,
    custom: Custom,
    negotiation: Negotiation,
    provider: JobProvider,
    talk: TalkService,
) -> Recovery:
    """All of it, for one open wallet on one chain."""
    desk, watch = provider.desk, SaleWatch(desk=provider.desk, escrow=escrow)

    async def sale(order: OpenOrder) -> OpenOrder:
        return (await watch.catch_up(order))[0]

    async def made_to_order(order: OpenOrder) -> OpenOrder:
        return (await custom.watch.catch_up(order))[0]

    papers = PapersDesk(
        transcripts=provider.transcripts, channel=channel, messages=talk.messages, workers=ground.workers
    )
    messages = MessagePapers(talk=talk)
    models = ModelPapers(desk=desk, evaluating=custom.evaluating, hand_in=custom.hand_in)
    return Recovery(
        me=talk.me,
        desk=desk,
        engine=engine,
        line=PapersLine(desk=desk, peers=ground.host, catalogue=ground.catalogue, papers=papers),
        catalogue=ground.catalogue,
        transcripts=provider.transcripts,
        negotiation=negotiation,
        jobs=JobPapers(desk=desk, channel=channel, provider=provider, access=ground.access),
        takers={"sale": (messages,), "compute": (), "custom": (models, messages)},
        catch_up={"sale": sale, "compute": channel.catch_up, "custom": made_to_order},
        is_paid=partial(is_funded, ground, escrow, custom.models),
        write_again=custom.auctions.write_again,
        workers=ground.workers,
    )
