"""Dialling a peer at every address it is known by."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from openstall.market.errors import PeerError
from openstall.p2p import addresses, engine
from openstall.p2p.faults import unreachable
from openstall.p2p.peerbook import MAX_ADDRS, PeerBook

STAGGER_S = 0.25
HEAD_START_S = 1.0

DialCircuit = Callable[[str, str], Awaitable[None]]
LookUp = Callable[[str], Awaitable[Sequence[str]]]

log = logging.getLogger("openstall.p2p")


class Dialler:
    """Tries known addresses side by side; two callers who want the same peer share one attempt."""

    def __init__(
        self,
        *,
        swarm: engine.NodeSwarm,
        book: PeerBook,
        dial_s: float,
        dial_circuit: DialCircuit,
        look_up: LookUp,
    ) -> None:
        self._swarm = swarm
        self._book = book
        self._dial_s = dial_s
        self._dial_circuit = dial_circuit
        self._look_up = look_up
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
            known = self._book.addrs(peer_id)[:MAX_ADDRS]
            try:
                await self._dial_all(peer_id, known)
            except PeerError:
                found = [one for one in await self._look_up(peer_id) if one not in known]
                if not found:
                    raise
                self._book.learn(peer_id, found)
                await self._dial_all(peer_id, found)
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
        under_way = 0
        reached: list[str] = []
        failures: list[Exception] = []

        async def attempt(address: str) -> None:
            nonlocal under_way
            try:
                with trio.move_on_after(self._dial_s):
                    await self._dial_one(address, peer_id)
                    reached.append(address)
                    nursery.cancel_scope.cancel()
            except (engine.BaseLibp2pError, PeerError) as error:
                log.debug("no connection at %s: %s", address, type(error).__name__)
                failures.append(error)
            under_way -= 1
            failed.set()

        async with trio.open_nursery() as nursery:
            direct_first = sorted(candidates, key=addresses.is_circuit)
            for address in direct_first:
                # Relays cost others something: direct dials get a head start, unless all have failed already.
                relayed = addresses.is_circuit(address)
                with trio.move_on_after(HEAD_START_S if relayed else STAGGER_S):
                    while under_way:
                        await failed.wait()
                        if not relayed:
                            break
                        failed = trio.Event()
                failed = trio.Event()
                under_way += 1
                nursery.start_soon(attempt, address)
        if reached:
            self._book.worked(peer_id, reached[0])
        elif not engine.connections_of(self._swarm, peer_id):
            raise self._unreached(peer_id, failures)

    def _unreached(self, peer_id: str, failures: list[Exception]) -> PeerError:
        full = [one for one in failures if isinstance(one, PeerError) and one.code == "relay_full"]
        if full:  # the peer may well be there, and the address good
            return PeerError("peer_unreachable", full[0].message, full[0].what_next)
        self._book.failed(peer_id)
        return unreachable()

    async def _dial_one(self, address: str, peer_id: str) -> None:
        if addresses.is_circuit(address):
            await self._dial_circuit(address, peer_id)
        else:
            await engine.dial_address(self._swarm, address, peer_id)
