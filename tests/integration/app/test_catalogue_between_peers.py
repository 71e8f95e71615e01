"""The catalogue between real hosts with real stores: what partitions leave behind is brought together."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.app.clock import SystemClock
from openstall.app.services.door import Door
from openstall.ledger.chain import ChainParams
from openstall.ledger.keys import PeerSeed
from openstall.market.errors import InvalidRecord
from openstall.market.quotas import LIVE_PER_AUTHOR
from openstall.market.records import Record, SignedRecord, sign_record
from openstall.p2p.catalogue import Catalogue
from openstall.p2p.host import PeerHost
from openstall.store.contradictions import Proofs
from openstall.store.database import Store
from openstall.store.records import Records

from .conftest import NodeProcess, until
from .test_cli import run

NETWORK = "group-7-abc"
CHAIN = ChainParams(
    chain_id=7,
    genesis_hash="0x" + "11" * 32,
    name="Test",
    credit="0x" + "01" * 20,
    escrow="0x" + "02" * 20,
    channel="0x" + "03" * 20,
    kind="group",
)
CLOCK = SystemClock()


class Author:
    """Somebody who signs; the numbers are its own to misuse."""

    def __init__(self, number: int, chain: ChainParams = CHAIN, network: str = NETWORK) -> None:
        self.seed = PeerSeed(number.to_bytes(32, "big"))
        self.chain, self.network = chain, network

    @property
    def peer_id(self) -> str:
        return self.seed.peer_id

    def offer(
        self, seq: int, key: str = "machine", *, life_s: int = 86_400, title: str = "Quiet machine"
    ) -> bytes:
        body = {
            "title": title, "kinds": ["infer"], "cpu": "Zen", "threads": 2, "memory_bytes": 2**31,
            "disk_bytes": 2**30, "gpus": [], "price_per_s_micro": 10_000, "max_s": 600,
            "withdraw_delay_s": 3600, "wallet": "0x" + "0a" * 20, "chain_id": self.chain.chain_id,
            "channel": self.chain.channel,
        }  # fmt: skip
        return self._sign("offer", key, seq, life_s, body).raw

    def withdraw(self, seq: int, key: str = "machine") -> bytes:
        body = {"target_type": "offer", "target_key": key}
        return self._sign("tombstone", f"t-{seq}", seq, 86_400, body).raw

    def _sign(self, type_: str, key: str, seq: int, life_s: int, body: dict[str, Any]) -> SignedRecord:
        now = CLOCK.now()
        record = Record(
            type=type_, network=self.network, author=self.peer_id, key=key, seq=seq, prev="", issued=now,
            expires=now + life_s, body=body,
        )  # fmt: skip
        return sign_record(record, self.seed.secret)


class Member:
    """A host with a store of its own."""

    def __init__(
        self,
        host: PeerHost,
        path: Path,
        *,
        network: str = NETWORK,
        chain: ChainParams = CHAIN,
        quotas: Mapping[str, int] = LIVE_PER_AUTHOR,
    ) -> None:
        self.host = host
        self.store = Store(path)
        self.records, self.proofs = Records(self.store, quotas=quotas), Proofs(self.store)
        self.network = network
        self.door = Door(records=self.records, params=chain, network=network, clock=CLOCK)
        self.catalogue = Catalogue(
            host=host, network=network, store=self.door, admit=self.admit, sync_every_s=0.3, gossip=False
        )

    async def admit(self, raws: Sequence[bytes], peer_id: str) -> Sequence[str | InvalidRecord]:
        return (await trio.to_thread.run_sync(lambda: self.door.admit(raws, brought_by=peer_id))).outcomes

    def hears(self, *raws: bytes) -> None:
        assert not [one for one in self.door.admit(raws).outcomes if getattr(one, "code", "quota") != "quota"
                    and isinstance(one, InvalidRecord)]  # fmt: skip

    def live(self) -> set[str]:
        return set(self.door.cids(0, 65_535, after="", limit=-1))


NewMember = Callable[..., Awaitable[Member]]


@pytest.fixture
def new_member(tmp_path: Path, nursery: trio.Nursery) -> NewMember:
    count = 0

    async def make(**quotas: int) -> Member:
        nonlocal count
        count += 1
        host = PeerHost(seed=random.Random(count).randbytes(32), network=NETWORK)
        await nursery.start(host.run)
        member = Member(host, tmp_path / f"{count}.sqlite", quotas={"offer": 50, **quotas})
        await nursery.start(member.catalogue.run)
        return member

    return make


async def same(*members: Member) -> None:
    with trio.fail_after(180):
        while len({member.door.root() for member in members}) > 1:  # noqa: ASYNC110 - a state without an event
            await trio.sleep(0.05)


async def test_whatever_each_side_saw_all_hold_the_same_in_the_end(new_member: NewMember) -> None:
    anna, ben, chris = [await new_member(offer=5) for _ in range(3)]
    plain, liar, flooder, brief = (Author(number) for number in (1, 2, 3, 4))
    # A change here, a withdrawal there, and somebody who saw only what was first.
    anna.hears(plain.offer(1), plain.offer(2), plain.offer(3, "other"))
    ben.hears(plain.offer(1), plain.withdraw(4, "other"))
    chris.hears(plain.offer(3, "other"))
    # One number for two things, told to different people.
    anna.hears(liar.offer(1, title="Cheap and fast"))
    ben.hears(liar.offer(1, title="Slow and dear"))
    # More than a catalogue takes, in different orders.
    flood = [flooder.offer(seq, f"m{seq}") for seq in range(1, 15)]
    anna.hears(*flood)
    chris.hears(*reversed(flood))
    # A successor that ends before what it replaced; it has ended when they meet.
    lasting = brief.offer(1, title="Lasting")
    ben.hears(lasting, brief.offer(2, life_s=1, title="For a second"))
    chris.hears(lasting)
    await trio.to_thread.run_sync(until, lambda: back(ben, brief), "the second is over")

    await ben.host.connect(anna.host.addrs[0])
    await chris.host.connect(ben.host.addrs[0])
    await same(anna, ben, chris)
    assert anna.live() == ben.live() == chris.live()
    for member in (anna, ben, chris):
        assert set(member.proofs.kinds(NETWORK, [one.peer_id for one in (plain, liar, flooder, brief)])) == {
            liar.peer_id
        }
        now = CLOCK.now()
        kept = [
            member.records.live(NETWORK, flooder.peer_id, "offer", f"m{seq}", now=now) for seq in range(1, 15)
        ]
        assert [bool(one) for one in kept] == [False] * 9 + [True] * 5
        assert member.records.live(NETWORK, plain.peer_id, "offer", "other", now=now) is None
        row = member.records.live(NETWORK, brief.peer_id, "offer", "machine", now=now)
        assert row is not None
        assert row.title == "Lasting"
    # Nobody did anything that an honest peer would not do.
    assert not any(one.bouncer.score(other.peer_id) > 1 for one in (anna.host, ben.host, chris.host)
                   for other in (anna.host, ben.host, chris.host))  # fmt: skip


def back(member: Member, author: Author) -> bool:
    row = member.records.live(NETWORK, author.peer_id, "offer", "machine", now=CLOCK.now())
    return row is not None and row.title == "Lasting"


async def test_what_was_removed_for_want_of_room_is_not_fetched_again(new_member: NewMember) -> None:
    anna, ben = await new_member(), await new_member()
    friend = Author(9)
    for number in range(20, 40):
        ben.hears(*[Author(number).offer(seq, f"m{seq}") for seq in range(1, 11)])
    ben.hears(friend.offer(1))
    size = len(friend.offer(1))
    anna.records.cap_bytes = 50 * size
    with anna.store.write() as db:
        db.execute(
            "INSERT INTO record_authors (network, author, trust) VALUES (?, ?, 2)", [NETWORK, friend.peer_id]
        )
    await ben.host.connect(anna.host.addrs[0])
    with trio.fail_after(180):
        while not anna.records.live(NETWORK, friend.peer_id, "offer", "machine", now=CLOCK.now()):  # noqa: ASYNC110
            await trio.sleep(0.05)
    report = await anna.catalogue.sync_now(ben.host.peer_id)
    assert sum(anna.catalogue.refused().values()) > 100
    assert set(anna.catalogue.refused()) <= {"storage_full", "peer_quota"}
    again = await anna.catalogue.sync_now(ben.host.peer_id)
    assert (again.missing, again.equal) == (0, False)
    assert report.admitted <= report.missing
    assert anna.host.bouncer.score(ben.host.peer_id) == 0, "an honest peer is not blamed for our room"
    with anna.store.read() as db:
        assert db.execute("SELECT sum(size) FROM records").fetchone()[0] <= 50 * size


def test_a_node_shows_who_contradicted_itself(make_node: Callable[..., NodeProcess]) -> None:
    node = make_node("node")
    node.create_identity("Ann")
    group = node.done("/v1/group/create", name="Here")
    chain = ChainParams(
        chain_id=group["chain_id"], genesis_hash=CHAIN.genesis_hash, name="Here", kind="group",
        credit=group["contracts"]["credit"], escrow=group["contracts"]["escrow"],
        channel=group["contracts"]["channel"],
    )  # fmt: skip
    liar = Author(77, chain, group["network"])
    (address,) = node.get("/v1/peers")["self"]["addrs"][:1]

    async def tell() -> None:
        host = PeerHost(seed=liar.seed.secret, network=liar.network)
        async with host, trio.open_nursery() as nursery:
            member = Member(host, node.home.parent / "liar.sqlite", network=liar.network, chain=chain)
            member.hears(liar.offer(1, "one"), liar.offer(1, "other"), liar.offer(5, "third"))
            await nursery.start(member.catalogue.run)
            await host.connect(address)

            def shown() -> Any:
                return node.get("/v1/catalogue/state")["contradictions"]

            await trio.to_thread.run_sync(until, shown, "the node has the proof")
            state = await trio.to_thread.run_sync(
                until, lambda: complete(node.get("/v1/catalogue/state")), "the node has compared"
            )
            assert state["counts"]["offer"] == 3
            assert state["by_trust"]["stranger"]["records"] + state["by_trust"]["seen"]["records"] == 3
            assert [peer["peer_id"] for peer in state["peers"]] == [liar.peer_id]
            words = await trio.to_thread.run_sync(lambda: run(node, "catalogue", "storage"))
            assert words["contradictions"] == 1
            nursery.cancel_scope.cancel()
        member.store.close()

    trio.run(tell)
    items = node.get("/v1/catalogue", type="offer")["items"]
    assert [one["contradicted"]["kind"] for one in items] == ["same_seq"] * 3
    assert node.get("/v1/catalogue", type="peer")["items"][0]["contradicted"] is None
    assert node.get(f"/v1/catalogue/{items[0]['cid']}")["author_missing"] == 3
    (found,) = run(node, "catalogue", "contradictions")["items"]
    assert found["author"] == liar.peer_id
    assert [one["seq"] for one in found["records"]] == [1, 1]
    assert {one["key"] for one in found["records"]} == {"one", "other"}
    node.post("/v1/catalogue/storage", cap_bytes=16 * 2**20)
    node.terminate()
    node.start()
    assert node.get("/v1/catalogue/storage")["cap_bytes"] == 16 * 2**20
    assert node.api.post("/v1/catalogue/storage", json={"cap_bytes": 5}).status_code == 422


def complete(state: dict[str, Any]) -> dict[str, Any] | None:
    return state if state["complete"] and all(peer["checked_at"] for peer in state["peers"]) else None
