"""The catalogue between peers: by gossip, by sync, and against peers who break the rules."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel

from openstall.market.errors import PeerError
from openstall.p2p.catalogue import Catalogue
from openstall.p2p.host import PeerHost, Rate

NewHost = Callable[..., Awaitable[PeerHost]]
NewRecords = Callable[..., Any]
WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]
SERVED = ("digests", "cids", "bodies")


class Member:
    def __init__(self, host: PeerHost, records: Any, nursery: trio.Nursery, **options: Any) -> None:
        self.host, self.records = host, records
        self.catalogue = Catalogue(host=host, network="test", store=records, admit=records.admit, **options)
        self._nursery = nursery

    async def start(self) -> Member:
        await self._nursery.start(self.catalogue.run)
        return self

    async def tell(self, raw: bytes) -> str:
        cid: str = self.records.add(raw)
        await self.catalogue.announce(cid=cid, record_type="listing", author="x", seq=1, size=len(raw))
        return cid


@pytest.fixture
def member(new_host: NewHost, records: NewRecords, nursery: trio.Nursery) -> Callable[..., Awaitable[Member]]:
    async def make(count: int = 0, **options: Any) -> Member:
        return await Member(await new_host(), records(count), nursery, **options).start()

    return make


NewMember = Callable[..., Awaitable[Member]]


async def test_a_late_joiner_gets_everything(member: NewMember) -> None:
    anna, ben = await member(2000), await member(3)
    await ben.host.connect(anna.host.addrs[0])
    await ben.records.count_is(2003)
    await anna.records.count_is(2003)


async def test_news_travel_over_a_peer_in_the_middle(member: NewMember, wait_until: WaitUntil) -> None:
    anna, ben, chris = await member(), await member(), await member()
    await anna.host.connect(ben.host.addrs[0])
    await chris.host.connect(ben.host.addrs[0])
    await wait_until(lambda: ben.catalogue._topic is not None and ben.catalogue._topic.audience() == 2)
    await wait_until(lambda: anna.catalogue._topic is not None and anna.catalogue._topic.audience() == 1)
    for number in range(5):
        await anna.tell(b"record %d" % number)
    await chris.records.count_is(5)
    assert chris.host.peer(anna.host.peer_id) is None, "they were never connected"


async def test_without_gossip_nothing_is_lost(member: NewMember) -> None:
    anna, ben, chris = [await member(gossip=False) for _ in range(3)]
    await anna.host.connect(ben.host.addrs[0])
    await chris.host.connect(ben.host.addrs[0])
    await anna.tell(b"record from anna")
    await chris.records.count_is(1)
    assert chris.records.held == anna.records.held


async def test_the_periodic_sync_repairs_what_nobody_announced(member: NewMember) -> None:
    anna, ben = [await member(gossip=False, sync_every_s=0.2) for _ in range(2)]
    await anna.host.connect(ben.host.addrs[0])
    anna.records.add(b"record that was not announced")
    await ben.records.count_is(1)


async def test_sync_on_demand_reports_what_it_did(member: NewMember, wait_until: WaitUntil) -> None:
    anna, ben = await member(gossip=False), await member(gossip=False)
    await anna.host.connect(ben.host.addrs[0])
    await wait_until(lambda: len(ben.catalogue.members()) == 1)
    for number in range(300):
        ben.records.add(b"record" + bytes(60_000) + number.to_bytes(2, "big"))
    report = await anna.catalogue.sync_now(ben.host.peer_id)
    # The sync that follows every connection may still be at work and have its share of them.
    assert report.admitted <= report.missing <= 300
    await anna.records.count_is(300)
    again = await anna.catalogue.sync_now(ben.host.peer_id)
    assert (again.missing, again.admitted) == (0, 0)


async def test_another_network_is_left_alone(
    member: NewMember, new_host: NewHost, records: NewRecords, nursery: trio.Nursery
) -> None:
    anna = await member(5)
    host = await new_host(network="elsewhere")
    other = Catalogue(host=host, network="elsewhere", store=records(0), admit=records(0).admit)
    await nursery.start(other.run)
    await host.connect(anna.host.addrs[0])
    assert other.members() == []
    with pytest.raises(PeerError) as caught:
        await other.sync_now(anna.host.peer_id)
    assert caught.value.code == "not_supported"


# Peers who break the rules


class Liar:
    """A peer whose answers a test writes by hand; the digests always say that it has something new."""

    def __init__(self, host: PeerHost, cids: bytes, bodies: bytes, digests: bytes | None = None) -> None:
        self.host = host
        answers = {
            "digests": os.urandom(8192) if digests is None else digests,
            "cids": cids,
            "bodies": bodies,
        }
        for name in SERVED:
            self._serve(name, answers[name])

    def _serve(self, name: str, answer: bytes) -> None:
        async def handler(_: str, __: bytes) -> bytes:
            return answer

        plenty = Rate(per_s=1000, burst=1000)
        protocol = f"/openstall/test/records/{name}/1"
        self.host.serve(protocol, handler, max_request=1 << 20, max_response=1 << 26, per_peer_rate=plenty)


def listed(cids: Sequence[str]) -> bytes:
    return msgspec.msgpack.encode([[bucket, list(cids) if bucket == 0 else []] for bucket in range(256)])


def bodies(*several: bytes) -> bytes:
    return msgspec.msgpack.encode(list(several))


@pytest.mark.parametrize(
    ("cids", "body", "digests"),
    [
        (b"\xff" * 50, b"", None),
        (listed(["x" * 64]), b"\xff" * 50, None),
        (listed(["x" * 64]), bodies(b"not a record"), None),
        (listed(["x" * 64]), bodies(b"record that was not asked for"), None),
        (listed(["x" * 64]), bodies(b"record", b"record more than asked"), None),
        (listed(["x" * 64]), bodies(b"record" + bytes(70_000)), None),
        (listed(["x" * 5000]), b"", None),
        (msgspec.msgpack.encode([[999, []]]), b"", None),
        (msgspec.msgpack.encode([]), b"", None),
        (listed([]), b"", b"short"),
        (bytes(3_000_000), b"", None),
    ],
    ids=[
        "garbage cids", "garbage bodies", "invalid record", "wrong record", "too many bodies", "large body",
        "large cid", "wrong bucket", "no buckets", "short digests", "oversized frame",
    ],
)  # fmt: skip
async def test_a_liar_is_penalised_and_in_the_end_banned(
    member: NewMember, new_host: NewHost, cids: bytes, body: bytes, digests: bytes | None
) -> None:
    anna, liar = await member(gossip=False), Liar(await new_host(), cids, body, digests)
    await anna.host.connect(liar.host.addrs[0])
    for _ in range(40):
        if anna.host.is_banned(liar.host.peer_id):
            break
        try:
            await anna.catalogue.sync_now(liar.host.peer_id)
        except PeerError:
            continue
    assert anna.host.is_banned(liar.host.peer_id)
    assert all(raw.startswith(b"record") for raw in anna.records.held.values())


async def test_withheld_records_do_not_hang_the_sync(member: NewMember, new_host: NewHost) -> None:
    anna = await member(gossip=False)
    liar = Liar(await new_host(), listed([f"{number:064}" for number in range(600)]), bodies())
    await anna.host.connect(liar.host.addrs[0])
    with trio.fail_after(20):
        report = await anna.catalogue.sync_now(liar.host.peer_id)
    assert (report.missing, report.admitted) == (600, 0)


async def test_a_flood_of_announcements_is_dropped_and_banned(
    member: NewMember, wait_until: WaitUntil
) -> None:
    anna, ben, flooder = await member(), await member(), await member()
    await anna.host.connect(ben.host.addrs[0])
    await flooder.host.connect(anna.host.addrs[0])
    await wait_until(
        lambda: flooder.catalogue._topic is not None and flooder.catalogue._topic.audience() == 1
    )
    await wait_until(lambda: anna.catalogue._topic is not None and anna.catalogue._topic.audience() == 2)
    topic = flooder.catalogue._topic
    assert topic is not None
    with trio.move_on_after(30):
        while not anna.host.is_banned(flooder.host.peer_id):
            await topic.publish(b"garbage " + os.urandom(8))
            await trio.lowlevel.checkpoint()
    assert anna.host.is_banned(flooder.host.peer_id)
    assert not ben.host.is_banned(anna.host.peer_id), "what is refused is not passed on"
    assert not anna.host.is_banned(ben.host.peer_id)
