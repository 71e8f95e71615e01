"""Every course of a sealed-bid auction with three bidders, in the words and sums of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

BUDGET, DEPOSIT, PRICES = 10, 3, (4, 7)
OVER = {"void", "awarded", "expired"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Auction:
    """`bids`: 0 none, 1 sealed, 2 its deposit paid back unopened, else the price that was opened."""

    state: str = "open"
    time: int = 0
    """0 until commitBy, 1 until revealBy, 2 until deliverBy, 3 after it."""
    bids: tuple[int, int, int] = (0, 0, 0)
    held: int = BUDGET
    requester: int = 0
    escrow: int = 0
    bidders: tuple[int, int, int] = (0, 0, 0)

    def ranked(self) -> list[tuple[int, int]]:
        """The opened bids, the lowest first; among equal ones the smaller place."""
        return sorted((bid, place) for place, bid in enumerate(self.bids) if bid > 2)


def _put(values: tuple[int, int, int], place: int, value: int) -> tuple[int, int, int]:
    a, b, c = (value if at == place else old for at, old in enumerate(values))
    return a, b, c


def _paid(at: Auction, place: int, amount: int) -> Auction:
    return replace(at, held=at.held - amount, bidders=_put(at.bidders, place, at.bidders[place] + amount))


def anyones(at: Auction) -> Iterator[Auction]:
    """The clock, and the calls that a bystander can make."""
    if at.time < 3:
        yield replace(at, time=at.time + 1)
    ranked = at.ranked()
    if at.state == "open" and at.time >= 2:
        if ranked:
            yield _paid(replace(at, state="settled"), ranked[0][1], at.bids.count(1) * DEPOSIT)
        else:
            yield replace(at, state="void", held=at.held - BUDGET, requester=BUDGET)
    if at.state == "settled":
        price = ranked[1][0] if len(ranked) > 1 else BUDGET
        if at.time == 2:
            yield replace(at, state="awarded", held=at.held - BUDGET, escrow=price, requester=BUDGET - price)
        else:
            yield replace(at, state="expired", held=at.held - BUDGET, requester=BUDGET)
    if at.state == "void":
        for place in range(3):
            if at.bids[place] == 1:
                yield _paid(replace(at, bids=_put(at.bids, place, 2)), place, DEPOSIT)


def moves(at: Auction) -> Iterator[Auction]:
    """All that may happen next; a bidder that crashed or lost its opening does not open."""
    yield from anyones(at)
    for place in range(3) if at.state == "open" else ():
        if at.time == 0 and at.bids[place] == 0:
            yield replace(at, bids=_put(at.bids, place, 1), held=at.held + DEPOSIT)
        if at.time == 1 and at.bids[place] == 1:
            for price in PRICES:
                yield _paid(replace(at, bids=_put(at.bids, place, price)), place, DEPOSIT)


def explored() -> set[Auction]:
    """Every state that can be reached."""
    found, fresh = {Auction()}, [Auction()]
    while fresh:
        for after in moves(fresh.pop()):
            if after not in found:
                found.add(after)
                fresh.append(after)
    return found


def empties(at: Auction) -> bool:
    """Whether a bystander and the clock alone make all money leave."""
    return at.held == 0 or any(empties(after) for after in anyones(at))
