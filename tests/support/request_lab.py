"""Auctions, model orders and contests on a lab's chain: the parties and their usual terms."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ledger_lab import CREDIT, Lab, order_hash

from openstall.ledger.auction import AuctionClient, AuctionTerms, Bid, auction_key
from openstall.ledger.chain import Chain
from openstall.ledger.contest import ContestClient, ContestTerms, Ranking
from openstall.ledger.model_escrow import (
    ModelEscrowClient,
    ModelRules,
    ModelTerms,
    SignedVerdict,
    Verdict,
    model_order_key,
)
from openstall.ledger.wallet import Wallet

BUDGET, DEPOSIT = 50 * CREDIT, 2 * CREDIT


@dataclass(slots=True)
class RequestLab:
    """The lab's buyer is the requester, its seller the developer; three evaluators, two of them suffice."""

    lab: Lab
    chain: Chain | None = None
    evaluators: tuple[Wallet, ...] = field(init=False)
    auctions: AuctionClient = field(init=False)
    escrow: ModelEscrowClient = field(init=False)
    contests: ContestClient = field(init=False)

    def __post_init__(self) -> None:
        chain = self.chain or self.lab.chain
        made = (Wallet(secrets.token_bytes(32)) for _ in range(3))
        self.evaluators = tuple(sorted(made, key=lambda wallet: wallet.address.lower()))
        self.auctions, self.escrow = AuctionClient(chain), ModelEscrowClient(chain)
        self.contests = ContestClient(chain)

    def now(self) -> int:
        """By the chain's clock, which a busy test drives ahead of ours."""
        return max(self.lab.clock.now(), self.lab.chain.head().timestamp)

    def pass_to(self, at: int) -> None:
        """Move the clock just past a second."""
        self.lab.clock.ahead_s += max(0, at + 1 - self.lab.clock.now())

    def rules(self, **changes: object) -> ModelRules:
        usual = ModelRules(
            arbiter=self.lab.arbiter.address,
            deliver_by=self.now() + 5_000,
            evaluate_s=600,
            review_s=900,
            arbiter_s=1_200,
            arbiter_fee_bps=200,
            tries=2,
            quorum=2,
            evaluators=tuple(wallet.address for wallet in self.evaluators),
        )
        return replace(usual, **changes)  # type: ignore[arg-type]

    def auction_terms(self, **changes: object) -> AuctionTerms:
        now = self.now()
        usual = AuctionTerms(
            budget_micro=BUDGET,
            deposit_micro=DEPOSIT,
            commit_by=now + 300,
            reveal_by=now + 900,
            rules=self.rules(),
        )
        return replace(usual, **changes)  # type: ignore[arg-type]

    def contest_terms(self, **changes: object) -> ContestTerms:
        now = self.now()
        usual = ContestTerms(
            pool_micro=BUDGET,
            deposit_micro=DEPOSIT,
            entry_by=now + 300,
            judge_by=now + 900,
            review_s=600,
            quorum=2,
            evaluators=tuple(wallet.address for wallet in self.evaluators),
            weights_bps=(7_000, 3_000),
        )
        return replace(usual, **changes)  # type: ignore[arg-type]

    def rich(self) -> Wallet:
        """A new wallet with its first credits."""
        wallet = Wallet(secrets.token_bytes(32))
        self.lab.do(wallet, self.lab.credit.claim())
        return wallet

    def opened(self, terms: AuctionTerms, request_hash: bytes | None = None) -> bytes:
        """An auction of the buyer's; its key."""
        named = request_hash or order_hash()
        self.lab.do(self.lab.buyer, self.auctions.open(self.lab.buyer, named, terms))
        return auction_key(self.lab.buyer.address, named)

    def bid(self, wallet: Wallet, key: bytes, amount: int, *, deposit: int = DEPOSIT) -> Bid:
        """A sealed bid."""
        bid = Bid(bidder=wallet.address, amount_micro=amount, salt=secrets.token_bytes(32))
        self.lab.do(wallet, self.auctions.commit(wallet, key, bid, deposit_micro=deposit))
        return bid

    def funded(self, amount: int = 9 * CREDIT, **changes: object) -> tuple[bytes, ModelTerms]:
        """An order that the buyer pays for directly; its key."""
        named = order_hash()
        terms = ModelTerms(seller=self.lab.seller.address, amount_micro=amount, rules=self.rules(**changes))
        self.lab.do(self.lab.buyer, self.escrow.fund(self.lab.buyer, named, terms))
        buyer = self.lab.buyer.address
        return model_order_key(payer=buyer, buyer=buyer, request_hash=named), terms

    def submitted(self, **changes: object) -> bytes:
        key, _ = self.funded(**changes)  # type: ignore[arg-type]
        self.lab.do(self.lab.seller, self.escrow.submit(key, order_hash()))
        return key

    def verdicts(
        self,
        key: bytes,
        passed: bool,
        by: Sequence[Wallet] | None = None,
        *,
        change: dict[str, object] | None = None,
        signing: ModelEscrowClient | None = None,
    ) -> list[SignedVerdict]:
        """What the evaluators (two of them, unless said) sign on the present try, or what else they do."""
        order, signed = self.escrow.order_by_key(key), list[SignedVerdict]()
        for wallet in by if by is not None else self.evaluators[:2]:
            verdict = Verdict(
                key=key,
                model_hash=order.model_hash,
                attempt=order.attempt or 1,
                passed=passed,
                report_hash=order_hash(),
            )
            other = replace(verdict, **(change or {}))  # type: ignore[arg-type]
            signature = (signing or self.escrow).sign(wallet, other)
            known = wallet in self.evaluators
            place = self.evaluators.index(wallet) if known else len(signed)
            signed.append(SignedVerdict(place=place, report_hash=verdict.report_hash, signature=signature))
        return signed

    def assess(self, key: bytes, passed: bool) -> None:
        request = self.escrow.assess(key, passed=passed, verdicts=self.verdicts(key, passed))
        self.lab.do(self.lab.outsider, request)

    def ranked(self, found: Ranking, by: Sequence[Wallet] | None = None) -> list[tuple[int, bytes]]:
        """Signatures of evaluators (two of them, unless said) on a ranking."""
        chosen = by if by is not None else self.evaluators[1:]
        return [(self.evaluators.index(one), self.contests.sign(one, found)) for one in chosen]
