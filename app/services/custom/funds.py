"""Whether the wallet holds what is about to be paid into an auction or a contest."""

from __future__ import annotations

from openstall.app.threads import Workers
from openstall.ledger.chain import Chain
from openstall.market.errors import MoneyError
from openstall.market.money import format_amount


async def check_funds(chain: Chain, workers: Workers, wallet: str, amount_micro: int, what: str) -> None:
    """Raises MoneyError `insufficient_funds`, with what the amount is for."""
    balance = await workers.chain(chain.balance_micro, wallet)
    if balance < amount_micro:
        raise MoneyError(
            "insufficient_funds",
            f"You have {format_amount(balance)} credits; {what} is {format_amount(amount_micro)}.",
            "Add credits on the Wallet page.",
        )
