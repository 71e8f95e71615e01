"""Wakes the orders whose money moves on the chain, and no others, as its blocks come.

One look at the logs of a new block serves all open orders: if each looked for itself at each block, a few
buyers with some dozen orders would ask more of the group's host than it answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from openstall.app.logging import get_logger
from openstall.app.services.orders.channel_terms import channel_terms
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.threads import Workers
from openstall.ledger.chain import MAX_LOG_RANGE, Chain
from openstall.ledger.channel import ChannelClient
from openstall.ledger.escrow import escrow_key
from openstall.ledger.model_escrow import model_order_key
from openstall.market.errors import ChainError
from openstall.market.orders.documents import Contract

AGAIN_S = 2.0
_CONTRACTS = ("OrderEscrow", "MeteredChannel")

log = get_logger("openstall.orders")


@dataclass(slots=True, kw_only=True)
class ChainWakes:
    """Follows the blocks of one chain, from those that come after `run` began."""

    chain: Chain
    desk: OrderDesk
    engine: OrderEngine
    workers: Workers
    _grown: trio.Event = field(default_factory=trio.Event)
    _orders: dict[str, str] = field(default_factory=dict)
    """The open orders by the topic of their money on the chain."""
    _known: frozenset[str] = frozenset()

    def new_block(self) -> None:
        """The chain has grown."""
        self._grown.set()

    async def run(self) -> None:
        """Until cancelled. While the chain is away nothing is missed: it is looked at from where we were."""
        done: int | None = None
        while True:
            self._grown = trio.Event()
            try:
                deepest = await self._deepest()
                if done is None or deepest - done > MAX_LOG_RANGE:
                    self.engine.wake_all()  # what happened before is found by each order itself
                elif deepest > done:
                    await self._wake_since(done, deepest)
                done = deepest
            except ChainError as error:
                log.info("blocks not seen yet", code=error.code)
                await trio.sleep(AGAIN_S)
                continue
            await self._grown.wait()

    async def _deepest(self) -> int:
        head = await self.workers.chain(self.chain.head)
        return head.number - self.chain.params.confirmations + 1

    async def _wake_since(self, done: int, deepest: int) -> None:
        try:
            topics = await self.workers.chain(self._topics, done + 1, deepest)
        except ChainError as error:  # the same question may be refused for ever: too many logs, or too large
            log.info("logs of new blocks refused: each order looks itself", code=error.code)
            self.engine.wake_all()
        else:
            await self._wake(topics)

    async def _wake(self, topics: set[str]) -> None:
        if not topics:
            return
        driven = self.engine.driven  # as it is now: others may come to it while we wait
        for order_id in driven - self._known:
            order = await self.desk.load(order_id)
            self._orders[_topic(self.chain, order.contract)] = order_id
        self._known = driven
        self._orders = {topic: one for topic, one in self._orders.items() if one in driven}
        for topic in topics & self._orders.keys():
            self.engine.wake(self._orders[topic])

    def _topics(self, first: int, last: int) -> set[str]:
        found = set()
        requests = ("ModelEscrow",) if self.chain.params.model_escrow else ()
        for contract in (*_CONTRACTS, *requests):
            address = self.chain.contract(contract)
            for one in self.chain.logs(address, [], from_block=first, to_block=last):
                topics = one.get("topics", [])
                if len(topics) > 1:
                    found.add(str(topics[1]).lower())
        return found


def _topic(chain: Chain, contract: Contract) -> str:
    if contract.order.kind == "compute":
        client = ChannelClient(chain)
        return "0x" + client.channel_id(channel_terms(contract)).hex()
    if contract.order.kind == "custom":
        payer, buyer = chain.contract("SealedBidAuction"), contract.order.buyer_wallet
        request_hash = contract.custom.request_hash
        return "0x" + model_order_key(payer=payer, buyer=buyer, request_hash=request_hash).hex()
    return "0x" + escrow_key(contract.order.buyer_wallet, contract.order_hash).hex()
