"""Random calls on auctions, model orders and contests, each against a model that says what must happen.

Many of each live side by side in the contracts. A call that the model expects to pass must pass and move
exactly that money; any other must be refused. At the end a stranger takes every exit: nothing may remain.
"""

from __future__ import annotations

from ledger_lab import Lab
from request_auctions import AuctionMoves
from request_books import ENDED, Auction
from request_contests import ContestMoves
from request_orders import OrderMoves


class World(AuctionMoves, OrderMoves, ContestMoves):
    """A whole market of requests."""

    def __init__(self, lab: Lab, seed: int) -> None:
        super().__init__(lab, seed)
        self.steps = [self.step_auction] * 5 + [self.step_order] * 5 + [self.step_contest] * 4

    def run(self, calls: int, *, look_every: int = 25) -> None:
        """That many random calls, then the exits."""
        looked = 0
        while self.calls < calls:
            if self.random.random() < 0.06:
                self.lab.clock.ahead_s += self.random.choice((1, 20, 60, 150, 500))
            self.random.choice(self.steps)()
            if self.calls >= looked + look_every:
                looked = self.calls
                self.look()
        self.look()
        self.leave()

    def look(self) -> None:
        """The chain holds what the model says, place by place and state by state."""
        for place, address in self.places.items():
            assert self.lab.balance(address) == self.money[place], place
        for auction in self.auctions:
            seen = self.room.auctions.auction(auction.key)
            assert seen.state == auction.state
            if auction.winner:
                assert seen.winner == self.wallets[auction.winner].address.lower()
                assert (seen.best_micro, seen.price_micro) == (auction.best, auction.second)
        for order in self.orders:
            assert self.room.escrow.order_by_key(order.key).state == order.state
        for contest in self.contests:
            assert self.room.contests.contest(contest.key).state == contest.state

    def leave_auction(self, auction: Auction) -> None:
        if auction.state == "open":
            self.settle(auction, "stranger")
        if auction.state == "settled":
            self.expire(auction, "stranger")
        for role in [one for one, mark in auction.marks.items() if mark == "sealed"]:
            if auction.state == "void":
                self.withdraw_bid(auction, "stranger", role)

    def leave(self) -> None:
        """A stranger takes every exit, and nothing of ours stays in a contract."""
        self.lab.clock.ahead_s += 30 * 86_400
        for auction in self.auctions:
            self.leave_auction(auction)
        for order in self.orders:
            if order.state not in (*ENDED, "none"):
                {"handed_over": self.claim_order, "disputed": self.settle_silent}.get(
                    order.state, self.refund
                )(order, "stranger")
                assert order.state in ENDED
        for contest in self.contests:
            if contest.state in ("open", "judged"):
                self.close(contest, "stranger")
            for role in [one for one, mark in contest.marks.items() if mark == "entered"]:
                self.withdraw_entry(contest, "stranger", role)
        self.look()
        for place in ("auction", "escrow", "contest"):
            assert self.money[place] == self.start[place], f"money was left in {place}"
        assert sum(self.money.values()) == sum(self.start.values())
