"""The same random calls as in the unit tests, a hundred thousand of them, on the engine that groups run.

python3 dev.py test -m slow -s tests/integration/ledger/test_request_campaign.py
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_lab import Clock, Lab
from request_world import World

from openstall.ledger.group_host import GroupHost

SEEDS, CALLS = range(40), 2_500
passed: Counter[str] = Counter()
refused: Counter[str] = Counter()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_thousand_calls_make_lose_or_strand_no_money(
    tmp_path: Path, host_at: Callable[[Path], GroupHost], clock: Clock, seed: int
) -> None:
    host = host_at(tmp_path / "chain")
    host.create("A campaign")
    world = World(Lab(host, clock), seed)
    world.run(CALLS, look_every=100)
    passed.update(world.passed)
    refused.update(world.refused)
    sys.stdout.write(
        f"\nuntil now {passed.total() + refused.total()} calls: {passed.total()} passed "
        f"{dict(sorted(passed.items()))}, {refused.total()} refused {dict(sorted(refused.items()))}\n"
    )
