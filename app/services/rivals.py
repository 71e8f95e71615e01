"""The rivals that an owner's price may follow: those that are there, and have something to lose or to show.

An offer costs nothing to publish, so most of the catalogue has no voice here. Counted is a peer that is
connected now and either has a bond, seen on the chain, that is worth an hour of this machine's work, or
whose last job for this node was done. Each has one offer, that of its machine, for the wallet bound to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openstall.app.services.capacity.bonds import Bonds
from openstall.app.services.capacity.claims import Claims, claim_of
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.renting import OFFER_KEY
from openstall.app.threads import Workers
from openstall.market.mechanisms.auto_price import BOND_HOURS, HOUR_S, Voice
from openstall.market.records import Offer
from openstall.store.orders import Orders

MOST_PEERS = 64
"""Of the connected peers so many are looked at, those connected longest first."""


@dataclass(slots=True, kw_only=True)
class Rivals:
    """Call from the trio thread."""

    catalogue: Catalogue
    claims: Claims
    bonds: Bonds
    orders: Orders
    workers: Workers
    connected: Callable[[], list[str]]
    """Peer ids, in the order of connecting."""

    async def voices(self, own: Offer) -> list[Voice]:
        """Who is believed now.

        Raises:
            ChainError: the chain is away, so that no bond can be looked at.
        """
        found = []
        for peer_id in self.connected()[:MOST_PEERS]:
            record = await self.catalogue.live_of(peer_id, "offer", OFFER_KEY)
            if record is None or not isinstance(record.body, Offer):
                continue
            wallet = await self.bonds.wallet_of(peer_id)
            if not wallet or record.body.wallet.lower() != wallet:
                continue
            if await self.workers.store(self._has_served, peer_id):
                found.append(Voice(wallet=wallet, offer=record.body, because="experience"))
            elif await self._is_bonded(peer_id, least_micro=BOND_HOURS * HOUR_S * own.price_per_s_micro):
                found.append(Voice(wallet=wallet, offer=record.body, because="bonded"))
        return found

    async def _is_bonded(self, peer_id: str, *, least_micro: int) -> bool:
        claim = await self.claims.live(peer_id)
        bond = None if claim is None else await self.bonds.behind(claim_of(claim), peer_id)
        return bond is not None and bond.state == "posted" and bond.left_micro >= least_micro

    def _has_served(self, peer_id: str) -> bool:
        """Whether the last job of this node there was done."""
        ids = self.orders.list_ids(role="buyer", kind="compute", state="settled", other=peer_id)
        return bool(ids) and self.orders.get(ids[0]).data.get("result") == "done"
