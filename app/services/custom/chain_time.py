"""Whether the chain's own clock has passed a second: only then can nothing in time for it come any more.

Our clock may run ahead of the chain's. What must stay secret until a time is over, a bid or the key of an
entry, would else be seen by who can still answer it. A chain of a group makes a block only when somebody
sends something; there who waits for the time sends itself nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain
from openstall.ledger.credit import CreditClient
from openstall.ledger.wallet import Wallet

AGAIN_S: Final = 15
"""Where the chain's clock is behind ours, another block is made no sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTime:
    """Reads that clock, and can move it on."""

    chain: Chain
    transactions: TransactionService
    wallet: Wallet
    workers: Workers

    async def has_passed(self, at: int) -> bool:
        """Whether the newest block is later than a second: no later block can be earlier."""
        return (await self.workers.chain(self.chain.head)).timestamp > at

    async def pass_by(self, at: int, about: str, *, now: int) -> bool:
        """The same; on a group's chain a block is made for it, in the name of an order or request."""
        if await self.has_passed(at):
            return True
        if self.chain.params.kind != "group":
            return False
        me = self.wallet.address
        await self.transactions.send(
            f"time {now // AGAIN_S}", about, lambda: CreditClient(self.chain).transfer(me, 0)
        )
        return await self.has_passed(at)
