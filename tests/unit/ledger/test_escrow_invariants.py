"""The escrow against a model, by random steps on the real bytecode.

In every state: the contract holds exactly the money of the orders that are open, each step succeeds
exactly when the model says so, and pays exactly what the model says. At the end of each run the clock
moves past the deadline, and an outsider takes the timed exit: no state may keep money.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from ledger_lab import CREDIT, Lab, order_hash, run_machine

from openstall.ledger.chain import TxRequest
from openstall.ledger.escrow import EscrowTerms, escrow_key
from openstall.ledger.wallet import Wallet

HELD = ("funded", "delivered", "disputed")
ROLES = ("buyer", "seller", "arbiter", "outsider")


def mostly(likely: str, others: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Usually what can succeed: a run of refusals explores nothing."""
    return st.sampled_from((likely,) * (2 * len(others)) + others)


class EscrowMachine(RuleBasedStateMachine):
    """One order at a time on a chain that goes on; older orders stay in the contract's balance."""

    def __init__(self, lab: Lab, held_before: Counter[str]) -> None:
        super().__init__()
        self.lab = lab
        self.held = held_before
        self.state = "none"
        self.since = 0

    @initialize(
        amount=st.one_of(st.integers(1, 5), st.integers(1, 3 * CREDIT)),
        arbiter=st.booleans(),
        fee=st.integers(0, 1000),
        silent=st.integers(0, 10_000),
        way=st.sampled_from(("", "fund", "deliver", "dispute", "dispute")),
    )
    def start(self, amount: int, arbiter: bool, fee: int, silent: int, way: str) -> None:
        self.hash = order_hash()
        terms = self.lab.terms(amount_micro=amount, arbiter=arbiter)
        self.terms = replace(terms, arbiter_fee_bps=fee, silent_buyer_bps=silent)
        self.key = escrow_key(self.lab.buyer.address, self.hash)
        self.purse = {role: self.lab.balance(self.wallet(role)) for role in ROLES}
        self.go(way)

    def go(self, way: str) -> None:
        """Some way into the order, so that the later states are seen as often as the first ones."""
        if way:
            self.fund(role="buyer")
        if way in ("deliver", "dispute"):
            self.deliver(role="seller", size=80)
        if way == "dispute":
            self.dispute(role="buyer")

    def wallet(self, role: str) -> Wallet:
        found = getattr(self.lab, role)
        assert isinstance(found, Wallet)
        return found

    def attempt(
        self, role: str, request: TxRequest, *, allowed: bool, now_ok: tuple[str, int] | None = None
    ) -> bool:
        """Send whatever the model thinks of it, and compare. `now_ok` is a bound on the block's time."""
        receipt = self.lab.send(self.wallet(role), request)
        at = self.lab.chain.block(receipt.block_number).timestamp
        if now_ok is not None:
            side, bound = now_ok
            allowed = allowed and (at <= bound if side == "until" else at > bound)
        assert receipt.ok == allowed, f"{request.what} by {role} in {self.state}"
        if receipt.ok:
            self.since = at
        return receipt.ok

    def settle(self, state: str, **shares: int) -> None:
        assert sum(shares.values()) == self.terms.amount_micro
        for role, share in shares.items():
            self.purse[role] += share
        self.state = state

    @rule(role=st.sampled_from(("buyer", "outsider")))
    def fund(self, role: str) -> None:
        if role == "outsider":
            self.fund_a_namesake()
            return
        request = self.lab.escrow.fund(self.lab.buyer, self.hash, self.terms)
        if self.attempt(
            role, request, allowed=self.state == "none", now_ok=("until", self.terms.deliver_by - 1)
        ):
            self.purse["buyer"] -= self.terms.amount_micro
            self.state = "funded"

    def fund_a_namesake(self) -> None:
        """An outsider's own order under the same hash must not touch this one."""
        since, own = self.since, replace(self.terms, amount_micro=1)
        fresh = self.lab.escrow.order(self.lab.outsider.address, self.hash).state == "none"
        request = self.lab.escrow.fund(self.lab.outsider, self.hash, own)
        if self.attempt("outsider", request, allowed=fresh, now_ok=("until", own.deliver_by - 1)):
            self.held["escrow"] += 1
            self.purse["outsider"] -= 1
        self.since = since

    @rule(role=mostly("seller", ROLES), size=st.sampled_from((1, 80, 256)))
    def deliver(self, role: str, size: int) -> None:
        allowed = role == "seller" and self.state == "funded"
        if self.attempt(
            role,
            self.lab.escrow.deliver(self.key, bytes(size)),
            allowed=allowed,
            now_ok=("until", self.terms.deliver_by),
        ):
            self.state = "delivered"

    @rule(role=mostly("buyer", ROLES))
    def complete(self, role: str) -> None:
        allowed = role == "buyer" and self.state in ("delivered", "disputed")
        if self.attempt(role, self.lab.escrow.complete(self.key), allowed=allowed):
            self.settle("completed", seller=self.terms.amount_micro)

    @rule(role=mostly("outsider", ROLES))
    def claim(self, role: str) -> None:
        bound = ("after", self.since + self.terms.review_s)
        if self.attempt(
            role, self.lab.escrow.claim(self.key), allowed=self.state == "delivered", now_ok=bound
        ):
            self.settle("completed", seller=self.terms.amount_micro)

    @rule(role=mostly("outsider", ROLES))
    def refund(self, role: str) -> None:
        bound = ("after", self.terms.deliver_by)
        if self.attempt(role, self.lab.escrow.refund(self.key), allowed=self.state == "funded", now_ok=bound):
            self.settle("refunded", buyer=self.terms.amount_micro)

    @rule(role=mostly("seller", ROLES))
    def cancel(self, role: str) -> None:
        allowed = role == "seller" and self.state in HELD
        if self.attempt(role, self.lab.escrow.cancel(self.key), allowed=allowed):
            self.settle("refunded", buyer=self.terms.amount_micro)

    @rule(role=mostly("buyer", ROLES))
    def dispute(self, role: str) -> None:
        allowed = role == "buyer" and self.state == "delivered" and bool(self.terms.arbiter)
        bound = ("until", self.since + self.terms.review_s)
        if self.attempt(role, self.lab.escrow.dispute(self.key, self.hash), allowed=allowed, now_ok=bound):
            self.state = "disputed"

    @rule(role=mostly("arbiter", ROLES), buyer_bps=st.integers(0, 10_000))
    def judge(self, role: str, buyer_bps: int) -> None:
        allowed = role == "arbiter" and self.state == "disputed"
        bound = ("until", self.since + self.terms.arbiter_s)
        if self.attempt(role, self.lab.escrow.rule(self.key, buyer_bps), allowed=allowed, now_ok=bound):
            fee = self.terms.amount_micro * self.terms.arbiter_fee_bps // 10_000
            back = (self.terms.amount_micro - fee) * buyer_bps // 10_000
            self.settle("ruled", arbiter=fee, buyer=back, seller=self.terms.amount_micro - fee - back)

    @rule(role=mostly("outsider", ROLES))
    def settle_silent(self, role: str) -> None:
        bound = ("after", self.since + self.terms.arbiter_s)
        if self.attempt(
            role, self.lab.escrow.settle_silent(self.key), allowed=self.state == "disputed", now_ok=bound
        ):
            back = self.terms.amount_micro * self.terms.silent_buyer_bps // 10_000
            self.settle("ruled", buyer=back, seller=self.terms.amount_micro - back)

    @precondition(lambda self: self.state in ("completed", "refunded", "ruled"))
    @rule(amount=st.integers(1, 3 * CREDIT), bps=st.integers(0, 1000))
    def begin_another(self, amount: int, bps: int) -> None:
        self.state, self.since = "none", 0
        self.start(amount=amount, arbiter=True, fee=bps, silent=10 * bps, way="dispute")

    @precondition(lambda self: self.state in HELD)
    @rule(seconds=st.sampled_from((1, 900, 3000, 8000)))
    def wait(self, seconds: int) -> None:
        self.lab.clock.ahead_s += seconds

    @invariant()
    def money_in_is_money_out(self) -> None:
        inside = self.terms.amount_micro if self.state in HELD else 0
        assert self.lab.balance(self.lab.host.params.escrow) == self.held["escrow"] + inside
        for role in ROLES:
            assert self.lab.balance(self.wallet(role)) == self.purse[role], role

    @invariant()
    def the_chain_tells_the_same_state(self) -> None:
        assert self.lab.escrow.order(self.lab.buyer.address, self.hash).state == self.state

    def teardown(self) -> None:
        if self.state not in HELD:
            return
        deadline = self.lab.escrow.order_by_key(self.key).deadline_at
        assert deadline is not None
        self.lab.clock.ahead_s += max(0, deadline + 1 - self.lab.clock.now())
        way_out = {"funded": self.refund, "delivered": self.claim, "disputed": self.settle_silent}[self.state]
        way_out(role="outsider")
        assert self.state not in HELD, "an order kept its money past the deadline"
        self.money_in_is_money_out()
        self.the_chain_tells_the_same_state()


