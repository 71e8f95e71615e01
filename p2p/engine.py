"""The few operations on libp2p that this room needs, typed and with its failures named."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast

import trio

from openstall.p2p.patches import NodeYamux, tcp, yamux  # isort: skip - before libp2p itself

from google.protobuf.message import DecodeError
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.connection_types import ConnectionType
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING_ID
from libp2p.identity.identify.identify import ID as IDENTIFY_ID
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.identify_push.identify_push import ID_PUSH as PUSHED_IDENTIFY_ID
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.rcmgr import Direction
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.tools.anyio_service import background_trio_service
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from openstall.market.errors import PeerError
from openstall.p2p.identity import check_peer_id
from openstall.p2p.swarm import NodeSwarm

NEGOTIATE_S = 30
MAX_IDENTIFY = 8192

# An address costs a tenth of a millisecond to spell, and connections are listed often.
_remote: weakref.WeakKeyDictionary[SwarmConn, str] = weakref.WeakKeyDictionary()

__all__ = [
    "BaseLibp2pError",
    "BasicHost",
    "Multiaddr",
    "MultiselectClientError",
    "NetStream",
    "NodeSwarm",
    "SwarmConn",
    "background_trio_service",
]


def build_host(seed: bytes, *, max_connections: int) -> tuple[BasicHost, NodeSwarm]:
    """A host with TCP + Noise + yamux only (3), which starts no exchange by itself (13)."""
    keys = create_new_key_pair(seed)
    noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
    peerstore = PeerStore()
    peer_id = ID.from_pubkey(keys.public_key)
    peerstore.add_key_pair(peer_id, keys)
    config = ConnectionConfig(
        max_connections=max_connections,
        min_connections=0,
        low_watermark=0,
        high_watermark=max_connections,
        max_connections_per_peer=4,
    )
    swarm = NodeSwarm(
        peer_id,
        peerstore,
        TransportUpgrader({NOISE_ID: noise}, {TProtocol(yamux.PROTOCOL_ID): NodeYamux}),
        transports=[tcp.TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=config,
    )
    # Strangers who dial in may not take the slots that our own dials need.
    swarm.cap_inbound(max(1, max_connections * 7 // 8))
    host = BasicHost(swarm, disable_identify_address_discovery=True)
    host.remove_stream_handler(PUSHED_IDENTIFY_ID)
    swarm.notifees = [one for one in swarm.notifees if type(one).__name__ != "_IdentifyNotifee"]
    return host, swarm


async def dial_address(swarm: NodeSwarm, address: str, peer_id: str) -> INetConn:
    """Open a connection to one address (2).

    Raises:
        BaseLibp2pError: no connection, or another peer answered.
    """
    return await swarm.dial_addr(Multiaddr(address), ID.from_string(peer_id))


async def negotiate_stream(host: BasicHost, peer_id: str, protocol: str) -> NetStream:
    """Open a stream on an existing connection and agree on the protocol.

    Opening is shielded: libp2p loses one of the connection's 256 stream slots when it is cancelled
    half way. The negotiation can be cancelled; it then resets the stream.

    Raises:
        BaseLibp2pError: no connection, or it broke.
        MultiselectClientError: the peer does not speak the protocol.
    """
    links = connections_of(cast(NodeSwarm, host.get_network()), peer_id)
    if not links:
        raise SwarmException("no connection")
    return await negotiate_on(host, links[0], protocol)


async def negotiate_on(host: BasicHost, connection: SwarmConn, protocol: str) -> NetStream:
    """As `negotiate_stream`, on this very connection."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 5.0) as opening:
        stream = await connection.new_stream()
    if opening.cancelled_caught:
        raise SwarmException("the connection takes no more streams")
    chosen = TProtocol(protocol)
    try:
        await host.multiselect_client.select_one_of([chosen], MultiselectCommunicator(stream), NEGOTIATE_S)
    except BaseException:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
            await stream.reset()
        raise
    stream.set_protocol(chosen)
    return stream


