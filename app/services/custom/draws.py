"""The block that draws the rows to be opened: so many after the verdict as the chain asks to be sure.

A chain of a group makes a block only when somebody sends something. There who wants the rows sends itself
nothing, once, where no block comes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from openstall.app.services.custom.judged import judged_as
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain
from openstall.ledger.credit import CreditClient
from openstall.ledger.wallet import Wallet
from openstall.market.errors import Conflict


@dataclass(slots=True, kw_only=True)
class Draws:
    """Reads that block, and can make it come."""

    chain: Chain
    transactions: TransactionService
    wallet: Wallet
    workers: Workers

    async def block_hash(self, order: OpenOrder) -> str:
        """The hash of the block that draws the rows of the newest verdict: 64 hex digits.

        Raises:
            Conflict: `no_block_yet`, it is not there, or not deep enough.
        """
        return await self.workers.chain(self._block_hash, order)

    async def hasten(self, order: OpenOrder) -> None:
        """Make a block on the group's chain, where none comes by itself."""
        if self.chain.params.kind == "group":
            me = self.wallet.address
            await self.transactions.send(
                f"draw {order.data['attempt']}",
                order.order_id,
                lambda: CreditClient(self.chain).transfer(me, 0),
            )

    def _block_hash(self, order: OpenOrder) -> str:
        depth = self.chain.params.confirmations
        number = int(order.data[judged_as(int(order.data["attempt"]))]["block"]) + depth
        if self.chain.head().number < number + depth - 1:
            raise Conflict(
                "no_block_yet", "The block that draws the rows is not made yet.", "Ask again in a moment."
            )
        return self.chain.block(number).hash.removeprefix("0x")
