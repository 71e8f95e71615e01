"""Feelers: now and then an address that somebody told us of is tried, so that the book holds what is true.

A connection that was made only to see whether anybody answers is closed again. Without this an honest peer
whom we know by hearsay would stay below all those that were ever reached, and an attacker would have all day
to be among these.
"""

from __future__ import annotations

import logging
import random

import trio

from openstall.market.errors import PeerError
from openstall.p2p.host import PeerHost

EVERY_S = 120.0
_OF_THE_LEAST_TRIED = 8

log = logging.getLogger("openstall.p2p")


async def feel(host: PeerHost, *, every_s: float = EVERY_S) -> None:
    """Try one untried peer at a time until cancelled."""
    while True:
        await trio.sleep(every_s * random.uniform(0.5, 1.5))  # noqa: S311 - not all at one time
        await feel_once(host)


async def feel_once(host: PeerHost) -> str:
    """Dial one peer that never answered yet; the peer that was tried, or an empty string."""
    untried = [one.peer_id for one in host.book.untried()]
    found = [
        one for one in untried if one != host.peer_id and host.peer(one) is None and not host.is_banned(one)
    ]
    if not found:
        return ""
    peer_id = random.choice(found[:_OF_THE_LEAST_TRIED])  # noqa: S311 - nobody gains by guessing it
    try:
        await host.connect(peer_id)
    except PeerError as error:
        log.debug("nobody answers as %s: %s", peer_id, error.code)
        return peer_id
    await host.disconnect(peer_id)
    return peer_id
