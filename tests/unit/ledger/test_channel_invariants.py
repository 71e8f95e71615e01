"""The metered channel against a model, by random steps on the real bytecode; see the escrow's test."""

from __future__ import annotations

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

from openstall.ledger.channel import ChannelTerms
from openstall.ledger.vouchers import Voucher, sign_voucher
from openstall.ledger.wallet import Wallet

ROLES = ("buyer", "seller", "outsider")
FORGERIES = ("none", "other_signer", "other_chain", "other_contract", "other_channel", "mirrored", "empty")
OFTEN = st.sampled_from((True, True, True, False))
# In thousandths of the deposit; some beyond it.
SHARES = st.one_of(st.integers(0, 1000), st.integers(0, 1000), st.integers(990, 1100))
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def mostly(likely: str, others: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Usually what can succeed: a run of refusals explores nothing."""
    return st.sampled_from((likely,) * (2 * len(others)) + others)


def voucher(lab: Lab, channel_id: bytes, amount: int, forgery: str) -> Voucher:
    """A voucher of the payer, or one that is wrong in a named way."""
    params = lab.host.params
    chain_id = params.chain_id + (forgery == "other_chain")
    contract = params.escrow if forgery == "other_contract" else params.channel
    signer = lab.outsider if forgery == "other_signer" else lab.buyer
    signed_id = bytes(32) if forgery == "other_channel" else channel_id
    made = sign_voucher(signer, signed_id, amount, chain_id=chain_id, contract=contract)
    made = replace(made, channel_id=channel_id)
    if forgery == "empty":
        return replace(made, signature=b"")
    if forgery == "mirrored":
        s = _ORDER - int.from_bytes(made.signature[32:64], "big")
        mirrored = made.signature[:32] + s.to_bytes(32, "big") + bytes([55 - made.signature[64]])
        return replace(made, signature=mirrored)
    return made


class ChannelMachine(RuleBasedStateMachine):
    """One channel at a time on a chain that goes on."""

    def __init__(self, lab: Lab, held_before: int) -> None:
        super().__init__()
        self.lab = lab
        self.held_before = held_before
        self.state = "none"
        self.claimed = 0
        self.withdraw_at = 0

    @initialize(deposit=st.integers(1, 3 * CREDIT), delay=st.integers(60, 5000), opened=OFTEN)
    def start(self, deposit: int, delay: int, opened: bool) -> None:
        self.terms = ChannelTerms(
            payer=self.lab.buyer.address,
            payee=self.lab.seller.address,
            deposit_micro=deposit,
            withdraw_delay_s=delay,
            salt=order_hash(),
        )
        self.channel_id = self.lab.channel.channel_id(self.terms)
        self.purse = {role: self.lab.balance(self.wallet(role)) for role in ROLES}
        if opened:
            self.open()

    def wallet(self, role: str) -> Wallet:
        found = getattr(self.lab, role)
        assert isinstance(found, Wallet)
        return found

    @property
    def live(self) -> bool:
        return self.state in ("open", "withdrawing")

    def good(self, amount: int, forgery: str) -> bool:
        return forgery == "none" and amount <= self.terms.deposit_micro

    @rule()
    def open(self) -> None:
        receipt = self.lab.send(self.lab.buyer, self.lab.channel.open(self.lab.buyer, self.terms))
        assert receipt.ok == (self.state == "none")
        if receipt.ok:
            self.purse["buyer"] -= self.terms.deposit_micro
            self.state = "open"

    @precondition(lambda self: self.live and self.claimed < self.terms.deposit_micro)
    @rule(share=st.integers(1, 1000))
    def earn(self, share: int) -> None:
        """The usual step: a good voucher for some more of what is left."""
        left = self.terms.deposit_micro - self.claimed
        amount = self.claimed + max(1, left * share // 1000)
        promise = voucher(self.lab, self.channel_id, amount, "none")
        assert self.lab.send(self.lab.seller, self.lab.channel.claim(promise)).ok
        self.purse["seller"] += amount - self.claimed
        self.claimed = amount

    @precondition(lambda self: self.state == "closed")
    @rule(deposit=st.integers(1, 3 * CREDIT), delay=st.integers(60, 5000))
    def begin_another(self, deposit: int, delay: int) -> None:
        self.state, self.claimed, self.withdraw_at = "none", 0, 0
        self.start(deposit=deposit, delay=delay, opened=True)

    @rule(role=mostly("seller", ROLES), share=SHARES, forgery=mostly("none", FORGERIES))
    def claim(self, role: str, share: int, forgery: str) -> None:
        amount = self.terms.deposit_micro * share // 1000
        promise = voucher(self.lab, self.channel_id, amount, forgery)
        receipt = self.lab.send(self.wallet(role), self.lab.channel.claim(promise))
        assert receipt.ok == (self.live and amount > self.claimed and self.good(amount, forgery))
        if receipt.ok:
            self.purse["seller"] += amount - self.claimed
            self.claimed = amount

    @rule(role=mostly("seller", ROLES), share=SHARES, forgery=mostly("none", FORGERIES))
    def close(self, role: str, share: int, forgery: str) -> None:
        amount = self.terms.deposit_micro * share // 1000
        promise = voucher(self.lab, self.channel_id, amount, forgery)
        receipt = self.lab.send(self.wallet(role), self.lab.channel.close(self.channel_id, promise))
        new = amount > self.claimed
        assert receipt.ok == (self.live and role == "seller" and (not new or self.good(amount, forgery)))
        if receipt.ok:
            total = max(amount, self.claimed)
            self.purse["seller"] += total - self.claimed
            self.purse["buyer"] += self.terms.deposit_micro - total
            self.claimed, self.state = total, "closed"

    @rule(role=mostly("buyer", ROLES))
    def start_withdraw(self, role: str) -> None:
        receipt = self.lab.send(self.wallet(role), self.lab.channel.start_withdraw(self.channel_id))
        assert receipt.ok == (role == "buyer" and self.state == "open")
        if receipt.ok:
            at = self.lab.chain.block(receipt.block_number).timestamp
            self.withdraw_at, self.state = at + self.terms.withdraw_delay_s, "withdrawing"

    @rule(role=mostly("buyer", ROLES))
    def withdraw(self, role: str) -> None:
        receipt = self.lab.send(self.wallet(role), self.lab.channel.withdraw(self.channel_id))
        at = self.lab.chain.block(receipt.block_number).timestamp
        assert receipt.ok == (self.state == "withdrawing" and at > self.withdraw_at)
        if receipt.ok:
            self.purse["buyer"] += self.terms.deposit_micro - self.claimed
            self.state = "closed"

    @precondition(lambda self: self.live)
    @rule(seconds=st.sampled_from((1, 50, 1000, 6000)))
    def wait(self, seconds: int) -> None:
        self.lab.clock.ahead_s += seconds

    @invariant()
    def money_in_is_money_out(self) -> None:
        inside = self.terms.deposit_micro - self.claimed if self.live else 0
        assert self.lab.balance(self.lab.host.params.channel) == self.held_before + inside
        for role in ROLES:
            assert self.lab.balance(self.wallet(role)) == self.purse[role], role

    @invariant()
    def the_chain_tells_the_same_state(self) -> None:
        seen = self.lab.channel.channel(self.channel_id)
        assert seen.state == self.state
        if self.state != "none":
            assert seen.claimed_micro == self.claimed <= seen.deposit_micro

    def teardown(self) -> None:
        """The payer alone gets out of every state, whatever the payee does not do."""
        if self.state == "open":
            self.start_withdraw(role="buyer")
        if self.state == "withdrawing":
            self.lab.clock.ahead_s += max(0, self.withdraw_at + 1 - self.lab.clock.now())
            self.withdraw(role="outsider")
            assert self.state == "closed", "a channel kept its money past the withdrawal date"
            self.money_in_is_money_out()
            self.the_chain_tells_the_same_state()


def test_no_sequence_of_steps_makes_loses_or_strands_money(lab: Lab) -> None:
    held = lab.balance(lab.host.params.channel)
    run_machine(lambda: ChannelMachine(lab, held))


@pytest.mark.parametrize(
    "change",
    [
        {"deposit_micro": 0},
        {"payee": "0x" + "00" * 20},
        {"payee": "buyer"},
        {"payee": "channel"},
        {"withdraw_delay_s": 59},
        {"withdraw_delay_s": 30 * 86_400 + 1},
        {"withdraw_delay_s": 2**32 - 1},
    ],
    ids=str,
)
def test_terms_that_could_strand_money_are_refused(lab: Lab, change: dict[str, object]) -> None:
    names = {"buyer": lab.buyer.address, "channel": lab.host.params.channel}
    resolved = {
        name: names.get(value, value) if isinstance(value, str) else value for name, value in change.items()
    }
    terms = ChannelTerms(
        payer=lab.buyer.address,
        payee=lab.seller.address,
        deposit_micro=CREDIT,
        withdraw_delay_s=600,
        salt=order_hash(),
    )
    terms = replace(terms, **resolved)  # type: ignore[arg-type]
    before = lab.balance(lab.buyer)
    assert not lab.send(lab.buyer, lab.channel.open(lab.buyer, terms)).ok
    assert lab.balance(lab.buyer) == before
