"""A token that takes fees, blocks receivers and calls back, for tests of the contracts that hold money.

`python tests/support/hostile_token.py` compiles it anew (it needs `npm ci` in ledger/contracts, as
`python3 dev.py contracts` does).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from ledger_lab import Lab

from openstall.ledger.abi import Codec
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.wallet import Wallet

SOURCE = Path(__file__).parent / "contracts" / "HostileToken.sol"
ARTIFACT = SOURCE.with_suffix(".json")
_GAS = 2_000_000


class HostileToken:
    """One on the lab's chain; `chain` is that chain with this token as its credit."""

    def __init__(self, lab: Lab) -> None:
        artifact = json.loads(ARTIFACT.read_text("utf-8"))
        if artifact["source_sha256"] != hashlib.sha256(SOURCE.read_bytes()).hexdigest():
            raise AssertionError("HostileToken.sol has changed: compile it anew, see this module")
        self._lab, self._abi = lab, Codec(artifact["abi"])
        maker = Wallet(secrets.token_bytes(32))
        transaction = {"type": 2, "chainId": lab.host.params.chain_id, "nonce": 0, "value": 0}
        fees = {"gas": _GAS, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
        code = bytes.fromhex(artifact["bytecode"][2:])
        signed = maker.sign_transaction({**transaction, **fees, "data": code})
        lab.host.handle("eth_sendRawTransaction", ["0x" + signed.raw.hex()])
        receipt = lab.host.handle("eth_getTransactionReceipt", [signed.tx_hash])
        self.address = str(receipt["contractAddress"]).lower()
        self.chain = Chain(replace(lab.host.params, credit=self.address), lab.host.handle, clock=lab.clock)

    def do(self, function: str, *args: object, by: Wallet | None = None) -> None:
        """A call that must succeed."""
        data = self._abi.call_data(function, *args)
        self._lab.do(
            by or self._lab.outsider, TxRequest(to=self.address, data=data, gas=1_000_000, what=function)
        )

    def read(self, function: str, *args: object) -> Any:
        """The one value of a view."""
        data = "0x" + self._abi.call_data(function, *args).hex()
        answer = str(self.chain.rpc("eth_call", [{"to": self.address, "data": data}, "latest"]))
        return self._abi.result(function, bytes.fromhex(answer[2:]))[0]

    def give(self, wallet: Wallet, amount: int, *spenders: str) -> None:
        """Money for a wallet, which lets the spenders take it."""
        self.do("mint", wallet.address, amount)
        for spender in spenders:
            self.do("approve", spender, 2**200, by=wallet)


def main() -> None:
    """Write the artifact."""
    from openstall.ledger.contracts.build import compile_all

    made = compile_all(SOURCE.parent, ["HostileToken"])["HostileToken"]
    kept = {name: made[name] for name in ("compiler", "abi", "bytecode")}
    kept["source_sha256"] = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    ARTIFACT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
