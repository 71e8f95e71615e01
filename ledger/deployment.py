"""Puts the contracts on a new group chain, from a key that exists only for this."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from openstall.ledger.contracts.compiled import NAMES, artifact
from openstall.ledger.transport import Transport
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError

DEPLOY_GAS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """Addresses (`0x…`) of the contracts of a chain."""

    credit: str
    escrow: str
    channel: str
    bond: str
    auction: str
    model_escrow: str
    contest: str


def deploy(transport: Transport, *, chain_id: int) -> Deployed:
    """Deploy all contracts on a chain without fees.

    The key is thrown away: none of the contracts has an owner. A random key also makes the contract
    addresses of two groups differ, so that no signature of one can count in the other.

    Raises:
        ChainError: a deployment failed.
    """
    wallet = Wallet(secrets.token_bytes(32))
    addresses = []
    for nonce, name in enumerate(NAMES):
        signed = wallet.sign_transaction(
            {
                "type": 2,
                "chainId": chain_id,
                "nonce": nonce,
                "value": 0,
                "data": artifact(name).bytecode,
                "gas": DEPLOY_GAS,
                "maxFeePerGas": 0,
                "maxPriorityFeePerGas": 0,
            }
        )
        transport("eth_sendRawTransaction", ["0x" + signed.raw.hex()])
        receipt = transport("eth_getTransactionReceipt", [signed.tx_hash])
        if not isinstance(receipt, dict) or int(receipt["status"], 16) != 1:
            raise ChainError("deployment_failed", f"The contract {name} could not be put on the new chain.")
        addresses.append(str(receipt["contractAddress"]).lower())
    credit, escrow, channel, bond, auction, model_escrow, contest = addresses
    return Deployed(
        credit=credit,
        escrow=escrow,
        channel=channel,
        bond=bond,
        auction=auction,
        model_escrow=model_escrow,
        contest=contest,
    )
