"""Blobs between peers: whole, resumed, from several sources, and against sources that lie or stall."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
from blob_lab import PLENTY, Cheat, Holder

from openstall.market.errors import PeerError, StoreError
from openstall.p2p import blob_wire, exchange
from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.blobs import BlobStore
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost

NewHost = Callable[..., Awaitable[PeerHost]]
NewHolder = Callable[..., Awaitable[Holder]]


@pytest.mark.parametrize("size", [0, 5, CHUNK, 20 * CHUNK + 77])
async def test_a_blob_arrives_whole(holder: NewHolder, size: int) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    content = os.urandom(size)
    info = await seller.add(content)
    told: list[tuple[int, int]] = []
    got = await buyer.transfer.fetch(
        info.cid,
        [seller.host.peer_id],
        expected_size_max=size,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert got == info
    assert buyer.store.path(info.cid).read_bytes() == content
    assert told[-1] == (size, size)
    assert await buyer.transfer.fetch(info.cid, [], expected_size_max=size) == info, "it is here already"


async def test_two_requests_for_one_blob_share_the_transfer(holder: NewHolder) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    info = await seller.add(os.urandom(10 * CHUNK))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(
                lambda: buyer.transfer.fetch(info.cid, [seller.host.peer_id], expected_size_max=info.size)
            )
    assert buyer.store.have(info.cid)


async def test_a_cancelled_fetch_resumes_where_it_was(holder: NewHolder) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    content = os.urandom(40 * CHUNK)
    info = await seller.add(content)
    kept = 0
    with trio.CancelScope() as scope:

        def stop_half_way(done: int, total: int) -> None:
            nonlocal kept
            kept = done
            if done >= total // 2:
                scope.cancel()

        await buyer.transfer.fetch(
            info.cid, [seller.host.peer_id], expected_size_max=info.size, on_progress=stop_half_way
        )
    assert scope.cancelled_caught
    assert not buyer.store.have(info.cid)
    told: list[int] = []
    await buyer.transfer.fetch(
        info.cid,
        [seller.host.peer_id],
        expected_size_max=info.size,
        on_progress=lambda done, _: told.append(done),
    )
    assert told[0] >= kept > 0, "what was fetched before is not fetched again"
    assert buyer.store.path(info.cid).read_bytes() == content


async def test_only_those_who_are_allowed_get_it(holder: NewHolder) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    info = await seller.add(b"sealed")
    seller.allowed = False
    for cid in (info.cid, "b" + "a" * 58):
        with pytest.raises(PeerError) as caught:
            await buyer.transfer.fetch(cid, [seller.host.peer_id], expected_size_max=100)
        assert caught.value.code == "blob_unavailable"
    seller.allowed = True
    await buyer.transfer.fetch(info.cid, [seller.host.peer_id], expected_size_max=100)


async def test_a_blob_larger_than_agreed_is_refused_unfetched(holder: NewHolder) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    info = await seller.add(os.urandom(3 * CHUNK))
    for limit in (3 * CHUNK - 1, 0):
        with pytest.raises(PeerError) as caught:
            await buyer.transfer.fetch(info.cid, [seller.host.peer_id], expected_size_max=limit)
        assert caught.value.code == "blob_too_large"


async def test_an_unreachable_source_does_not_stop_the_other(holder: NewHolder) -> None:
    seller, gone = await holder("seller"), await holder("gone")
    buyer = await holder("buyer", seller, gone)
    gone.host.stop()
    info = await seller.add(os.urandom(5 * CHUNK))
    await buyer.transfer.fetch(
        info.cid, [gone.host.peer_id, seller.host.peer_id], expected_size_max=info.size
    )
    assert buyer.store.have(info.cid)


async def test_a_spoiled_chunk_is_thrown_away_and_its_source_dropped(
    holder: NewHolder, new_host: NewHost
) -> None:
    seller = await holder("seller")
    info = await seller.add(os.urandom(30 * CHUNK))
    cheat = Cheat(seller, await new_host(), spoil=range(3, 30))
    buyer = await holder("buyer", seller)
    buyer.host.book.learn(cheat.host.peer_id, [cheat.host.addrs[0].split("/p2p/")[0]])
    with pytest.raises(PeerError) as caught:
        await buyer.transfer.fetch(info.cid, [cheat.host.peer_id], expected_size_max=info.size)
    assert caught.value.code == "blob_corrupt"
    both = [cheat.host.peer_id, seller.host.peer_id]
    await buyer.transfer.fetch(info.cid, both, expected_size_max=info.size)
    assert buyer.store.path(info.cid).read_bytes() == seller.store.path(info.cid).read_bytes()


async def test_a_withheld_chunk_comes_from_the_other_source(holder: NewHolder, new_host: NewHost) -> None:
    seller = await holder("seller")
    info = await seller.add(os.urandom(30 * CHUNK))
    cheat = Cheat(seller, await new_host(), withhold=range(2, 30))
    buyer = await holder("buyer", seller)
    buyer.host.book.learn(cheat.host.peer_id, [cheat.host.addrs[0].split("/p2p/")[0]])
    both = [cheat.host.peer_id, seller.host.peer_id]
    with trio.fail_after(25):
        await buyer.transfer.fetch(info.cid, both, expected_size_max=info.size)
    assert buyer.store.have(info.cid)


async def test_a_manifest_of_something_else_is_refused(holder: NewHolder, new_host: NewHost) -> None:
    seller = await holder("seller")
    wanted, other = await seller.add(b"wanted"), await seller.add(b"other")
    host = await new_host()

    async def swap(_: str, framed: Framed) -> None:
        await framed.receive()
        await framed.send(exchange.encode_result(seller.store.manifest(other.cid)))

    host.serve_stream(blob_wire.PROTOCOL, swap, max_frame=1000, per_peer_rate=PLENTY)
    buyer = await holder("buyer")
    buyer.host.book.learn(host.peer_id, [host.addrs[0].split("/p2p/")[0]])
    with pytest.raises(PeerError) as caught:
        await buyer.transfer.fetch(wanted.cid, [host.peer_id], expected_size_max=100)
    assert caught.value.code == "blob_corrupt"


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"M",
        b"Mnonsense",
        b"R" + b"b" * 59,
        b"X" + b"b" * 100,
        blob_wire.run_request("b" + "a" * 58, 2**32 - 1, 1),
    ],
)
async def test_nonsense_questions_are_answered_with_a_refusal(holder: NewHolder, question: bytes) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    async with await buyer.transfer.open_source(seller.host.peer_id) as framed:
        await framed.send(question)
        answer = await framed.receive(timeout_s=5)
        assert answer is not None
        with pytest.raises(exchange.RefusedByPeer):
            exchange.decode_answer(answer)


async def test_a_range_outside_the_blob_is_refused(holder: NewHolder) -> None:
    seller = await holder("seller")
    buyer = await holder("buyer", seller)
    info = await seller.add(os.urandom(2 * CHUNK))
    async with await buyer.transfer.open_source(seller.host.peer_id) as framed:
        await framed.send(blob_wire.run_request(info.cid, 1, 2))
        answer = await framed.receive(timeout_s=5)
        assert answer is not None
        with pytest.raises(exchange.RefusedByPeer) as caught:
            exchange.decode_answer(answer)
        assert caught.value.code == "bad_range"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=False)
    if made.returncode:
        pytest.skip("this machine does not allow mounts")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_a_full_disk_is_named_and_loses_nothing(holder: NewHolder, small_disk: Path) -> None:
    seller = await holder("seller")
    info = await seller.add(os.urandom(20 * CHUNK))
    buyer = await holder("small/buyer", seller)
    kept = await buyer.add(b"kept")
    with pytest.raises(StoreError) as caught:
        await buyer.transfer.fetch(info.cid, [seller.host.peer_id], expected_size_max=info.size)
    assert caught.value.code == "disk_full"
    assert BlobStore(small_disk / "buyer").have(kept.cid)


async def test_a_disk_that_fills_up_in_the_middle_keeps_what_came(
    holder: NewHolder, small_disk: Path
) -> None:
    seller = await holder("seller")
    content = os.urandom(6 * CHUNK)
    info = await seller.add(content)
    buyer = await holder("small/buyer", seller)
    partial = await buyer.store.begin(seller.store.manifest(info.cid))
    os.truncate(small_disk / "buyer" / "partial" / f"{info.cid}.data", 0)
    hog = small_disk / "hog"
    hog.write_bytes(bytes(14 * CHUNK))
    failed = False
    for index in range(6):
        try:
            partial.write(index, content[index * CHUNK : (index + 1) * CHUNK])
        except OSError:
            failed = True
    assert failed
    buyer.store.abandon(partial)
    hog.unlink()
    told: list[int] = []
    await buyer.transfer.fetch(
        info.cid,
        [seller.host.peer_id],
        expected_size_max=info.size,
        on_progress=lambda done, _: told.append(done),
    )
    assert told[0] > 0
    assert buyer.store.path(info.cid).read_bytes() == content
