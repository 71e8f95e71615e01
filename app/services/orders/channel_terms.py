"""The channel that an order names, and whether the money of that order lies in it."""

from __future__ import annotations

from openstall.app.threads import Workers
from openstall.ledger.chain import Chain
from openstall.ledger.channel import ChannelClient, ChannelOnChain, ChannelTerms
from openstall.market.orders.documents import Contract


def channel_terms(contract: Contract) -> ChannelTerms:
    """What the buyer of a job opens its channel with."""
    terms = contract.compute
    return ChannelTerms(
        payer=contract.order.buyer_wallet,
        payee=contract.order.seller_wallet,
        deposit_micro=terms.cap_micro,
        withdraw_delay_s=terms.withdraw_delay_s,
        salt=contract.order_hash,
    )


def holds_the_cap(chain: Chain, channel: ChannelOnChain, terms: ChannelTerms) -> bool:
    """A channel with less money than was signed is no channel; payer, payee and delay are in its id."""
    return channel.deposit_micro >= terms.deposit_micro and channel.token == chain.params.credit.lower()


async def is_locked(chain: Chain, workers: Workers, contract: Contract) -> bool:
    """Whether the money of an order lies there now, and its buyer does not take it back.

    Raises:
        ChainError: refused or away.
    """
    client, terms = ChannelClient(chain), channel_terms(contract)
    seen = await workers.chain(client.channel, client.channel_id(terms))
    return seen.state == "open" and holds_the_cap(chain, seen, terms)


async def is_paid(chain: Chain, workers: Workers, contract: Contract) -> bool:
    """Whether the chain shows the money of an order, or that it was there; for who is no party to it.

    Raises:
        ChainError: refused or away.
    """
    client, terms = ChannelClient(chain), channel_terms(contract)
    seen = await workers.chain(client.channel, client.channel_id(terms))
    return seen.state != "none" and holds_the_cap(chain, seen, terms)
