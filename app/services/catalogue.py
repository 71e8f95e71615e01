"""The catalogue: what this node publishes, what it admits from others, and how it is searched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.catalogue_items import arbitration_of, item_of
from openstall.app.services.door import PEER_KEY, Admitted, Door
from openstall.app.services.group import GroupService
from openstall.app.services.identity import IdentityService
from openstall.app.services.mailbox.announced import Announced
from openstall.app.services.names import Marks, nothing_odd, nothing_to_add
from openstall.app.services.network import NetworkService
from openstall.app.threads import Workers
from openstall.market.contradictions import WORDS
from openstall.market.errors import InvalidRecord, NotFound
from openstall.market.fields import body_as_dict
from openstall.market.records import Peer, Record, SignedRecord, Tombstone, parse_record, sign_record
from openstall.p2p.catalogue import Catalogue as SharedCatalogue
from openstall.store.contradictions import Proofs
from openstall.store.records import Outcome, RecordRow, Records
from openstall.store.search import Search

TYPES = ("listing", "offer", "request", "developer", "peer")
SHORTEST_TOMBSTONE_S = 86_400

log = get_logger("openstall.catalogue")


class Catalogue:
    """Records of the joined group. Call from the trio thread."""

    def __init__(
        self,
        *,
        records: Records,
        proofs: Proofs,
        search: Search,
        announced: Announced,
        identity: IdentityService,
        group: GroupService,
        network: NetworkService,
        workers: Workers,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._records = records
        self._proofs = proofs
        self._search = search
        self._announced = announced
        self._identity = identity
        self._group = group
        self._network = network
        self._workers = workers
        self._bus = bus
        self._clock = clock
        self._publishing = trio.Lock()
        self.shared: SharedCatalogue | None = None
        """The exchange with peers, while there is one."""
        self.upkeep: Callable[[], Awaitable[None]] = _nothing_to_do
        """Set by the node: runs as long as there is a group, and throws away what is over."""
        self.dress: Callable[[Sequence[dict[str, Any]]], Awaitable[None]] = nothing_to_add
        """Set by the node: adds to records what is to be said of their authors' names."""
        self.marks_of: Callable[[Mapping[str, str]], Awaitable[Marks]] = nothing_odd
        """Set by the node: what is odd about the names of any peers, by their ids with their names."""
        network.lookup = self.addrs_of

    async def run(self, ready: Callable[[], None]) -> None:
        """The node's part `catalogue`: off without a group."""
        if not self._group.joined:
            return
        network, door = self._group.membership.network, self._door()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.upkeep)
            while True:
                host = await self._network.wait_up()
                shared = SharedCatalogue(host=host, network=network, store=door, admit=self._admit)
                self.shared = shared
                try:
                    ready()
                    await shared.run()
                finally:
                    self.shared = None
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
            # A record must not end before the one that it replaces, which would be live again.
            slot = (
                (str(body["target_type"]), str(body["target_key"])) if type_ == "tombstone" else (type_, key)
            )
            until = await self._workers.store(self._records.last_expiry, network, author, slot)
            record = Record(
                type=type_,
                network=network,
                author=author,
                key=key,
                seq=seq + 1,
                prev=prev,
                issued=now,
                expires=max(now + life_s, until),
                body=body,
            )
            signed = await self._workers.work(sign_record, record, self._identity.peer_seed)
            taken = await self._workers.store(self._door().take, [signed])
            if taken.outcomes[0] is Outcome.QUOTA:
                raise InvalidRecord(
                    "quota", "You have published as many records as peers accept.", "Wait until some expire."
                )
        await self._announced.published(signed)
        self._changed([type_])
        if self.shared is not None:
            await self.shared.announce(
                cid=signed.cid,
                record_type=type_,
                author=author,
                seq=record.seq,
                size=len(signed.raw),
            )
        return signed

    async def take_in(self, raws: Sequence[bytes], *, brought_by: str = "") -> Admitted:
        """Records of others, brought by a peer or by another way than the network; see `Door.admit`."""
        admitted = await self._workers.work(self._door().admit, raws, brought_by=brought_by)
        if admitted.new or admitted.contradicted:
            self._changed([one.record.type for one in admitted.new])
        for author in admitted.contradicted:
            log.warning("an author has contradicted itself", author=author)
        return admitted

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

    async def withdraw_cid(self, cid: str, type_: str) -> SignedRecord:
        """Take back one's own record by its address; NotFound if it is another's, or of another type."""
        record = await self.live_record(cid)
        if record.record.author != self._identity.peer_id:
            raise NotFound("not_yours", "That record is not yours.", "Only its author can take it back.")
        if record.record.type != type_:
            raise NotFound("another_type", f"That is no {type_}.", "It ends where it was made.")
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

    async def mailboxes_of(self, peer_id: str) -> list[str]:
        """Who keeps letters for a peer, by its own record; empty where it names nobody."""
        found = await self._peer(peer_id)
        return list(found.mailboxes) if found is not None else []

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

    async def evaluates(self, wallet: str) -> bool:
        """Whether the wallet's peer says that it measures models for others."""
        peer_id = await self.peer_of(wallet)
        peer = await self._peer(peer_id) if peer_id is not None else None
        return peer is not None and peer.evaluates

    async def raw_of(self, peer_id: str) -> bytes | None:
        """The wire form of a peer's own record, where the catalogue has a live one."""
        if not self._group.joined:
            return None
        network, now = self._group.membership.network, self._clock.now()
        row = await self._workers.store(self._records.live, network, peer_id, "peer", PEER_KEY, now=now)
        return await self._workers.store(self._records.raw, row.cid) if row else None

    async def _peer(self, peer_id: str) -> Peer | None:
        raw = await self.raw_of(peer_id)
        if raw is None:
            return None
        network, now = self._group.membership.network, self._clock.now()
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
            peer_id: found.get(peer_id)
            or connected.get(peer_id)
            or own.get(peer_id)
            or self._network.last_name(peer_id)
            or f"…{peer_id[-8:]}"
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
        network = self._group.membership.network if self._group.joined else ""
        item["author_missing"] = await self._workers.store(self._records.missing, network, row.author)
        if item["type"] == "listing":
            item["arbitration"] = arbitration_of(item["body"])
        return item

    async def entry(self, signed: SignedRecord) -> dict[str, Any]:
        """The same of a record that somebody has kept, whether or not the catalogue still has it."""
        row = await self._workers.store(self._records.row, signed.cid)
        if row is not None:
            return (await self._items([row]))[0]
        record = signed.record
        item = item_of(
            signed.cid,
            record,
            record.body,
            name=await self.peer_name(record.author),
            mine=record.author == self._identity.peer_id,
            reachable=record.author in self._reachable(),
            live=False,
            contradicted=(await self.contradicted([record.author])).get(record.author),
        )
        await self.dress([item])
        return item

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

    async def contradicted(self, authors: Sequence[str]) -> dict[str, dict[str, str]]:
        """Those of these authors that have signed two things which cannot both be, and what."""
        if not self._group.joined:
            return {}
        network = self._group.membership.network
        kinds = await self._workers.store(self._proofs.kinds, network, authors)
        return {author: {"kind": kind, "words": WORDS[kind]} for author, kind in kinds.items()}

    async def _items(self, rows: Sequence[RecordRow]) -> list[dict[str, Any]]:
        raws = await self._workers.store(self._records.raws, [row.cid for row in rows])
        names = await self.peer_names(list({row.author for row in rows}))
        contradicted = await self.contradicted([row.author for row in rows])
        own, reachable, now = self._identity.peer_id, self._reachable(), self._clock.now()
        items = [
            item_of(
                row.cid,
                row,
                json.loads(raws[row.cid])["record"]["body"],
                name=names[row.author],
                mine=row.author == own,
                reachable=row.author in reachable or row.author == own,
                live=row.current and row.expires > now,
                contradicted=contradicted.get(row.author),
            )
            for row in rows
            if row.cid in raws
        ]
        await self.dress(items)
        return items

    def _reachable(self) -> set[str]:
        return {peer.peer_id for peer in self._network.peers()}

    def _door(self) -> Door:
        membership = self._group.membership
        return Door(
            records=self._records,
            params=membership.params,
            network=membership.network,
            clock=self._clock,
            fetched=self._announced.fetched,
        )

    async def _admit(self, raws: Sequence[bytes], from_peer: str) -> Sequence[str | InvalidRecord]:
        return (await self.take_in(raws, brought_by=from_peer)).outcomes

    def _changed(self, types: Sequence[str]) -> None:
        self._bus.publish("catalogue", {"types": sorted(set(types)), "count": len(types)})


async def _nothing_to_do() -> None:
    """Until the node has set who keeps order."""
