"""Gas of a model made to order on a group chain: the auction, the escrow, a contest."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from table import Row

from openstall.ledger.anvil import find_anvil
from openstall.ledger.auction import AuctionClient, AuctionTerms, Bid, auction_key
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.contest import ContestClient, ContestTerms, contest_id, ranking
from openstall.ledger.credit import CreditClient
from openstall.ledger.group_host import GroupHost
from openstall.ledger.model_escrow import (
    ModelEscrowClient,
    ModelRules,
    SignedVerdict,
    Verdict,
    model_order_key,
)
from openstall.ledger.transactions import build_and_sign
from openstall.ledger.wallet import Wallet

CREDIT = 1_000_000
BIDDERS = 6
AIMS = {
    "losing bidder: commit and reveal": (195_000, "dearest of five; the deposit comes back with the reveal"),
    "auction settled": (85_000, "one deposit forfeited; the same for any number of bids"),
    "auction opened": (420_000, "three evaluators"),
    "auction awarded": (350_000, "pays the escrow, and the rest back"),
    "model submitted": (65_000, "the first try; a later one takes 20,000 less"),
    "model assessed": (85_000, "two signatures"),
    "key handed over": (45_000, "80 bytes"),
    "payment claimed": (65_000, ""),
    "contest opened": (380_000, "three evaluators"),
    "contest entered": (120_000, ""),
    "contest judged": (125_000, "two signatures"),
    "prize claimed": (85_000, "with the key of 80 bytes, among six"),
}


@dataclass(slots=True)
class _Meter:
    """Sends, and keeps the dearest of each step."""

    chain: Chain
    gas: dict[str, int] = field(default_factory=dict)

    def send(self, wallet: Wallet, request: TxRequest) -> int:
        signed = build_and_sign(wallet, self.chain, request, self.chain.nonce(wallet.address))
        receipt = self.chain.wait_final(self.chain.broadcast(signed.raw), 30)
        if not receipt.ok:
            raise AssertionError(request.what)
        return receipt.gas_used

    def note(self, name: str, *parts: int) -> None:
        self.gas[name] = max(self.gas.get(name, 0), sum(parts))


def rows() -> Iterable[Row]:
    """Needs anvil."""
    binary = find_anvil()
    if binary is None:
        return
    ahead = [0]
    with tempfile.TemporaryDirectory() as folder:

        def clock() -> float:
            return time.time() + ahead[0]

        host = GroupHost(Path(folder) / "chain", binary, clock=clock)
        params = host.create("Benchmark")
        try:
            meter = _Meter(Chain(params, host.handle, clock=clock))
            wallets = [Wallet(secrets.token_bytes(32)) for _ in range(BIDDERS + 1)]
            for wallet in wallets:
                meter.send(wallet, CreditClient(meter.chain).claim())
            judges = [Wallet(secrets.token_bytes(32)) for _ in range(3)]
            judges.sort(key=lambda wallet: wallet.address.lower())
            _auction(meter, wallets, judges, ahead)
            _contest(meter, wallets, judges, ahead)
        finally:
            host.stop()
    for name, (aim, note) in AIMS.items():
        used = meter.gas[name]
        yield Row(name=f"gas: {name}", value=used, unit="", limit=f"<= {aim:,}", ok=used <= aim, note=note)


def _auction(meter: _Meter, wallets: list[Wallet], judges: list[Wallet], ahead: list[int]) -> None:
    requester, bidders = wallets[0], wallets[1:]
    chain, named = meter.chain, hashlib.sha256(secrets.token_bytes(8)).digest()
    auctions, now = AuctionClient(chain), chain.now()
    rules = ModelRules(
        arbiter=Wallet(secrets.token_bytes(32)).address,
        deliver_by=now + 10_000,
        evaluate_s=600,
        review_s=600,
        arbiter_s=600,
        arbiter_fee_bps=200,
        tries=2,
        quorum=2,
        evaluators=tuple(judge.address for judge in judges),
    )
    terms = AuctionTerms(
        budget_micro=50 * CREDIT,
        deposit_micro=2 * CREDIT,
        commit_by=now + 600,
        reveal_by=now + 1_200,
        rules=rules,
    )
    meter.note("auction opened", meter.send(requester, auctions.open(requester, named, terms)))
    key = auction_key(requester.address, named)
    bids = [
        Bid(bidder=bidder.address, amount_micro=(20 - place) * CREDIT, salt=secrets.token_bytes(32))
        for place, bidder in enumerate(bidders)
    ]
    committed = [
        meter.send(bidder, auctions.commit(bidder, key, bid, deposit_micro=2 * CREDIT))
        for bidder, bid in zip(bidders, bids, strict=True)
    ]
    ahead[0] += 601
    # Each bid beats the one before it, the dearest way; the last but one wins, the last stays sealed.
    revealed = [
        meter.send(bidder, auctions.reveal(key, bid)) for bidder, bid in zip(bidders, bids[:-1], strict=False)
    ]
    for commit, reveal in zip(committed, revealed, strict=False):
        meter.note("losing bidder: commit and reveal", commit, reveal)
    ahead[0] += 601
    meter.note("auction settled", meter.send(requester, auctions.settle(key)))
    award = auctions.award(requester.address, named, rules)
    meter.note("auction awarded", meter.send(requester, award))
    order = model_order_key(payer=chain.params.auction, buyer=requester.address, request_hash=named)
    _order(meter, order, bidders[-2], judges, ahead)


def _order(meter: _Meter, key: bytes, seller: Wallet, judges: list[Wallet], ahead: list[int]) -> None:
    escrow, model = ModelEscrowClient(meter.chain), secrets.token_bytes(32)
    meter.note("model submitted", meter.send(seller, escrow.submit(key, model)))
    signed = []
    for place, judge in enumerate(judges[:2]):
        report = secrets.token_bytes(32)
        verdict = Verdict(key=key, model_hash=model, attempt=1, passed=True, report_hash=report)
        signature = escrow.sign(judge, verdict)
        signed.append(SignedVerdict(place=place, report_hash=report, signature=signature))
    meter.note("model assessed", meter.send(seller, escrow.assess(key, passed=True, verdicts=signed)))
    meter.note("key handed over", meter.send(seller, escrow.hand_over(key, secrets.token_bytes(80))))
    ahead[0] += 601
    meter.note("payment claimed", meter.send(seller, escrow.claim(key)))


def _contest(meter: _Meter, wallets: list[Wallet], judges: list[Wallet], ahead: list[int]) -> None:
    requester, entrants = wallets[0], wallets[1:]
    contests, named, now = ContestClient(meter.chain), secrets.token_bytes(32), meter.chain.now()
    terms = ContestTerms(
        pool_micro=50 * CREDIT,
        deposit_micro=2 * CREDIT,
        entry_by=now + 600,
        judge_by=now + 1_200,
        review_s=600,
        quorum=2,
        evaluators=tuple(judge.address for judge in judges),
        weights_bps=(7_000, 3_000),
    )
    meter.note("contest opened", meter.send(requester, contests.open(requester, named, terms)))
    found_id = contest_id(requester.address, named)
    for entrant in entrants:
        entry = contests.enter(entrant, found_id, secrets.token_bytes(32), deposit_micro=2 * CREDIT)
        meter.note("contest entered", meter.send(entrant, entry))
    ahead[0] += 601
    amounts = (35 * CREDIT, 15 * CREDIT, *[0] * (len(entrants) - 2))
    found = ranking(found_id, {one.address: prize for one, prize in zip(entrants, amounts, strict=True)})
    signatures = [(place, contests.sign(judge, found)) for place, judge in enumerate(judges[:2])]
    meter.note("contest judged", meter.send(requester, contests.judge(found, signatures)))
    for entrant in entrants[:2]:
        claim = contests.claim(found, entrant.address, secrets.token_bytes(80))
        meter.note("prize claimed", meter.send(entrant, claim))
