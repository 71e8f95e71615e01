from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ledger_lab import CREDIT, Lab, order_hash

from openstall.ledger.chain import Block, Chain
from openstall.ledger.channel import ChannelTerms
from openstall.ledger.escrow import EscrowClient, escrow_key
from openstall.ledger.history import history
from openstall.ledger.memory_host import MemoryHost
from openstall.ledger.transport import JsonValue
from openstall.market.errors import ChainError, Conflict, InvalidOrder


def refused(chain: Chain) -> str:
    with pytest.raises(ChainError) as error:
        chain.head()
    return error.value.code


def test_another_chain_is_refused(lab: Lab) -> None:
    params = lab.host.params
    for wrong in (
        replace(params, chain_id=params.chain_id + 1),
        replace(params, genesis_hash="0x" + "00" * 32),
    ):
        chain = Chain(wrong, lab.host.handle)
        assert refused(chain) == "wrong_chain"
        with pytest.raises(ChainError):
            chain.broadcast(b"\x02")


def test_nothing_is_sent_to_another_chain(lab: Lab) -> None:
    asked: list[str] = []

    def listening(method: str, params: list[JsonValue]) -> JsonValue:
        asked.append(method)
        return lab.host.handle(method, params)

    chain = Chain(replace(lab.host.params, genesis_hash="0x" + "00" * 32), listening)
    with pytest.raises(ChainError):
        chain.broadcast(b"\x02")
    assert "eth_sendRawTransaction" not in asked


def test_a_chain_that_shrank_or_was_rewritten_is_refused(lab: Lab) -> None:
    head = lab.chain.head()
    higher = Block(number=head.number + 1, hash="0x" + "11" * 32, timestamp=head.timestamp)
    assert refused(Chain(lab.host.params, lab.host.handle, highest=higher)) == "chain_shrank"
    other = replace(head, hash="0x" + "11" * 32)
    assert refused(Chain(lab.host.params, lab.host.handle, highest=other)) == "chain_rewritten"
    earlier = replace(lab.chain.block(1), hash="0x" + "22" * 32)
    assert refused(Chain(lab.host.params, lab.host.handle, highest=earlier)) == "chain_rewritten"


def test_a_block_that_another_thread_sees_meanwhile_is_no_rollback(lab: Lab) -> None:
    waits: list[str] = ["the first answer is on its way while a block comes"]

    def slow(method: str, params: list[JsonValue]) -> JsonValue:
        answer = lab.host.handle(method, params)
        if method == "eth_getBlockByNumber" and params[0] == "latest" and known and waits:
            waits.clear()
            lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
            chain.head()
        return answer

    known: list[Block] = []
    chain = Chain(lab.host.params, slow)
    known.append(chain.head())
    assert chain.head() == known[0]
    assert chain.head().number > known[0].number


def test_a_chain_that_shrinks_while_we_look_is_refused(lab: Lab) -> None:
    lowest: dict[str, JsonValue] = {}

    def rolled_back(method: str, params: list[JsonValue]) -> JsonValue:
        if method == "eth_getBlockByNumber" and params[0] == "latest" and lowest:
            return lowest
        return lab.host.handle(method, params)

    chain = Chain(lab.host.params, rolled_back)
    chain.head()
    lowest.update(lab.host.handle("eth_getBlockByNumber", ["0x1", False]))
    assert refused(chain) == "chain_shrank"


def test_each_higher_head_is_handed_out_once(lab: Lab) -> None:
    seen: list[Block] = []
    chain = Chain(lab.host.params, lab.host.handle, on_head=seen.append)
    chain.head()
    chain.head()
    lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
    chain.head()
    assert [block.number for block in seen] == [seen[0].number, seen[0].number + 1]


