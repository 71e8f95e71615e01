"""A market with oracles, who can make a bond of its provider pay."""

from __future__ import annotations

from dataclasses import dataclass

from stage import Market

from openstall.app.demo.peers import DemoPeer


@dataclass(slots=True, kw_only=True)
class Oracles:
    """Who is there, and all the money that there is."""

    market: Market
    oracles: list[DemoPeer]

    @property
    def buyer(self) -> DemoPeer:
        """Who rents the machine."""
        return self.market.seller

    @property
    def peers(self) -> list[DemoPeer]:
        """Everybody with a wallet."""
        return [*self.market.peers, *self.oracles[1:]]

    def money(self) -> int:
        """All credits there are; the same at any moment when nothing is on its way."""
        wallets = [peer.get("/v1/wallet") for peer in self.peers]
        return sum(wallet["balance_micro"] + wallet["held_micro"] for wallet in wallets)