def connections_of(swarm: NodeSwarm, peer_id: str) -> list[SwarmConn]:
    """The open connections with one peer, the direct ones first."""
    found = [cast(SwarmConn, one) for one in swarm.get_connections(ID.from_string(peer_id))]
    # libp2p forgets a broken connection only after some pauses; its muxer knows at once.
    alive = [
        one
        for one in found
        if not one.is_closed and not cast(NodeYamux, one.muxed_conn).event_shutting_down.is_set()
    ]
    return sorted(alive, key=is_relayed)


def is_relayed(connection: SwarmConn) -> bool:
    """Whether the connection leads through a relay."""
    return connection.get_connection_type() == ConnectionType.RELAYED


def traffic(connection: SwarmConn) -> tuple[int, int]:
    """Bytes received and sent on this connection, as they are inside the encryption."""
    muxed = cast(NodeYamux, connection.muxed_conn)
    return muxed.received, muxed.sent


def connection_of(stream: NetStream) -> SwarmConn:
    """The connection that a stream belongs to."""
    return cast(SwarmConn, stream.swarm_conn)


def local_host(connection: SwarmConn) -> str:
    """The address of this machine that a direct connection uses; empty when it is not known."""
    return cast(NodeYamux, connection.muxed_conn).local_host()


def all_connections(swarm: NodeSwarm) -> list[SwarmConn]:
    """Every open connection."""
    return [cast(SwarmConn, one) for one in swarm.get_connections() if not one.is_closed]


async def dial_from(
    swarm: NodeSwarm, address: str, peer_id: str, *, source: tuple[str, int], answering: bool = False
) -> SwarmConn:
    """Dial from the port that we listen on, so that the routers between take it for the same conversation.

    With `answering` we take the part of the one who was dialled: of two who dial each other at the same
    moment one has to.

    Raises:
        BaseLibp2pError: as `dial_address`.
    """
    how = swarm.dial_addr_as_responder if answering else swarm.dial_addr
    return cast(SwarmConn, await how(Multiaddr(address), ID.from_string(peer_id), source))


def peer_id_bytes(peer_id: str) -> bytes:
    """A peer id as it stands in libp2p's messages."""
    return ID.from_string(peer_id).to_bytes()


def peer_id_of_bytes(raw: bytes) -> str:
    """A peer id out of another peer's message.

    Raises:
        ValueError: it is none.
    """
    try:
        return check_peer_id(str(ID(raw)))
    except PeerError as error:
        raise ValueError("not a peer id") from error


async def take_outbound(swarm: NodeSwarm, raw: RawConnection, peer_id: str) -> None:
    """Secure a connection that is not TCP, as the one who called, and take it into the swarm.

    Raises:
        BaseLibp2pError: the other end is not this peer, or broke off.
    """
    try:
        await swarm.upgrade_outbound_raw_conn(raw, ID.from_string(peer_id))
    except BaseLibp2pError:
        raise
    except Exception as error:
        raise SwarmException("the hand-shake failed") from error


async def take_inbound(swarm: NodeSwarm, raw: RawConnection, way: str, *, caller: str) -> trio.Event:
    """The same as the one who was called by `caller`; the event is the connection's end."""
    try:
        muxed = cast(NodeYamux, await swarm.upgrade_inbound_raw_conn(raw, Multiaddr(way)))
    except BaseLibp2pError:
        raise
    except Exception as error:
        raise SwarmException("the hand-shake failed") from error
    if str(muxed.peer_id) != caller:
        await muxed.close()
        raise SwarmException("another peer than the relay has said")
    return muxed.event_closed


