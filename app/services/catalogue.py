"""The catalogue: what this node publishes, what it admits from others, and how it is searched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.door import PEER_KEY, Door
from openstall.app.services.group import GroupService
from openstall.app.services.identity import IdentityService
from openstall.app.services.network import NetworkService
from openstall.app.threads import Workers
from openstall.market.errors import InvalidRecord, NotFound
from openstall.market.fields import body_as_dict
from openstall.market.orders.agree import arbitration
from openstall.market.orders.words import arbitration_words
from openstall.market.records import Peer, Record, SignedRecord, Tombstone, parse_record, sign_record
from openstall.p2p.catalogue import Catalogue as SharedCatalogue
from openstall.store.records import Outcome, RecordRow, Records
from openstall.store.search import Search

TYPES = ("listing", "offer", "request", "developer", "peer")
SHORTEST_TOMBSTONE_S = 86_400
PURGE_EVERY_S = 3_600

log = get_logger("openstall.catalogue")


class Catalogue:
    """Records of the joined group. Call from the trio thread."""

    def __init__(
        self,
        *,
        records: Records,
        search: Search,
        identity: IdentityService,
        group: GroupService,
        network: NetworkService,
        workers: Workers,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._records = records
        self._search = search
        self._identity = identity
        self._group = group
        self._network = network
        self._workers = workers
        self._bus = bus
        self._clock = clock
        self._publishing = trio.Lock()
        self._shared: SharedCatalogue | None = None
        network.lookup = self.addrs_of

    async def run(self, ready: Callable[[], None]) -> None:
        """The node's part `catalogue`: off without a group."""
        if not self._group.joined:
            return
        membership = self._group.membership
        door = Door(
            records=self._records, params=membership.params, network=membership.network, clock=self._clock
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._purge_regularly)
            while True:
                host = await self._network.wait_up()
                shared = SharedCatalogue(
                    host=host, network=membership.network, store=door, admit=self._admitter(door)
                )
                self._shared = shared
                try:
                    ready()
                    await shared.run()
                finally:
                    self._shared = None
                await trio.sleep(0.1)  # the host has ended; its successor is starting

    async def publish(self, type_: str, key: str, body: dict[str, Any], *, life_s: int) -> SignedRecord:
        """Sign a record as the successor of what this node published before, store it, announce it.

        Raises:
            InvalidRecord: the body breaks its schema.
        """
        network = self._group.membership.network
        author = self._identity.peer_id
        async with self._publishing:
            seq, prev = await self._workers.store(self._records.last_of, network, author)
            now = self._clock.now()
            record = Record(
                type=type_,
                network=network,
                author=author,
                key=key,
                seq=seq + 1,
                prev=prev,
                issued=now,
                expires=now + life_s,
                body=body,
            )
            signed = await self._workers.work(sign_record, record, self._identity.peer_seed)
            door = self._door()
            outcome = (await self._workers.store(door.store, [signed]))[0]
            if outcome is Outcome.QUOTA:
                raise InvalidRecord(
                    "quota", "You have published as many records as peers accept.", "Wait until some expire."
                )
        self._changed([type_])
        if self._shared is not None:
            await self._shared.announce(
                cid=signed.cid,
                record_type=type_,
                author=author,
                seq=record.seq,
                size=len(signed.raw),
            )
        return signed

    async def withdraw(self, type_: str, key: str) -> SignedRecord:
        """Take back one's own record; it vanishes from every catalogue. NotFound if none is live."""
        network = self._group.membership.network
        now = self._clock.now()
        live = await self._workers.store(
            self._records.live, network, self._identity.peer_id, type_, key, now=now
        )
        if live is None:
            raise NotFound("not_published", f"You have no {type_} of that name in the catalogue.")
        body = body_as_dict(Tombstone(target_type=type_, target_key=key))
        own_key = f"{type_}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        return await self.publish(
            "tombstone", own_key, body, life_s=max(SHORTEST_TOMBSTONE_S, live.expires - now)
        )

    async def withdraw_cid(self, cid: str) -> SignedRecord:
        """Take back one's own record by its address."""
        record = await self.live_record(cid)
        if record.record.author != self._identity.peer_id:
            raise NotFound("not_yours", "That record is not yours.", "Only its author can take it back.")
        return await self.withdraw(record.record.type, record.record.key)

    async def live_record(self, cid: str) -> SignedRecord:
        """A record that holds now; NotFound if it is unknown, superseded, withdrawn or expired."""
        row = await self._workers.store(self._records.row, cid)
        raw = await self._workers.store(self._records.raw, cid)
        if row is None or raw is None:
            raise NotFound("no_such_record", "That is not in the catalogue (any more).", "Search again.")
        if not row.current or row.expires <= self._clock.now():
            raise NotFound(
                "not_live", "Its author has changed or withdrawn this, or it has expired.", "Search again."
            )
        network = self._group.membership.network
        return await self._workers.work(parse_record, raw, network=network, now=self._clock.now())

    async def live_of(self, author: str, type_: str, key: str) -> SignedRecord | None:
        """What a peer says now under a type and key; None where it says nothing."""
        network, now = self._group.membership.network, self._clock.now()
        row = await self._workers.store(self._records.live, network, author, type_, key, now=now)
        return None if row is None else await self.held(row.cid, at=now)

    async def held_at(self, author: str, type_: str, key: str, *, at: int) -> SignedRecord | None:
        """What this node had from a peer under a type and key at a past moment (Unix seconds)."""
        network = self._group.membership.network
        row = await self._workers.store(self._records.held_at, network, author, type_, key, at=at)
        return None if row is None else await self.held(row.cid, at=at)

    async def held(self, cid: str, *, at: int | None = None) -> SignedRecord | None:
        """A record that is kept here, superseded or not, as it held at a moment; None if it is unknown.

        Without a moment it is read as of its own date, so that one that has expired since is found too.

        Raises:
            InvalidRecord: it did not hold at that moment.
        """
        raw = await self._workers.store(self._records.raw, cid)
        row = await self._workers.store(self._records.row, cid)
        if raw is None or row is None:
            return None
        network, now = self._group.membership.network, row.issued if at is None else at
        return await self._workers.work(parse_record, raw, network=network, now=now)

    async def addrs_of(self, peer_id: str) -> list[str]:
        """Where a peer says that it can be reached, by its own record; empty where there is none."""
        found = await self._peer(peer_id)
        return list(found.addrs) if found is not None else []

    async def wallet_of(self, peer_id: str) -> str:
        """The wallet that a peer's own record binds to it, lower case; empty where there is none."""
        found = await self._peer(peer_id)
        return found.wallet.lower() if found is not None else ""

    async def peer_of(self, wallet: str) -> str | None:
        """The peer that is bound to a wallet, where the catalogue knows one."""
        if not self._group.joined:
            return None
        network, now = self._group.membership.network, self._clock.now()
        return await self._workers.store(self._search.peer_bound_to, network, wallet, now=now)

    async def _peer(self, peer_id: str) -> Peer | None:
        if not self._group.joined:
            return None
        network, now = self._group.membership.network, self._clock.now()
        row = await self._workers.store(self._records.live, network, peer_id, "peer", PEER_KEY, now=now)
        raw = await self._workers.store(self._records.raw, row.cid) if row else None
        if raw is None:
            return None
        body = (await self._workers.work(parse_record, raw, network=network, now=now)).body
        return body if isinstance(body, Peer) else None

    async def peer_name(self, peer_id: str) -> str:
        """What a peer calls itself; the end of its id where that is not known."""
        return (await self.peer_names([peer_id]))[peer_id]

    async def peer_names(self, peer_ids: Sequence[str]) -> dict[str, str]:
        """Names of several peers."""
        network = self._group.membership.network if self._group.joined else ""
        found = await self._workers.store(self._records.titles, network, "peer", peer_ids)
        connected = {peer.peer_id: peer.name for peer in self._network.peers()}
        own = {self._identity.peer_id: self._identity.name}
        return {
            peer_id: found.get(peer_id) or connected.get(peer_id) or own.get(peer_id) or f"…{peer_id[-8:]}"
            for peer_id in peer_ids
        }

    async def find(
        self,
        *,
        query: str = "",
        types: tuple[str, ...] = (),
        author: str = "",
        limit: int = 50,
        offset: int = 0,
    ) -> dict[str, Any]:
        """A page of the catalogue for the local API."""
        if not self._group.joined:
            return {"items": [], "total": 0, "exact": True}
        page = await self._workers.store(
            self._search.find,
            self._group.membership.network,
            now=self._clock.now(),
            query=query,
            types=types,
            author=author,
            limit=limit,
            offset=offset,
        )
        items = await self._items(page.items)
        return {"items": items, "total": page.total, "exact": page.exact}

    async def item(self, cid: str) -> dict[str, Any]:
        """One record for the local API, live or not."""
        row = await self._workers.store(self._records.row, cid)
        if row is None:
            raise NotFound("no_such_record", "That is not in the catalogue (any more).", "Search again.")
        item = (await self._items([row]))[0]
        if item["type"] == "listing":
            item["arbitration"] = _arbitration(item["body"])
        return item

    async def entry(self, signed: SignedRecord) -> dict[str, Any]:
        """The same of a record that somebody has kept, whether or not the catalogue still has it."""
        row = await self._workers.store(self._records.row, signed.cid)
        if row is not None:
            return (await self._items([row]))[0]
        record = signed.record
        return {
            "cid": signed.cid,
            "type": record.type,
            "key": record.key,
            "author": record.author,
            "author_name": await self.peer_name(record.author),
            "seq": record.seq,
            "issued": record.issued,
            "expires": record.expires,
            "body": record.body,
            "mine": record.author == self._identity.peer_id,
            "reachable": record.author in {peer.peer_id for peer in self._network.peers()},
            "live": False,
        }

    async def own(self, type_: str, key: str) -> dict[str, Any]:
        """This node's own live record of a type and key; NotFound if there is none."""
        network = self._group.membership.network
        row = await self._workers.store(
            self._records.live, network, self._identity.peer_id, type_, key, now=self._clock.now()
        )
        if row is None:
            raise NotFound("not_published", f"You have no {type_} of that name in the catalogue.")
        return (await self._items([row]))[0]

    async def counts(self) -> dict[str, int]:
        """Live records by type."""
        found: dict[str, int] = {}
        if self._group.joined:
            network = self._group.membership.network
            found = await self._workers.store(self._records.counts, network, now=self._clock.now())
        return {type_: found.get(type_, 0) for type_ in TYPES}

    async def _items(self, rows: Sequence[RecordRow]) -> list[dict[str, Any]]:
        raws = await self._workers.store(self._records.raws, [row.cid for row in rows])
        names = await self.peer_names(list({row.author for row in rows}))
        reachable = {peer.peer_id for peer in self._network.peers()} | {self._identity.peer_id}
        now = self._clock.now()
        return [
            {
                "cid": row.cid,
                "type": row.type,
                "key": row.key,
                "author": row.author,
                "author_name": names[row.author],
                "seq": row.seq,
                "issued": row.issued,
                "expires": row.expires,
                "body": json.loads(raws[row.cid])["record"]["body"],
                "mine": row.author == self._identity.peer_id,
                "reachable": row.author in reachable,
                "live": row.current and row.expires > now,
            }
            for row in rows
            if row.cid in raws
        ]

    def _door(self) -> Door:
        membership = self._group.membership
        return Door(
            records=self._records, params=membership.params, network=membership.network, clock=self._clock
        )

    def _admitter(self, door: Door) -> Callable[[Sequence[bytes], str], Any]:
        async def admit(raws: Sequence[bytes], _from_peer: str) -> Sequence[str | InvalidRecord]:
            outcomes, new = await self._workers.work(door.admit, raws)
            if new:
                self._changed([one.record.type for one in new])
            return outcomes

        return admit

    def _changed(self, types: Sequence[str]) -> None:
        self._bus.publish("catalogue", {"types": sorted(set(types)), "count": len(types)})

    async def _purge_regularly(self) -> None:
        while True:
            removed = await self._workers.store(
                self._records.purge, now=self._clock.now(), keep_author=self._identity.peer_id
            )
            if removed:
                log.info("expired records removed", count=removed)
            await trio.sleep(PURGE_EVERY_S)


def _arbitration(listing: dict[str, Any]) -> dict[str, Any] | None:
    """What an order of a listing will say about its arbiter, with words for a buyer; None without one."""
    if not listing["arbiter"]:
        return None
    terms = arbitration()
    fee, silence = arbitration_words(listing["price_micro"], **terms)
    return {**terms, "fee_words": fee, "silence_words": silence}
