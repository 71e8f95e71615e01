"""From a request to signed bytes: fees, chain id, nonce."""

from __future__ import annotations

from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.wallet import SignedTx, Wallet
from openstall.market.errors import ChainError

MAX_FEE_WEI = 500 * 10**9
"""Per gas. Above this a public chain is in a panic, and no sale of ours is worth its price."""


def build_and_sign(
    wallet: Wallet, chain: Chain, request: TxRequest, nonce: int, *, simulate: bool = True
) -> SignedTx:
    """Sign a request as an EIP-1559 transaction. Store `raw` before it is broadcast.

    Args:
        nonce: from `chain.nonce`, or the next one that the caller keeps.
        simulate: first ask the chain whether the contract would accept it. Leave it on unless an
            earlier transaction of this wallet, on which this one depends, is still on its way.

    Raises:
        ChainError: the contract would refuse it (`contract_refuses`), or fees are absurd.
    """
    if simulate:
        chain.simulate(request, wallet.address)
    tip, most = (0, 0) if chain.params.kind == "group" else _fees(chain)
    return wallet.sign_transaction(
        {
            "type": 2,
            "chainId": chain.params.chain_id,
            "nonce": nonce,
            "to": bytes.fromhex(request.to.removeprefix("0x")),
            "value": 0,
            "data": request.data,
            "gas": request.gas,
            "maxFeePerGas": most,
            "maxPriorityFeePerGas": tip,
        }
    )


def _fees(chain: Chain) -> tuple[int, int]:
    """(tip, ceiling) per gas: room for the base fee to double before the transaction is stuck."""
    history = chain.rpc("eth_feeHistory", ["0x5", "latest", [50]])
    try:
        base = int(history["baseFeePerGas"][-1], 16)
        tips = [int(row[0], 16) for row in history.get("reward") or []]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ChainError("bad_answer", "The chain gave malformed fees.") from error
    tip = max(tips, default=0)
    most = 2 * base + tip
    if most > MAX_FEE_WEI:
        raise ChainError("fees_absurd", "The fees of this chain are absurdly high now.", "Try again later.")
    return tip, most
