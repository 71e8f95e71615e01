"""Dialling a peer at every address it is known by."""

from __future__ import annotations

import logging

import trio

from openstall.market.errors import PeerError
from openstall.p2p import engine
from openstall.p2p.peerbook import MAX_ADDRS, PeerBook

STAGGER_S = 0.25

log = logging.getLogger("openstall.p2p")


class Dialler:
    """Tries known addresses side by side; two callers who want the same peer share one attempt."""

    def __init__(self, *, swarm: engine.NodeSwarm, book: PeerBook, dial_s: float) -> None:
        self._swarm = swarm
        self._book = book
        self._dial_s = dial_s
        self._running: dict[str, trio.Event] = {}

    async def dial(self, peer_id: str) -> None:
        """Return when a connection with the peer is open.

        Raises:
            PeerError: `peer_unreachable`: no address known, or none answered as this peer.
        """
        while (running := self._running.get(peer_id)) is not None:
            await running.wait()
            if engine.connections_of(self._swarm, peer_id):
                return
        self._running[peer_id] = trio.Event()
        try:
            await self._dial_all(peer_id, self._book.addrs(peer_id)[:MAX_ADDRS])
        finally:
            self._running.pop(peer_id).set()

    async def _dial_all(self, peer_id: str, candidates: list[str]) -> None:
        if not candidates:
            raise PeerError(
                "peer_unreachable",
                "No address of the other peer is known.",
                "Ask its owner for an address, and connect.",
            )
        failed = trio.Event()
        reached: list[str] = []

        async def attempt(address: str) -> None:
            nonlocal failed
            try:
                with trio.move_on_after(self._dial_s):
                    await engine.dial_address(self._swarm, address, peer_id)
                    reached.append(address)
                    nursery.cancel_scope.cancel()
            except engine.BaseLibp2pError as error:
                log.debug("no connection at %s: %s", address, type(error).__name__)
            failed.set()

        async with trio.open_nursery() as nursery:
            for address in candidates:
                failed = trio.Event()
                nursery.start_soon(attempt, address)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
        if reached:
            self._book.worked(peer_id, reached[0])
        elif not engine.connections_of(self._swarm, peer_id):
            self._book.failed(peer_id)
            raise PeerError(
                "peer_unreachable",
                "The other peer is not reachable.",
                "Its computer may be off or offline. Try again later.",
            )
