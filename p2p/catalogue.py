"""The shared catalogue: news of records by gossip, the records themselves by request, all of them by sync."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
import trio
from msgspec import Meta, Struct
from trio_typing import TaskStatus

from openstall.market.errors import OpenstallError, PeerError
from openstall.market.schema import NONSENSE
from openstall.p2p.gossip import MAX_MESSAGE, Topic, open_topic
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate
from openstall.p2p.nurseries import single_errors
from openstall.p2p.pull import Admit
from openstall.p2p.record_wire import Cid, RecordStore
from openstall.p2p.sync import Sync, SyncReport

__all__ = ["Admit", "Catalogue", "Checked", "RecordStore", "SyncReport"]

SYNC_EVERY_S = 30.0
SYNCED_PER_ROUND = 3
"""Peers whose digests are compared in a round; two that hold the same exchange a few kilobytes."""
POKED_AT_ONCE = 8
PASSED_ON_TO = 2
"""Members that are asked to sync after we have got news by a sync ourselves, where gossip runs too."""
GOSSIP_FIRST_S = 0.5
"""What gossip has brought by then costs a poked peer one small request."""
BETWEEN_POKES_S = 1.0
RETRY_S = 2.0
_WORKERS = 3
_NETWORK = re.compile(r"^[A-Za-z0-9._:-]{1,80}$")

log = logging.getLogger("openstall.p2p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The last comparison with a connected peer."""

    peer_id: str
    seconds_ago: float
    report: SyncReport

    @property
    def complete(self) -> bool:
        """Whether nothing that the peer held is missing here, but for what we refused."""
        return self.report.equal or self.report.missing == self.report.admitted


class _News(Struct, kw_only=True, frozen=True):
    """An announcement: which record there is, and how big. The record proves itself when it is pulled."""

    cid: Cid
    type: Annotated[str, Meta(max_length=20)]
    author: Annotated[str, Meta(max_length=64)]
    seq: Annotated[int, Meta(ge=0)]
    size: Annotated[int, Meta(ge=1, le=65536)]


