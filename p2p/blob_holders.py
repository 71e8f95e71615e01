"""Who said that they have a blob too: told to those who ask for more sources, who find out if it is true."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import trio

from openstall.p2p.blob_wire import MAX_NAMED

FRESH_S = 3600.0
"""Who does not say it again is forgotten."""
_MAX_BLOBS = 1024


class Holders:
    """The last `MAX_NAMED` peers for each blob that said so themselves; a peer can name nobody else."""

    def __init__(self, *, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._by_cid: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()

    def note(self, cid: str, peer_id: str) -> None:
        """A peer says that it has this blob."""
        held: OrderedDict[str, float] = self._by_cid.pop(cid, OrderedDict())
        self._by_cid[cid] = held
        held.pop(peer_id, None)
        held[peer_id] = self._clock() + FRESH_S
        if len(held) > MAX_NAMED:
            held.popitem(last=False)
        if len(self._by_cid) > _MAX_BLOBS:
            self._by_cid.popitem(last=False)

    def of(self, cid: str, *, asker: str) -> list[str]:
        """Who said so in the last hour, newest first, without the asker."""
        now, held = self._clock(), self._by_cid.get(cid, OrderedDict[str, float]())
        return [peer for peer, until in reversed(held.items()) if until > now and peer != asker]
