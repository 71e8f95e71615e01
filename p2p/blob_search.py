"""Finds more sources of one blob while it is being fetched."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from openstall.market.errors import PeerError
from openstall.p2p import blob_wire
from openstall.p2p.blob_wire import Holding

MAX_ASKED = 16
MAX_CONNECTED = 8

Ask = Callable[[str, bytes, str], Awaitable[bytes]]
Found = Callable[[str, Holding], None]

log = logging.getLogger("openstall.p2p")


class Search:
    """Asks each peer once. What it hears is a claim; the fetch finds out whether it is true."""

    def __init__(self, *, cid: str, own_id: str, ask: Ask, found: Found) -> None:
        self._cid = cid
        self._ask = ask
        self._found = found
        self._asked = {own_id}
        self._left = MAX_ASKED

    async def run(self, sources: Sequence[str], others: Sequence[str]) -> None:
        """Ask the sources whom they know, and those and `others` what they have."""
        self._asked.update(sources)
        async with trio.open_nursery() as nursery:
            for peer_id in sources:
                nursery.start_soon(self._named_by, peer_id, nursery)
            self._ask_each(others[:MAX_CONNECTED], nursery)

    def _ask_each(self, peer_ids: Sequence[str], nursery: trio.Nursery) -> None:
        for peer_id in peer_ids:
            if peer_id not in self._asked and self._left > 0:
                self._left -= 1
                self._asked.add(peer_id)
                nursery.start_soon(self._has, peer_id)

    async def _named_by(self, peer_id: str, nursery: trio.Nursery) -> None:
        try:
            names = blob_wire.decode_names(await self._ask(peer_id, b"S", self._cid))
        except PeerError as error:
            log.debug("%s names no sources: %s", peer_id, error.code)
        else:
            self._ask_each(names, nursery)

    async def _has(self, peer_id: str) -> None:
        try:
            holding = blob_wire.decode_holding(await self._ask(peer_id, b"H", self._cid))
        except PeerError as error:
            log.debug("%s has no blob for us: %s", peer_id, error.code)
        else:
            self._found(peer_id, holding)
