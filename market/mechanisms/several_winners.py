"""Several winners at once: those who together leave the buyer most, each paid what it adds.

Vickrey, Clarke and Groves: pay_i = price_i + W(all) - W(all but i), where W is the best sum of worth less
price within the room there is. No bid does better than the true cost, and no winner is paid more than its
model is worth. The rule knows no budget: `most_micro` says what it can come to, before any bid is known.
Winners are found exactly, by dynamic programming over the room; what would take too long is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from openstall.market.errors import Refused
from openstall.market.mechanisms.procurement import check_bidders, check_money, lot

MOST_BIDDERS: Final = 100
MOST_ROOM: Final = 100

_State = tuple[int, int]
"""The best sum for some room, and the set that has it: a bit a bidder, the first by lot the highest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartBid:
    """What a bidder asks, what its model is worth to the buyer (as verified), and the room that it takes."""

    bidder: str
    price_micro: int
    worth_micro: int
    units: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """What each winner is paid, in the order of the lot, and the best sum of worth less price."""

    paid_micro: dict[str, int]
    welfare_micro: int


def several_winners(auction_id: bytes, bids: Sequence[PartBid], *, room: int) -> Several:
    """The winners and their pay. Of equally good sets the smaller wins, then whoever is first by lot.

    Raises:
        Refused: `bad_bid`, `bad_room`, `too_many_bids` or `bad_auction_id`.
    """
    _check(bids, room)
    order = sorted(bids, key=lambda bid: lot(auction_id, bid.bidder))
    gains = [(bid.units, bid.worth_micro - bid.price_micro) for bid in order]
    welfare, chosen = _best(gains, room)
    paid: dict[str, int] = {}
    for place, bid in enumerate(order):
        if chosen >> (len(order) - 1 - place) & 1:
            without, _ = _best([*gains[:place], *gains[place + 1 :]], room)
            paid[bid.bidder] = bid.price_micro + welfare - without
    return Several(paid_micro=paid, welfare_micro=welfare)


def most_micro(bids: Sequence[PartBid], *, room: int) -> int:
    """The most that these bidders can be paid together, whatever they ask: what the escrow has to hold."""
    _check(bids, room)
    return _best([(bid.units, bid.worth_micro) for bid in bids], room)[0]


def _best(gains: Sequence[tuple[int, int]], room: int) -> _State:
    """The best sum of gains within the room, and who makes it up."""
    best: list[_State | None] = [(0, 0), *[None] * room]
    for place, (units, gain) in enumerate(gains):
        if gain <= 0:
            continue
        bit = 1 << (len(gains) - 1 - place)
        for used in range(room, units - 1, -1):
            before = best[used - units]
            if before is not None:
                with_it = (before[0] + gain, before[1] | bit)
                best[used] = max(best[used] or with_it, with_it)
    top, chosen = 0, 0
    for state in best:
        if state is not None and state[0] > top:
            top, chosen = state
    return top, chosen


def _check(bids: Sequence[PartBid], room: int) -> None:
    if type(room) is not int or not 1 <= room <= MOST_ROOM:
        raise Refused("bad_room", f"There is room for 1 to {MOST_ROOM} units.", "Say how many you take.")
    check_bidders([bid.bidder for bid in bids], most=MOST_BIDDERS)
    for bid in bids:
        check_money("bid", bid.price_micro)
        check_money("worth of a model", bid.worth_micro)
        if bid.price_micro == 0 or type(bid.units) is not int or bid.units < 1:
            raise Refused("bad_bid", "A bid asks for nothing or takes no room.", "Both are at least 1.")
