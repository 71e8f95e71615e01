"""The provider's bond against a model, by random steps on the real bytecode; see the escrow's test."""

from __future__ import annotations

import secrets
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from ledger_lab import CREDIT, Lab, run_machine

from openstall.ledger import bond
from openstall.ledger.bond import SINK, BondClient, BondTerms, Sentence
from openstall.ledger.chain import Chain
from openstall.ledger.wallet import Wallet

ROLES = ("buyer", "seller", "outsider")
FORGERIES = ("none", "twice", "too_few", "stranger", "other_amount", "other_case", "other_bond", "other_for")
TARGETS = ("buyer", "sink", "seller", "oracle", "nobody", "contract")
ORACLES = tuple(Wallet(secrets.token_bytes(32)) for _ in range(3))


def mostly(likely: str, others: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Usually what can succeed: a run of refusals explores nothing."""
    return st.sampled_from((likely,) * (2 * len(others)) + others)


def terms_of(lab: Lab, amount: int = CREDIT, delay: int = 600) -> BondTerms:
    return BondTerms(
        provider=lab.seller.address,
        amount_micro=amount,
        oracles=tuple(oracle.address for oracle in ORACLES),
        quorum=2,
        unlock_delay_s=delay,
        salt=secrets.token_bytes(32),
    )


def signed(
    client: BondClient, terms: BondTerms, sentence: Sentence, by: tuple[Wallet, ...]
) -> list[tuple[int, bytes]]:
    places = [terms.ordered.index(wallet.address.lower()) for wallet in by]
    return [(place, client.sign(wallet, sentence)) for place, wallet in zip(places, by, strict=True)]


def forged(
    client: BondClient, terms: BondTerms, sentence: Sentence, forgery: str, outsider: Wallet
) -> list[tuple[int, bytes]]:
    """Two signatures of oracles, or something that is wrong in a named way."""
    other = {
        "other_amount": replace(sentence, amount_micro=sentence.amount_micro + 1),
        "other_case": replace(sentence, case_hash=secrets.token_bytes(32)),
        "other_bond": replace(sentence, bond_id=secrets.token_bytes(32)),
        "other_for": replace(sentence, beneficiary=outsider.address),
    }.get(forgery, sentence)
    made = signed(client, terms, other, ORACLES[1:])
    if forgery == "twice":
        return [made[0], made[0]]
    if forgery == "too_few":
        return made[:1]
    if forgery == "stranger":
        return [made[0], (made[1][0], client.sign(outsider, sentence))]
    return made


class BondMachine(RuleBasedStateMachine):
    """One bond at a time on a chain that goes on."""

    def __init__(self, lab: Lab, held_before: int) -> None:
        super().__init__()
        self.lab = lab
        self.held_before = held_before
        self.client = BondClient(lab.chain)
        self.state = "none"
        self.left = 0
        self.unlock_at = 0

    @initialize(amount=st.integers(1, 3 * CREDIT), delay=st.integers(60, 5000))
    def start(self, amount: int, delay: int) -> None:
        self.terms = terms_of(self.lab, amount, delay)
        self.bond_id = self.client.bond_id(self.terms)
        self.paid_cases: set[bytes] = set()
        self.purse = {role: self.lab.balance(self.wallet(role)) for role in ROLES}
        self.sunk = self.lab.balance(SINK)
        self.state, self.left, self.unlock_at = "none", 0, 0
        self.post()

    def wallet(self, role: str) -> Wallet:
        found = getattr(self.lab, role)
        assert isinstance(found, Wallet)
        return found

    @property
    def live(self) -> bool:
        return self.state in ("posted", "leaving")

    @rule()
    def post(self) -> None:
        receipt = self.lab.send(self.lab.seller, self.client.post(self.lab.seller, self.terms))
        assert receipt.ok == (self.state == "none")
        if receipt.ok:
            self.purse["seller"] -= self.terms.amount_micro
            self.state, self.left = "posted", self.terms.amount_micro

    @rule(
        role=st.sampled_from(ROLES),
        share=st.one_of(st.integers(1, 1000), st.integers(990, 1100)),
        forgery=mostly("none", FORGERIES),
        heir=mostly("buyer", TARGETS),
        again=st.booleans(),
    )
    def slash(self, role: str, share: int, forgery: str, heir: str, again: bool) -> None:
        amount = max(1, self.terms.amount_micro * share // 1000)
        case = min(self.paid_cases) if again and self.paid_cases else secrets.token_bytes(32)
        beneficiary = {
            "buyer": self.lab.buyer.address,
            "sink": SINK,
            "seller": self.lab.seller.address,
            "oracle": ORACLES[0].address,
            "nobody": "0x" + "00" * 20,
            "contract": self.lab.host.params.bond,
        }[heir]
        sentence = Sentence(
            bond_id=self.bond_id, case_hash=case, beneficiary=beneficiary, amount_micro=amount
        )
        signatures = forged(self.client, self.terms, sentence, forgery, self.lab.outsider)
        receipt = self.lab.send(self.wallet(role), self.client.slash(sentence, signatures))
        good = forgery == "none" and heir in ("buyer", "sink") and case not in self.paid_cases
        assert receipt.ok == (self.live and good and amount <= self.left)
        if receipt.ok:
            self.paid_cases.add(case)
            self.left -= amount
            self.state = self.state if self.left else "closed"
            if heir == "buyer":
                self.purse["buyer"] += amount
            else:
                self.sunk += amount

    @rule(role=mostly("seller", ROLES))
    def announce(self, role: str) -> None:
        receipt = self.lab.send(self.wallet(role), self.client.announce(self.bond_id))
        assert receipt.ok == (role == "seller" and self.state == "posted")
        if receipt.ok:
            at = self.lab.chain.block(receipt.block_number).timestamp
            self.unlock_at, self.state = at + self.terms.unlock_delay_s, "leaving"

    @rule(role=st.sampled_from(ROLES))
    def withdraw(self, role: str) -> None:
        receipt = self.lab.send(self.wallet(role), self.client.withdraw(self.bond_id))
        at = self.lab.chain.block(receipt.block_number).timestamp
        assert receipt.ok == (self.state == "leaving" and at > self.unlock_at)
        if receipt.ok:
            self.purse["seller"] += self.left
            self.left, self.state = 0, "closed"

    @precondition(lambda self: self.state == "closed")
    @rule(amount=st.integers(1, 3 * CREDIT), delay=st.integers(60, 5000))
    def begin_another(self, amount: int, delay: int) -> None:
        self.start(amount=amount, delay=delay)

    @precondition(lambda self: self.live)
    @rule(seconds=st.sampled_from((1, 50, 1000, 6000)))
    def wait(self, seconds: int) -> None:
        self.lab.clock.ahead_s += seconds

    @invariant()
    def money_in_is_money_out(self) -> None:
        assert self.lab.balance(self.lab.host.params.bond) == self.held_before + self.left
        assert self.lab.balance(SINK) == self.sunk
        for role in ROLES:
            assert self.lab.balance(self.wallet(role)) == self.purse[role], role

    @invariant()
    def the_chain_tells_the_same_state(self) -> None:
        seen = self.client.bond(self.bond_id)
        assert (seen.state, seen.left_micro) == (self.state, self.left)
        for case in self.paid_cases:
            assert self.client.settled(self.bond_id, case)

    def teardown(self) -> None:
        """The provider alone gets out of every state, whatever the oracles do not do."""
        if self.state == "posted":
            self.announce(role="seller")
        if self.state == "leaving":
            self.lab.clock.ahead_s += max(0, self.unlock_at + 1 - self.lab.clock.now())
            self.withdraw(role="outsider")
            assert self.state == "closed", "a bond kept its money past the unlock date"
            self.money_in_is_money_out()
            self.the_chain_tells_the_same_state()


def test_no_sequence_of_steps_makes_loses_or_strands_a_bond(lab: Lab) -> None:
    held = lab.balance(lab.host.params.bond)
    run_machine(lambda: BondMachine(lab, held))


@pytest.mark.parametrize(
    "change",
    [
        {"amount_micro": 0},
        {"quorum": 1},
        {"quorum": 4},
        {"quorum": 0},
        {"unlock_delay_s": 59},
        {"unlock_delay_s": 90 * 86_400 + 1},
        {"oracles": ()},
        {"oracles": ("0x" + "00" * 20,)},
        {"oracles": (SINK,)},
        {"oracles": (ORACLES[0].address, ORACLES[0].address)},
        {"oracles": ("provider",)},
    ],
)
def test_terms_that_bind_nobody_are_refused(lab: Lab, change: dict[str, object]) -> None:
    if change.get("oracles") == ("provider",):
        change = {"oracles": (lab.seller.address,)}
    if len(change.get("oracles", ("", "", ""))) < 3:  # type: ignore[arg-type]
        change = {**change, "quorum": 1 if len(change["oracles"]) == 1 else 2}  # type: ignore[arg-type]
    terms = replace(terms_of(lab), **change)  # type: ignore[arg-type]
    before = lab.balance(lab.seller)
    assert not lab.send(lab.seller, BondClient(lab.chain).post(lab.seller, terms)).ok
    assert lab.balance(lab.seller) == before


def test_a_chain_without_the_contract_says_so_and_works_else(lab: Lab) -> None:
    from openstall.market.errors import ChainError

    old = Chain(replace(lab.host.params, bond=""), lab.host.handle, clock=lab.clock)
    assert old.balance_micro(lab.seller.address) == lab.balance(lab.seller)
    with pytest.raises(ChainError) as refusal:
        BondClient(old).bond(bytes(32))
    assert refusal.value.code == "no_bonds"


def test_what_was_paid_for_a_case_is_found_from_the_newest_block_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public chain has millions of blocks, and answers for some thousands at a time."""
    monkeypatch.setattr(bond, "MAX_LOG_RANGE", 2)
    client, terms = BondClient(lab.chain), terms_of(lab)
    lab.do(lab.seller, client.post(lab.seller, terms))
    said = [
        Sentence(
            bond_id=client.bond_id(terms),
            case_hash=secrets.token_bytes(32),
            beneficiary=lab.buyer.address,
            amount_micro=amount,
        )
        for amount in (1_000, 2_000, 3_000)
    ]
    for sentence in said:
        lab.do(lab.outsider, client.slash(sentence, signed(client, terms, sentence, ORACLES[:2])))
    asked, read_logs = [], Chain.logs

    def logs(self: Chain, address: str, topics: list[Any], *, from_block: int, to_block: int) -> list[Any]:
        asked.append((from_block, to_block))
        return read_logs(self, address, topics, from_block=from_block, to_block=to_block)

    monkeypatch.setattr(Chain, "logs", logs)
    head = lab.chain.head().number
    assert client.paid_micro(said[2].bond_id, said[2].case_hash) == 3_000
    assert asked == [(head - 1, head)]
    assert client.paid_micro(said[0].bond_id, said[0].case_hash) == 1_000
    asked.clear()
    assert client.paid_micro(said[0].bond_id, bytes(32)) == 0
    assert (asked[0][1], asked[-1][0]) == (head, 0)
    assert all(newer[0] == older[1] + 1 for newer, older in pairwise(asked)), "each block once"


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("heir", ["buyer", "oracle", "seller"])
def test_only_the_very_sentence_signed_by_the_quorum_pays(lab: Lab, forgery: str, heir: str) -> None:
    client, terms = BondClient(lab.chain), terms_of(lab)
    lab.do(lab.seller, client.post(lab.seller, terms))
    to = ORACLES[0].address if heir == "oracle" else getattr(lab, heir).address
    sentence = Sentence(
        bond_id=client.bond_id(terms),
        case_hash=secrets.token_bytes(32),
        beneficiary=to,
        amount_micro=CREDIT // 2,
    )
    before = lab.balance(to)
    signatures = forged(client, terms, sentence, forgery, lab.outsider)
    paid = lab.send(lab.outsider, client.slash(sentence, signatures)).ok
    assert paid == (forgery == "none" and heir == "buyer")
    assert lab.balance(to) - before == (CREDIT // 2 if paid else 0)
    again = lab.send(lab.outsider, client.slash(sentence, signatures)).ok
    assert not again, "a case was paid twice"
