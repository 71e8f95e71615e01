"""The pace of a price that moves by itself, whatever becomes of the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ledger_lab import Clock

from openstall.app.services.autoprice import Autoprice
from openstall.app.threads import Workers
from openstall.market.errors import Refused
from openstall.market.mechanisms.auto_price import HOUR_S, PriceRules
from openstall.store.database import Store
from openstall.store.price_changes import PriceChange, PriceChanges
from openstall.store.settings import Settings

RULES = PriceRules(floor_micro=5, ceiling_micro=50)


@asynccontextmanager
async def autoprice(folder: Path, clock: Clock) -> AsyncIterator[Autoprice]:
    """The service on a store of its own; nothing here asks for offers."""
    store = Store(folder / "store.sqlite")
    absent: Any = None
    yield Autoprice(
        renting=absent,
        catalogue=absent,
        rivals=absent,
        changes=PriceChanges(store),
        settings=Settings(store),
        workers=Workers(),
        clock=clock,
        cost_per_s_micro=absent,
        sold=absent,
    )
    store.close()


def moved(found: Autoprice, at: int) -> None:
    found.settings.set("renting", {"price": 1})
    change = PriceChange(at=at, old_micro=1, new_micro=2, working={})
    assert found.changes.make(change, setting="renting", field="price")


async def test_a_step_waits_for_its_hour_also_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with autoprice(tmp_path, clock) as found:
        assert await found._may_move(RULES)
        moved(found, clock.now())
        assert not await found._may_move(RULES)
        clock.ahead_s = HOUR_S + 1
        assert await found._may_move(RULES)
    async with autoprice(tmp_path, Clock()) as again:
        assert not await again._may_move(RULES)


async def test_a_clock_that_jumps_ahead_buys_no_second_step(tmp_path: Path, autojump_clock: Any) -> None:
    clock = Clock()
    async with autoprice(tmp_path, clock) as found:
        moved(found, clock.now())
        found._moved = autojump_clock.current_time()
        clock.ahead_s = 100 * HOUR_S
        assert not await found._may_move(RULES)
        autojump_clock.jump(HOUR_S + 1)
        assert await found._may_move(RULES)


async def test_a_clock_that_was_set_back_holds_the_price_for_an_hour_not_for_ever(
    tmp_path: Path, autojump_clock: Any
) -> None:
    clock = Clock()
    async with autoprice(tmp_path, clock) as found:
        moved(found, clock.now() + 1_000 * HOUR_S)
        found._began = autojump_clock.current_time()
        assert not await found._may_move(RULES)
        autojump_clock.jump(HOUR_S + 1)
        assert await found._may_move(RULES)


async def test_it_cannot_be_switched_on_without_limits_and_keeps_them_when_it_is_off(tmp_path: Path) -> None:
    async with autoprice(tmp_path, Clock()) as found:
        with pytest.raises(Refused):
            await found.switch(on=True)
        await found.switch(on=True, rules={"floor_micro": 5, "ceiling_micro": 50})
        await found.switch(on=False)
        assert await found._kept() == (False, RULES)
        await found.switch(on=True)
        assert await found._kept() == (True, RULES)
