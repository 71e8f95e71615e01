"""Vouchers signed and verified on one core, and an order settled on a group chain from click to final."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from table import Row

from openstall.ledger.anvil import find_anvil
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.credit import CreditClient
from openstall.ledger.escrow import EscrowClient, EscrowTerms, escrow_key
from openstall.ledger.group_host import GroupHost
from openstall.ledger.transactions import build_and_sign
from openstall.ledger.vouchers import recover_voucher, sign_voucher
from openstall.ledger.wallet import Wallet

VOUCHERS = 2_000
SALES = 10
CONTRACT = "0x" + "11" * 20


def rows() -> Iterable[Row]:
    """Both measurements; the second needs anvil."""
    yield _vouchers()
    binary = find_anvil()
    if binary is not None:
        yield from _settlement(binary)


def _vouchers() -> Row:
    wallet, channel = Wallet(secrets.token_bytes(32)), secrets.token_bytes(32)
    start = time.perf_counter()
    for amount in range(VOUCHERS):
        made = sign_voucher(wallet, channel, amount, chain_id=7, contract=CONTRACT)
        if recover_voucher(made, chain_id=7, contract=CONTRACT) != wallet.address:
            raise AssertionError(amount)
    rate = VOUCHERS / (time.perf_counter() - start)
    return Row(
        name="vouchers signed and verified",
        value=rate,
        unit="/s",
        limit=">= 1,000 /s",
        ok=rate >= 1_000,
        note="one core, sign and recover each",
    )


def _settlement(binary: Path) -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as folder:
        host = GroupHost(Path(folder) / "chain", binary)
        params = host.create("Benchmark")
        try:
            chain = Chain(params, host.handle)
            buyer, seller = Wallet(secrets.token_bytes(32)), Wallet(secrets.token_bytes(32))
            _send(chain, buyer, CreditClient(chain).claim())
            times = sorted(_sale(chain, buyer, seller) for _ in range(SALES))
        finally:
            host.stop()
    middle = times[len(times) // 2]
    yield Row(
        name="order settled, click to final",
        value=middle * 1000,
        unit="ms",
        limit="< 1,000 ms",
        ok=middle < 1,
        note=f"fund, deliver and complete on anvil behind the gateway, median of {SALES}",
    )


def _sale(chain: Chain, buyer: Wallet, seller: Wallet) -> float:
    order_hash, escrow = hashlib.sha256(secrets.token_bytes(8)).digest(), EscrowClient(chain)
    terms = EscrowTerms(
        seller=seller.address,
        arbiter="",
        amount_micro=1_000_000,
        deliver_by=chain.now() + 3600,
        review_s=3600,
        arbiter_s=3600,
        arbiter_fee_bps=0,
        silent_buyer_bps=10_000,
    )
    key = escrow_key(buyer.address, order_hash)
    start = time.perf_counter()
    _send(chain, buyer, escrow.fund(buyer, order_hash, terms))
    _send(chain, seller, escrow.deliver(key, bytes(80)))
    _send(chain, buyer, escrow.complete(key))
    return time.perf_counter() - start


def _send(chain: Chain, wallet: Wallet, request: TxRequest) -> None:
    signed = build_and_sign(wallet, chain, request, chain.nonce(wallet.address))
    if not chain.wait_final(chain.broadcast(signed.raw), 30).ok:
        raise AssertionError(request.what)
