"""What an owner of many networks gets of one node: of its book, of whom it dials, of its places."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from table import Row

from openstall.p2p.admission import Entrance
from openstall.p2p.discovery import CHOSEN
from openstall.p2p.limits import HostLimits
from openstall.p2p.peerbook import PeerBook

HONEST = 200
IDENTITIES = 20_000
LIMITS = HostLimits()
INBOUND = LIMITS.max_connections * 7 // 8
SEED, RUNS = 7, 20


def address(network: int, host: int = 1) -> str:
    """An address in one of 60,000 wide networks."""
    return f"/ip4/{11 + network // 256}.{network % 256}.{host // 250}.{1 + host % 250}/tcp/4001"


def dialled(networks: int, *, met: int) -> float:
    """The attacker's share among the first twelve that a node dials after a start.

    It knows two hundred honest peers, of which it has met some; the attacker has told it of twenty thousand
    identities in so many networks, which all answer when they are tried.
    """
    draw = random.Random(SEED)
    book = PeerBook(None, max_peers=LIMITS.max_address_book)
    for number in range(HONEST):
        book.learn(f"honest-{number}", [address(number)])  # before the attack, or it would know of nobody
        if number < met:
            book.worked(f"honest-{number}", address(number))
    book.keep_anchors(f"honest-{number}" for number in range(min(met, CHOSEN)))
    for number in range(IDENTITIES):
        network = 1000 + draw.randrange(networks)
        book.learn(f"false-{number}", [address(network, number)])
    shares = []
    for start in range(RUNS):
        book._draw = str(start)  # noqa: SLF001 - each start of a node draws anew
        first = book.recent(12)
        shares.append(sum(one.peer_id.startswith("false") for one in first) / len(first))
    return sum(shares) / RUNS


def places(networks: int) -> float:
    """The attacker's share of a node's inbound places when it takes all it can get before anybody else."""
    door = Entrance(LIMITS, shut_out=lambda _: False)
    taken = 0
    for network in range(networks):
        for host in range(2 * LIMITS.max_inbound_per_network):
            slot = door.slot(address(network, host)) if taken < INBOUND else None
            if slot is not None:
                slot.established()
                taken += 1
    return taken / INBOUND


def curve(shares: Iterable[tuple[int, float]]) -> str:
    """The points in words."""
    return ", ".join(f"{networks:,} networks {share:.0%}" for networks, share in shares)


def rows() -> Iterator[Row]:
    """One line for each way in."""
    several = (1, 4, 16, 64, 256)
    for met, words in ((40, "that has met 40 honest peers"), (0, "that has met nobody")):
        points = [(networks, dialled(networks, met=met)) for networks in several]
        yield Row(
            name=f"eclipse: attacker's share of whom a node dials first, {words}, 256 networks",
            value=100 * points[-1][1],
            unit="%",
            limit="0 %" if met else "< 70 %",
            ok=points[-1][1] == 0 if met else points[-1][1] < 0.7,
            note=f"{IDENTITIES:,} identities, {HONEST} honest peers known; {curve(points)}",
        )
    points = [(networks, places(networks)) for networks in several]
    yield Row(
        name="Sybil: share of a node's inbound places for an attacker of 4 networks",
        value=100 * points[1][1],
        unit="%",
        limit="< 50 %",
        ok=points[1][1] < 0.5,
        note=f"any number of identities; {curve(points)}; {CHOSEN} links at least are the node's own choice",
    )
