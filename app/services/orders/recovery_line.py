"""Protocol `/openstall/recover/1`: what a peer holds of an order that somebody signed, for who may have it.

One canonical request of at most 256 bytes names the order; the answer is its papers, of at most 4 MiB. It may
be asked at any time and again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.papers import PapersDesk
from openstall.app.services.orders.telling import party_of
from openstall.market.errors import NotFound
from openstall.market.fields import Body, Sha256
from openstall.market.orders.agree import watchers
from openstall.market.orders.papers import MAX_PAPERS
from openstall.market.orders.protocols import expect
from openstall.market.schema import from_wire, to_wire
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Pace, Rate

PROTOCOL = "/openstall/recover/1"
MAX_ASK = 256
RATE = Rate(per_s=0.5, burst=10)
TIMEOUT_S = 20.0


class Ask(Body, frozen=True, kw_only=True):
    """For everything signed that the other peer holds of an order."""

    order_id: Sha256


@dataclass(slots=True, kw_only=True)
class PapersLine:
    """Both sides of the protocol."""

    desk: OrderDesk
    peers: PeerHost
    catalogue: Catalogue
    papers: PapersDesk
    _pace: Pace = field(default_factory=lambda: Pace(RATE))

    def serve(self) -> None:
        """Answer other peers from now on."""
        self.peers.serve(
            PROTOCOL, self._answer, max_request=MAX_ASK, max_response=MAX_PAPERS, per_peer_rate=RATE
        )

    async def ask(self, peer_id: str, order_id: str) -> bytes:
        """What a peer holds; PeerError where it is away, or holds nothing that this node may have."""
        await self._pace.turn(peer_id)
        return await self.peers.request(
            peer_id, PROTOCOL, to_wire(Ask(order_id=order_id)), timeout_s=TIMEOUT_S, max_response=MAX_PAPERS
        )

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        ask = from_wire(raw, Ask, most=MAX_ASK)
        order = await self.desk.find(ask.order_id)
        wallet = await self.catalogue.wallet_of(peer_id)
        reader = None if order is None else _reader(order, peer_id, wallet)
        if order is None or reader is None:
            raise NotFound("no_such_order", "There is no such order.")
        expect("recovery", "papers", kind=order.kind, sender=reader, receiver=order.role, state=order.state)
        return await self.papers.of(order, reader, wallet)


def _reader(order: OpenOrder, peer_id: str, wallet: str) -> str | None:
    """In which role a peer may have the papers."""
    party = party_of(order.contract, peer_id)
    if party is not None or not wallet or wallet not in watchers(order.contract):
        return party
    return "arbiter" if wallet == order.contract.arbiter.lower() else "evaluator"
