"""What the chain last said of this node's wallet, kept for when the chain is away."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from openstall.ledger.history import HistoryEntry
from openstall.store.settings import Settings

MOST_ENTRIES = 100
_NAME = "wallet.known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the chain says of one wallet at one height."""

    height: int
    balance_micro: int
    held_micro: int
    faucet_claimed: bool
    entries: list[HistoryEntry]
    as_of: int | None = None
    """When the chain said so (Unix seconds), where it cannot be asked now."""


class KnownAccount:
    """One account: of this wallet in this group. Blocks on the disk; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def keep(self, network: str, address: str, account: Account, *, at: int) -> None:
        """Replace what is kept; the newest movements only."""
        plain: dict[str, Any] = {
            **asdict(account),
            "entries": [asdict(one) for one in account.entries[-MOST_ENTRIES:]],
            "as_of": at,
        }
        self._settings.set(_NAME, {"network": network, "address": address, "account": plain})

    def get(self, network: str, address: str) -> Account | None:
        """What was kept, if it is of this wallet in this group."""
        kept = self._settings.get(_NAME)
        if kept is None or (kept["network"], kept["address"]) != (network, address):
            return None
        plain = kept["account"]
        return Account(**{**plain, "entries": [HistoryEntry(**one) for one in plain["entries"]]})