class Catalogue:
    """Keeps the local catalogue equal to everybody's, for one network.

    `admit(raws, from_peer)` is the application's door: it checks and stores a batch of records and
    returns, in the same order, each one's cid (stored, known or superseded) or the `InvalidRecord`
    that says why not. The sender of an invalid record is penalised and in the end banned.
    """

    def __init__(
        self,
        *,
        host: PeerHost,
        network: str,
        store: RecordStore,
        admit: Admit,
        gossip: bool = True,
        sync_every_s: float = SYNC_EVERY_S,
    ) -> None:
        if not _NETWORK.match(network):
            raise ValueError("a network's name has 1 to 80 letters, digits, dots, colons and dashes")
        self._host = host
        self._network = network
        self._store = store
        self._gossip = gossip
        self._sync_every_s = sync_every_s
        self._sync = Sync(host=host, network=network, store=store, admit=admit)
        self._topic: Topic | None = None
        self._due: dict[str, None] = {}
        self._busy: set[str] = set()
        self._failures: dict[str, int] = {}
        self._checked: dict[str, tuple[float, SyncReport]] = {}
        self._wake = trio.Event()
        self._has_news = trio.Event()
        self._to_tell = 0
        self._poke = f"/openstall/{network}/records/news/1"
        host.serve(
            self._poke, self._on_poke, max_request=0, max_response=0, per_peer_rate=Rate(per_s=1, burst=10)
        )

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled; the host must be running."""
        with single_errors():
            async with self._host.events() as events, trio.open_nursery() as nursery:
                nursery.start_soon(self._work, nursery, self._chosen)
                for _ in range(_WORKERS - 1):
                    nursery.start_soon(self._work, nursery, lambda _: True)
                nursery.start_soon(self._periodically)
                nursery.start_soon(self._poke_others)
                for peer in self._host.peers():
                    self._want(peer.peer_id)
                if self._gossip:
                    await nursery.start(self._follow_gossip)
                task_status.started()
                async for event in events:
                    if event.kind == "disconnected":
                        self._checked.pop(event.peer.peer_id, None)
                    elif event.peer.network == self._network:
                        self._want(event.peer.peer_id)
                nursery.cancel_scope.cancel()

    async def announce(self, *, cid: str, record_type: str, author: str, seq: int, size: int) -> None:
        """Tell the network of a record that the local store now holds; nobody may be listening.

        Gossip is quick but loses messages without a word (a mesh that is not formed yet, a full queue), so a
        few peers are also asked to sync at once: what one of them has, the rest can get from it.
        """
        if self._topic is not None:
            news = msgspec.json.encode(_News(cid=cid, type=record_type, author=author, seq=seq, size=size))
            await self._topic.publish(news)
        self._tell_of_news(POKED_AT_ONCE)

    async def sync_now(self, peer_id: str) -> SyncReport:
        """Pull everything that a peer holds and we lack.

        Raises:
            PeerError: the peer is not reachable, or breaks the rules.
        """
        report = await self._sync.with_peer(peer_id)
        self._checked[peer_id] = (trio.current_time(), report)
        if report.admitted:
            self._tell_of_news(PASSED_ON_TO if self._topic is not None else POKED_AT_ONCE)
        return report

    def checked(self) -> list[Checked]:
        """How we stand with each connected peer that has been compared with."""
        now, members = trio.current_time(), set(self.members())
        return [
            Checked(peer_id=peer_id, seconds_ago=now - at, report=report)
            for peer_id, (at, report) in self._checked.items()
            if peer_id in members
        ]

    def refused(self) -> Mapping[str, int]:
        """Records of others that were not admitted, by reason, since this catalogue was made."""
        return self._sync.puller.refused

    def members(self) -> list[str]:
        """Connected peers of this network."""
        return [one.peer_id for one in self._host.peers() if one.network == self._network]

    # Gossip

    async def _follow_gossip(self, task_status: TaskStatus[None]) -> None:
        name = f"/openstall/{self._network}/records/1"
        async with open_topic(
            self._host.engine_host, name, validate=self._on_news, penalise=self._host.penalise
        ) as topic:
            self._topic = topic
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._topic = None

    async def _on_news(self, peer_id: str, data: bytes) -> bool:
        # Only what we hold is passed on, so an announcement of nothing goes one hop and costs its sender.
        try:
            news = msgspec.json.decode(data, type=_News) if len(data) <= MAX_MESSAGE else None
        except NONSENSE:
            news = None
        if news is None:
            self._host.penalise(peer_id, 10.0, "bad_announcement")
            return False
        if not await trio.to_thread.run_sync(self._store.lacking, [news.cid]):
            return True
        try:
            if await self._sync.puller.pull(peer_id, [news.cid]):
                return True
        except PeerError as error:
            log.debug("news from %s could not be followed: %s", peer_id, error.code)
        return False

    # Sync

    async def _on_poke(self, peer_id: str, _: bytes) -> bytes:
        self._want(peer_id)
        return b""

    async def _poke_others(self) -> None:
        """Ask a few members to sync with us, once for all the news of a second."""

        async def poke(peer_id: str) -> None:
            try:
                await self._host.request(peer_id, self._poke, b"", timeout_s=10.0, max_response=0)
            except PeerError as error:
                log.debug("peer %s was not told of news: %s", peer_id, error.code)

        while True:
            await self._has_news.wait()
            if self._topic is not None:
                await trio.sleep(GOSSIP_FIRST_S)
            self._has_news, most, self._to_tell = trio.Event(), self._to_tell, 0
            members = self.members()
            async with trio.open_nursery() as nursery:
                for peer_id in random.sample(members, min(most, len(members))):
                    nursery.start_soon(poke, peer_id)
            await trio.sleep(BETWEEN_POKES_S)

    def _tell_of_news(self, most: int) -> None:
        self._to_tell = max(self._to_tell, most)
        self._has_news.set()

    def _want(self, peer_id: str) -> None:
        self._due[peer_id] = None
        self._wake_up()

    def _wake_up(self) -> None:
        wake, self._wake = self._wake, trio.Event()
        wake.set()

    def _chosen(self, peer_id: str) -> bool:
        """Whether we called this peer ourselves: a silent crowd that calls us leaves one worker to those."""
        peer = self._host.peer(peer_id)
        return peer is not None and peer.direction == "out"

    async def _work(self, nursery: trio.Nursery, takes: Callable[[str], bool]) -> None:
        while True:
            free = [one for one in self._due if one not in self._busy and takes(one)]
            if not free:
                await self._wake.wait()
                continue
            peer_id = free[0]
            del self._due[peer_id]
            self._busy.add(peer_id)
            try:
                report = await self.sync_now(peer_id)
            except OpenstallError as error:
                log.info("no sync with %s: %s", peer_id, error.code)
                nursery.start_soon(self._again, peer_id)
                continue
            finally:
                self._busy.discard(peer_id)
                self._wake_up()
            self._failures.pop(peer_id, None)
            if report.missing:
                log.info("sync with %s: %d of %d records admitted", peer_id, report.admitted, report.missing)

    async def _again(self, peer_id: str) -> None:
        failures = self._failures[peer_id] = min(self._failures.get(peer_id, -1) + 1, 6)
        await trio.sleep(min(RETRY_S * 2**failures, self._sync_every_s))
        if peer_id in self.members():
            self._want(peer_id)
        else:
            self._failures.pop(peer_id, None)

    async def _periodically(self) -> None:
        while True:
            await trio.sleep(self._sync_every_s)
            members = self.members()
            for peer_id in random.sample(members, min(SYNCED_PER_ROUND, len(members))):
                self._want(peer_id)
