"""Which host a group gets on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from openstall.ledger.anvil import find_anvil
from openstall.ledger.chain import ChainParams
from openstall.ledger.group_host import GroupHost
from openstall.ledger.memory_host import MemoryHost
from openstall.ledger.transport import JsonValue


class ChainHost(Protocol):
    """What the node needs of a hosted chain; every method is thread-safe and blocks."""

    @property
    def durable(self) -> bool:
        """Whether the chain outlives the node; if not, the desktop shows a banner."""
        ...

    @property
    def exists(self) -> bool:
        """Whether there is a saved chain for `start`."""
        ...

    @property
    def params(self) -> ChainParams:
        """The running chain."""
        ...

    def create(self, name: str) -> ChainParams:
        """Make a new chain and start it."""
        ...

    def start(self) -> ChainParams:
        """Start the saved chain."""
        ...

    def handle(self, method: str, params: list[JsonValue]) -> JsonValue:
        """Answer one call of a member."""
        ...

    def stop(self) -> None:
        """End it, saved where it can be."""
        ...


def open_host(folder: Path) -> ChainHost:
    """Anvil with a durable chain in `folder`; py-evm in memory where anvil is missing."""
    binary = find_anvil()
    return GroupHost(folder, binary) if binary is not None else MemoryHost()
