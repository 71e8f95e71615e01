"""A host that writes as fast as it can until it is killed; each confirmed hash goes to standard output."""

from __future__ import annotations

import logging
import secrets
import sys
import threading
from pathlib import Path

import structlog

from openstall.ledger.anvil import find_anvil
from openstall.ledger.chain import Chain
from openstall.ledger.credit import CreditClient
from openstall.ledger.group_host import GroupHost
from openstall.ledger.transactions import build_and_sign
from openstall.ledger.wallet import Wallet

WRITERS = 4


def main() -> None:
    """argv: the chain's folder."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    binary = find_anvil()
    assert binary is not None
    host = GroupHost(Path(sys.argv[1]), binary)
    params = host.start() if host.exists else host.create("Crash")
    chain, lock = Chain(params, host.handle), threading.Lock()
    credit = CreditClient(chain)

    def say(line: str) -> None:
        with lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def write() -> None:
        wallet = Wallet(secrets.token_bytes(32))
        request = credit.claim()
        while True:
            signed = build_and_sign(wallet, chain, request, chain.nonce(wallet.address), simulate=False)
            tx_hash = chain.broadcast(signed.raw)
            receipt = chain.wait_final(tx_hash, 60)
            say(f"tx {tx_hash} {receipt.block_number} {receipt.block_hash}")
            request = credit.transfer("0x" + secrets.token_hex(20), 1)

    say(f"pid {host.anvil_pid}")
    for _ in range(WRITERS):
        threading.Thread(target=write).start()


if __name__ == "__main__":
    main()
