"""Who delivers for the least money: sealed bids, the lowest wins and is paid the second lowest.

After W. Vickrey, "Counterspeculation, auctions, and competitive sealed tenders" (1961), turned round: the
buyer pays. No bid changes what its own bidder is paid, only whether it wins; so nobody does better than by
asking what the work costs. `SealedBidAuction` settles the same way on chain, but for the order of equal
bids: there the smaller keccak256(abi.encode(auction, bidder)) wins, here the smaller SHA-256 of the auction's
name and the bidder, because the market knows no library of the chain. Both are fixed before anybody bids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from openstall.market.errors import Refused
from openstall.market.money import MAX_MICRO, format_amount

AUCTION_ID_BYTES: Final = 32
MOST_BIDS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Award:
    """Who won, for how much it asked, and what it is paid; nobody (an empty `winner`) is paid nothing."""

    winner: str
    asked_micro: int
    paid_micro: int

    @property
    def rent_micro(self) -> int:
        """What the winner is paid above its bid."""
        return self.paid_micro - self.asked_micro


NOBODY: Final = Award(winner="", asked_micro=0, paid_micro=0)


def lot(auction_id: bytes, bidder: str) -> bytes:
    """The place of a bidder among equals: the smaller comes first. Case makes no other wallet.

    Raises:
        Refused: `bad_auction_id`.
    """
    if len(auction_id) != AUCTION_ID_BYTES:
        raise Refused("bad_auction_id", "An auction is named by 32 bytes.", "Take the hash of the request.")
    return hashlib.sha256(auction_id + bidder.lower().encode()).digest()


def second_price(auction_id: bytes, bids: Mapping[str, int], *, reserve_micro: int) -> Award:
    """The outcome of a sealed auction; the reserve is the budget, which one bid alone is paid.

    A bid of nothing or above the budget cannot be opened on chain: here it does not count either.

    Raises:
        Refused: `bad_bid` for what is no amount or nobody's, or for one wallet twice; `too_many_bids`;
            `bad_auction_id`.
    """
    check_money("budget", reserve_micro)
    check_bidders(bids, most=MOST_BIDS)
    for amount in bids.values():
        check_money("bid", amount)
    fit = {bidder: amount for bidder, amount in bids.items() if 1 <= amount <= reserve_micro}
    if not fit:
        return NOBODY
    lowest = min(fit.values())
    tied = [bidder for bidder, amount in fit.items() if amount == lowest]
    winner = min(tied, key=lambda bidder: lot(auction_id, bidder))
    second = min((amount for bidder, amount in fit.items() if bidder != winner), default=reserve_micro)
    return Award(winner=winner, asked_micro=lowest, paid_micro=second)


def check_money(what: str, amount: int) -> None:
    """Refuse what is no amount in whole micro-credits; a truth value or a float is none.

    Raises:
        Refused: `bad_bid`.
    """
    if type(amount) is not int or not 0 <= amount <= MAX_MICRO:
        raise Refused(
            "bad_bid",
            f"The {what} is not an amount in whole micro-credits.",
            f"It lies between nothing and {format_amount(MAX_MICRO)} credits.",
        )


def check_bidders(bidders: Iterable[str], *, most: int) -> None:
    """Refuse nameless bidders, the same wallet twice, and more than can be reckoned with.

    Raises:
        Refused: `bad_bid` or `too_many_bids`.
    """
    names = list(bidders)
    if len(names) > most:
        raise Refused(
            "too_many_bids", f"There are {len(names):,} bids; {most:,} is the most.", "Split the request."
        )
    if not all(names):
        raise Refused("bad_bid", "A bid names no bidder.", "Name the wallet that bids.")
    if len({name.lower() for name in names}) != len(names):
        raise Refused("bad_bid", "One wallet bids twice.", "Count one bid of each wallet.")