def test_no_sequence_of_steps_makes_loses_or_strands_money(lab: Lab) -> None:
    held = Counter({"escrow": lab.balance(lab.host.params.escrow)})
    run_machine(lambda: EscrowMachine(lab, held))


BAD_TERMS = [
    {"amount_micro": 0},
    {"seller": "0x" + "00" * 20},
    {"seller": "buyer"},
    {"arbiter": "buyer"},
    {"arbiter": "seller"},
    {"seller": "escrow"},
    {"arbiter": "escrow"},
    {"deliver_by": 0},
    {"deliver_by": 2**64 - 1},
    {"deliver_by": 2**33},
    {"review_s": 0},
    {"review_s": 59},
    {"review_s": 2**32 - 1},
    {"arbiter_s": 0},
    {"arbiter_s": 2**32 - 1},
    {"arbiter_fee_bps": 1001},
    {"silent_buyer_bps": 10_001},
]


@pytest.mark.parametrize("change", BAD_TERMS, ids=str)
def test_terms_that_could_strand_money_are_refused(lab: Lab, change: dict[str, object]) -> None:
    names = {"buyer": lab.buyer.address, "seller": lab.seller.address, "escrow": lab.host.params.escrow}
    resolved = {
        name: names.get(value, value) if isinstance(value, str) else value for name, value in change.items()
    }
    terms: EscrowTerms = replace(lab.terms(), **resolved)  # type: ignore[arg-type]
    before = lab.balance(lab.buyer)
    assert not lab.send(lab.buyer, lab.escrow.fund(lab.buyer, order_hash(), terms)).ok
    assert lab.balance(lab.buyer) == before


