"""The parties and the money of random calls on auctions, model orders and contests, as a model has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from ledger_lab import Lab
from request_lab import RequestLab

from openstall.ledger.auction import AuctionTerms, Bid
from openstall.ledger.bond import SINK
from openstall.ledger.chain import TxRequest
from openstall.ledger.contest import ContestTerms, Ranking
from openstall.ledger.model_escrow import ModelRules, ModelTerms
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


class Books:
    """All parties, all money, and how many calls passed or were refused, by their names."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.room, self.random = lab, RequestLab(lab), Random(seed)
        judges = sorted(
            (Wallet(self.random.randbytes(32)) for _ in EVALUATORS), key=lambda one: one.address.lower()
        )
        self.room.evaluators = tuple(judges)
        self.wallets = dict(zip(EVALUATORS, judges, strict=True))
        for role in (*REQUESTERS, *DEVELOPERS, *OTHERS):
            self.wallets[role] = Wallet(self.random.randbytes(32))
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

    @property
    def calls(self) -> int:
        return self.passed.total() + self.refused.total()

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

    def anyone(self, *likely: str) -> str:
        return self.random.choice((*likely * 6, *ROLES))

    def pick(self, marks: dict[str, str], mark: str) -> str:
        """Mostly somebody who bears that mark."""
        having = [role for role, seen in marks.items() if seen == mark]
        return self.random.choice(having if having and self.random.random() < 0.8 else ROLES)

    def has(self, role: str, amount: int) -> bool:
        return self.money[role] >= amount

    def rules(self) -> ModelRules:
        draw = self.random
        return self.room.rules(
            arbiter=self.wallets["arbiter"].address,
            evaluate_s=draw.randint(60, 600),
            review_s=draw.randint(150, 800),
            arbiter_s=draw.randint(150, 800),
            arbiter_fee_bps=draw.randint(0, 1_000),
            tries=draw.randint(1, 3),
        )
