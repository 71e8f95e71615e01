"""The few operations on libp2p that this room needs, typed and with its failures named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast

import trio

from openstall.p2p.patches import NodeYamux, tcp, yamux  # isort: skip - before libp2p itself

from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH as PUSHED_IDENTIFY_ID
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.swarm_connection import SwarmConn
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
from multiaddr import Multiaddr

from openstall.p2p.swarm import NodeSwarm

NEGOTIATE_S = 30

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
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 5.0):
        stream = cast(NetStream, await host.get_network().new_stream(ID.from_string(peer_id)))
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
    """The open connections with one peer."""
    found = [cast(SwarmConn, one) for one in swarm.get_connections(ID.from_string(peer_id))]
    # libp2p forgets a broken connection only after some pauses; its muxer knows at once.
    return [
        one
        for one in found
        if not one.is_closed and not cast(NodeYamux, one.muxed_conn).event_shutting_down.is_set()
    ]


def round_trip_s(connection: SwarmConn) -> float:
    """The connection's measured round trip in seconds; 0.0 before the first measurement."""
    return cast(NodeYamux, connection.muxed_conn).rtt()


def remote_address(connection: SwarmConn) -> str:
    """The other end's transport address as text, or an empty string."""
    found = connection.get_transport_addresses()
    return str(found[0]) if found else ""


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
