"""The same random calls as in the unit tests, many more of them, on the engine that groups run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_lab import Clock, Lab
from request_world import World

from openstall.ledger.group_host import GroupHost

SEED, CALLS, PER_WORLD = 1, 100_000, 4_000


@pytest.mark.slow
def test_a_hundred_thousand_calls_make_lose_or_strand_no_money(
    tmp_path: Path, host_at: Callable[[Path], GroupHost], clock: Clock
) -> None:
    host = host_at(tmp_path / "chain")
    host.create("A campaign")
    lab, calls = Lab(host, clock), 0
    passed, refused = {}, {}
    for seed in range(SEED, SEED + CALLS // PER_WORLD):
        world = World(lab, seed)
        world.run(PER_WORLD, look_every=100)
        calls += world.calls
        for found, kept in ((world.passed, passed), (world.refused, refused)):
            for name, count in found.items():
                kept[name] = kept.get(name, 0) + count
    sys.stdout.write(
        f"{calls} calls: {sum(passed.values())} passed, {sum(refused.values())} refused\n"
        f"passed {sorted(passed.items())}\nrefused {sorted(refused.items())}\n"
    )
    assert calls >= CALLS
