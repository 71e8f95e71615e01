"""Costly Ethereum packages, imported late and without their side effect on the whole process.

py_ecc, which eth-account and py-evm bring, sets Python's recursion limit to 100,000 on import. With that,
a nested JSON text of 64 KiB from any peer overruns the C stack and kills the node instead of raising
RecursionError. So the limit is put back here, and these packages are imported nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eth.chains.base import MiningChain
    from eth_account import Account
    from eth_account.hdaccount.mnemonic import Mnemonic

RECURSION_LIMIT = 3_000
EVM_RECURSION_LIMIT = 12_500
"""py-evm runs a call inside a call as Python functions: 1,024 deep, some 12 frames each."""


@contextmanager
def _limited(limit: int) -> Iterator[None]:
    before = sys.getrecursionlimit()
    try:
        yield
    finally:
        if sys.getrecursionlimit() != before:
            sys.setrecursionlimit(max(before, limit))


def eth_account() -> type[Account]:
    """eth-account's `Account`."""
    with _limited(RECURSION_LIMIT):
        from eth_account import Account
    return Account


def mnemonic() -> Mnemonic:
    """The English BIP-39 word list."""
    with _limited(RECURSION_LIMIT):
        from eth_account.hdaccount.mnemonic import Mnemonic
        from eth_account.types import Language
    return Mnemonic(Language.ENGLISH)


def private_key_of(words: str, path: str) -> bytes:
    """BIP-39 and BIP-32: the private key of words at a derivation path."""
    with _limited(RECURSION_LIMIT):
        from eth_account.hdaccount import key_from_seed, seed_from_mnemonic
    return bytes(key_from_seed(seed_from_mnemonic(words, ""), path))


def mining_chain() -> type[MiningChain]:
    """py-evm's chain that mines its own blocks."""
    with _limited(EVM_RECURSION_LIMIT):
        from eth.chains.base import MiningChain
    return MiningChain
