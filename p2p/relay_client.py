"""Being reached through relays: reservations on them, dialling through them, taking what they bring."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import trio

from openstall.market.errors import PeerError
from openstall.p2p import addresses, engine
from openstall.p2p.admission import Passage, RelayEntrance
from openstall.p2p.circuits import BROKEN, HOP, STOP, Garbled, as_connection, receive, send, wire
from openstall.p2p.limits import HostLimits

MESSAGE_S = 10.0
MAX_WAYS = 3
MAX_RESERVATION_S = 86_400
MAX_KNOWN = 256

log = logging.getLogger("openstall.p2p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A place on a relay. `expires` is in Unix seconds; `ways` are circuit addresses without our own id."""

    relay_id: str
    ways: tuple[str, ...]
    expires: int
    seen_as: str


class RelayClient:
    """One peer's use of relays."""

    def __init__(
        self,
        *,
        host: engine.BasicHost,
        swarm: engine.NodeSwarm,
        source: Callable[[], tuple[str, int] | None],
        limits: HostLimits,
    ) -> None:
        self.reservations: dict[str, Reservation] = {}
        self._host = host
        self._swarm = swarm
        self._source = source
        self._dial_s = limits.dial_s
        self.entrance = RelayEntrance(limits)
        self._shares: OrderedDict[str, int] = OrderedDict()
        engine.handle(host, STOP, self._on_stop)

    def ways(self) -> list[str]:
        """Circuit addresses by which others reach us now."""
        now = time.time()
        return [way for one in self.reservations.values() if one.expires > now for way in one.ways]

    def left(self, peer_id: str) -> bool:
        """A relay has gone; whether it held a reservation of ours."""
        return self.reservations.pop(peer_id, None) is not None

    def share(self, relay_id: str) -> int:
        """How many bytes a circuit of this relay carries, as it has said; 0 for as many as one likes."""
        return self._shares.get(relay_id, 0)

    def _note_share(self, relay_id: str, limit: wire.Limit) -> None:
        self._shares.pop(relay_id, None)
        self._shares[relay_id] = limit.data
        if len(self._shares) > MAX_KNOWN:
            self._shares.popitem(last=False)

    # Reserving

    async def reserve(self, relay_id: str) -> Reservation:
        """Take or renew a place on a connected peer that relays.

        Raises:
            PeerError: `relay_refused`, or the relay cannot be reached directly.
        """
        link = self._direct(relay_id)
        if link is None:
            raise PeerError("peer_unreachable", "The relay is not connected directly.")
        stream = await self._negotiate(link)
        try:
            with _refused():
                await send(stream, wire.HopMessage(type=wire.HopMessage.RESERVE))
                said = await receive(stream, wire.HopMessage, timeout_s=MESSAGE_S)
        finally:
            await engine.drop(stream)
        _agreed(said, "The relay has no place for this node.")
        dialled = engine.remote_address(link) if engine.is_outbound(link) else ""
        ways = _usable(relay_id, dialled, list(said.reservation.addrs))
        known = self.reservations.get(relay_id)
        made = Reservation(
            relay_id=relay_id,
            ways=ways,
            expires=min(said.reservation.expire, int(time.time()) + MAX_RESERVATION_S),
            seen_as=known.seen_as if known and known.seen_as else await self._outer_port(relay_id, link),
        )
        self.reservations[relay_id] = made
        log.info("peer %s relays for this node", relay_id)
        return made

    def _direct(self, peer_id: str) -> engine.SwarmConn | None:
        links = engine.connections_of(self._swarm, peer_id)
        return links[0] if links and not engine.is_relayed(links[0]) else None

    async def _negotiate(self, link: engine.SwarmConn) -> engine.NetStream:
        with trio.move_on_after(MESSAGE_S):
            try:
                return await engine.negotiate_on(self._host, link, HOP)
            except (*BROKEN, engine.MultiselectClientError) as error:
                raise PeerError("relay_refused", "The other peer does not relay.") from error
        raise PeerError("relay_refused", "The relay does not answer.")

    async def _outer_port(self, relay_id: str, link: engine.SwarmConn) -> str:
        """What the relay sees when we call it from the port that we listen on: our router's mapping of it."""
        source = self._source()
        if source is None:
            return ""
        with trio.move_on_after(self._dial_s):
            try:
                second = await engine.dial_from(
                    self._swarm, engine.remote_address(link), relay_id, source=source
                )
                return await engine.seen_as(self._host, second)
            except (*BROKEN, engine.MultiselectClientError) as error:
                log.debug("no second connection to the relay: %s", type(error).__name__)
        return ""

    # Dialling

    async def dial(self, address: str, peer_id: str) -> None:
        """Open a connection with a peer through the relay that a circuit address names.

        Raises:
            BaseLibp2pError, PeerError: the relay or the peer is not there, or the relay refuses.
        """
        stream = await self._circuit(address, peer_id)
        try:
            raw = as_connection(stream, initiator=True, address=f"{address}/p2p/{peer_id}")
            await engine.take_outbound(self._swarm, raw, peer_id)
        except BaseException:
            await engine.drop(stream)
            raise

    async def probe(self, address: str, peer_id: str) -> None:
        """See whether the peer answers through this relay, and hang up; raises as `dial`."""
        stream = await self._circuit(address, peer_id)
        try:
            raw = as_connection(stream, initiator=True, address=f"{address}/p2p/{peer_id}")
            await engine.recognise(self._swarm, raw, peer_id)
        finally:
            await engine.drop(stream)

    async def _circuit(self, address: str, peer_id: str) -> engine.NetStream:
        transport, relay_id = addresses.relay_of(address)
        if relay_id in (str(self._host.get_id()), peer_id):
            raise PeerError("bad_address", "A peer cannot be its own relay.")
        link = self._direct(relay_id)
        if link is None:
            await engine.dial_address(self._swarm, transport, relay_id)
            link = self._direct(relay_id)
        if link is None:
            raise PeerError("peer_unreachable", "The relay hung up.")
        stream = await self._negotiate(link)
        try:
            with _refused():
                target = wire.PeerId(id=engine.peer_id_bytes(peer_id))
                await send(stream, wire.HopMessage(type=wire.HopMessage.CONNECT, peer=target))
                said = await receive(stream, wire.HopMessage, timeout_s=2 * MESSAGE_S)
            _agreed(said, "The relay does not connect us with that peer.")
            self._note_share(relay_id, said.limit)
        except BaseException:
            await engine.drop(stream)
            raise
        return stream

    # Being dialled

    async def _on_stop(self, stream: engine.NetStream) -> None:
        relay_id = str(stream.muxed_conn.peer_id)
        place = self.entrance.slot(relay_id) if relay_id in self.reservations else None
        if place is None:
            await engine.drop(stream)
            return
        with place:
            try:
                with trio.fail_after(self.entrance.limits.handshake_s):
                    closed = await self._called(relay_id, stream, place)
            except (*BROKEN, Garbled, ValueError, KeyError, trio.TooSlowError) as error:
                log.debug("a circuit through %s came to nothing: %r", relay_id, error)
                await engine.drop(stream)
                return
            place.established()
            await closed.wait()

    async def _called(self, relay_id: str, stream: engine.NetStream, place: Passage) -> trio.Event:
        """Take a connection that a relay brings; the event is its end."""
        asked = await receive(stream, wire.StopMessage, timeout_s=MESSAGE_S)
        caller = engine.peer_id_of_bytes(asked.peer.id)
        self._note_share(relay_id, asked.limit)
        welcome = place.claimed(caller)
        status = wire.OK if welcome else wire.RESOURCE_LIMIT_EXCEEDED
        await send(stream, wire.StopMessage(type=wire.StopMessage.STATUS, status=status))
        if not welcome:
            raise Garbled("too many connections of this peer")
        way = next(iter(self.reservations[relay_id].ways), f"/p2p/{relay_id}/{addresses.CIRCUIT}")
        raw = as_connection(stream, initiator=False, address=f"{way}/p2p/{caller}")
        return await engine.take_inbound(self._swarm, raw, way, caller=caller)


