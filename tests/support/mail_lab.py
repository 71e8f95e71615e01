"""Peers that write letters to each other, in one process: real hosts, stores, couriers and mailboxes.

Only the members of the group are a list of the test's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from ledger_lab import Clock
from trio_typing import TaskStatus

from openstall.app.events import EventBus
from openstall.app.services.disputes.wire import PROTOCOL as TALK
from openstall.app.services.mailbox.post import KEPT
from openstall.app.services.mailbox.service import MailboxService
from openstall.app.services.mailbox.wiring import PostOffice, make_post
from openstall.app.threads import Workers
from openstall.market import canonical
from openstall.market.errors import PeerError
from openstall.p2p.host import PeerHost
from openstall.p2p.identity import peer_id_from_seed
from openstall.p2p.limits import Rate
from openstall.store.database import Store
from openstall.store.mailbox import MailboxBooks, Quotas
from openstall.store.outbox import Outbox, OutboxRow
from openstall.store.settings import Settings

NETWORK = "openstall-mail"
ORDER_ID = "ab" * 32


@dataclass(slots=True)
class Members:
    """The catalogue's part: who is a member, and which mailboxes each names."""

    mailboxes: dict[str, list[str]] = field(default_factory=dict)

    async def wallet_of(self, peer_id: str) -> str:
        return "0x1" if peer_id in self.mailboxes else ""

    async def mailboxes_of(self, peer_id: str) -> list[str]:
        return self.mailboxes.get(peer_id, [])

    async def peer_names(self, peer_ids: list[str]) -> dict[str, str]:
        return {one: one[-4:] for one in peer_ids}

    async def marks_of(self, named: dict[str, str]) -> dict[str, list[dict[str, str]]]:
        return {one: [] for one in named}


@dataclass(slots=True, kw_only=True)
class Correspondent:
    """One peer; `heard` is what its handler was asked, `says` what it answers."""

    name: str
    folder: Path
    members: Members
    clock: Clock
    seed: bytes
    host_peer: str
    """The group's host, who keeps letters by default."""
    others: list[Correspondent] = field(default_factory=list)
    quotas: Quotas | None = None
    heard: list[tuple[str, Any]] = field(default_factory=list)
    says: Callable[[], bytes] = lambda: b"{}"
    host: PeerHost = field(init=False)
    store: Store = field(init=False)
    office: PostOffice = field(init=False)
    mailbox: MailboxService = field(init=False)
    _listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    _stop: trio.Event = field(default_factory=trio.Event)
    _ended: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.host = PeerHost(seed=self.seed, network=NETWORK)

    @property
    def peer_id(self) -> str:
        return self.host.peer_id

    @property
    def waiting(self) -> list[OutboxRow]:
        return self.office.post.outbox.all()

    @property
    def kept(self) -> int:
        """Letters of others that lie here."""
        return MailboxBooks(self.store).totals()[0]

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be on until `off`, from what is on the disk."""
        self._stop, self._ended = trio.Event(), trio.Event()
        self.folder.mkdir(exist_ok=True)
        self.store = Store(self.folder / "store.sqlite")
        self.host = PeerHost(
            seed=self.seed, network=NETWORK, listen=self._listen, peerstore_path=self.folder / "peers"
        )
        self._make()
        try:
            async with self.host, trio.open_nursery() as nursery:
                self._listen = (self.host.addrs[0].split("/p2p/")[0],)
                for one in self.others:
                    self.host.book.learn(one.peer_id, list(one._listen))
                    one.host.book.learn(self.peer_id, list(self._listen))
                nursery.start_soon(self.office.run, SimpleNamespace())
                nursery.start_soon(self.mailbox.run)
                task_status.started()
                await self._stop.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.store.close()
            self._ended.set()

    async def off(self) -> None:
        self._stop.set()
        await self._ended.wait()

    def _make(self) -> None:
        workers = Workers()
        self.mailbox = MailboxService(
            books=MailboxBooks(self.store, self.quotas),
            settings=Settings(self.store),
            identity=SimpleNamespace(peer_id=self.peer_id),  # type: ignore[arg-type]  # what is used of it
            group=SimpleNamespace(  # type: ignore[arg-type]  # as above
                brief=lambda: {"state": "hosting" if self.host_peer == self.peer_id else "member"},
                host_peer=self.host_peer,
            ),
            network=SimpleNamespace(  # type: ignore[arg-type]  # as above
                offer=lambda serve: serve(self.host), host=self.host, peers=self.host.peers
            ),
            catalogue=self.members,  # type: ignore[arg-type]  # as above
            workers=workers,
            bus=EventBus(),
            clock=self.clock,
        )
        self.office = make_post(
            host=self.host,
            outbox=Outbox(self.store),
            seed=self.seed,
            network=NETWORK,
            mailbox=self.mailbox,
            workers=workers,
            clock=self.clock,
        )
        self.office.post.serve(
            TALK,
            self._hear,
            max_request=16 * 1024,
            max_response=1024,
            per_peer_rate=Rate(per_s=50, burst=500),
        )

    async def _hear(self, peer_id: str, raw: bytes) -> bytes:
        self.heard.append((peer_id, canonical.decode(raw)))
        return self.says()

    async def ask(self, other: Correspondent, n: int) -> bytes:
        """Say something, directly or by letter; raises as the post does."""
        return await self.office.post.request(other.peer_id, TALK, saying(n), timeout_s=10, max_response=1024)

    async def posts(self, other: Correspondent, n: int) -> None:
        """The same to a peer that is off."""
        with pytest.raises(PeerError) as caught:
            await self.ask(other, n)
        assert caught.value.code == KEPT


def saying(n: int) -> bytes:
    return canonical.encode({"do": "say", "n": n, "order_id": ORDER_ID})


@dataclass(slots=True, kw_only=True)
class MailLab:
    """Ann and Bob, and Mia, who keeps letters."""

    ann: Correspondent
    bob: Correspondent
    mia: Correspondent
    clock: Clock
    members: Members
    nursery: trio.Nursery

    async def on(self, *peers: Correspondent) -> None:
        """Start these; each knows where the others are."""
        for peer in peers:
            await self.nursery.start(peer.run)

    def later(self, seconds: int) -> None:
        self.clock.ahead_s += seconds


@asynccontextmanager
async def mail_lab(folder: Path, *, quotas: Quotas | None = None) -> AsyncIterator[MailLab]:
    clock, members = Clock(), Members()
    ann, bob, mia = (
        Correspondent(
            name=name,
            folder=folder / name,
            members=members,
            clock=clock,  # type: ignore[arg-type]  # `now` is all there is to a clock
            seed=bytes([n]) * 32,
            quotas=quotas,
            host_peer=peer_id_from_seed(bytes([43]) * 32),
        )
        for n, name in enumerate(("ann", "bob", "mia"), start=41)
    )
    for peer in (ann, bob, mia):
        members.mailboxes[peer.peer_id] = []
        peer.others = [one for one in (ann, bob, mia) if one is not peer]
    async with trio.open_nursery() as nursery:
        yield MailLab(ann=ann, bob=bob, mia=mia, clock=clock, members=members, nursery=nursery)
        for peer in (ann, bob, mia):
            if not peer._stop.is_set() and hasattr(peer, "office"):
                await peer.off()


async def soon(look: Callable[[], Any], what: str) -> Any:
    """The first true answer."""
    with trio.move_on_after(120):
        while True:
            if found := look():
                return found
            await trio.sleep(0.02)
    raise AssertionError(f"waited in vain: {what}")
