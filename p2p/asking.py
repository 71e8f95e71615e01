"""What a service needs of a peer host: to answer requests, and to make them."""

from __future__ import annotations

from typing import Protocol

from openstall.p2p.exchange import Handler
from openstall.p2p.limits import Rate


class Peers(Protocol):
    """A `PeerHost`, or what stands before it and keeps letters for peers that are off."""

    @property
    def peer_id(self) -> str:
        """One's own."""

    def serve(
        self, protocol: str, handler: Handler, *, max_request: int, max_response: int, per_peer_rate: Rate
    ) -> None:
        """See `PeerHost.serve`."""

    async def request(
        self, peer_id: str, protocol: str, payload: bytes, *, timeout_s: float, max_response: int
    ) -> bytes:
        """See `PeerHost.request`."""
