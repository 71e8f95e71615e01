"""What the command line reads and writes of a rig, whether it runs or not; a running one heeds it soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from openstall.app.paths import Home
from openstall.app.rig.book import RigBook
from openstall.app.services.house import PAUSED, RULES
from openstall.market.errors import Conflict
from openstall.market.house import HouseRules, read_rules
from openstall.store.database import Store
from openstall.store.settings import Settings


@contextmanager
def open_book(home: Home) -> Iterator[tuple[RigBook, HouseRules]]:
    """The rig's book and its house rules; none where its owner has set none."""
    with _settings(home) as settings:
        kept = settings.get(RULES)
        yield RigBook(settings), HouseRules() if kept is None else read_rules(kept)


def set_rules(home: Home, value: Any) -> None:
    """Replace the rules.

    Raises:
        Refused: they make no sense.
    """
    rules = read_rules(value)
    with _settings(home) as settings:
        settings.set(RULES, msgspec.to_builtins(rules))


def pause_rig(home: Home) -> None:
    """Pause it; Conflict where it is paused."""
    with _settings(home) as settings:
        if settings.get(PAUSED):
            raise Conflict("paused", "This machine is paused already.")
        settings.set(PAUSED, int(time.time()))


def resume_rig(home: Home) -> None:
    """Resume it; Conflict where it is not paused."""
    with _settings(home) as settings:
        if not settings.get(PAUSED):
            raise Conflict("not_paused", "This machine is not paused by hand.")
        settings.remove(PAUSED)


@contextmanager
def _settings(home: Home) -> Iterator[Settings]:
    home.create()
    store = Store(home.store)
    try:
        yield Settings(store)
    finally:
        store.close()
