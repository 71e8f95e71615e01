"""Several sources of one blob: who else has it, who has a part of it, who is slow, who withholds the last."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest
import trio
from blob_lab import PLENTY, Cheat, Holder

from openstall.market.errors import PeerError
from openstall.p2p import blob_wire, exchange
from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost

NewHost = Callable[..., Awaitable[PeerHost]]
NewHolder = Callable[..., Awaitable[Holder]]


def know(who: Holder, *others: PeerHost) -> None:
    for other in others:
        who.host.book.learn(other.peer_id, [other.addrs[0].split("/p2p/")[0]])


async def test_who_announced_a_copy_and_who_is_connected_help(holder: NewHolder) -> None:
    seller = await holder("seller")
    content = os.urandom(40 * CHUNK)
    info = await seller.add(content)
    announced, connected = await holder("announced", seller), await holder("connected")
    for one in (announced, connected):
        await one.add(content)
    await announced.transfer.announce(info.cid, seller.host.peer_id)
    buyer = await holder("buyer", seller, announced, connected)
    await buyer.host.connect(connected.host.peer_id)
    buyer.transfer.asks_around = True
    for one in (seller, announced, connected):
        one.transfer.up.per_s = 20 * CHUNK  # so that none of them is done before the others begin
    await buyer.transfer.fetch(info.cid, [seller.host.peer_id], expected_size_max=info.size, wide=True)
    assert buyer.store.path(info.cid).read_bytes() == content
    for one in (seller, announced, connected):
        assert one.transfer.server.sent_bytes > 0


async def test_nobody_but_the_source_learns_of_a_private_blob(holder: NewHolder) -> None:
    seller, stranger = await holder("seller"), await holder("stranger")
    info = await seller.add(os.urandom(3 * CHUNK))
    asked: list[str] = []
    stranger.transfer.server._allow = lambda cid, _peer: bool(asked.append(cid))
    await stranger.add(stranger.store.folder.name.encode())
    buyer = await holder("buyer", seller, stranger)
    await buyer.host.connect(stranger.host.peer_id)
    await buyer.transfer.fetch(info.cid, [seller.host.peer_id], expected_size_max=info.size)
    assert not asked


async def test_a_peer_that_is_still_fetching_gives_what_it_has(holder: NewHolder, new_host: NewHost) -> None:
    seller = await holder("seller")
    content = os.urandom(12 * CHUNK)
    info = await seller.add(content)
    mean = Cheat(seller, await new_host(), gives_chunks=False)
    half = await holder("half")
    partial = await half.store.begin(seller.store.manifest(info.cid))
    for index in (0, 1, 2, 6, 7, 8, 9, 10, 11):
        assert partial.write(index, content[index * CHUNK : (index + 1) * CHUNK])
    buyer = await holder("buyer", half)
    know(buyer, mean.host)
    await buyer.host.connect(half.host.peer_id)
    buyer.transfer.asks_around = True

    def go_on(done: int, _total: int) -> None:
        if done >= 9 * CHUNK:  # it has more by now than it said at first
            for index in (3, 4, 5):
                partial.write(index, content[index * CHUNK : (index + 1) * CHUNK])

    with trio.fail_after(40):
        await buyer.transfer.fetch(
            info.cid, [mean.host.peer_id], expected_size_max=info.size, wide=True, on_progress=go_on
        )
    assert buyer.store.path(info.cid).read_bytes() == content
    half.store.abandon(partial)


async def test_a_withheld_last_chunk_is_taken_from_another_long_before_the_time_limit(
    holder: NewHolder, new_host: NewHost
) -> None:
    seller = await holder("seller")
    info = await seller.add(os.urandom(24 * CHUNK))
    cheats = [Cheat(seller, await new_host(), withhold=range(20, 24)) for _ in range(2)]
    seller.transfer.up.per_s = (
        4 * CHUNK
    )  # so that the cheats have promised the last ones before it comes to them
    buyer = await holder("buyer", seller, chunk_timeout_s=3600.0)
    know(buyer, *(one.host for one in cheats))
    sources = [*(one.host.peer_id for one in cheats), seller.host.peer_id]
    with trio.fail_after(40):
        await buyer.transfer.fetch(info.cid, sources, expected_size_max=info.size)
    assert buyer.store.have(info.cid)


async def test_a_source_that_goes_silent_is_blamed_and_what_came_stays(
    holder: NewHolder, new_host: NewHost, wait_until: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    seller = await holder("seller")
    content = os.urandom(8 * CHUNK)
    info = await seller.add(content)
    cheat = Cheat(seller, await new_host(), withhold=range(4, 8))
    buyer = await holder("buyer", seller, chunk_timeout_s=1.5)
    know(buyer, cheat.host)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: buyer.transfer.fetch(info.cid, [cheat.host.peer_id], expected_size_max=info.size)
        )
        await wait_until(lambda: bool(buyer.transfer.blamed))
        nursery.cancel_scope.cancel()
    assert {(one.source, one.reason) for one in buyer.transfer.blamed} == {
        (cheat.host.peer_id, "silent_source")
    }
    told: list[int] = []
    await buyer.transfer.fetch(
        info.cid,
        [seller.host.peer_id],
        expected_size_max=info.size,
        on_progress=lambda done, _: told.append(done),
    )
    assert told[0] >= 4 * CHUNK, "the rest of another source's work"
    assert buyer.store.path(info.cid).read_bytes() == content


async def test_a_liar_is_blamed_by_name(holder: NewHolder, new_host: NewHost) -> None:
    seller = await holder("seller")
    info = await seller.add(os.urandom(8 * CHUNK))
    cheat = Cheat(seller, await new_host(), spoil=range(8))
    buyer = await holder("buyer", seller)
    know(buyer, cheat.host)
    sources = [cheat.host.peer_id, seller.host.peer_id]
    await buyer.transfer.fetch(info.cid, sources, expected_size_max=info.size)
    assert [(one.source, one.reason) for one in buyer.transfer.blamed] == [
        (cheat.host.peer_id, "corrupt_chunk")
    ]


async def test_a_download_limit_holds(holder: NewHolder) -> None:
    seller = await holder("seller")
    info = await seller.add(os.urandom(12 * CHUNK))
    buyer = await holder("buyer", seller)
    buyer.transfer.down.per_s = 8 * CHUNK
    start = trio.current_time()
    await buyer.transfer.fetch(info.cid, [seller.host.peer_id], expected_size_max=info.size)
    assert trio.current_time() - start >= 0.8, (
        "all but the first, and one of each lane, wait an eighth of a second"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"X",
        b"P" + bytes(blob_wire.MAX_ANSWER),
        b"P",
        b"P\xff\xff\xff",
        b"12D3KooWnobody\n" * 17,
        b"W" * 60,
    ],
)
async def test_a_hostile_answer_about_holdings_or_names_harms_nothing(
    holder: NewHolder, new_host: NewHost, answer: bytes
) -> None:
    seller = await holder("seller")
    info = await seller.add(os.urandom(3 * CHUNK))
    host = await new_host()

    async def lie(_: str, framed: Framed) -> None:
        while (asked := await framed.receive()) is not None:
            question = blob_wire.decode(asked)
            if question.kind == "R":
                raise PeerError("gone", "It never had it.")
            await framed.send(exchange.encode_result(answer))

    host.serve_stream(blob_wire.PROTOCOL, lie, max_frame=1000, per_peer_rate=PLENTY)
    buyer = await holder("buyer", seller)
    know(buyer, host)
    await buyer.host.connect(host.peer_id)
    buyer.transfer.asks_around = True
    with trio.fail_after(30):
        await buyer.transfer.fetch(info.cid, [seller.host.peer_id], expected_size_max=info.size, wide=True)
    assert buyer.store.have(info.cid)


async def test_an_announcement_names_the_announcer_only_and_needs_the_blob_and_the_right(
    holder: NewHolder,
) -> None:
    seller = await holder("seller")
    info = await seller.add(b"content")
    one = await holder("one", seller)
    seller.allowed = False
    with pytest.raises(exchange.RefusedByPeer):
        await one.transfer.announce(info.cid, seller.host.peer_id)
    seller.allowed = True
    with pytest.raises(exchange.RefusedByPeer):
        await one.transfer.announce("b" + "a" * 58, seller.host.peer_id)
    await one.transfer.announce(info.cid, seller.host.peer_id)
    assert seller.transfer.server.holders.of(info.cid, asker="somebody") == [one.host.peer_id]
    assert seller.transfer.server.holders.of(info.cid, asker=one.host.peer_id) == []
