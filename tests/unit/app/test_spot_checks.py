"""A challenge at a moment that the provider cannot foresee, once a job, also after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from capacity_lab import CapacityLab, capacity_lab

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
