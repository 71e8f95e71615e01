"""The keeper of the house rules: what it remembers, and what it does when it cannot see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from openstall.app.clock import SystemClock
from openstall.app.events import EventBus
from openstall.app.services.house import House
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.market.errors import Conflict, Refused
from openstall.market.house import HouseRules
from openstall.store.database import Store
from openstall.store.settings import Settings


@dataclass
class Recorder:
    """One job that writes down what it is told."""

    running: int = 1
    waiting: int = 0
    heard: list[str] = field(default_factory=list)

    async def hold(self, words: str) -> int:
        held, self.waiting = self.running - self.waiting, self.running
        self.heard.append(f"hold {held}: {words}")
        return held

    async def let_go(self) -> None:
        self.waiting = 0
        self.heard.append("go on")

    async def end_overdue(self, wait_s: int, why: str) -> None:
        self.heard.append(f"overdue {wait_s}: {why}")

    async def end_all(self) -> int:
        return self.running

    async def tell(self, words: str) -> None:
        self.heard.append(words)

    def note_energy(self, millijoules: int, milliseconds: int) -> None:
        self.heard.append(f"energy {millijoules} {milliseconds}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def house(store: Store) -> House:
    """A house whose agent does not run: nothing can be seen."""
    return House(
        settings=Settings(store), workers=Workers(), agent=AgentClient(), bus=EventBus(), clock=SystemClock()
    )


async def test_rules_and_a_pause_outlive_the_node(store: Store) -> None:
    before = house(store)
    await before.set_rules({"idle_s": 300, "wait_s": 30})
    await before.pause()
    after = house(store)
    assert await after.rules() == HouseRules(idle_s=300, wait_s=30)
    assert after.state == "paused"
    assert not await after.may_start()
    await after.set_rules({})
    await after.resume()
    assert (await house(store).look()).may_go_on
    with pytest.raises(Conflict):
        await after.resume()


async def test_bad_rules_change_nothing(store: Store) -> None:
    kept = house(store)
    await kept.set_rules({"idle_s": 300})
    with pytest.raises(Refused):
        await kept.set_rules({"idle_s": -1})
    assert (await kept.rules()).idle_s == 300
    assert (await house(store).rules()).idle_s == 300


async def test_a_house_that_cannot_see_holds_what_its_rules_need_and_nothing_else(store: Store) -> None:
    blind = house(store)
    blind.guests = guest = Recorder()
    await blind.set_rules({"mains_only": True})
    assert guest.heard == []
    await blind.set_rules({"idle_s": 300, "wait_s": 7})
    assert guest.heard[0].startswith("hold 1: [Paused: the owner of the machine needs it.")
    assert guest.heard[1] == "overdue 7: house_rules"
    assert "cannot tell" in (await blind.as_dict())["words"]
    await blind.set_rules({})
    assert guest.heard[-1] == "go on"


async def test_the_time_until_the_machine_was_free_is_kept_with_its_worst(store: Store) -> None:
    measured = house(store)
    measured.guests = Recorder()
    for count in (1, 2):
        await measured.pause()
        await measured.resume()
        returned = (await measured.as_dict())["returned"]
        assert returned["count"] == count
        assert 0 <= returned["last_ms"] <= returned["worst_ms"]
    again = await house(store).as_dict()
    assert again["returned"] == returned


async def test_an_owner_without_rules_gets_some_once_and_keeps_their_own(store: Store) -> None:
    fresh = house(store)
    await fresh.suggest_rules()
    assert (await fresh.as_dict())["set"]
    await fresh.set_rules({"wait_s": 1})
    await fresh.suggest_rules()
    assert (await fresh.rules()).wait_s == 1


async def test_new_maintenance_is_announced_once_and_in_a_time_that_everybody_knows(store: Store) -> None:
    kept = house(store)
    kept.guests = guest = Recorder()
    window = {"starts": "2036-01-01T10:00", "ends": "2036-01-01T12:00"}
    await kept.set_rules({"maintenance": [window]})
    await kept.set_rules({"maintenance": [window], "wait_s": 5})
    announced = [words for words in guest.heard if "maintenance" in words]
    assert len(announced) == 1
    assert announced[0].count("UTC") == 2