class _refused:  # noqa: N801 - reads as a verb
    """A relay's nonsense or absence as one error."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, (*BROKEN, Garbled)):
            raise PeerError("relay_refused", "The relay did not answer.") from error


def _agreed(said: wire.HopMessage, otherwise: str) -> None:
    if said.type == wire.HopMessage.STATUS and said.status == wire.RESOURCE_LIMIT_EXCEEDED:
        raise PeerError(
            "relay_full",
            "The other peer is reached over a relay alone, and that carries no more at present.",
            "It is tried again by itself. To depend on no relay, let one of the two forward its TCP port.",
        )
    if said.type != wire.HopMessage.STATUS or said.status != wire.OK:
        raise PeerError("relay_refused", otherwise, "Others are tried.")


def _usable(relay_id: str, dialled: str, raw: list[bytes]) -> tuple[str, ...]:
    """Circuit addresses: where we called the relay, and what it says of itself as far as that leads to it.

    A relay in the internet may name other ports of its host, one in our own network its addresses outside.
    """
    claimed: list[str] = []
    for one in raw[:16]:
        try:
            text, named = addresses.split(str(engine.Multiaddr(one)))
        except Exception as error:  # noqa: BLE001 - multiaddr raises many unrelated types for bad bytes
            log.debug("a relay's own address makes no sense: %r", error)
            continue
        if named in ("", relay_id) and addresses.dialable(text) and not addresses.is_circuit(text):
            claimed.append(text)
    public = [one for one in claimed if addresses.is_public(one)]
    if dialled and addresses.is_public(dialled):
        public = [one for one in public if addresses.host_of(one) == addresses.host_of(dialled)]
    ways = dict.fromkeys([*public, *([dialled] if dialled else [])])
    return tuple(addresses.circuit(one, relay_id) for one in list(ways)[:MAX_WAYS])
