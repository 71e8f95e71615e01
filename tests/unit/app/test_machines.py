"""On which machine a job runs: the smallest with room, the first who paid first, never two on one place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hub_lab import WELL, HubLab, hub_lab

from openstall.app.clock import SystemClock
from openstall.app.events import EventBus
from openstall.app.services.house import House
from openstall.app.services.rigs.machines import THIS, Machines, Needs, Room, choose, own_size
from openstall.app.services.rigs.wire import FromRig
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.market.errors import Refused
from openstall.market.house import HouseRules
from openstall.store.database import Store
from openstall.store.settings import Settings

GIB = 2**30
SMALL = Needs(kind="train", threads=1, memory_bytes=GIB, disk_bytes=GIB, max_s=60)
LARGE = replace(SMALL, threads=8, memory_bytes=16 * GIB)


def room(key: str, **changes: object) -> Room:
    values = {"tier": "full", "places": 1, "threads": 4, "memory_bytes": 8 * GIB, "disk_bytes": 100 * GIB}
    return Room(key=key, **{**values, **changes})  # type: ignore[arg-type]


def test_the_smallest_machine_that_holds_the_job() -> None:
    rooms = [room("big", threads=64, memory_bytes=64 * GIB), room("small"), room(THIS)]
    chosen = choose(rooms, SMALL)
    assert chosen is not None
    assert chosen.key == "small"  # of equal ones the rig
    found = choose(rooms, LARGE)
    assert found is not None
    assert found.key == "big"
    assert choose([room("weak", tier="reduced")], replace(SMALL, kind="script")) is None
    assert choose([room("full", places=0)], SMALL) is None


def test_jobs_of_a_rig_share_what_its_owner_gives() -> None:
    two = room("rig", places=2)
    assert choose([two.less(replace(SMALL, threads=4))], SMALL) is None
    assert choose([two.less(SMALL)], SMALL) is not None


def test_a_job_runs_on_one_machine_of_a_cluster() -> None:
    cluster = room(
        "rays", places=8, threads=64, memory_bytes=64 * GIB, job_threads=8, job_memory_bytes=8 * GIB
    )
    assert choose([cluster], replace(SMALL, threads=9)) is None
    assert choose([cluster], replace(SMALL, memory_bytes=9 * GIB)) is None
    assert choose([cluster.less(replace(SMALL, threads=8))], replace(SMALL, threads=8)) is not None


def test_a_graphics_card_is_one_jobs_alone_and_kept_for_those_who_rent_one() -> None:
    renter = replace(SMALL, gpus=1)
    with_card = room("with a card", places=3, gpus=1, shared=frozenset())
    assert choose([with_card], renter) is not None
    assert choose([with_card.less(renter)], renter) is None
    assert choose([with_card.less(renter)], SMALL) is not None
    assert choose([room("without", memory_bytes=64 * GIB)], renter) is None
    found = choose([with_card, room("larger", memory_bytes=64 * GIB)], SMALL)
    assert found is not None
    assert found.key == "larger"  # the card stays free


def test_a_machine_that_closes_too_soon_is_the_last_choice() -> None:
    closing, large = room("closing", left_s=30), room("large", memory_bytes=64 * GIB)
    chosen = choose([closing, large], replace(SMALL, max_s=60))
    assert chosen is not None
    assert chosen.key == "large"
    assert choose([closing], replace(SMALL, max_s=60)) == closing


def test_this_machine_shares_only_what_is_capped() -> None:
    free = replace(own_size(None, HouseRules(), "full"), places=2)
    assert choose([free.less(LARGE)], LARGE) is not None
    capped = replace(own_size(None, HouseRules(threads_cap=8), "full"), places=2)
    assert choose([capped.less(LARGE)], LARGE) is None


def machines(lab: HubLab, *, own: bool, places: int = 1) -> Machines:
    store = Store(lab.folder / "house.sqlite")
    lab.stack.callback(store.close)
    agent = AgentClient()
    house = House(
        settings=Settings(store), workers=Workers(), agent=agent, bus=EventBus(), clock=SystemClock()
    )

    async def own_places() -> int:
        return places

    async def no_cards() -> tuple[str, ...]:
        return ()

    return Machines(
        agent=agent,
        own=own,
        house=house,
        hub=lab.hub,
        own_places=own_places,
        own_cards=no_cards,
        now=lab.clock.now,
    )


async def test_places_are_given_in_the_order_of_paying_and_each_once(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        pool = machines(lab, own=True)
        rig = await lab.paired()
        assert await pool.take("a", SMALL, [])
        assert await pool.take("b", SMALL, [])
        assert await pool.take("c", SMALL, [])
        assert not await pool.take("d", SMALL, [])
        assert sorted(map(pool.machine_of, "abc")) == sorted([rig.host.peer_id, rig.host.peer_id, THIS])
        pool.leave("b")
        assert not await pool.take("e", SMALL, ["d"])  # d paid before
        assert await pool.take("d", SMALL, [])
        # one that waits for a machine that only the rig is does not keep a small job from this one
        for done in "abcd":
            pool.leave(done)
        wide = replace(SMALL, threads=4)
        assert await pool.take("w", wide, [])
        assert not await pool.take("x", replace(wide, memory_bytes=2**60), [])
        assert await pool.take("y", SMALL, ["x"])
        assert pool.machine_of("y") == THIS


async def test_a_rig_that_closes_or_goes_has_no_room(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        pool = machines(lab, own=False)
        rig = await lab.paired()
        await pool.admit(SMALL)
        heard = lab.hub.link(rig.host.peer_id)
        assert heard is not None
        for house in ("paused", "closed", "full"):
            await rig.say(FromRig(state=type(WELL)(**{**_fields(), "house": house})))
            while heard.state is None or heard.state.house != house:
                await _turn()
            assert not await pool.take("a", SMALL, [])
            with pytest.raises(Refused):
                await pool.admit(SMALL)
        soon = lab.clock.now() + 30
        await rig.say(FromRig(state=type(WELL)(**{**_fields(), "closes_at": soon})))
        while heard.state is None or heard.state.closes_at != soon:
            await _turn()
        with pytest.raises(Refused):
            await pool.admit(SMALL)
        await pool.admit(replace(SMALL, max_s=20))
        assert await pool.take("a", SMALL, [])
        assert pool.connected("a")
        heard.close()
        while lab.hub.links:
            await _turn()
        assert not pool.connected("a")
        with pytest.raises(Refused) as caught:
            await pool.admit(SMALL)
        assert caught.value.code == "no_machine"


async def _turn() -> None:
    import trio.testing

    await trio.testing.wait_all_tasks_blocked(0.001)


def _fields() -> dict[str, object]:
    return {name: getattr(WELL, name) for name in WELL.__struct_fields__}
