"""The swarm with its workarounds; the numbers are those of `patches.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import cast

import trio

from openstall.p2p.patches import NodeYamux, log  # isort: skip - before libp2p itself

from libp2p.abc import IMuxedConn, INetStream
from libp2p.io.abc import ReadWriteCloser
from libp2p.metrics.swarm import SwarmEvent
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from multiaddr import Multiaddr

from openstall.p2p.admission import Entrance

HANDSHAKE_S = 12.0


class _NoAutoConnector(AutoConnector):
    """Dials nobody: `Discovery` does, with its own limits (15)."""

    async def run_background_task(self, nursery: trio.Nursery) -> None:
        """Nothing."""

    async def maybe_connect(self) -> None:
        """Nothing."""


class NodeSwarm(Swarm):
    """A swarm that gives slots back and survives its handlers (1, 9)."""

    admit_peer: Callable[[str], bool] | None = None
    entrance: Entrance | None = None
    max_streams_per_connection = 64

    def _init_connection_management(self) -> None:
        super()._init_connection_management()
        self.auto_connector = _NoAutoConnector(swarm=self)

    def cap_inbound(self, connections: int) -> None:
        """At most so many connections at once that others opened."""
        self._inbound_limiter = trio.CapacityLimiter(connections)

    async def _do_handle_inbound_connection(
        self,
        read_write_closer: ReadWriteCloser,
        maddr: Multiaddr,
        failure_event: SwarmEvent,  # noqa: ARG002 - libp2p's metrics, which are off
    ) -> None:
        raw = RawConnection(read_write_closer, initiator=False)
        remote = str(self._build_remote_multiaddr(read_write_closer) or "")
        slot = self.entrance.slot(remote) if self.entrance is not None else None
        if self.entrance is not None and slot is None:
            log.debug("no place for a connection from %s", remote)
            await raw.close()
            return
        try:
            with slot or nullcontext():
                with trio.fail_after(self.entrance.handshake_s if self.entrance is not None else HANDSHAKE_S):
                    muxed = cast(NodeYamux, await self.upgrade_inbound_raw_conn(raw, maddr))
                if slot is not None:
                    slot.established()
                await muxed.event_closed.wait()
        except Exception as error:  # noqa: BLE001 - any failure of a stranger's handshake ends that connection only
            log.debug("inbound connection ended: %r", error)
            await raw.close()

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> SwarmConn:
        """Register a connection, unless its peer or its network is not admitted (banned, or ourselves)."""
        if self.admit_peer is not None and not self.admit_peer(str(muxed_conn.peer_id)):
            await muxed_conn.close()
            raise SwarmException("peer is not admitted")
        connection = await super().add_conn(muxed_conn, direction)
        found = connection.get_transport_addresses()
        if self.entrance is not None and found and self.entrance.is_shut_out(str(found[0])):
            await connection.close()
            raise SwarmException("the address is not admitted")
        return connection

    def set_stream_handler(self, stream_handler: Callable[[INetStream], Awaitable[None]]) -> None:
        """Serve streams with this handler, capped and guarded."""

        async def guarded(stream: INetStream) -> None:
            owner = getattr(stream, "swarm_conn", None)
            if owner is not None and len(owner.streams) > self.max_streams_per_connection:
                await stream.reset()
                return
            try:
                await stream_handler(stream)
            except Exception as error:  # noqa: BLE001 - a stream's failure must not end the swarm
                log.debug("stream handler ended: %r", error)
                await stream.reset()

        super().set_stream_handler(guarded)
