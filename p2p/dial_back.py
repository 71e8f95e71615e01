"""Asking a peer to dial us, to learn whether others can: `/openstall/dial-back/1`.

A peer dials only the address that the asker is seen to call from, and reports only whether the asker itself,
by its key, answers there: nobody can be made to knock at a third party's door.
"""

from __future__ import annotations

import logging
from typing import Annotated

import msgspec
import trio
from msgspec import Meta, Struct

from openstall.market.errors import PeerError, Refused
from openstall.market.schema import NONSENSE
from openstall.p2p import addresses, engine
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate

PROTOCOL = "/openstall/dial-back/1"
MAX_BYTES = 1024
MAX_ADDRS = 4
DIAL_S = 4.0
ASK_S = 12.0
_AT_ONCE = 8

log = logging.getLogger("openstall.p2p")


class Question(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Where the asker believes that it can be reached."""

    addrs: Annotated[
        list[Annotated[str, Meta(max_length=addresses.MAX_LENGTH)]], Meta(min_length=1, max_length=MAX_ADDRS)
    ]


class Answer(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`seen` is where the asker called from; `reached` are those of its addresses at which it answered."""

    seen: Annotated[str, Meta(max_length=addresses.MAX_LENGTH)]
    reached: Annotated[
        list[Annotated[str, Meta(max_length=addresses.MAX_LENGTH)]], Meta(max_length=MAX_ADDRS)
    ]


class DialBack:
    """Both sides of the exchange on one host."""

    def __init__(self, host: PeerHost) -> None:
        self._host = host
        self._at_once = trio.CapacityLimiter(_AT_ONCE)
        host.serve(
            PROTOCOL,
            self._on_asked,
            max_request=MAX_BYTES,
            max_response=MAX_BYTES,
            per_peer_rate=Rate(per_s=1 / 60, burst=4),
        )

    async def ask(self, peer_id: str, addrs: list[str]) -> Answer:
        """What the peer found.

        Raises:
            PeerError: it cannot, or will not, say.
        """
        asked = msgspec.json.encode(Question(addrs=addrs[:MAX_ADDRS]))
        raw = await self._host.request(peer_id, PROTOCOL, asked, timeout_s=ASK_S, max_response=MAX_BYTES)
        try:
            return msgspec.json.decode(raw, type=Answer)
        except NONSENSE as error:
            self._host.penalise(peer_id, 20.0, "bad_dial_back")
            raise PeerError("bad_answer", "The other peer's answer makes no sense.") from error

    async def _on_asked(self, peer_id: str, raw: bytes) -> bytes:
        try:
            asked = msgspec.json.decode(raw, type=Question)
        except NONSENSE as error:
            raise Refused("bad_request", "The request makes no sense.") from error
        seen = self._host.paths.remote_address(peer_id)
        if not seen:
            raise Refused("not_direct", "Only who calls directly is called back.")
        host = addresses.host_of(seen)
        own = [one for one in dict.fromkeys(asked.addrs) if _leads_to(one, host)]
        reached: list[str] = []
        async with self._at_once, trio.open_nursery() as nursery:
            for one in own:
                nursery.start_soon(self._dial, one, peer_id, reached)
        return msgspec.json.encode(Answer(seen=seen, reached=reached))

    async def _dial(self, address: str, peer_id: str, reached: list[str]) -> None:
        with trio.move_on_after(DIAL_S):
            try:
                await self._host.paths.knock(address, peer_id)
            except engine.BaseLibp2pError as error:
                log.debug("nobody at %s: %s", address, type(error).__name__)
                return
            reached.append(address)


def _leads_to(address: str, host: str) -> bool:
    """Whether an address is a plain TCP one at this very IP."""
    return (
        addresses.dialable(address)
        and not addresses.is_circuit(address)
        and addresses.split(address) == (address, "")
        and addresses.host_of(address) == host
    )
