"""Two parties hold different books of one order; `recover` brings both to one state, in every state of it.

A party has lost the order altogether, or holds an older copy of it. All that is used is what the other party
holds and the chain shows; then the order goes on to its end, and nobody has paid twice or for nothing.

`python3 dev.py test -m "slow or not slow" tests/unit/app/test_recovery.py` tries all of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from recovery_stage import (
    JOB_STATES,
    PRICE,
    SALE_STATES,
    SIDES,
    Room,
    end_of_job,
    end_of_sale,
    job_in,
    opened,
    sale_in,
)

from openstall.app.services.orders.recovery_wiring import Recalled

PAID = {"declined": 0, "lapsed": 0, "refunded": 0, "disputed": PRICE // 50, "ruled": PRICE // 50}
"""By the state in which books were lost; else the price. Of a ruling the arbiter has its fee."""


def cases(states: list[str], *, older: tuple[str, ...]) -> list[Any]:
    """Every state, party and damage. Each run tries each state with one party; `-m slow` the rest."""

    def quick(at: int, state: str, name: str, how: str) -> bool:
        return name == SIDES[at % 2] if how == "lost" else (name == "seller" and state in older)

    return [
        pytest.param(state, name, how, marks=() if quick(at, state, name, how) else (pytest.mark.slow,))
        for at, state in enumerate(states)
        for name in SIDES
        for how in ("lost", "older")
    ]


@pytest.mark.parametrize(("state", "name", "how"), cases(SALE_STATES, older=("disputed",)))
async def test_a_sale_is_recovered_in_every_state(tmp_path: Path, state: str, name: str, how: str) -> None:
    async with opened(tmp_path) as room:
        before = room.lab.chain.balance(room.lab.buyer.wallet)
        order_id = await sale_in(room, state)
        both = await room.states(order_id)
        await room.damage(order_id, name, how)
        if state not in ("proposed", "agreed"):
            assert await room.states(order_id) != both
        if (state, name, how) == ("proposed", "seller", "lost"):
            await nothing_to_recover(room, order_id)
            return
        await reconciled(room, order_id, name, state)
        paid = await end_of_sale(room, order_id)
        assert paid == PAID.get(state, PRICE)
        assert room.lab.chain.balance(room.lab.buyer.wallet) == before - paid
        ends = await room.states(order_id)
        assert ends[0] == ends[1]


AGREED_TO = {"proposed": "agreed"}
"""A buyer that had no answer yet learns from the papers that the seller has signed."""


async def nothing_to_recover(room: Room, order_id: str) -> None:
    """A seller that has lost its signature, which the buyer never got, is asked as if for the first time."""
    done = await room.recover(order_id, "seller")
    assert [one["fault"]["code"] for one in done["asked"]] == ["not_signed_here"]
    assert (await room.states(order_id)) == ("proposed", "")
    await room.side("buyer").negotiation.propose(await room.side("buyer").desk.load(order_id))
    assert (await room.states(order_id))[0] == "declined"  # what was on sale is not on this lab's shelf


async def reconciled(room: Room, order_id: str, name: str, state: str) -> None:
    """Both books are in one state, whoever looks first; and there is nothing left to find."""
    done = await room.recover(order_id, name)
    assert all(one["answered"] for one in done["asked"]), done
    await room.recover(order_id, "seller" if name == "buyer" else "buyer")
    now = await room.states(order_id)
    assert now[0] == now[1] == AGREED_TO.get(state, state), done
    assert (await room.recover(order_id, name))["found"] == []


@pytest.mark.parametrize(("state", "name", "how"), cases(JOB_STATES, older=("running", "ended")))
async def test_a_job_is_recovered_in_every_state(tmp_path: Path, state: str, name: str, how: str) -> None:
    async with opened(tmp_path) as room:
        with trio.fail_after(240):
            before = room.lab.chain.balance(room.lab.buyer.wallet)
            order_id = await job_in(room, state)
            both = await room.states(order_id)
            await room.damage(order_id, name, how)
            if state not in ("proposed", "agreed"):
                assert await room.states(order_id) != both
            if (state, name, how) == ("proposed", "seller", "lost"):
                await nothing_to_recover(room, order_id)
                return
            await reconciled(room, order_id, name, state)
            paid = await end_of_job(room, order_id)
        assert paid == (0 if state in ("declined", "lapsed") else 45_000)
        assert room.lab.chain.balance(room.lab.buyer.wallet) == before - paid
        assert len(room.lab.seller.agent.ran) == (state not in ("declined", "lapsed"))


async def test_a_provider_that_starts_with_an_older_copy_looks_before_it_works(tmp_path: Path) -> None:
    """Its books say that the job is paid and not begun; the buyer has its ticks of 45 seconds."""
    async with opened(tmp_path) as room:
        order_id = await job_in(room, "running")
        seller = room.side("seller")
        await room.damage(order_id, "seller", "older")
        order = await seller.channel.catch_up(await seller.desk.load(order_id))
        assert (order.state, order.data.get("seconds")) == ("funded", None)
        handler = Recalled(recovery=room.recovery["seller"], handler=seller.provider)
        await handler.step(order)
        order = await seller.desk.load(order_id)
        assert (order.state, order.data["seconds"]) == ("ended", 45)
        assert await seller.channel.highest(order) == 45_000
        assert len(seller.agent.ran) == 1


async def test_a_buyer_whose_provider_was_never_followed_pays_no_more_than_was_worked(tmp_path: Path) -> None:
    """A start that is said to lie long ago is believed 20 seconds back, and no further."""
    async with opened(tmp_path) as room:
        order_id = await job_in(room, "funded")
        buyer, seller = room.side("buyer"), room.side("seller")
        order = await buyer.desk.load(order_id)
        said = await seller.transcripts.say(order.contract, "start")
        room.lab.clock.ahead_s += 300
        order = await buyer.buyer._start(order, said)
        assert order.state == "running"
        assert order.data["started_at"] == room.lab.clock.now() - 20
