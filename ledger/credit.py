"""The chain's currency: faucet, transfers, and signed allowances (ERC-2612)."""

from __future__ import annotations

from openstall.ledger.abi import codec
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.typed_data import Domain, permit_digest
from openstall.ledger.wallet import Wallet

PERMIT_LIFE_S = 3600
_CREDIT_NAME = "Openstall Credit"
Permit = tuple[int, int, bytes, bytes]
"""deadline, v, r, s as the contracts take them."""


class CreditClient:
    """Requests on the currency of one chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._abi = codec("Credit")

    def claim(self) -> TxRequest:
        """The first credits of an address, once (group chains)."""
        return self._request("claim", 120_000, "claim the first credits")

    def transfer(self, to: str, amount_micro: int) -> TxRequest:
        """Send credits to an address."""
        return self._request("transfer", 100_000, "send", to, amount_micro)

    def sign_permit(
        self, wallet: Wallet, spender: str, amount_micro: int, *, pay_by: int | None = None
    ) -> Permit:
        """Let a contract take exactly this amount, without a transaction, until `pay_by` or for an hour.

        On a group chain the token is our own; elsewhere its EIP-712 name is asked from the token.
        """
        deadline = self._chain.now() + PERMIT_LIFE_S
        if pay_by is not None:
            deadline = min(deadline, pay_by)
        name = (
            _CREDIT_NAME if self._chain.params.kind == "group" else str(self._chain.view("Credit", "name")[0])
        )
        domain = Domain(name=name, chain_id=self._chain.params.chain_id, contract=self._chain.params.credit)
        nonce = int(self._chain.view("Credit", "nonces", wallet.address)[0])
        content = permit_digest(
            domain, owner=wallet.address, spender=spender, amount=amount_micro, nonce=nonce, deadline=deadline
        )
        signature = wallet.sign_digest(content)
        return deadline, signature[64], signature[:32], signature[32:64]

    def _request(self, function: str, gas: int, what: str, *args: object) -> TxRequest:
        data = self._abi.call_data(function, *args)
        return TxRequest(to=self._chain.params.credit, data=data, gas=gas, what=what)
