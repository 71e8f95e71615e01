"""Messages about an order, taken back from whoever still has them: also this node's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openstall.app.services.disputes.talk import TalkService, signed_of
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.telling import party_of
from openstall.market.disputes.messages import SignedMessage, follows, read_message
from openstall.market.errors import Conflict, InvalidOrder
from openstall.market.orders.papers import Papers
from openstall.store.disputes import MessageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePapers:
    """A chain that is here is only ever made longer, so nobody signs two messages for one place."""

    talk: TalkService

    async def take(self, order: OpenOrder, papers: Papers) -> list[str]:
        """Keep what is new; what was kept, by name.

        Raises:
            InvalidOrder: a message is forged, or about something else.
        """
        arbiter = (
            await self.talk.catalogue.peer_of(order.contract.arbiter) if order.contract.arbiter else None
        )
        kept = 0
        for signed in sorted(_read(papers.messages), key=lambda one: one.message.seq):
            message = signed.message
            if (message.order_id, message.network) != (order.order_id, order.contract.order.network):
                raise InvalidOrder("other_order", "A message belongs to another order.", "")
            if party_of(order.contract, message.author) is None and message.author != arbiter:
                raise InvalidOrder("not_the_author", "A message is from somebody who is no party.", "")

            def check(last: MessageRow | None, signed: SignedMessage = signed) -> bool:
                known = None if last is None else signed_of(last)
                if known is not None and known.message.seq > signed.message.seq:
                    return False
                return follows(known, signed)

            try:
                kept += await self.talk.keep_again(signed, check)
            except Conflict:
                continue  # a gap, or another chain: what is here stays
        return ["messages"] if kept else []


def _read(values: list[dict[str, Any]]) -> list[SignedMessage]:
    if any(set(value) != {"message", "signature"} for value in values):
        raise InvalidOrder("bad_papers", "A message in the papers does not fit its schema.")
    return [read_message(value["message"], value["signature"]) for value in values]