def test_confirmations_are_waited_for(lab: Lab) -> None:
    slow = Chain(replace(lab.host.params, confirmations=3), lab.host.handle)
    receipt = lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
    assert not slow.is_final(receipt)
    with pytest.raises(ChainError) as error:
        slow.wait_final(receipt.tx_hash, 0.0)
    assert error.value.code == "not_final_yet"
    for _ in range(2):
        lab.do(lab.buyer, lab.credit.transfer(lab.seller.address, 1))
    assert slow.is_final(receipt)
    assert not slow.is_final(replace(receipt, block_hash="0x" + "33" * 32))


def test_the_same_bytes_may_be_sent_twice(lab: Lab) -> None:
    from openstall.ledger.transactions import build_and_sign

    request = lab.credit.transfer(lab.seller.address, 7)
    signed = build_and_sign(lab.buyer, lab.chain, request, lab.chain.nonce(lab.buyer.address))
    before = lab.balance(lab.seller)
    assert lab.chain.broadcast(signed.raw) == lab.chain.broadcast(signed.raw) == signed.tx_hash
    assert lab.balance(lab.seller) == before + 7


def test_a_wrong_nonce_is_refused(lab: Lab) -> None:
    from openstall.ledger.transactions import build_and_sign

    request = lab.credit.transfer(lab.seller.address, 7)
    for nonce in (lab.chain.nonce(lab.buyer.address) + 1, 0):
        with pytest.raises(ChainError, match="nonce"):
            lab.chain.broadcast(build_and_sign(lab.buyer, lab.chain, request, nonce).raw)


def test_the_reason_of_a_refusal_is_in_words(lab: Lab) -> None:
    key = escrow_key(lab.buyer.address, order_hash())
    with pytest.raises(ChainError, match="the order has moved on"):
        lab.send(lab.buyer, lab.escrow.refund(key), simulate=True)
    with pytest.raises(ChainError, match="first credits"):
        lab.send(lab.buyer, lab.credit.claim(), simulate=True)
    with pytest.raises(ChainError, match="balance is too low"):
        lab.send(lab.buyer, lab.credit.transfer(lab.seller.address, 10**12), simulate=True)
    with pytest.raises(ChainError, match="not signed by the payer"):
        terms = ChannelTerms(
            payer=lab.buyer.address,
            payee=lab.seller.address,
            deposit_micro=CREDIT,
            withdraw_delay_s=600,
            salt=order_hash(),
        )
        lab.do(lab.buyer, lab.channel.open(lab.buyer, terms))
        forged = lab.channel.sign(lab.outsider, lab.channel.channel_id(terms), 5)
        lab.send(lab.seller, lab.channel.claim(forged), simulate=True)


def test_an_address_without_our_contract_is_told(lab: Lab) -> None:
    chain = Chain(replace(lab.host.params, escrow="0x" + "77" * 20), lab.host.handle)
    with pytest.raises(ChainError) as error:
        EscrowClient(chain).order(lab.buyer.address, order_hash())
    assert error.value.code == "not_our_contract"


@pytest.mark.parametrize(
    "answer", [None, "x", {}, {"number": "0x1"}, {"number": 1, "hash": 2, "timestamp": 3}]
)
def test_malformed_blocks_are_errors(lab: Lab, answer: Any) -> None:
    def lying(method: str, params: list[JsonValue]) -> JsonValue:
        return answer if method == "eth_getBlockByNumber" else lab.host.handle(method, params)

    assert refused(Chain(lab.host.params, lying)) == "bad_answer"


