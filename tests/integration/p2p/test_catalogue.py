"""The catalogue between peers: by gossip, by sync, and against peers who break the rules."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel

from openstall.market.errors import InvalidRecord, PeerError
from openstall.market.leaves import LEVEL, leaf_of
from openstall.p2p import sync
from openstall.p2p.catalogue import Catalogue
from openstall.p2p.host import PeerHost, Rate

NewHost = Callable[..., Awaitable[PeerHost]]
NewRecords = Callable[..., Any]
WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]
SERVED = ("digests", "leaves", "cids", "bodies")


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


async def test_a_crowd_that_never_answers_holds_up_no_sync_with_whom_we_chose(
    member: NewMember, new_host: NewHost, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "REQUEST_S", 3600.0)
    anna, ben = [await member(gossip=False) for _ in range(2)]
    asked = 0

    async def say_nothing(_: str, __: bytes) -> bytes:
        nonlocal asked
        asked += 1
        await trio.sleep_forever()
        raise AssertionError

    for _ in range(5):
        silent = await new_host()
        easy = Rate(per_s=100, burst=100)
        silent.serve(
            "/openstall/test/records/digests/2",
            say_nothing,
            max_request=1000,
            max_response=1000,
            per_peer_rate=easy,
        )
        await silent.connect(anna.host.addrs[0])
    await wait_until(lambda: asked >= 2)
    await anna.host.connect(ben.host.addrs[0])
    await ben.tell(b"record from ben")
    await anna.records.count_is(1)


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

    def __init__(
        self,
        host: PeerHost,
        cids: bytes | Callable[[], bytes],
        bodies: bytes,
        digests: bytes | None = None,
        leaves: bytes = b"",
    ) -> None:
        self.host = host
        answers = {
            "digests": os.urandom(LEVEL) if digests is None else digests,
            "leaves": leaves,
            "cids": cids,
            "bodies": bodies,
        }
        for name in SERVED:
            self._serve(name, answers[name])

    def _serve(self, name: str, answer: bytes | Callable[[], bytes]) -> None:
        async def handler(_: str, __: bytes) -> bytes:
            return answer if isinstance(answer, bytes) else answer()

        plenty = Rate(per_s=1000, burst=1000)
        protocol = f"/openstall/test/records/{name}/2"
        self.host.serve(protocol, handler, max_request=1 << 20, max_response=1 << 26, per_peer_rate=plenty)


def listed(cids: Sequence[str], *, more: bool = False) -> bytes:
    return msgspec.msgpack.encode([sorted(cids, key=lambda one: (leaf_of(one), one)), more])


def anything_new() -> bytes:
    """What was refused is not asked for again at once, so a liar needs another lie each time."""
    return listed([os.urandom(32).hex()])


def anything_new_and_more() -> bytes:
    return listed([os.urandom(32).hex()], more=True)


def bodies(*several: bytes) -> bytes:
    return msgspec.msgpack.encode(list(several))


@pytest.mark.parametrize(
    ("cids", "body", "digests"),
    [
        (b"\xff" * 50, b"", None),
        (anything_new, b"\xff" * 50, None),
        (anything_new, bodies(b"not a record"), None),
        (anything_new, bodies(b"record that was not asked for"), None),
        (anything_new, bodies(b"record", b"record more than asked"), None),
        (anything_new, bodies(b"record" + bytes(140_000)), None),
        (listed(["x" * 5000]), b"", None),
        (msgspec.msgpack.encode([["x" * 64, "x" * 64], False]), b"", None),
        (msgspec.msgpack.encode([]), b"", None),
        (listed([], more=True), b"", None),
        (anything_new_and_more, b"", None),
        (listed([]), b"", b"short"),
        (bytes(3_000_000), b"", None),
    ],
    ids=[
        "garbage cids", "garbage bodies", "invalid record", "wrong record", "too many bodies", "large body",
        "large cid", "one cid twice", "no answer", "endless nothing", "endless page", "short digests",
        "oversized frame",
    ],
)  # fmt: skip
async def test_a_liar_is_penalised_and_in_the_end_banned(
    member: NewMember,
    new_host: NewHost,
    cids: bytes | Callable[[], bytes],
    body: bytes,
    digests: bytes | None,
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


async def test_leaves_that_make_no_sense_are_penalised(member: NewMember, new_host: NewHost) -> None:
    anna, liar = await member(500, gossip=False), Liar(await new_host(), b"", b"", leaves=b"short")
    await anna.host.connect(liar.host.addrs[0])
    for _ in range(20):
        if anna.host.is_banned(liar.host.peer_id):
            break
        with contextlib.suppress(PeerError):
            await anna.catalogue.sync_now(liar.host.peer_id)
    assert anna.host.is_banned(liar.host.peer_id)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("digests", b"short"),
        ("leaves", b""),
        ("leaves", bytes(65)),
        ("cids", b"\xff"),
        ("cids", msgspec.msgpack.encode([[], ""])),
        ("cids", msgspec.msgpack.encode([[[5, 4]], ""])),
        ("cids", msgspec.msgpack.encode([[[0, 4], [4, 9]], ""])),
        ("cids", msgspec.msgpack.encode([[[0, 65_536]], ""])),
        ("cids", msgspec.msgpack.encode([[[0, 1]], "x" * 101])),
        ("bodies", msgspec.msgpack.encode(["x" * 64] * 257)),
        ("bodies", msgspec.msgpack.encode(["x"])),
    ],
)
async def test_questions_that_make_no_sense_are_refused_and_in_the_end_banned(
    member: NewMember, new_host: NewHost, name: str, payload: bytes
) -> None:
    anna, rude = await member(5, gossip=False), await new_host()
    await rude.connect(anna.host.addrs[0])
    refusals = []
    for _ in range(20):
        if anna.host.is_banned(rude.peer_id):
            break
        with pytest.raises(PeerError) as caught:
            await rude.request(
                anna.host.peer_id,
                f"/openstall/test/records/{name}/2",
                payload,
                timeout_s=10,
                max_response=1 << 21,
            )
        refusals.append(caught.value.code)
    assert anna.host.is_banned(rude.peer_id)
    assert refusals[0] == "bad_request"


async def test_an_honest_peer_without_room_is_not_penalised(member: NewMember, new_host: NewHost) -> None:
    anna, ben = await member(gossip=False), await member(40, gossip=False)

    async def refuse(raws: Sequence[bytes], _: str) -> list[str | InvalidRecord]:
        return [InvalidRecord("storage_full", "No room.") for _ in raws]

    full = Catalogue(host=anna.host, network="test", store=anna.records, admit=refuse, gossip=False)
    await anna.host.connect(ben.host.addrs[0])
    report = await full.sync_now(ben.host.peer_id)
    assert (report.missing, report.admitted) == (40, 0)
    assert full.refused() == {"storage_full": 40}
    assert anna.host.bouncer.score(ben.host.peer_id) == 0
    again = await full.sync_now(ben.host.peer_id)
    assert again.missing == 0, "what was refused is not asked for again at once"


async def test_few_differences_of_many_cost_kilobytes(member: NewMember, wait_until: WaitUntil) -> None:
    anna, ben = await member(gossip=False), await member(gossip=False)
    for number in range(20_000):
        for one in (anna, ben):
            one.records.add(b"record %d" % number)
    for number in range(3):
        ben.records.add(b"record of ben %d" % number)
    asked = Counter[str]()
    request = anna.host.request

    async def counted(peer_id: str, protocol: str, payload: bytes, **options: Any) -> bytes:
        answer = await request(peer_id, protocol, payload, **options)
        asked[protocol.split("/")[-2]] += len(payload) + len(answer)
        return answer

    anna.host.request = counted  # type: ignore[method-assign] # only listens
    await anna.host.connect(ben.host.addrs[0])
    await anna.records.count_is(20_003)
    await wait_until(lambda: bool(anna.catalogue.checked()))
    assert sum(asked.values()) < 32_768, asked
    assert anna.catalogue.checked()[0].report.equal
    assert anna.catalogue.checked()[0].complete


async def test_gaps_are_asked_for_once(member: NewMember) -> None:
    anna, ben = await member(gossip=False), await member(gossip=False)
    hidden = ben.records.add(b"record that ben does not list")
    ben.records.hide(hidden)
    anna.records.named.append(hidden)
    await anna.host.connect(ben.host.addrs[0])
    await anna.records.count_is(1)
    assert anna.host.bouncer.score(ben.host.peer_id) == 0


async def test_a_gap_is_asked_for_however_many_others_are_not_worth_it(member: NewMember) -> None:
    anna, ben = await member(gossip=False), await member(gossip=False)
    held = [anna.records.add(b"record held %d" % number) for number in range(2 * sync.GAPS_AT_ONCE)]
    hidden = ben.records.add(b"record that ben does not list")
    ben.records.hide(hidden)
    anna.records.named.extend([*held, hidden])
    await anna.host.connect(ben.host.addrs[0])
    await anna.records.count_is(len(held) + 1)


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
