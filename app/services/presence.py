"""Keeps this node's own `peer` record in the catalogue: name, wallet with its two-way binding, addresses.

It also says whether this node measures models for others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.willing import SETTING as EVALUATES
from openstall.app.services.door import PEER_KEY, as_record_binding
from openstall.app.services.group import GroupService
from openstall.app.services.identity import IdentityService
from openstall.app.services.network import NetworkService
from openstall.app.threads import Workers
from openstall.ledger.binding import make_binding
from openstall.market.errors import NotFound
from openstall.market.fields import body_as_dict
from openstall.market.records import Peer
from openstall.store.settings import Settings

LIFE_S = 30 * 86_400
CHECK_EVERY_S = 60.0
MAX_ADDRS = 12
_RENEW_AT_PART = 0.5

log = get_logger("openstall.presence")


class Presence:
    """The node's part `presence`: off while the wallet is locked or there is no group."""

    def __init__(
        self,
        *,
        identity: IdentityService,
        group: GroupService,
        network: NetworkService,
        catalogue: Catalogue,
        settings: Settings,
        mailboxes: Callable[[], Awaitable[list[str]]],
        workers: Workers,
        clock: Clock,
    ) -> None:
        """`mailboxes` are those that the owner has named."""
        self._identity = identity
        self._group = group
        self._network = network
        self._catalogue = catalogue
        self._settings = settings
        self._mailboxes = mailboxes
        self._workers = workers
        self._clock = clock
        self._due = trio.Event()

    def soon(self) -> None:
        """Something that the record says has changed."""
        self._due.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Publish when anything differs from what the catalogue says, and before it expires."""
        if self._identity.state != "open" or not self._group.joined:
            return
        while True:
            self._due = trio.Event()
            await self._network.wait_up()
            await self._renew()
            ready()
            with trio.move_on_after(CHECK_EVERY_S):
                await self._due.wait()

    async def _renew(self) -> None:
        addrs = sorted(self._network.addrs)[:MAX_ADDRS]
        chain_id = self._group.membership.params.chain_id
        wallet = self._identity.wallet
        wanted: dict[str, Any] = {
            "name": self._identity.name,
            "wallet": wallet.address,
            "chain_id": chain_id,
            "addrs": addrs,
            "evaluates": bool(await self._workers.store(self._settings.get, EVALUATES)),
            "mailboxes": await self._mailboxes(),
        }
        now = self._clock.now()
        published = await self._published()
        if published is not None and published["expires"] - now > LIFE_S * _RENEW_AT_PART:
            body = {"evaluates": False, "mailboxes": [], **published["body"]}
            if {name: body.get(name) for name in wanted} == wanted:
                return
        expires = now + LIFE_S
        made = await self._workers.work(
            make_binding,
            wallet,
            self._identity.peer_seed,
            peer_id=self._identity.peer_id,
            nonce=now,
            expires=expires,
            chain_id=chain_id,
        )
        peer = Peer(**wanted, binding=as_record_binding(made))
        await self._catalogue.publish("peer", PEER_KEY, body_as_dict(peer), life_s=LIFE_S)
        log.info("own peer record published", addrs=addrs)

    async def _published(self) -> dict[str, Any] | None:
        try:
            return await self._catalogue.own("peer", PEER_KEY)
        except NotFound:
            return None
