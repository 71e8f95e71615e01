"""Builds the post of a node that can trade: the outbox, what sends it, and what takes letters in."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from openstall.app.clock import Clock
from openstall.app.services.mailbox.courier import Courier
from openstall.app.services.mailbox.inbox import Inbox
from openstall.app.services.mailbox.listed import LISTED, ORDER
from openstall.app.services.mailbox.post import Post
from openstall.app.services.mailbox.service import MailboxService
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.supervisor import steadily
from openstall.app.threads import Workers
from openstall.market.orders.machine import MACHINES
from openstall.p2p.host import PeerHost
from openstall.store.outbox import Outbox, OutboxRow


@dataclass(slots=True, kw_only=True)
class PostOffice:
    """Runs the courier and the inbox for as long as the node trades."""

    post: Post
    courier: Courier
    inbox: Inbox
    mailbox: MailboxService

    async def run(self, desk: OrderDesk) -> None:
        """Until cancelled."""

        async def wanted(row: OutboxRow) -> bool:
            if row.protocol != ORDER or row.what != LISTED[ORDER]["propose"] or row.answers:
                return True
            order = await desk.find(row.order_id)
            return order is not None and order.state == MACHINES[order.kind].first

        self.courier.wanted = wanted
        self.mailbox.receive = self.inbox.receive
        self.mailbox.looked = self.inbox.looked
        self.mailbox.look_now = self.inbox.look_now
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(steadily, "outbox", self.courier.run)
                nursery.start_soon(steadily, "letters", self.inbox.run)
        finally:
            self.mailbox.receive = None
            self.mailbox.look_now = lambda: None


def make_post(
    *,
    host: PeerHost,
    outbox: Outbox,
    seed: bytes,
    network: str,
    mailbox: MailboxService,
    workers: Workers,
    clock: Clock,
) -> PostOffice:
    """All of it, for one host in one group."""
    post = Post(host=host, outbox=outbox, workers=workers, clock=clock)
    return PostOffice(
        post=post,
        courier=Courier(
            post=post,
            seed=seed,
            network=network,
            mailboxes_of=mailbox.of,
            keep_here=mailbox.keep,
            changed=mailbox.changed,
        ),
        inbox=Inbox(
            post=post,
            seed=seed,
            network=network,
            my_mailboxes=mailbox.mine,
            changed=mailbox.changed,
        ),
        mailbox=mailbox,
    )
