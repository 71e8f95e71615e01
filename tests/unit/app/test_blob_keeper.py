"""What stays in the blob store and what goes, on the real store and books; and who gets what was bought."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.app.clock import SystemClock
from openstall.app.events import EventBus
from openstall.app.services.blobs.keeper import GRACE_S, BlobKeeper
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.threads import Workers
from openstall.market.errors import NotFound, PeerError, Refused, StoreError
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.host import PeerHost
from openstall.store.blob_names import BlobNames
from openstall.store.database import Store
from openstall.store.library import Library
from openstall.store.orders import Orders
from openstall.store.records import NewRecord, Records
from openstall.store.settings import Settings

MIB = 1024 * 1024
ME, OTHER = "12D3KooWme", "12D3KooWother"


class Bench:
    """A keeper over a real store and a real peer."""

    def __init__(self, folder: Path, host: PeerHost) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.host = host
        self.store = Store(folder / "store.sqlite")
        self.blobs = BlobStore(folder / "blobs")
        self.access = BlobAccess()
        self.transfer = BlobTransfer(host=host, store=self.blobs, allow=self.access.allowed)
        self.clock = SystemClock()
        self.keeper = BlobKeeper(
            blobs=self.blobs,
            transfer=self.transfer,
            access=self.access,
            names=BlobNames(self.store),
            settings=Settings(self.store),
            workers=Workers(),
            clock=self.clock,
            bus=EventBus(),
            author=ME,
        )

    async def blob(self, *, age_s: int = 2 * GRACE_S, size: int = MIB) -> str:
        """A blob that was used so long ago."""
        source = self.folder / "source"
        source.write_bytes(os.urandom(size))
        cid = (await self.blobs.add_file(source)).cid
        then = time.time() - age_s
        os.utime(self.folder / "blobs" / f"{cid}.manifest", (then, then))
        return cid

    def order(
        self,
        cid: str,
        *,
        state: str,
        role: str = "buyer",
        kind: str = "sale",
        age_s: int = 0,
        other: str = OTHER,
    ) -> str:
        order_id = os.urandom(32).hex()
        Orders(self.store).add(
            order_id=order_id,
            kind=kind,
            role=role,
            other=other,
            state=state,
            doc=json.dumps({"terms": {"blob": {"cid": cid}}}).encode(),
            buyer_signature="",
            seller_signature="",
            data={},
            at=self.clock.now() - age_s,
            words="",
            actor="buyer",
        )
        return order_id

    def record(self, cid: str, author: str, *, life_s: int = 1000) -> None:
        now = self.clock.now()
        new = NewRecord(
            cid=f"bag{cid[3:]}",
            network="test",
            type="listing",
            author=author,
            key=cid[-20:],
            seq=1,
            issued=now - 2000,
            expires=now + life_s,
            raw=json.dumps({"blob": cid}).encode(),
            title="model",
            words="model",
        )
        Records(self.store).add_many([new], now=now - 1500)

    async def kept(self) -> dict[str, list[str]]:
        return {item["cid"]: item["kept"] for item in (await self.keeper.view())["items"]}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with PeerHost(seed=os.urandom(32), network="test") as host:
        made = Bench(tmp_path / "one", host)
        await made.keeper.start()
        yield made
        made.store.close()


async def test_what_the_books_name_stays_and_says_why(bench: Bench) -> None:
    names = ("listed", "expired", "theirs", "open", "ended", "long ago", "bought", "work", "salt", "fresh")
    cids = {name: await bench.blob(age_s=60 if name == "fresh" else 2 * GRACE_S) for name in names}
    bench.record(cids["listed"], ME)
    bench.record(cids["expired"], ME, life_s=-10)
    bench.record(cids["theirs"], OTHER)
    bench.order(cids["open"], state="delivered")
    bench.order(cids["ended"], state="completed", role="seller")
    bench.order(cids["long ago"], state="completed", role="seller", age_s=8 * 86_400)
    order_id = bench.order(cids["bought"], state="completed", age_s=90 * 86_400)
    Library(bench.store).add(package_id=order_id, order_id=order_id, title="m", path="/m", files=[])
    settings = Settings(bench.store)
    settings.set("sealed.rows", {"blob": {"cid": cids["work"]}})
    settings.set(f"package.{cids['salt']}", {"salt": "00"})
    await bench.keeper.pin(cids["theirs"])
    assert await bench.kept() == {
        cids["listed"]: ["listed"],
        cids["expired"]: [],
        cids["theirs"]: ["pinned"],
        cids["open"]: ["order"],
        cids["ended"]: ["order"],
        cids["long ago"]: [],
        cids["bought"]: ["bought"],
        cids["work"]: ["work"],
        cids["salt"]: [],
        cids["fresh"]: ["fresh"],
    }
    assert await bench.keeper.collect() == {"removed": 0, "freed_bytes": 0}, "there is no quota"
    assert await bench.keeper.collect(everything=True) == {"removed": 3, "freed_bytes": 3 * MIB}
    assert {one.cid for one in bench.blobs.all()} == {
        cid for name, cid in cids.items() if name not in ("expired", "long ago", "salt")
    }
    await bench.keeper.unpin(cids["theirs"])
    assert (await bench.keeper.collect(everything=True))["removed"] == 1
    with pytest.raises(NotFound):
        await bench.keeper.unpin(cids["theirs"])
    with pytest.raises(NotFound):
        await bench.keeper.pin(cids["theirs"])


async def test_the_longest_unused_goes_first_and_only_as_much_as_must(bench: Bench) -> None:
    old, older, new = [await bench.blob(age_s=age * GRACE_S) for age in (3, 9, 2)]
    pinned = await bench.blob(age_s=20 * GRACE_S)
    await bench.keeper.pin(pinned)
    await bench.keeper.change(quota_bytes=3 * MIB)
    assert await bench.keeper.collect() == {"removed": 1, "freed_bytes": MIB}
    assert older not in await bench.kept()
    added = await bench.blob()
    assert set(await bench.kept()) == {pinned, new, added}, f"{old} made room for the new one"
    await bench.keeper.pin(new)
    await bench.keeper.pin(added)
    with pytest.raises(StoreError) as caught:
        await bench.blob()
    assert caught.value.code == "blob_quota"
    assert set(await bench.kept()) == {pinned, new, added}


async def test_a_fetch_makes_room_for_itself_and_keeps_what_it_had(bench: Bench, tmp_path: Path) -> None:
    async with PeerHost(seed=os.urandom(32), network="test") as host:
        seller = Bench(tmp_path / "seller", host)
        cid = await seller.blob(size=3 * MIB)
        seller.access.make_public(cid)
        half = await bench.blobs.begin(seller.blobs.manifest(cid))
        half.write(0, seller.blobs.path(cid).read_bytes()[:MIB])
        bench.blobs.abandon(half)
        then = time.time() - 30 * 86_400
        os.utime(tmp_path / "one" / "blobs" / "partial" / f"{cid}.data", (then, then))
        other = await bench.blob(size=2 * MIB)
        await bench.keeper.change(quota_bytes=4 * MIB)
        await bench.host.connect(host.addrs[0])
        told: list[int] = []
        await bench.transfer.fetch(
            cid, [host.peer_id], expected_size_max=3 * MIB, on_progress=lambda done, _: told.append(done)
        )
        assert told[0] == MIB, "what it had was not thrown away to make room for it"
        assert not bench.blobs.have(other)
        seller.store.close()


async def test_limits_are_saved_checked_and_hold_at_once(bench: Bench) -> None:
    await bench.keeper.change(up_per_s=5 * MIB, down_per_s=2 * MIB)
    assert (bench.transfer.up.per_s, bench.transfer.down.per_s) == (5 * MIB, 2 * MIB)
    await bench.keeper.change(down_per_s=0)
    for wrong in ({"up_per_s": 100}, {"down_per_s": 1}, {"quota_bytes": 5}):
        with pytest.raises(Refused):
            await bench.keeper.change(**wrong)
    again = Bench(bench.folder, bench.host)
    await again.keeper.start()
    assert again.keeper.limits == bench.keeper.limits
    assert again.transfer.up.per_s == 5 * MIB
    again.store.close()


async def test_bought_packages_are_given_to_others_only_where_the_owner_wants_it(
    bench: Bench, tmp_path: Path
) -> None:
    package, private = await bench.blob(), await bench.blob()
    bench.order(package, state="completed")
    bench.order(private, state="settled", kind="compute")
    async with PeerHost(seed=os.urandom(32), network="test") as host:
        other = Bench(tmp_path / "other", host)
        await host.connect(bench.host.addrs[0])

        async def get(cid: str) -> Any:
            return await other.transfer.fetch(cid, [bench.host.peer_id], expected_size_max=MIB)

        with pytest.raises(PeerError):
            await get(package)
        await bench.keeper.change(share=True)
        await get(package)
        with pytest.raises(PeerError):
            await get(private)
        await bench.keeper.change(share=False)
        await other.blobs.remove(package)
        with pytest.raises(PeerError):
            await get(package)
        other.store.close()


async def test_who_shares_tells_the_seller(bench: Bench, tmp_path: Path) -> None:
    async with PeerHost(seed=os.urandom(32), network="test") as host:
        seller = Bench(tmp_path / "seller", host)
        package = await bench.blob()
        await seller.blobs.add_file(bench.blobs.path(package))
        seller.access.make_public(package)
        bench.order(package, state="completed", other=host.peer_id)
        await bench.host.connect(host.addrs[0])
        await bench.keeper.change(share=True)
        assert seller.transfer.server.holders.of(package, asker="") == [bench.host.peer_id]
        seller.store.close()


async def test_the_keeper_collects_by_itself(bench: Bench) -> None:
    await bench.blob()
    await bench.blob()
    await bench.keeper.change(quota_bytes=MIB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.keeper.run)
        with trio.fail_after(20):
            while len(bench.blobs.all()) > 1:  # noqa: ASYNC110 - a folder has no events
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
