"""What of a wallet's money lies in contracts that have not ended."""

from __future__ import annotations

from openstall.ledger.auction import AuctionClient
from openstall.ledger.bond import BondClient
from openstall.ledger.chain import Chain
from openstall.ledger.channel import ChannelClient
from openstall.ledger.contest import ContestClient
from openstall.ledger.escrow import EscrowClient
from openstall.ledger.history import HistoryEntry
from openstall.ledger.model_escrow import ModelEscrowClient

_ENDED = frozenset({"none", "completed", "refunded", "ruled"})


def held_micro(chain: Chain, address: str, entries: list[HistoryEntry]) -> int:
    """What the wallet has paid in and may still come back, or become another's."""
    came_back = {entry.key for entry in entries if entry.kind == "channel_returned"}
    held = 0
    for entry in entries:
        if entry.key and entry.kind in _HELD and entry.key not in came_back:
            held += _HELD[entry.kind](chain, address.lower(), bytes.fromhex(entry.key[2:]))
    return held


def _in_escrow(chain: Chain, _me: str, key: bytes) -> int:
    order = EscrowClient(chain).order_by_key(key)
    return 0 if order.state in _ENDED else order.terms.amount_micro


def _in_channel(chain: Chain, _me: str, key: bytes) -> int:
    found = ChannelClient(chain).channel(key)
    return 0 if found.state in ("none", "closed") else found.deposit_micro - found.claimed_micro


def _in_bond(chain: Chain, _me: str, key: bytes) -> int:
    return BondClient(chain).bond(key).left_micro


def _in_auction(chain: Chain, me: str, key: bytes) -> int:
    """A requester's budget, and after the award the price in the escrow; a bidder's deposit."""
    auctions = AuctionClient(chain)
    found = auctions.auction(key)
    if found.requester != me:
        waits = found.state in ("open", "void") and auctions.bid_state(key, me) == "sealed"
        return found.deposit_micro if waits else 0
    if found.state == "awarded":
        opened = auctions.opened(key)
        order = ModelEscrowClient(chain).order(
            payer=chain.params.auction, buyer=me, request_hash=opened.request_hash
        )
        return 0 if order.state in _ENDED else order.terms.amount_micro
    return found.budget_micro if found.state in ("open", "settled") else 0


def _in_model_escrow(chain: Chain, _me: str, key: bytes) -> int:
    order = ModelEscrowClient(chain).order_by_key(key)
    return 0 if order.state in _ENDED else order.terms.amount_micro


def _in_contest(chain: Chain, me: str, key: bytes) -> int:
    """A requester's pool without the prizes that were taken; an entrant's deposit."""
    contests = ContestClient(chain)
    found = contests.contest(key)
    if found.requester == me:
        return found.pool_micro - found.claimed_micro if found.state in ("open", "judged") else 0
    return found.deposit_micro if contests.entry_state(key, me) == "entered" else 0


_HELD = {
    "escrow_paid": _in_escrow,
    "channel_paid": _in_channel,
    "bond_posted": _in_bond,
    "auction_paid": _in_auction,
    "model_paid": _in_model_escrow,
    "contest_paid": _in_contest,
}
