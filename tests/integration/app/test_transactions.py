"""The one place that signs: once per purpose, in order, and through every crash."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.app.clock import SystemClock
from openstall.app.events import EventBus
from openstall.app.services.membership import Line
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.credit import CreditClient
from openstall.ledger.hosting import ChainHost, open_host
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError
from openstall.store.database import Store
from openstall.store.transactions import FAILED, FINAL, Transactions

CREDIT = 1_000_000
OTHER = "0x" + "ab" * 20


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainHost]:
    found = open_host(tmp_path_factory.mktemp("chain"))
    found.create("Transactions")
    yield found
    found.stop()


class Bench:
    """A wallet's books on a real chain, over a line that can be cut."""

    def __init__(self, host: ChainHost, path: Path, wallet: Wallet) -> None:
        self.host = host
        self.wallet = wallet
        self.line = Line()
        self.line.transport = host.handle
        self.chain = Chain(host.params, self.line)
        self.store = Store(path)
        self.books = Transactions(self.store)
        self.credit = CreditClient(self.chain)
        self.service = self.make_service()

    def make_service(self) -> TransactionService:
        """As after a restart of the node."""
        return TransactionService(
            wallet=self.wallet,
            chain=self.chain,
            network="n",
            intents=self.books,
            workers=Workers(),
            bus=EventBus(),
            clock=SystemClock(),
        )

    def transfer(self, amount_micro: int) -> TxRequest:
        return self.credit.transfer(OTHER, amount_micro)

    def balance(self) -> int:
        return self.chain.balance_micro(self.wallet.address)


@pytest.fixture
async def bench(host: ChainHost, tmp_path: Path) -> Any:
    found = Bench(host, tmp_path / "s.sqlite", Wallet(secrets.token_bytes(32)))
    await found.service.send("faucet", "", found.credit.claim)
    yield found
    found.store.close()


async def test_a_purpose_moves_money_once(bench: Bench) -> None:
    receipts = [await bench.service.send("pay", "order", lambda: bench.transfer(CREDIT)) for _ in range(3)]
    assert len({receipt.tx_hash for receipt in receipts}) == 1
    assert bench.balance() == 999 * CREDIT
    again = await bench.make_service().send("pay", "order", lambda: bench.transfer(CREDIT))
    assert again == receipts[0]
    assert await bench.service.started("order", "pay")
    assert not await bench.service.started("order", "refund")


async def test_many_at_once_get_numbers_without_gaps(bench: Bench) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(bench.service.send, f"pay-{number}", "", lambda: bench.transfer(CREDIT))
            nursery.start_soon(bench.service.send, "same", "", lambda: bench.transfer(CREDIT))
    assert bench.balance() == (1_000 - 13) * CREDIT
    assert {intent.nonce for intent in bench.books.by_hash("n").values()} == set(range(14))


async def test_signed_but_not_sent_is_sent_by_the_next_run(bench: Bench) -> None:
    cut = _CutBefore("eth_sendRawTransaction", bench.host)
    bench.line.transport = cut
    with pytest.raises(ChainError) as caught:
        await bench.service.send("pay", "order", lambda: bench.transfer(CREDIT))
    assert caught.value.code == "chain_unreachable"
    assert len(bench.books.pending("n", bench.wallet.address)) == 1
    bench.line.transport = bench.host.handle
    restarted = bench.make_service()
    await restarted.resume()
    assert bench.balance() == 999 * CREDIT
    assert bench.books.pending("n", bench.wallet.address) == []
    await restarted.send("pay", "order", lambda: bench.transfer(CREDIT))
    assert bench.balance() == 999 * CREDIT


async def test_sent_but_not_heard_of_is_not_sent_anew(bench: Bench) -> None:
    bench.line.transport = _CutAfter("eth_sendRawTransaction", bench.host)
    with pytest.raises(ChainError):
        await bench.service.send("pay", "order", lambda: bench.transfer(CREDIT))
    bench.line.transport = bench.host.handle
    receipt = await bench.make_service().send("pay", "order", lambda: bench.transfer(CREDIT))
    assert receipt.ok
    assert bench.balance() == 999 * CREDIT


async def test_older_unsent_goes_first(bench: Bench) -> None:
    bench.line.transport = _CutBefore("eth_sendRawTransaction", bench.host)
    with pytest.raises(ChainError):
        await bench.service.send("first", "", lambda: bench.transfer(CREDIT))
    bench.line.transport = bench.host.handle
    await bench.service.send("second", "", lambda: bench.transfer(CREDIT))
    assert bench.balance() == 998 * CREDIT


async def test_what_the_contract_would_refuse_is_never_signed(bench: Bench) -> None:
    with pytest.raises(ChainError) as caught:
        await bench.service.send("pay", "", lambda: bench.transfer(5_000 * CREDIT))
    assert caught.value.code == "contract_refuses"
    assert not await bench.service.started("", "pay")
    await bench.service.send("pay", "", lambda: bench.transfer(CREDIT))


async def test_what_fails_on_chain_is_settled_and_may_be_signed_again(bench: Bench) -> None:
    request = bench.transfer(5_000 * CREDIT)
    bench.line.transport = _BlindTo("eth_call", bench.host)
    with pytest.raises(ChainError) as caught:
        await bench.service.send("pay", "", lambda: request)
    assert caught.value.code == "reverted"
    assert [one["state"] for one in await bench.service.of_order("")] == [FINAL, FAILED]
    bench.line.transport = bench.host.handle
    await bench.service.send("pay", "", lambda: bench.transfer(CREDIT))
    assert bench.balance() == 999 * CREDIT


class _CutBefore:
    """The line breaks before a call reaches the chain."""

    def __init__(self, method: str, host: ChainHost) -> None:
        self._method = method
        self._host = host

    def __call__(self, method: str, params: list[Any]) -> Any:
        if method == self._method:
            raise ChainError("chain_unreachable", "The line is cut.")
        return self._host.handle(method, params)


class _CutAfter(_CutBefore):
    """The line breaks before the answer comes back."""

    def __call__(self, method: str, params: list[Any]) -> Any:
        answer = self._host.handle(method, params)
        if method == self._method:
            raise ChainError("chain_unreachable", "The line is cut.")
        return answer


class _BlindTo(_CutBefore):
    """The chain's state changed between the trial and the block: the trial says yes to everything."""

    def __call__(self, method: str, params: list[Any]) -> Any:
        return "0x" if method == self._method else self._host.handle(method, params)
