"""What a node remembers of the group it belongs to, and the line to the group's chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openstall.ledger.chain import ChainParams
from openstall.ledger.transport import JsonValue, Transport
from openstall.market.errors import ChainError

PLAY_MONEY = (
    "Play money: credits of this group are worth nothing outside it, and its host can rewrite its chain."
)
NOT_SAVED = "Nothing is saved: the chain of this group ends with this node (the anvil program is missing)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What is remembered of the joined group."""

    state: str
    params: ChainParams
    durable: bool = True
    invitation: str = ""
    rpc_url: str = ""

    @property
    def network(self) -> str:
        """Name of the group's catalogue and of what is signed in it: unlike for any two chains."""
        params = self.params
        return f"{params.kind}-{params.chain_id}-{params.genesis_hash[2:14]}-{params.escrow[2:10].lower()}"

    @property
    def banner(self) -> str | None:
        """What the user must know of this group's money at all times."""
        if self.params.kind != "group":
            return None
        return PLAY_MONEY if self.durable else f"{NOT_SAVED} {PLAY_MONEY}"


class Line:
    """The transport of the moment; the chain that is called through it stays one object."""

    def __init__(self) -> None:
        self.transport: Transport | None = None

    def __call__(self, method: str, params: list[Any]) -> JsonValue:
        """One call; ChainError while there is no transport."""
        transport = self.transport
        if transport is None:
            raise ChainError(
                "chain_unreachable",
                "The chain of your group is not reachable now.",
                "It is tried again by itself. Your money is safe.",
            )
        return transport(method, params)
