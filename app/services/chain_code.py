"""Are the contracts at the addresses of an invitation the ones that this program knows?

A group's host could otherwise point to an escrow that pays whom it likes. The code on chain must equal
the committed one byte for byte, but for immutables, which the compiler leaves as `PUSH32 0`.
"""

from __future__ import annotations

from openstall.ledger.chain import Chain
from openstall.ledger.contracts.compiled import artifact
from openstall.market.errors import ChainError

_PUSH32 = 0x7F
_IMMUTABLE = bytes([_PUSH32]) + bytes(32)


def check_contracts(chain: Chain) -> None:
    """Compare the contracts that the chain has, on a public chain all but the credit; blocks.

    Raises:
        ChainError: `foreign_contracts`.
    """
    params, names = chain.params, ["OrderEscrow", "MeteredChannel"]
    later = {
        "ProviderBond": params.bond,
        "SealedBidAuction": params.auction,
        "ModelEscrow": params.model_escrow,
        "Contest": params.contest,
    }
    names += [name for name, address in later.items() if address]
    if params.kind == "group":
        names.append("Credit")
    for name in names:
        answer = chain.rpc("eth_getCode", [chain.contract(name), "latest"])
        try:
            code = bytes.fromhex(str(answer).removeprefix("0x"))
        except ValueError:
            code = b""
        if not is_same_code(artifact(name).bytecode, code):
            raise ChainError(
                "foreign_contracts",
                f"The contract {name} on this chain is not the one we trust. Nothing was sent to it.",
                "Ask for a new invitation, or join another group.",
            )


def is_same_code(creation: bytes, deployed: bytes) -> bool:
    """Whether `deployed` is what the creation code (without constructor arguments) leaves on chain."""
    if not 0 < len(deployed) < len(creation):
        return False
    template = creation[-len(deployed) :]
    at = 0
    while at < len(template):
        hole = template.find(_IMMUTABLE, at)
        end = len(template) if hole < 0 else hole + 1
        if template[at:end] != deployed[at:end]:
            return False
        at = end if hole < 0 else hole + len(_IMMUTABLE)
    return True
