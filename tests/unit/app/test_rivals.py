"""Whose offer may move a price: those who are there and have something to lose, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from capacity_lab import BOND_MICRO, CapacityLab, Stall, capacity_lab

from openstall.app.services.renting import OFFER_KEY
from openstall.app.services.rivals import Rivals
from openstall.market.records import Offer
from openstall.store.orders import Orders

HOUR_S = 3_600


def offer(stall: Stall, price: int, **changes: Any) -> Offer:
    params = stall.side.chain_lab.chain.params
    return Offer(
        **{
            "title": "A machine",
            "kinds": ["train"],
            "cpu": "A processor",
            "threads": 1,
            "memory_bytes": 2**31,
            "disk_bytes": 2**30,
            "gpus": [],
            "price_per_s_micro": price,
            "max_s": 600,
            "withdraw_delay_s": 600,
            "wallet": stall.wallet,
            "chain_id": params.chain_id,
            "channel": params.channel,
            **changes,
        }
    )


def rivals(lab: CapacityLab, connected: list[str]) -> Rivals:
    """As the buyer of the lab sees them."""
    capacity = lab.buyer.capacity
    shelf: Any = lab.shelf
    return Rivals(
        catalogue=shelf,
        claims=capacity.claims,
        bonds=capacity.bonds,
        orders=Orders(lab.buyer.side.store),
        workers=lab.buyer.side.workers,
        connected=lambda: connected,
    )


async def heard(lab: CapacityLab, price: int, *, connected: bool = True) -> list[tuple[int, str]]:
    """What the rival asks and why it is believed, by an owner who asks that price."""
    found = rivals(lab, [lab.provider.peer_id] if connected else [])
    own = offer(lab.buyer, price)
    return [(voice.offer.price_per_s_micro, voice.because) for voice in await found.voices(own)]


async def test_a_bond_that_is_worth_an_hour_of_work_gives_a_voice(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.shelf.put(lab.provider.side, "offer", OFFER_KEY, offer(lab.provider, 7))
        assert await heard(lab, 1) == [], "an offer alone costs nothing"
        await lab.post_bond()
        dearest = BOND_MICRO // HOUR_S
        assert await heard(lab, dearest) == [(7, "bonded")]
        assert await heard(lab, dearest + 1) == [], "the bond is worth less than an hour of that"
        assert await heard(lab, dearest, connected=False) == []
        await lab.provider.capacity.bonds.announce()
        assert await heard(lab, dearest) == [], "it is on its way out"


async def test_an_offer_for_another_wallet_than_its_authors_has_no_voice(tmp_path: Path) -> None:
    """Else somebody could speak in the place of an honest rival, or twice."""
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        foreign = offer(lab.provider, 7, wallet=lab.buyer.wallet)
        lab.shelf.put(lab.provider.side, "offer", OFFER_KEY, foreign)
        assert await heard(lab, 1) == []
        lab.shelf.put(lab.provider.side, "offer", "another-machine", offer(lab.provider, 1))
        assert await heard(lab, 1) == [], "one peer speaks for one machine"
        own = msgspec.structs.replace(foreign, wallet=lab.provider.wallet)
        lab.shelf.put(lab.provider.side, "offer", OFFER_KEY, own)
        assert await heard(lab, 1) == [(7, "bonded")]