def test_history_names_every_movement(lab: Lab) -> None:
    sale, job = order_hash(), order_hash()
    start = lab.chain.head().number + 1
    terms = lab.terms()
    key = escrow_key(lab.buyer.address, sale)
    lab.do(lab.buyer, lab.escrow.fund(lab.buyer, sale, terms))
    lab.do(lab.seller, lab.escrow.deliver(key, b"key"))
    lab.do(lab.buyer, lab.escrow.dispute(key, sale))
    lab.do(lab.arbiter, lab.escrow.rule(key, 5_000))
    channel_terms = ChannelTerms(
        payer=lab.buyer.address,
        payee=lab.seller.address,
        deposit_micro=CREDIT,
        withdraw_delay_s=600,
        salt=job,
    )
    lab.do(lab.buyer, lab.channel.open(lab.buyer, channel_terms))
    channel_id = lab.channel.channel_id(channel_terms)
    lab.do(lab.seller, lab.channel.close(channel_id, lab.channel.sign(lab.buyer, channel_id, 300_000)))
    lab.do(lab.buyer, lab.credit.transfer(lab.outsider.address, 9))
    lab.do(lab.buyer, lab.credit.transfer(lab.buyer.address, 0))  # only to make a block
    lab.do(lab.outsider, lab.credit.transfer(lab.buyer.address, 0))

    def told(address: str) -> list[tuple[str, int, str]]:
        entries = history(lab.chain, address, from_block=start)
        return [(entry.kind, entry.amount_micro, entry.order_hash) for entry in entries]

    assert told(lab.buyer.address) == [
        ("escrow_paid", -5_000_000, sale.hex()),
        ("escrow_refund", 2_450_000, sale.hex()),
        ("channel_paid", -1_000_000, job.hex()),
        ("channel_returned", 700_000, job.hex()),
        ("sent", -9, ""),
    ]
    assert told(lab.seller.address) == [
        ("escrow_earned", 2_450_000, sale.hex()),
        ("channel_earned", 300_000, job.hex()),
    ]
    assert told(lab.arbiter.address) == [("arbiter_fee", 100_000, "")]
    assert told(lab.outsider.address) == [("received", 9, "")]
    assert history(lab.chain, lab.buyer.address)[0].kind == "faucet"


def test_no_event_is_asked_for_from_before_the_contracts(lab: Lab) -> None:
    lab.do(lab.buyer, lab.credit.transfer(lab.outsider.address, 9))
    first = lab.chain.head().number
    lab.do(lab.buyer, lab.credit.transfer(lab.outsider.address, 8))
    asked: list[Any] = []

    def listening(method: str, params: list[JsonValue]) -> JsonValue:
        asked.extend(params if method == "eth_getLogs" else [])
        return lab.host.handle(method, params)

    chain = Chain(replace(lab.host.params, first_block=first), listening)
    assert [entry.amount_micro for entry in history(chain, lab.outsider.address)] == [9, 8]
    assert {query["fromBlock"] for query in asked} == {hex(first)}


def test_the_chain_shows_exactly_what_was_signed(lab: Lab) -> None:
    sale, terms = order_hash(), lab.terms(arbiter=False)
    lab.do(lab.buyer, lab.escrow.fund(lab.buyer, sale, terms))
    order = lab.escrow.order(lab.buyer.address, sale)
    token = lab.host.params.credit
    assert order.matches(buyer=lab.buyer.address, terms=terms, token=token)
    assert not order.matches(
        buyer=lab.buyer.address, terms=replace(terms, review_s=terms.review_s + 1), token=token
    )
    assert not order.matches(buyer=lab.outsider.address, terms=terms, token=token)
    assert order.deadline_at == terms.deliver_by
    assert lab.escrow.delivery(order.key) is None
    lab.do(lab.seller, lab.escrow.deliver(order.key, b"sealed"))
    assert lab.escrow.delivery(order.key) == b"sealed"


def test_requests_that_make_no_sense_are_refused_here(lab: Lab) -> None:
    key = bytes(32)
    for wrong in (
        lambda: lab.escrow.deliver(key, b""),
        lambda: lab.escrow.deliver(key, bytes(257)),
        lambda: lab.escrow.rule(key, 10_001),
        lambda: escrow_key(lab.buyer.address, b"short"),
        lambda: escrow_key("nobody", bytes(32)),
    ):
        with pytest.raises(InvalidOrder):
            wrong()


def test_a_memory_host_says_what_it_is() -> None:
    host = MemoryHost()
    assert not host.durable
    with pytest.raises(ChainError) as error:
        host.start()
    assert error.value.code == "chain_not_saved"
    with pytest.raises(ChainError):
        host.handle("eth_chainId", [])
    host.create("One")
    with pytest.raises(Conflict):
        host.create("Two")
    host.stop()
