"""Random steps on sealed-bid auctions, each with the rule that says what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from eth_hash.auto import keccak
from ledger_lab import CREDIT, order_hash
from request_books import DEVELOPERS, EVALUATORS, MOST, REQUESTERS, Auction, Books, Moves, Order

from openstall.ledger.auction import AuctionTerms, Bid, auction_key
from openstall.ledger.model_escrow import ModelTerms, model_order_key
from openstall.ledger.typed_data import address_word


class AuctionMoves(Books):
    """Open, bid, open bids, settle, award, and each way back."""

    def step_auction(self) -> None:
        draw = self.random
        self.auctions = [one for one in self.auctions if not self.is_over(one)]
        if len(self.auctions) < MOST and draw.random() < 0.3:
            self.open_auction()
            return
        if not self.auctions:
            return
        auction = draw.choice(self.auctions)
        kinds: dict[str, Callable[[], object]] = {
            "commit": lambda: self.commit(auction, self.anyone(*DEVELOPERS)),
            "reveal": lambda: self.reveal(auction, self.anyone("stranger")),
            "settle": lambda: self.settle(auction, self.anyone("stranger")),
            "award": lambda: self.award(auction, self.anyone("stranger")),
            "expire": lambda: self.expire(auction, self.anyone("stranger")),
            "withdraw": lambda: self.withdraw_bid(
                auction, self.anyone("stranger"), self.pick(auction.marks, "sealed")
            ),
        }
        at = self.room.now()
        bidding = at <= auction.terms.commit_by
        likely = {"open": "commit" if bidding else "reveal", "settled": "award", "void": "withdraw"}
        if auction.state == "open" and at > auction.terms.reveal_by:
            likely["open"] = "settle"
        if auction.state == "settled" and at > auction.terms.rules.deliver_by:
            likely["settled"] = "expire"
        name = likely.get(auction.state, "expire") if draw.random() < 0.75 else draw.choice(list(kinds))
        kinds[name]()

    @staticmethod
    def is_over(auction: Auction) -> bool:
        waiting = auction.state == "void" and "sealed" in auction.marks.values()
        return auction.state in ("void", "awarded", "expired") and not waiting

    def open_auction(self) -> None:
        draw, now, requester = self.random, self.room.now(), self.random.choice(REQUESTERS)
        commit_by = now + draw.randint(100, 500)
        reveal_by = commit_by + draw.randint(200, 800)
        rules = replace(self.rules(), deliver_by=reveal_by + draw.choice((60, 200, draw.randint(500, 4_000))))
        terms = AuctionTerms(
            budget_micro=draw.randint(1, 20 * CREDIT),
            deposit_micro=draw.randint(1, 2 * CREDIT),
            commit_by=commit_by,
            reveal_by=reveal_by,
            rules=rules,
        )
        named = order_hash()
        wallet = self.wallets[requester]
        auction = Auction(requester, named, terms, auction_key(wallet.address, named))
        self.auctions.append(auction)

        def rule(at: int) -> Moves | None:
            fits = at < commit_by and self.has(requester, terms.budget_micro)
            return [(requester, "auction", terms.budget_micro)] if fits else None

        def then(_at: int) -> None:
            auction.state = "open"
            auction.best = auction.second = terms.budget_micro

        if not self.call("open", requester, self.room.auctions.open(wallet, named, terms), rule, then):
            self.auctions.remove(auction)

    def commit(self, auction: Auction, role: str) -> None:
        draw, wallet, terms = self.random, self.wallets[role], auction.terms
        around = (1, terms.budget_micro // 2 + 1, terms.budget_micro, terms.budget_micro + 1)
        amount = draw.choice((*around, draw.randint(1, terms.budget_micro)))
        bid = Bid(bidder=wallet.address, amount_micro=amount, salt=draw.randbytes(32))
        request = self.room.auctions.commit(wallet, auction.key, bid, deposit_micro=terms.deposit_micro)

        def rule(at: int) -> Moves | None:
            barred = role in (auction.requester, "arbiter", *EVALUATORS) or role in auction.bids
            timely = auction.state == "open" and at <= terms.commit_by
            fits = timely and not barred and self.has(role, terms.deposit_micro)
            return [(role, "auction", terms.deposit_micro)] if fits else None

        def then(_at: int) -> None:
            auction.bids[role], auction.marks[role] = bid, "sealed"

        self.call("commit", role, request, rule, then)

    def reveal(self, auction: Auction, by: str) -> None:
        draw, terms = self.random, auction.terms
        role = self.pick(auction.marks, "sealed")
        unknown = Bid(bidder=self.wallets[role].address, amount_micro=1, salt=bytes(32))
        bid = auction.bids.get(role, unknown)
        lie = draw.choice(("", "", "", "", "", "amount", "salt", "bidder"))
        stranger = self.wallets["stranger"].address
        told = {
            "amount": replace(bid, amount_micro=bid.amount_micro + 1),
            "salt": replace(bid, salt=order_hash()),
            "bidder": replace(bid, bidder=stranger),
        }.get(lie, bid)
        honest = told == bid

        def rule(at: int) -> Moves | None:
            timely = auction.state == "open" and terms.commit_by < at <= terms.reveal_by
            fits = timely and honest and auction.marks.get(role) == "sealed"
            if not fits or bid.amount_micro > terms.budget_micro:
                return None
            return [("auction", role, terms.deposit_micro)]

        def then(_at: int) -> None:
            auction.marks[role] = "opened"
            opened = [one for one, mark in auction.marks.items() if mark == "opened"]

            def order_of(one: str) -> tuple[int, bytes]:
                address = address_word(self.wallets[one].address)
                return auction.bids[one].amount_micro, keccak(auction.key + address)

            ranked = sorted(opened, key=order_of)
            auction.winner, auction.best = ranked[0], auction.bids[ranked[0]].amount_micro
            second = auction.bids[ranked[1]].amount_micro if len(ranked) > 1 else terms.budget_micro
            auction.second = second

        self.call("reveal", by, self.room.auctions.reveal(auction.key, told), rule, then)

    def settle(self, auction: Auction, by: str) -> None:
        def rule(at: int) -> Moves | None:
            if auction.state != "open" or at <= auction.terms.reveal_by:
                return None
            if not auction.winner:
                return [("auction", auction.requester, auction.terms.budget_micro)]
            kept = sum(mark == "sealed" for mark in auction.marks.values())
            return [("auction", auction.winner, kept * auction.terms.deposit_micro)]

        def then(_at: int) -> None:
            auction.state = "settled" if auction.winner else "void"

        self.call("settle", by, self.room.auctions.settle(auction.key), rule, then)

    def award(self, auction: Auction, by: str) -> None:
        rules, wrong = auction.terms.rules, self.random.random() < 0.1
        told = replace(rules, tries=rules.tries % 3 + 1) if wrong else rules
        requester = self.wallets[auction.requester].address

        def rule(at: int) -> Moves | None:
            if auction.state != "settled" or wrong or at >= rules.deliver_by:
                return None
            rest = auction.terms.budget_micro - auction.second
            return [("auction", "escrow", auction.second), ("auction", auction.requester, rest)]

        def then(at: int) -> None:
            auction.state = "awarded"
            seller = self.wallets[auction.winner].address
            terms = ModelTerms(seller=seller, amount_micro=auction.second, rules=rules)
            key = model_order_key(payer=self.places["auction"], buyer=requester, request_hash=auction.named)
            order = Order("auction", auction.requester, auction.winner, terms, key, "funded", at)
            self.orders.append(order)

        request = self.room.auctions.award(requester, auction.named, told)
        self.call("award", by, request, rule, then)

    def expire(self, auction: Auction, by: str) -> None:
        def rule(at: int) -> Moves | None:
            if auction.state != "settled" or at <= auction.terms.rules.deliver_by:
                return None
            return [("auction", auction.requester, auction.terms.budget_micro)]

        def then(_at: int) -> None:
            auction.state = "expired"

        self.call("expire", by, self.room.auctions.expire(auction.key), rule, then)

    def withdraw_bid(self, auction: Auction, by: str, role: str) -> None:
        def rule(_at: int) -> Moves | None:
            fits = auction.state == "void" and auction.marks.get(role) == "sealed"
            return [("auction", role, auction.terms.deposit_micro)] if fits else None

        def then(_at: int) -> None:
            auction.marks[role] = "paid_back"

        request = self.room.auctions.withdraw(auction.key, self.wallets[role].address)
        self.call("withdraw", by, request, rule, then)
