"""Relaying for peers that nobody can dial: circuit relay v2, the serving side.

A relay sees who talks to whom and how much, never what: the two ends encrypt to each other.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import trio

from openstall.p2p import addresses, engine
from openstall.p2p.circuits import BROKEN, HOP, STOP, Garbled, receive, send, wire
from openstall.p2p.limits import Rate, RateBudget

MESSAGE_S = 10.0
DRAIN_S = 5.0
PIECE = 64 * 1024
HOUR_S = 3600.0

log = logging.getLogger("openstall.p2p")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """What a relay gives away. Sizes in bytes, times in seconds."""

    reservations: int = 128
    reservations_per_host: int = 8
    reservation_s: int = 3600
    circuits: int = 32
    circuits_per_peer: int = 8
    circuit_s: int = 1800
    circuit_bytes: int = 32 * 1024 * 1024
    circuit_bytes_per_s: float = 2 * 1024 * 1024
    all_bytes_per_s: float = 8 * 1024 * 1024
    peer_bytes_per_hour: float = 512 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class _Reservation:
    expires: float
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayUse:
    """How much a relay is used: `joined` circuits and `carried` bytes since the start, the rest now."""

    serving: bool
    reservations: int
    circuits: int
    joined: int
    carried: int


class Relay:
    """Keeps reservations and joins circuits, while `serving`."""

    def __init__(
        self,
        *,
        host: engine.BasicHost,
        swarm: engine.NodeSwarm,
        own_addrs: Callable[[], list[str]],
        limits: RelayLimits | None = None,
    ) -> None:
        self.serving = False
        self.limits = limits or RelayLimits()
        self._host = host
        self._swarm = swarm
        self._own_addrs = own_addrs
        self._reserved: dict[str, _Reservation] = {}
        self._circuits: Counter[str] = Counter()
        self._open = 0
        self._pace = 0.0
        self._joined = 0
        self._carried = 0
        self._asked = RateBudget(Rate(per_s=0.5, burst=20))
        hourly = self.limits.peer_bytes_per_hour
        self._slow_per_s = hourly / HOUR_S
        self._hourly = RateBudget(Rate(per_s=self._slow_per_s, burst=hourly))
        engine.handle(host, HOP, self._on_hop)

    def use(self) -> RelayUse:
        """For showing."""
        self._forget_expired()
        return RelayUse(
            serving=self.serving,
            reservations=len(self._reserved),
            circuits=self._open,
            joined=self._joined,
            carried=self._carried,
        )

    def holds(self, peer_id: str) -> bool:
        """Whether the peer has a place here."""
        self._forget_expired()
        return self.serving and peer_id in self._reserved

    def left(self, peer_id: str) -> None:
        """A peer has no connection any more: its reservation ends."""
        self._reserved.pop(peer_id, None)

    def _forget_expired(self) -> None:
        now = trio.current_time()
        for peer_id in [one for one, kept in self._reserved.items() if kept.expires <= now]:
            del self._reserved[peer_id]

    async def _on_hop(self, stream: engine.NetStream) -> None:
        peer_id = str(stream.muxed_conn.peer_id)
        try:
            asked = await receive(stream, wire.HopMessage, timeout_s=MESSAGE_S)
        except Garbled as error:
            log.debug("relay: no question from %s: %s", peer_id, error)
            await self._answer(stream, wire.MALFORMED_MESSAGE)
            return
        refusal = self._refusal(peer_id, stream)
        if refusal is not None:
            await self._answer(stream, refusal)
        elif asked.type == wire.HopMessage.RESERVE:
            await self._reserve(peer_id, stream)
        elif asked.type == wire.HopMessage.CONNECT:
            await self._connect(peer_id, asked.peer.id, stream)
        else:
            await self._answer(stream, wire.UNEXPECTED_MESSAGE)

    def _refusal(self, peer_id: str, stream: engine.NetStream) -> wire.Status.ValueType | None:
        # Over a circuit nobody gets a second one: chains of relays would hide who uses them up.
        if not self.serving or engine.is_relayed(engine.connection_of(stream)):
            return wire.PERMISSION_DENIED
        return None if self._asked.take(peer_id) else wire.RESOURCE_LIMIT_EXCEEDED

    async def _answer(
        self,
        stream: engine.NetStream,
        status: wire.Status.ValueType,
        *,
        granted: wire.Reservation | None = None,
        limit: wire.Limit | None = None,
    ) -> None:
        said = wire.HopMessage(type=wire.HopMessage.STATUS, status=status, reservation=granted, limit=limit)
        with trio.move_on_after(MESSAGE_S):
            try:
                await send(stream, said)
                if status != wire.OK or granted is not None:
                    await stream.close()
            except BROKEN:
                log.debug("relay: the asker left")

    # Reservations

    async def _reserve(self, peer_id: str, stream: engine.NetStream) -> None:
        self._forget_expired()
        host = addresses.host_of(engine.remote_address(engine.connection_of(stream)))
        others = [one for name, one in self._reserved.items() if name != peer_id]
        same_host = sum(1 for one in others if one.host == host)
        if len(others) >= self.limits.reservations or same_host >= self.limits.reservations_per_host:
            await self._answer(stream, wire.RESERVATION_REFUSED)
            return
        term = self.limits.reservation_s
        self._reserved[peer_id] = _Reservation(expires=trio.current_time() + term, host=host)
        direct = [one for one in self._own_addrs() if not addresses.is_circuit(one)]
        ways = [engine.Multiaddr(one).to_bytes() for one in direct]
        granted = wire.Reservation(expire=int(time.time()) + term, addrs=ways)
        await self._answer(stream, wire.OK, granted=granted, limit=self._limit())

    def _limit(self) -> wire.Limit:
        return wire.Limit(duration=self.limits.circuit_s, data=self.limits.circuit_bytes)

    # Circuits

    async def _connect(self, source: str, raw_target: bytes, stream: engine.NetStream) -> None:
        self._forget_expired()
        try:
            target = engine.peer_id_of_bytes(raw_target)
        except ValueError:
            await self._answer(stream, wire.MALFORMED_MESSAGE)
            return
        links = [one for one in engine.connections_of(self._swarm, target) if not engine.is_relayed(one)]
        if target not in self._reserved or not links:
            await self._answer(stream, wire.NO_RESERVATION)
            return
        full = self._open >= self.limits.circuits
        if full or max(self._circuits[source], self._circuits[target]) >= self.limits.circuits_per_peer:
            await self._answer(stream, wire.RESOURCE_LIMIT_EXCEEDED)
            return
        with _Counted(self, source, target):
            far = await self._ask_target(source, links[0])
            if far is None:
                await self._answer(stream, wire.CONNECTION_FAILED)
                return
            await self._answer(stream, wire.OK, limit=self._limit())
            await self._join(source, stream, far)

    async def _ask_target(self, source: str, link: engine.SwarmConn) -> engine.NetStream | None:
        far: engine.NetStream | None = None
        with trio.move_on_after(MESSAGE_S):
            try:
                far = await engine.negotiate_on(self._host, link, STOP)
                peer = wire.PeerId(id=engine.peer_id_bytes(source))
                await send(
                    far, wire.StopMessage(type=wire.StopMessage.CONNECT, peer=peer, limit=self._limit())
                )
                said = await receive(far, wire.StopMessage, timeout_s=MESSAGE_S)
                if said.type == wire.StopMessage.STATUS and said.status == wire.OK:
                    return far
            except (*BROKEN, Garbled, engine.MultiselectClientError) as error:
                log.debug("relay: the far end does not take the circuit: %s", type(error).__name__)
        if far is not None:
            await engine.drop(far)
        return None

    async def _join(self, source: str, near: engine.NetStream, far: engine.NetStream) -> None:
        # Whoever has used up its hour gets slow circuits, not ones that end before a chunk is through.
        fast = self._hourly.level(source) >= self.limits.circuit_bytes
        share = _Share(source, self.limits.circuit_bytes, fast=fast)
        self._joined += 1
        try:
            with trio.move_on_after(self.limits.circuit_s) as share.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, near, far, share)
                    nursery.start_soon(self._pump, far, near, share)
        finally:
            await engine.drop(near)
            await engine.drop(far)

    async def _pump(self, into: engine.NetStream, out: engine.NetStream, share: _Share) -> None:
        """Carry one direction: both share what the circuit may carry, all circuits what the relay gives."""
        pace = trio.current_time()
        per_s = self.limits.circuit_bytes_per_s if share.fast else self._slow_per_s
        try:
            while data := await into.read(PIECE):
                share.left -= len(data)
                if share.left < 0 or not await self._afforded(share, len(data)):
                    log.debug("relay: a circuit of %s has carried its share", share.source)
                    share.scope.cancel()
                    return
                await out.write(data)
                self._carried += len(data)
                now = trio.current_time()
                pace = max(pace, now - 1.0) + len(data) / per_s
                self._pace = max(self._pace, now - 1.0) + len(data) / self.limits.all_bytes_per_s
                await trio.sleep_until(max(pace, self._pace))
        except EOFError:
            log.debug("relay: one end of a circuit has finished")
        except BROKEN:
            share.scope.cancel()
            return
        # What the other end still has to say may take a moment, not for ever.
        share.scope.deadline = min(share.scope.deadline, trio.current_time() + DRAIN_S)

    async def _afforded(self, share: _Share, size: int) -> bool:
        """Take it from the caller's hour; a slow circuit waits until there is enough of it."""
        while not self._hourly.take(share.source, size):
            if share.fast:
                return False
            await trio.sleep(size / self._slow_per_s)
        return True


class _Share:
    """What one circuit may carry: `left` bytes, on account of `source`."""

    def __init__(self, source: str, left: int, *, fast: bool) -> None:
        self.source, self.left, self.fast = source, left, fast
        self.scope = trio.CancelScope()


class _Counted:
    """One circuit, at both its ends, for the time of a block."""

    def __init__(self, relay: Relay, *ends: str) -> None:
        self._relay, self._ends = relay, ends

    def __enter__(self) -> None:
        self._relay._open += 1  # noqa: SLF001 - a part of the relay
        self._relay._circuits.update(self._ends)  # noqa: SLF001

    def __exit__(self, *_: object) -> None:
        self._relay._open -= 1  # noqa: SLF001
        self._relay._circuits.subtract(self._ends)  # noqa: SLF001
        self._relay._circuits = +self._relay._circuits  # noqa: SLF001
