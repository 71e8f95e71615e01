"""What the command line reads and writes of a rig, whether it runs or not; a running one heeds it soon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from openstall.app.clock import SystemClock
from openstall.app.events import EventBus
from openstall.app.paths import Home
from openstall.app.rig.book import RigBook
from openstall.app.services.house import House
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.market.house import HouseRules
from openstall.store.database import Store
from openstall.store.settings import Settings


@contextmanager
def open_book(home: Home) -> Iterator[tuple[RigBook, HouseRules]]:
    """The rig's book and its house rules."""
    with _store(home) as store:
        yield RigBook(Settings(store)), trio.run(_house(store).rules)


def set_rules(home: Home, value: Any) -> HouseRules:
    """Replace the rules.

    Raises:
        Refused: they make no sense.
    """
    with _store(home) as store:
        return trio.run(_house(store).set_rules, value)


def pause_rig(home: Home) -> None:
    """Pause it; Conflict where it is paused."""
    with _store(home) as store:
        trio.run(_house(store).pause)


def resume_rig(home: Home) -> None:
    """Resume it; Conflict where it is not paused."""
    with _store(home) as store:
        trio.run(_house(store).resume)


@contextmanager
def _store(home: Home) -> Iterator[Store]:
    home.create()
    store = Store(home.store)
    try:
        yield store
    finally:
        store.close()


def _house(store: Store) -> House:
    """The keeper of the rules without eyes: the running rig has those."""
    return House(
        settings=Settings(store), workers=Workers(), agent=AgentClient(), bus=EventBus(), clock=SystemClock()
    )