def test_an_order_cannot_be_funded_twice_nor_after_its_end(lab: Lab) -> None:
    sale, terms = order_hash(), lab.terms()
    lab.do(lab.buyer, lab.escrow.fund(lab.buyer, sale, terms))
    assert not lab.send(lab.buyer, lab.escrow.fund(lab.buyer, sale, terms)).ok
    lab.do(lab.seller, lab.escrow.cancel(escrow_key(lab.buyer.address, sale)))
    assert not lab.send(lab.buyer, lab.escrow.fund(lab.buyer, sale, terms)).ok


def test_a_bystander_who_uses_the_permit_first_does_not_block_the_payment(lab: Lab) -> None:
    from openstall.ledger.abi import codec

    sale, terms = order_hash(), lab.terms()
    funding = lab.escrow.fund(lab.buyer, sale, terms)
    permit = lab.credit.sign_permit(lab.buyer, lab.host.params.escrow, terms.amount_micro)
    data = codec("Credit").call_data(
        "permit", lab.buyer.address, lab.host.params.escrow, terms.amount_micro, *permit
    )
    stolen = TxRequest(to=lab.host.params.credit, data=data, gas=150_000, what="use another's permit")
    lab.do(lab.outsider, stolen)
    lab.do(lab.buyer, funding)
    assert lab.escrow.order(lab.buyer.address, sale).state == "funded"
