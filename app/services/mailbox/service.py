"""The mailbox that this node is for others, and the mailboxes that it uses itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.group import GroupService
from openstall.app.services.identity import IdentityService
from openstall.app.services.mailbox.inbox import Looked
from openstall.app.services.network import NetworkService
from openstall.app.threads import Workers
from openstall.market.errors import InvalidOrder, PeerError, Refused
from openstall.market.letters import MAX_CLOCK_SKEW_S, MOST_LIFE_S
from openstall.market.records import MOST_MAILBOXES
from openstall.market.schema import from_wire, to_wire
from openstall.p2p import mailbox as wire
from openstall.p2p.host import PeerHost
from openstall.p2p.identity import check_peer_id
from openstall.store.mailbox import KeptLetter, MailboxBooks
from openstall.store.settings import Settings

PURGE_EVERY_S = 3_600.0
BETWEEN_NEWS_S = 2.5
"""Who stuffs a box makes us tell its owner no more often than the owner allows."""
_SERVE = "mailbox.serve"
_USE = "mailbox.use"

log = get_logger("openstall.mailbox")


class MailboxService:
    """Serves `/openstall/mailbox/1` on every host of the node. Call from the trio thread."""

    def __init__(
        self,
        *,
        books: MailboxBooks,
        settings: Settings,
        identity: IdentityService,
        group: GroupService,
        network: NetworkService,
        catalogue: Catalogue,
        workers: Workers,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._books = books
        self._settings = settings
        self._identity = identity
        self._group = group
        self._network = network
        self._catalogue = catalogue
        self._workers = workers
        self._bus = bus
        self._clock = clock
        self.receive: Callable[[bytes], Awaitable[str]] | None = None
        """Takes in a letter for this node itself; None while it cannot trade."""
        self.looked: dict[str, Looked] = {}
        self.look_now: Callable[[], None] = lambda: None
        """Asks the mailboxes; set while the node can trade."""
        self._told: dict[str, None] = {}
        self._news = trio.Event()
        network.offer(self._serve)

    # --- whose letters are kept here ---

    async def serves(self) -> bool:
        """Whether letters of others are kept here: as the owner says; by default where it hosts a group."""
        said: bool | None = await self._workers.store(self._settings.get, _SERVE)
        return self._group.brief()["state"] == "hosting" if said is None else said

    async def serve(self, *, on: bool) -> dict[str, Any]:
        """Keep letters for others from now on, or take no more; what is here is kept until it expires."""
        await self._workers.store(self._settings.set, _SERVE, on)
        self.changed()
        return await self.as_dict()

    async def keep(self, letter: KeptLetter) -> None:
        """Keep a letter for a member of the group.

        Raises:
            Refused: no mailbox here, it is full, or sender or recipient are no members.
            InvalidOrder: it would be kept for too long, or not at all.
        """
        if not await self.serves():
            raise Refused("no_mailbox", "This peer keeps no letters for others.", "Use another mailbox.")
        now = self._clock.now()
        if not now < letter.expires <= now + MOST_LIFE_S + MAX_CLOCK_SKEW_S:
            raise InvalidOrder("bad_life", "The letter's time makes no sense.")
        for peer_id in (letter.sender, letter.recipient):
            if peer_id != self._identity.peer_id and not await self._catalogue.wallet_of(peer_id):
                raise Refused(
                    "not_a_member", "The mailbox knows no member of that peer id (yet).", "Try again later."
                )
        if await self._workers.store(self._books.keep, letter, now=now):
            self._told[letter.recipient] = None
            self._news.set()
            self.changed()

    async def as_dict(self) -> dict[str, Any]:
        """What is kept here for others, and who keeps what is for us."""
        letters, size, peers = await self._workers.store(self._books.totals)
        chosen = await self.chosen()
        used = await self.mine()
        names = await self._catalogue.peer_names(used) if used else {}
        marks = await self._catalogue.marks_of(names)
        return {
            "serves": await self.serves(),
            "kept": {"letters": letters, "bytes": size, "peers": peers},
            "limits": asdict(self._books.quotas),
            "chosen": chosen,
            "mine": [
                {
                    "peer_id": box,
                    "name": names[box],
                    "marks": marks[box],
                    "own": box == self._identity.peer_id,
                    "looked_at": self.looked[box].at if box in self.looked else None,
                    "trouble": self.looked[box].trouble if box in self.looked else "",
                }
                for box in used
            ],
        }

    # --- who keeps our letters ---

    async def chosen(self) -> list[str]:
        """The mailboxes that the owner has named; empty where the group's host is one by default."""
        kept: list[str] = await self._workers.store(self._settings.get, _USE, [])
        return kept

    async def mine(self) -> list[str]:
        """Where letters for this node lie."""
        return await self.chosen() or self._default(self._identity.peer_id)

    async def of(self, peer_id: str) -> list[str]:
        """Who keeps letters for a peer: whom its own record names, else the group's host."""
        return await self._catalogue.mailboxes_of(peer_id) or self._default(peer_id)

    def _default(self, peer_id: str) -> list[str]:
        host = self._group.host_peer
        return [host] if host is not None and host != peer_id else []

    async def use(self, peer_ids: Sequence[str]) -> dict[str, Any]:
        """Name the mailboxes that others leave letters in; none means the group's host.

        Raises:
            Refused: too many, one's own, or a peer that keeps no letters.
            PeerError: one of them cannot be reached now.
        """
        wanted = list(dict.fromkeys(peer_ids))
        if len(wanted) > MOST_MAILBOXES:
            raise Refused("too_many", f"A peer has up to {MOST_MAILBOXES} mailboxes.")
        for box in wanted:
            check_peer_id(box)
            if box == self._identity.peer_id:
                raise Refused("own_mailbox", "A mailbox is for when you are off: name another peer.")
            if not (await wire.terms(self._network.host, box)).serves:
                raise Refused(
                    "no_mailbox", "That peer keeps no letters for others.", "Its owner can allow it there."
                )
        await self._workers.store(self._settings.set, _USE, wanted)
        self.look_now()
        self.changed()
        return await self.as_dict()

    def changed(self) -> None:
        """Tell the windows."""
        self._bus.publish("mail", {})

    # --- the protocol ---

    def _serve(self, host: PeerHost) -> None:
        host.serve(
            wire.PROTOCOL,
            self._answer,
            max_request=wire.MAX_ASK,
            max_response=wire.MAX_ANSWER,
            per_peer_rate=wire.RATE,
        )

    async def _answer(self, peer_id: str, raw: bytes) -> bytes:
        ask = from_wire(raw, wire.Ask, most=wire.MAX_ASK)
        match ask.do:
            case "put":
                await self._put(peer_id, ask)
                return b"{}"
            case "fetch":
                return to_wire(await self._fetch(peer_id))
            case "done":
                await self._workers.store(self._books.remove, peer_id, ask.ids)
                self.changed()
                return b"{}"
            case "news":
                if peer_id in await self.mine():
                    self.look_now()
                return b"{}"
            case "terms":
                quotas = self._books.quotas
                return to_wire(
                    wire.Terms(
                        serves=await self.serves(),
                        letters_of_sender=quotas.letters_of_sender,
                        letters_for_recipient=quotas.letters_for_recipient,
                        most_life_s=MOST_LIFE_S,
                    )
                )

    async def _put(self, peer_id: str, ask: wire.Ask) -> None:
        sealed = wire.letter_bytes(ask.letter)
        if ask.to == self._identity.peer_id:
            if self.receive is None:
                raise Refused("not_now", "This peer takes no letters at the moment.", "Try again later.")
            await self.receive(sealed)
            return
        await self.keep(
            KeptLetter(
                id=wire.address_of(sealed),
                recipient=check_peer_id(ask.to),
                sender=peer_id,
                expires=ask.expires,
                letter=sealed,
            )
        )

    async def _fetch(self, peer_id: str) -> wire.Fetched:
        now = self._clock.now()
        found, more = await self._workers.store(
            self._books.waiting, peer_id, now=now, most_bytes=wire.MOST_FETCHED
        )
        letters = [
            wire.Waiting(id=one.id, expires=one.expires, letter=wire.letter_text(one.letter)) for one in found
        ]
        return wire.Fetched(letters=letters, more=more)

    async def run(self) -> None:
        """Tell connected peers of new letters, and remove what has expired, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._purge_regularly)
            while True:
                await self._news.wait()
                self._news = trio.Event()
                told, self._told = self._told, {}
                for peer_id in told:
                    await self._tell(peer_id)
                await trio.sleep(BETWEEN_NEWS_S)

    async def _tell(self, peer_id: str) -> None:
        """One that is not connected asks by itself when it comes."""
        if peer_id not in {peer.peer_id for peer in self._network.peers()}:
            return
        try:
            await wire.news(self._network.host, peer_id)
        except PeerError as error:
            log.info("peer not told of its letters", recipient=peer_id, reason=error.code)

    async def _purge_regularly(self) -> None:
        while True:
            if await self._workers.store(self._books.purge, now=self._clock.now()):
                self.changed()
            await trio.sleep(PURGE_EVERY_S)
