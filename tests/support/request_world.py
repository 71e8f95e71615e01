"""Random calls on auctions, model orders and contests, each against a model that says what must happen.

Many of each live side by side in the contracts. A call that the model expects to pass must pass and move
exactly that money; any other must be refused. At the end a stranger takes every exit: nothing may remain.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from eth_hash.auto import keccak
from ledger_lab import CREDIT, Lab, order_hash
from request_lab import RequestLab

from openstall.ledger.auction import AuctionTerms, Bid, auction_key
from openstall.ledger.bond import SINK
from openstall.ledger.chain import TxRequest
from openstall.ledger.contest import ContestTerms, Ranking, contest_id, ranking
from openstall.ledger.model_escrow import ModelTerms, model_order_key
from openstall.ledger.typed_data import address_word
from openstall.ledger.wallet import Wallet

REQUESTERS, DEVELOPERS = ("r1", "r2"), ("d1", "d2", "d3", "d4")
EVALUATORS, OTHERS = ("e1", "e2", "e3"), ("arbiter", "stranger")
ROLES = (*REQUESTERS, *DEVELOPERS, *EVALUATORS, *OTHERS)
ENDED = ("completed", "refunded", "ruled")
MOST = 3
"""Of each kind that live at once."""
Moves = list[tuple[str, str, int]]
Rule = Callable[[int], Moves | None]
"""What a call at a block's time moves (from, to, how much); None: it must be refused."""


@dataclass(slots=True)
class Auction:
    requester: str
    named: bytes
    terms: AuctionTerms
    key: bytes
    state: str = "none"
    bids: dict[str, Bid] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    best: int = 0
    second: int = 0
    winner: str = ""


@dataclass(slots=True)
class Order:
    payer: str
    buyer: str
    seller: str
    terms: ModelTerms
    key: bytes
    state: str = "none"
    since: int = 0
    attempt: int = 0
    model: bytes = bytes(32)
    named: bytes = b""

    @property
    def exit_after(self) -> int:
        rules = self.terms.rules
        reviewed = self.since + rules.review_s
        if self.state == "failed" and self.attempt < rules.tries:
            return max(reviewed, rules.deliver_by)
        return {
            "funded": rules.deliver_by,
            "submitted": reviewed + rules.evaluate_s,
            "disputed": self.since + rules.arbiter_s,
        }.get(self.state, reviewed)


@dataclass(slots=True)
class Contest:
    requester: str
    named: bytes
    terms: ContestTerms
    key: bytes
    state: str = "none"
    since: int = 0
    marks: dict[str, str] = field(default_factory=dict)
    ranking: Ranking | None = None
    claimed: int = 0

    @property
    def exit_after(self) -> int:
        if self.state == "judged":
            return self.since + 2 * self.terms.review_s
        return self.terms.judge_by + self.terms.review_s


class World:
    """All parties, all money, and how many calls passed or were refused, by their names."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.room, self.random = lab, RequestLab(lab), Random(seed)
        judges = sorted(
            (Wallet(secrets.token_bytes(32)) for _ in EVALUATORS), key=lambda one: one.address.lower()
        )
        self.room.evaluators = tuple(judges)
        self.wallets = dict(zip(EVALUATORS, judges, strict=True))
        for role in (*REQUESTERS, *DEVELOPERS, *OTHERS):
            self.wallets[role] = Wallet(secrets.token_bytes(32))
        for wallet in self.wallets.values():
            lab.do(wallet, lab.credit.claim())
        params = lab.host.params
        self.places = {"auction": params.auction, "escrow": params.model_escrow, "contest": params.contest}
        self.places |= {"sink": SINK} | {role: one.address for role, one in self.wallets.items()}
        self.start = {place: lab.balance(address) for place, address in self.places.items()}
        self.money = Counter(self.start)
        self.auctions: list[Auction] = []
        self.orders: list[Order] = []
        self.contests: list[Contest] = []
        self.passed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.steps = [self.step_auction] * 5 + [self.step_order] * 5 + [self.step_contest] * 4

    @property
    def calls(self) -> int:
        return self.passed.total() + self.refused.total()

    def run(self, calls: int, *, look_every: int = 25) -> None:
        """That many random calls, then the exits."""
        looked = 0
        while self.calls < calls:
            if self.random.random() < 0.12:
                self.lab.clock.ahead_s += self.random.choice((1, 40, 120, 400, 900))
            self.random.choice(self.steps)()
            if self.calls >= looked + look_every:
                looked = self.calls
                self.look()
        self.look()
        self.leave()

    def call(self, name: str, by: str, request: TxRequest, rule: Rule, then: Callable[[int], None]) -> bool:
        """Send, compare with the rule at the block's time, and keep the books."""
        receipt = self.lab.send(self.wallets[by], request)
        at = self.lab.chain.block(receipt.block_number).timestamp
        moves = rule(at)
        assert receipt.ok == (moves is not None), f"call {self.calls}: {name} by {by} at {at}: {receipt.ok}"
        (self.passed if receipt.ok else self.refused)[name] += 1
        for source, target, amount in moves or ():
            self.money[source] -= amount
            self.money[target] += amount
        if receipt.ok:
            then(at)
        return receipt.ok

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

    def leave(self) -> None:
        """A stranger takes every exit, and nothing of ours stays in a contract."""
        self.lab.clock.ahead_s += 30 * 86_400
        for auction in list(self.auctions):
            if auction.state == "open":
                self.settle(auction, "stranger")
            if auction.state == "settled":
                self.expire(auction, "stranger")
            for role in [one for one, mark in auction.marks.items() if mark == "sealed"]:
                if auction.state == "void":
                    self.withdraw_bid(auction, "stranger", role)
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

    def anyone(self, *likely: str) -> str:
        return self.random.choice((*likely * 6, *ROLES))

    def has(self, role: str, amount: int) -> bool:
        return self.money[role] >= amount

    # Auctions

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
            "withdraw": lambda: self.withdraw_bid(auction, self.anyone("stranger"), draw.choice(ROLES)),
        }
        at = self.room.now()
        bidding = at <= auction.terms.commit_by
        likely = {"open": "commit" if bidding else "reveal", "settled": "award", "void": "withdraw"}
        if auction.state == "open" and at > auction.terms.reveal_by:
            likely["open"] = "settle"
        name = likely.get(auction.state, "expire") if draw.random() < 0.75 else draw.choice(list(kinds))
        kinds[name]()

    @staticmethod
    def is_over(auction: Auction) -> bool:
        waiting = auction.state == "void" and "sealed" in auction.marks.values()
        return auction.state in ("void", "awarded", "expired") and not waiting

    def open_auction(self) -> None:
        draw, now, requester = self.random, self.room.now(), self.random.choice(REQUESTERS)
        commit_by = now + draw.randint(50, 400)
        reveal_by = commit_by + draw.randint(60, 400)
        rules = replace(self.rules(), deliver_by=reveal_by + draw.randint(60, 3_000))
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

    def rules(self) -> object:
        draw = self.random
        return self.room.rules(
            arbiter=self.wallets["arbiter"].address,
            evaluate_s=draw.randint(60, 500),
            review_s=draw.randint(60, 500),
            arbiter_s=draw.randint(60, 500),
            arbiter_fee_bps=draw.randint(0, 1_000),
            tries=draw.randint(1, 3),
        )

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
        role = draw.choice(list(auction.bids) or list(ROLES))
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
