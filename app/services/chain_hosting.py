"""A group's chain hosted by this node: which engine, and word of every block that is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import trio

from openstall.ledger.anvil import find_anvil
from openstall.ledger.chain import ChainParams
from openstall.ledger.group_host import GroupHost
from openstall.ledger.transport import JsonValue


class ChainHost(Protocol):
    """What both engines of the ledger offer; every method blocks and is thread-safe."""

    durable: bool

    def create(self, name: str) -> ChainParams:
        """Make a new chain with our contracts and start it."""

    def start(self) -> ChainParams:
        """Start the chain of the folder again."""

    def handle(self, method: str, params: list[Any]) -> JsonValue:
        """One permitted call."""

    def stop(self) -> None:
        """Save and end."""


def make_host(folder: Path) -> ChainHost:
    """The durable engine where anvil is installed, else the one in memory."""
    anvil = find_anvil()
    if anvil is not None:
        return GroupHost(folder, anvil)
    from openstall.ledger.memory_host import MemoryHost

    return MemoryHost()


class Hosted:
    """The host's calls, with word to the trio thread after each transaction that was taken."""

    def __init__(
        self, host: ChainHost, *, token: trio.lowlevel.TrioToken, on_write: Callable[[], None]
    ) -> None:
        self._host = host
        self._token = token
        self._on_write = on_write

    def handle(self, method: str, params: list[Any]) -> JsonValue:
        """One permitted call; on any thread."""
        result = self._host.handle(method, params)
        if method == "eth_sendRawTransaction":
            try:
                self._token.run_sync_soon(self._on_write)
            except trio.RunFinishedError:
                return result
        return result
