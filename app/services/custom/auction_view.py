"""An auction as the local API tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openstall.ledger.auction import AuctionOnChain, BidSeen
from openstall.market.records import SignedRecord
from openstall.market.requests.terms import request_in
from openstall.store.parts import PartRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An auction as the chain has it, with its bids."""

    auction: AuctionOnChain
    bids: list[BidSeen]


def shown(
    record: SignedRecord, seen: Seen, row: PartRow | None, transactions: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the chain shows of the auction of a request, and this node's own part in it, if it has one."""
    body, auction = request_in(record), seen.auction
    own = None
    if row is not None and row.role == "bidder":
        own = {"amount_micro": int(row.data["amount_micro"]), "state": row.state}
    return {
        "request": record.cid,
        "title": body.title,
        "role": row.role if row is not None else "",
        "state": auction.state,
        "budget_micro": body.budget_micro,
        "deposit_micro": body.deposit_micro,
        "commit_by": body.commit_by,
        "reveal_by": body.reveal_by,
        "bids": [{"bidder": bid.bidder, "amount_micro": bid.amount_micro} for bid in seen.bids],
        "winner": auction.winner if auction.state in ("settled", "awarded", "expired") else "",
        "price_micro": auction.price_micro if auction.winner and auction.state != "open" else None,
        "order_id": row.data.get("order_id") if row is not None else None,
        "own_bid": own,
        "transactions": transactions,
        "trouble": row.data.get("trouble") if row is not None else None,
    }
