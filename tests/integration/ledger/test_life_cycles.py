"""A whole sale and a whole rented job on real anvil, each way that they can end."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_lab import CREDIT, Clock, Lab, order_hash

from openstall.ledger.bond import BondClient, BondTerms, Sentence
from openstall.ledger.channel import ChannelTerms
from openstall.ledger.escrow import escrow_key
from openstall.ledger.group_host import GroupHost
from openstall.ledger.history import history
from openstall.market.errors import ChainError, Refused


@pytest.fixture
def lab(tmp_path: Path, host_at: object, clock: Clock) -> Lab:
    assert callable(host_at)
    host = host_at(tmp_path / "chain")
    assert isinstance(host, GroupHost)
    host.create("Life cycles")
    return Lab(host, clock)


def total(lab: Lab) -> int:
    params = lab.host.params
    wallets = (lab.buyer, lab.seller, lab.arbiter, lab.outsider)
    return sum(map(lab.balance, wallets)) + lab.balance(params.escrow) + lab.balance(params.channel)


def test_every_end_of_a_sale(lab: Lab) -> None:
    gas: dict[str, int] = {}

    def step(name: str, used: int) -> None:
        gas[name] = used

    def funded() -> bytes:
        sale = order_hash()
        step("fund", lab.do(lab.buyer, lab.escrow.fund(lab.buyer, sale, lab.terms())).gas_used)
        return escrow_key(lab.buyer.address, sale)

    def delivered() -> bytes:
        key = funded()
        step("deliver", lab.do(lab.seller, lab.escrow.deliver(key, bytes(80))).gas_used)
        return key

    def disputed() -> bytes:
        key = delivered()
        step("dispute", lab.do(lab.buyer, lab.escrow.dispute(key, bytes(32))).gas_used)
        return key

    start, all_money = lab.balance(lab.seller), total(lab)
    step("complete", lab.do(lab.buyer, lab.escrow.complete(delivered())).gas_used)
    assert lab.balance(lab.seller) == start + 5 * CREDIT

    step("cancel", lab.do(lab.seller, lab.escrow.cancel(funded())).gas_used)
    assert lab.balance(lab.seller) == start + 5 * CREDIT

    step("rule", lab.do(lab.arbiter, lab.escrow.rule(disputed(), 2_500)).gas_used)
    assert lab.balance(lab.arbiter) == 1000 * CREDIT + 100_000

    key = funded()
    with pytest.raises(ChainError, match="its time has not come yet"):
        lab.do(lab.outsider, lab.escrow.refund(key))
    lab.clock.ahead_s += 1001
    before = lab.balance(lab.buyer)
    step("refund", lab.do(lab.outsider, lab.escrow.refund(key)).gas_used)
    assert lab.balance(lab.buyer) == before + 5 * CREDIT

    key = delivered()
    lab.clock.ahead_s += 3601
    step("claim", lab.do(lab.outsider, lab.escrow.claim(key)).gas_used)

    key = disputed()
    lab.clock.ahead_s += 7201
    step("settle_silent", lab.do(lab.outsider, lab.escrow.settle_silent(key)).gas_used)

    assert total(lab) == all_money
    assert lab.balance(lab.host.params.escrow) == 0
    sys.stdout.write(f"gas: {gas}\n")
    assert all(used < 260_000 for used in gas.values())


def test_every_end_of_a_channel(lab: Lab) -> None:
    all_money = total(lab)

    def opened() -> ChannelTerms:
        terms = ChannelTerms(
            payer=lab.buyer.address,
            payee=lab.seller.address,
            deposit_micro=CREDIT,
            withdraw_delay_s=600,
            salt=order_hash(),
        )
        gas["open"] = lab.do(lab.buyer, lab.channel.open(lab.buyer, terms)).gas_used
        return terms

    gas: dict[str, int] = {}
    terms = opened()
    channel_id = lab.channel.channel_id(terms)
    for amount in (1000, 250_000):
        promise = lab.channel.sign(lab.buyer, channel_id, amount)
        lab.channel.check(promise, terms, least_micro=amount)
    gas["claim"] = lab.do(lab.seller, lab.channel.claim(promise)).gas_used
    last = lab.channel.sign(lab.buyer, channel_id, 400_000)
    gas["close"] = lab.do(lab.seller, lab.channel.close(channel_id, last)).gas_used
    assert lab.balance(lab.seller) == 1000 * CREDIT + 400_000
    assert lab.balance(lab.buyer) == 1000 * CREDIT - 400_000

    channel_id = lab.channel.channel_id(opened())
    gas["close unused"] = lab.do(lab.seller, lab.channel.close(channel_id, None)).gas_used

    channel_id = lab.channel.channel_id(opened())
    gas["start_withdraw"] = lab.do(lab.buyer, lab.channel.start_withdraw(channel_id)).gas_used
    with pytest.raises(ChainError, match="its time has not come yet"):
        lab.do(lab.buyer, lab.channel.withdraw(channel_id))
    lab.do(lab.seller, lab.channel.claim(lab.channel.sign(lab.buyer, channel_id, 100_000)))
    lab.clock.ahead_s += 601
    gas["withdraw"] = lab.do(lab.buyer, lab.channel.withdraw(channel_id)).gas_used

    assert lab.balance(lab.buyer) == 1000 * CREDIT - 500_000
    assert lab.balance(lab.host.params.channel) == 0
    assert total(lab) == all_money
    sys.stdout.write(f"gas: {gas}\n")
    assert all(used < 260_000 for used in gas.values())


def test_members_cannot_command_the_engine(lab: Lab) -> None:
    before = lab.chain.head()
    for method in ("anvil_setBalance", "evm_increaseTime", "evm_mine", "anvil_reset", "eth_sendTransaction"):
        with pytest.raises(Refused):
            lab.host.handle(method, [])
    with pytest.raises(Refused):
        lab.host.handle(
            "eth_call", [{"to": lab.host.params.credit, "data": "0x"}, "latest", {}, {"time": "0x1"}]
        )
    assert lab.chain.head() == before


def test_an_idle_chain_answers_by_the_clock_and_mines_nothing_for_it(lab: Lab) -> None:
    sale = order_hash()
    lab.do(lab.buyer, lab.escrow.fund(lab.buyer, sale, lab.terms()))
    height = lab.chain.head().number
    lab.clock.ahead_s += 1001
    lab.chain.simulate(lab.escrow.refund(escrow_key(lab.buyer.address, sale)), lab.outsider.address)
    assert lab.chain.head().number == height
    receipt = lab.do(lab.outsider, lab.escrow.refund(escrow_key(lab.buyer.address, sale)))
    assert receipt.block_number == height + 1


def test_a_clock_that_jumps_back_does_not_stop_the_chain(lab: Lab) -> None:
    lab.clock.ahead_s = 5000
    lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
    ahead = lab.chain.head().timestamp
    lab.clock.ahead_s = -5000
    lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
    assert lab.chain.head().timestamp == ahead


def test_a_group_that_was_founded_before_there_were_bonds_goes_on(
    tmp_path: Path, host_at: object, clock: Clock
) -> None:
    """Its chain file says nothing of them, and its contracts stay where they are."""
    assert callable(host_at)
    host = host_at(tmp_path / "chain")
    params = host.create("An old group")
    host.stop()
    path = tmp_path / "chain" / "chain.json"
    kept = json.loads(path.read_text())
    del kept["bond"]
    path.write_text(json.dumps(kept))
    again = host_at(tmp_path / "chain")
    assert again.start() == replace(params, bond="")
    lab = Lab(again, clock)
    sale = order_hash()
    lab.do(lab.buyer, lab.escrow.fund(lab.buyer, sale, lab.terms()))
    assert total(lab) == 4 * 1_000 * CREDIT
    with pytest.raises(ChainError) as refusal:
        BondClient(lab.chain).bond(bytes(32))
    assert refusal.value.code == "no_bonds"


def test_a_bond_on_the_real_engine_pays_and_is_taken_back(lab: Lab) -> None:
    client, oracles = BondClient(lab.chain), [lab.arbiter, lab.outsider]
    terms = BondTerms(
        provider=lab.seller.address,
        amount_micro=9 * CREDIT,
        oracles=tuple(oracle.address for oracle in oracles),
        quorum=2,
        unlock_delay_s=60,
        salt=order_hash(),
    )
    bond_id = client.bond_id(terms)
    lab.do(lab.seller, client.post(lab.seller, terms))
    assert client.bond(bond_id).state == "posted"
    sentence = Sentence(
        bond_id=bond_id, case_hash=order_hash(), beneficiary=lab.buyer.address, amount_micro=4 * CREDIT
    )
    signatures = [
        (terms.ordered.index(oracle.address.lower()), client.sign(oracle, sentence)) for oracle in oracles
    ]
    lab.do(lab.outsider, client.slash(sentence, signatures))
    lab.do(lab.seller, client.announce(bond_id))
    lab.clock.ahead_s += 61
    lab.do(lab.outsider, client.withdraw(bond_id))
    assert client.bond(bond_id).state == "closed"
    assert lab.balance(lab.seller) == 996 * CREDIT
    assert lab.balance(lab.buyer) == 1_004 * CREDIT
    moves = [entry.kind for entry in history(lab.chain, lab.seller.address)]
    assert moves == ["faucet", "bond_posted", "bond_returned"]
    assert [entry.kind for entry in history(lab.chain, lab.buyer.address)] == ["faucet", "bond_earned"]