async def drop(stream: NetStream) -> None:
    """End a stream whatever its state; never raises, and is not stopped by cancellation."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
        try:
            await stream.reset()
        except (BaseLibp2pError, trio.ClosedResourceError, trio.BrokenResourceError):
            return  # it is gone already


async def recognise(swarm: NodeSwarm, raw: RawConnection, peer_id: str) -> None:
    """See by its key that this very peer is at the other end.

    Raises:
        BaseLibp2pError: it is another, or broke off.
    """
    try:
        await swarm.upgrader.upgrade_security(raw, is_initiator=True, peer_id=ID.from_string(peer_id))
    except BaseLibp2pError:
        raise
    except Exception as error:
        raise SwarmException("the hand-shake failed") from error


async def shake_hands(swarm: NodeSwarm, address: str, peer_id: str) -> None:
    """Dial, see that this very peer answers, and hang up; the connection is not taken into the swarm.

    Raises:
        BaseLibp2pError: nobody answered, or another.
    """
    raw = cast(RawConnection, await tcp.TCP().dial(Multiaddr(address)))
    try:
        await recognise(swarm, raw, peer_id)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
            await raw.close()


async def answers(host: BasicHost, connection: SwarmConn, *, within_s: float) -> bool:
    """Whether anybody is still at the other end."""
    with trio.move_on_after(within_s):
        try:
            stream = await negotiate_on(host, connection, PING_ID)
        except (BaseLibp2pError, MultiselectClientError):
            return False
        await drop(stream)
        return True
    return False


async def seen_as(host: BasicHost, connection: SwarmConn) -> str:
    """Under which address the other end sees us on this connection, by libp2p's identify; or empty.

    Raises:
        BaseLibp2pError: the exchange failed.
    """
    stream = await negotiate_on(host, connection, IDENTIFY_ID)
    try:
        raw = await read_varint_prefixed_bytes_limited(stream, MAX_IDENTIFY)
        told = Identify()
        told.ParseFromString(raw)
        return str(Multiaddr(told.observed_addr)) if told.observed_addr else ""
    except (EOFError, ValueError, DecodeError) as error:
        raise SwarmException("identify failed") from error
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
            await stream.reset()


def round_trip_s(connection: SwarmConn) -> float:
    """The connection's measured round trip in seconds; 0.0 before the first measurement."""
    return cast(NodeYamux, connection.muxed_conn).rtt()


def remote_address(connection: SwarmConn) -> str:
    """The other end's transport address as text, or an empty string."""
    known = _remote.get(connection)
    if known is None:
        found = connection.get_transport_addresses()
        known = _remote[connection] = str(found[0]) if found else ""
    return known


async def shut_down(swarm: NodeSwarm) -> None:
    """Stop listening and close every connection at once; libp2p alone takes 0.2 s for each in turn."""
    for listener in list(swarm.listeners.values()):
        await listener.close()
    async with trio.open_nursery() as nursery:
        for connection in swarm.get_connections():
            nursery.start_soon(connection.close)
    await swarm.close()


class ConnectionWatcher(INotifee):
    """Passes the swarm's connection events on as plain calls; the rest of libp2p's observer is unused."""

    def __init__(self, came: Callable[[SwarmConn], None], went: Callable[[SwarmConn], None]) -> None:
        self._came = came
        self._went = went

    async def connected(self, network: INetwork, conn: INetConn) -> None:  # noqa: ARG002 - libp2p's
        self._came(cast(SwarmConn, conn))

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:  # noqa: ARG002 - libp2p's
        self._went(cast(SwarmConn, conn))

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Not used."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Not used."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Not used."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Not used."""


def running(swarm: NodeSwarm) -> AbstractAsyncContextManager[object]:
    """The swarm's background service for the time of a block."""
    return background_trio_service(swarm)


async def listen(swarm: NodeSwarm, bound: Sequence[str]) -> bool:
    """Bind every address; False when one could not be bound."""
    for one in bound:
        if not await swarm.listen(Multiaddr(one)):
            return False
    return True


def handle(host: BasicHost, protocol: str, handler: Callable[[NetStream], Awaitable[None]]) -> None:
    """Let `handler` serve the streams of a protocol."""

    async def serve(stream: INetStream) -> None:
        await handler(cast(NetStream, stream))

    host.set_stream_handler(TProtocol(protocol), serve)


def is_outbound(connection: SwarmConn) -> bool:
    """Whether we dialled."""
    return connection.direction == Direction.OUTBOUND


def listen_addresses(host: BasicHost) -> list[str]:
    """The bound addresses without the peer id, with real port numbers."""
    return [str(one).split("/p2p/")[0] for one in host.get_transport_addrs()]
