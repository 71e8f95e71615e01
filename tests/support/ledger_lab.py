"""A group chain with wallets for tests of the ledger: real contracts, a clock that the test moves."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from openstall.ledger.chain import Chain, ChainParams, Receipt, TxRequest
from openstall.ledger.channel import ChannelClient
from openstall.ledger.credit import CreditClient
from openstall.ledger.escrow import EscrowClient, EscrowTerms
from openstall.ledger.transactions import build_and_sign
from openstall.ledger.transport import JsonValue
from openstall.ledger.wallet import Wallet

CREDIT = 1_000_000
_numbers = itertools.count(1)


class Clock:
    """Unix seconds that a test can move forward."""

    def __init__(self) -> None:
        self.ahead_s = 0

    def __call__(self) -> float:
        return time.time() + self.ahead_s

    def now(self) -> int:
        return int(self())


class Host(Protocol):
    @property
    def params(self) -> ChainParams: ...

    def handle(self, method: str, params: list[JsonValue]) -> JsonValue: ...


@dataclass(slots=True)
class Lab:
    """A chain, its clients, and the parties of an order, each with its first credits."""

    host: Host
    clock: Clock
    chain: Chain = field(init=False)
    escrow: EscrowClient = field(init=False)
    channel: ChannelClient = field(init=False)
    credit: CreditClient = field(init=False)
    buyer: Wallet = field(init=False)
    seller: Wallet = field(init=False)
    arbiter: Wallet = field(init=False)
    outsider: Wallet = field(init=False)

    def __post_init__(self) -> None:
        self.chain = Chain(self.host.params, self.host.handle, clock=self.clock)
        self.escrow, self.channel = EscrowClient(self.chain), ChannelClient(self.chain)
        self.credit = CreditClient(self.chain)
        self.buyer, self.seller, self.arbiter, self.outsider = (
            Wallet(secrets.token_bytes(32)) for _ in range(4)
        )
        for wallet in (self.buyer, self.seller, self.arbiter, self.outsider):
            assert self.send(wallet, self.credit.claim()).ok

    def send(self, wallet: Wallet, request: TxRequest, *, simulate: bool = False) -> Receipt:
        """Sign, send, wait. Without simulation also what the contract refuses: `ok` is false then."""
        nonce = self.chain.nonce(wallet.address)
        signed = build_and_sign(wallet, self.chain, request, nonce, simulate=simulate)
        return self.chain.wait_final(self.chain.broadcast(signed.raw), 30)

    def do(self, wallet: Wallet, request: TxRequest) -> Receipt:
        """A step that must succeed."""
        receipt = self.send(wallet, request, simulate=True)
        assert receipt.ok, request.what
        return receipt

    def balance(self, holder: Wallet | str) -> int:
        return self.chain.balance_micro(holder.address if isinstance(holder, Wallet) else holder)

    def terms(
        self, *, amount_micro: int = 5 * CREDIT, arbiter: bool = True, deliver_s: int = 1000
    ) -> EscrowTerms:
        return EscrowTerms(
            seller=self.seller.address,
            arbiter=self.arbiter.address if arbiter else "",
            amount_micro=amount_micro,
            deliver_by=self.clock.now() + deliver_s,
            review_s=3600,
            arbiter_s=7200,
            arbiter_fee_bps=200,
            silent_buyer_bps=7_500,
        )


def order_hash() -> bytes:
    """A fresh order hash."""
    return hashlib.sha256(b"order %d" % next(_numbers)).digest()


def run_machine(make: Callable[[], RuleBasedStateMachine]) -> None:
    """Random sequences of steps against a contract on a real chain."""
    run_state_machine_as_test(
        make,
        settings=settings(
            max_examples=40,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate),
        ),
    )
