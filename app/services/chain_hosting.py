"""A group's chain hosted by this node, with word of every block that is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from openstall.ledger.hosting import ChainHost
from openstall.ledger.transport import JsonValue


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
