"""A challenge at a moment that the provider cannot foresee, once a job, also after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from capacity_lab import CapacityLab, capacity_lab, make_stall

from openstall.app.services.capacity.rounds import MEAN_S
from openstall.app.services.capacity.spot import LONGEST_WAIT_S, TRY_AGAIN_S, SpotChecks


def checks(lab: CapacityLab) -> SpotChecks:
    side = lab.buyer.side
    return SpotChecks(desk=side.desk, bus=side.bus, challenge=lab.buyer.capacity.challenge_lease)


async def running(lab: CapacityLab, **data: Any) -> str:
    """A job that runs at the provider; its id."""
    order_id = await lab.lease()
    desk = lab.buyer.side.desk
    await desk.advance(await desk.load(order_id), "start", actor="other", words="x", data=data)
    return order_id


async def test_the_moment_is_drawn_once_and_kept(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        order_id, now = await running(lab, challenge=True), lab.trade.clock.now()
        due_s = await checks(lab)._look()
        kept = (await lab.buyer.side.desk.load(order_id)).data["challenge_at"]
        assert 0 < due_s <= LONGEST_WAIT_S
        assert now < kept <= now + LONGEST_WAIT_S + 5
        await checks(lab)._look()  # as after a restart
        assert (await lab.buyer.side.desk.load(order_id)).data["challenge_at"] == kept


async def test_what_is_due_happens_once_and_only_where_it_was_asked_for(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await running(lab, challenge=True, challenge_at=1)
        await running(lab)
        for _ in range(2):
            assert await checks(lab)._look() == float("inf")
        assert lab.provider.machine.proved == 1
        assert (await lab.buyer.side.desk.load(order_id)).data["challenged"] == "passed"


async def test_a_provider_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        lab.provider.capacity.answering._busy = True
        order_id = await running(lab, challenge=True, challenge_at=1)
        assert await checks(lab)._look() == TRY_AGAIN_S
        data = (await lab.buyer.side.desk.load(order_id)).data
        assert "challenged" not in data
        assert data["challenge_at"] > lab.trade.clock.now()


async def test_a_job_that_starts_while_it_listens_is_seen(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab, trio.open_nursery() as nursery:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        nursery.start_soon(checks(lab).run)
        async with lab.buyer.side.bus.subscribe() as events:
            order_id = await running(lab, challenge=True, challenge_at=1)
            with trio.fail_after(60):
                while not (await lab.buyer.side.desk.load(order_id)).data.get("challenged"):
                    await events.receive()
        nursery.cancel_scope.cancel()


async def test_an_oracle_makes_one_challenge_a_round_and_only_where_it_is_named(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        lab.claim(lab.stranger, "cd" * 32)  # names a bond that is not there
        lab.provider.capacity.answering.serve()
        oracle = lab.oracles[0].capacity.rounds
        assert await oracle.one_round() == lab.provider.peer_id
        assert lab.provider.machine.proved == 1
        assert await lab.buyer.capacity.rounds.one_round() is None
        assert lab.provider.machine.proved == 1


async def test_rounds_are_off_until_they_are_wanted_and_kept_over_a_restart(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        stall, now = lab.oracles[0], lab.trade.clock.now()
        assert await stall.capacity.rounds.next_at() is None
        await stall.capacity.make_rounds(on=True)
        at = await stall.capacity.rounds.next_at()
        assert at is not None
        assert now <= at <= now + 2 * MEAN_S + 5
        reborn = make_stall(stall.side, lab.shelf, stall.machine)
        assert await reborn.capacity.rounds.next_at() == at
        await reborn.capacity.make_rounds(on=False)
        assert await reborn.capacity.rounds.next_at() is None


async def test_a_round_that_is_due_is_made(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab, trio.open_nursery() as nursery:
        await lab.post_bond()
        lab.provider.capacity.answering.serve()
        rounds, made = lab.oracles[0].capacity.rounds, trio.Event()
        honest = rounds.challenge

        async def challenge(peer_id: str, tell: Any) -> dict[str, Any]:
            found = await honest(peer_id, tell)
            made.set()
            return found

        rounds.challenge = challenge
        await rounds.switch(on=True)
        lab.trade.clock.ahead_s += 2 * MEAN_S
        nursery.start_soon(rounds.run)
        with trio.fail_after(60):
            await made.wait()
        nursery.cancel_scope.cancel()
